"""The second account of the optimum, and how exact it says that it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.environments import PrivateGoods, PublicGoods
from node.mechanisms.network.links import Link
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import build as valuation
from node.utilities import build
from runner.check import accuracy, planner
from runner.errors import UserError
from runner.network import contracts_of
from topologies import load_scenario

pytest.importorskip("cvxpy", reason="the convex program of `vicinal check`")


def numbers(rng, k, low, high):
    return rng.uniform(low, high, k).tolist()


def drawn(seed, agents, goods):
    """Utilities of all families in turn."""
    rng = np.random.default_rng(seed)
    specs = {}
    for n in range(agents):
        sigma = numbers(rng, goods, 5.0, 15.0)
        match n % 3:
            case 0:
                spec = {"family": "quadratic", "theta": numbers(rng, goods, -5.0, -0.1), "sigma": sigma}
            case 1:
                root = rng.normal(size=(goods, goods))
                hessian = -(root @ root.T) - 0.3 * np.eye(goods)
                hessian = 0.5 * (hessian + hessian.T)
                spec = {"family": "quadratic-form", "hessian": hessian.tolist(), "sigma": sigma}
            case _:
                spec = {
                    "family": "log-cosh",
                    "low": numbers(rng, goods, 0.2, 1.0),
                    "high": numbers(rng, goods, 1.0, 5.0),
                    "sigma": sigma,
                    "centre": numbers(rng, goods, -1.0, 1.0),
                    "width": numbers(rng, goods, 0.5, 2.0),
                }
        specs[f"n{n}"] = spec
    return specs


@pytest.mark.parametrize("seed", range(4))
def test_two_accounts_of_the_optimum_of_every_family_agree(seed):
    specs = drawn(seed, 6, 2)
    utilities = {i: build(spec) for i, spec in specs.items()}
    capacities = np.array([9.0, -3.0])
    best, own = planner.private_goods(specs, capacities), PrivateGoods(capacities, utilities).optimum()
    off = max(np.linalg.norm(best[i] - own.allocation[i]) for i in specs)
    bound = accuracy.private_goods(best, utilities, capacities)
    assert off <= bound + 1e-13
    assert bound <= 1e-6
    x, public = planner.public_goods(specs, 2)["n0"], PublicGoods(2, utilities).optimum().allocation["n0"]
    assert np.linalg.norm(x - public) <= accuracy.public_goods(x, utilities) + 1e-13
    assert accuracy.public_goods(x, utilities) <= 1e-6


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-9, 10.0))
def test_the_bound_on_the_distance_to_the_optimum_is_one(seed, size):
    rng = np.random.default_rng(seed)
    utilities = {i: build(spec) for i, spec in drawn(seed, 5, 2).items()}
    capacities = rng.normal(0.0, 10.0, 2)
    best = PrivateGoods(capacities, utilities).optimum().allocation
    moved = {i: x + rng.normal(0.0, size, 2) for i, x in best.items()}
    off = max(np.linalg.norm(moved[i] - best[i]) for i in best)
    assert off <= accuracy.private_goods(moved, utilities, capacities) * (1.0 + 1e-9)
    common = PublicGoods(2, utilities).optimum().allocation["n0"]
    elsewhere = common + rng.normal(0.0, size, 2)
    assert np.linalg.norm(elsewhere - common) <= accuracy.public_goods(elsewhere, utilities) * (1.0 + 1e-9)


@pytest.mark.parametrize(
    "spec",
    [
        {"family": "log", "w": 3.0, "s": 0.5},
        {"family": "exponential", "w": 3.0, "s": 2.0},
        {"family": "square-root", "w": 3.0, "s": 0.5},
        {"family": "alpha-fair", "w": 3.0, "alpha": 2.5, "s": 0.5},
        {"family": "alpha-fair", "w": 1.5, "alpha": 0.5, "s": 0.5},
        {"family": "alpha-fair", "w": 3.0, "alpha": 1.0, "s": 0.5},
    ],
    ids=lambda spec: f"{spec['family']}-{spec.get('alpha', '')}",
)
def test_a_link_is_shared_where_slopes_are_equal(spec):
    """Against a logarithm of known slope: at the optimum of one link both slopes are its price."""
    other = {"family": "log", "w": 2.0, "s": 1.0}
    link = Link("l", 3.0, {"a": 1.0, "b": 2.0})
    sides = {"a": Unicast("a", valuation(spec), [link]), "b": Unicast("b", valuation(other), [link])}
    x = planner.network(sides, {"a": spec, "b": other})
    assert x["a"] + 2.0 * x["b"] == pytest.approx(3.0, abs=1e-7)
    assert min(x.values()) > 1e-3
    assert sides["a"].valuation.slope(x["a"]) == pytest.approx(
        0.5 * sides["b"].valuation.slope(x["b"]), rel=1e-5
    )


def test_a_group_counts_once_and_shares_one_amount():
    multicast, linear = load_scenario("network-multicast-9"), load_scenario("network-microgrid-7")
    for loaded in (multicast, linear):
        sides = contracts_of(loaded)
        x = planner.network(sides, {i: own["valuation"] for i, own in loaded.utilities.items()})
        assert all(math.isfinite(amount) and amount >= -1e-9 for amount in x.values())
    shared = {i for i, side in sides.items() if side.group is not None}
    assert len({round(x[i], 6) for i in shared}) == 1


def test_without_cvxpy_there_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cvxpy", None)
    with pytest.raises(UserError, match=r"needs cvxpy and Clarabel .*pip install 'vicinal\[check\]'"):
        planner.cvxpy()
