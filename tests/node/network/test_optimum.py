"""The planner against an independent solver and its own optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize

from node.mechanisms.network.optimum import program, solve
from tests.node.network import instances


@pytest.mark.parametrize("kind", ["corn", "line", "tree", "five", "local_goods"])
def test_the_planner_agrees_with_scipy(kind):
    contracts = getattr(instances, kind)()
    problem = program(contracts)
    found = solve(problem, {i: c.valuation for i, c in contracts.items()})
    assert found.residual < 1e-10

    def loss(x):
        return -sum(
            contracts[i].valuation.value(float(t))
            for t, members in zip(x, problem.sharing, strict=True)
            for i in members
        )

    theirs = minimize(
        loss,
        problem.start,
        method="SLSQP",
        bounds=[(0.0, None)] * len(problem.start),
        constraints=LinearConstraint(problem.rows, -np.inf, problem.limits),
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    # SLSQP may stop in its line search when rounding is all that is left: judged by its value, not its flag.
    assert (problem.rows @ theirs.x - problem.limits).max() <= 1e-9
    assert found.welfare == pytest.approx(-theirs.fun, abs=1e-7)
    assert found.welfare >= -theirs.fun - 1e-8
    for t, members in zip(theirs.x, problem.sharing, strict=True):
        for i in members:
            assert found.allocation[i] == pytest.approx(t, abs=2e-4)  # flat at the optimum


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_are_solved_to_rounding(seed):
    contracts = instances.random_unicast(seed)
    found = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    assert found.residual < 1e-10
    assert min(found.prices.values()) >= -1e-12
