"""At the claimed equilibrium nobody gains by deviating; where the theory says otherwise, somebody does."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from node.mechanisms.network import checks, naive
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.multicast import ring
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import gather, play
from node.mechanisms.network.strategic import (
    limits,
    payoff,
    play_best_responses,
    regrets,
    rest_of,
    with_demand,
)
from node.mechanisms.network.takers import taker
from tests.node.network import instances
from tests.node.network.test_dynamics import error, optimum_of, run


def shares_of(contracts, tables):
    factor = next(iter(contracts.values())).factor(min(limits(contracts, tables).values()))
    return {i: c.share(tables, factor) for i, c in contracts.items()}


@pytest.mark.parametrize("scale", [1.0, 3.7])
@pytest.mark.parametrize("strong", [False, True])
@pytest.mark.parametrize("kind", ["corn", "line"])
def test_unicast_equilibria(kind, strong, scale):
    contracts = getattr(instances, kind)(strong=strong)
    optimum = optimum_of(contracts)
    tables = gather(checks.equilibrium(contracts, optimum, scale))
    found = shares_of(contracts, tables)
    for i, c in contracts.items():
        assert found[i].allocation == pytest.approx(optimum.allocation[i], abs=1e-11)
        if not strong:  # t_i = x_i* v_i'(x_i*)
            x = optimum.allocation[i]
            paid = sum(link.coefficients[i] * optimum.prices[name] for name, link in c.links.items())
            assert found[i].tax == pytest.approx(x * paid, abs=1e-10)
    total, size = checks.balance(found)
    assert abs(total) <= 1e-9 * size if strong else total == pytest.approx(size)
    assert min(checks.rationality(contracts, found).values()) >= 0.0
    assert max(checks.deviations(contracts, tables).values()) <= 1e-9
    assert checks.overshoot(contracts, {i: s.allocation for i, s in found.items()}) == 0.0


@pytest.mark.parametrize("rules", [{"strong": False}, {"strong": True}])
def test_multicast_play_ends_at_an_equilibrium(rules):
    contracts = instances.tree(**rules)
    _, steps = run(contracts, Dynamics("fast"), 120)
    total, size = checks.balance(steps[-1].shares)
    assert abs(total) <= 1e-9 * size if rules["strong"] else total > 0
    assert max(checks.deviations(contracts, steps[-1].tables).values()) <= 1e-9
    assert min(checks.rationality(contracts, steps[-1].shares).values()) >= 0.0


def test_the_printed_multicast_redistribution_can_be_gamed_and_the_corrected_one_cannot():
    """Erratum 1: under the printed rule an agent inflates the price that its successor is charged."""
    gains = {}
    for printed in (False, True):
        contracts = instances.tree(printed=printed)
        _, steps = run(contracts, Dynamics("fast"), 120)
        tables = steps[-1].tables
        every, best = limits(contracts, tables), 0.0
        for i, c in contracts.items():
            own = {name: tables[name] for name in c.channels}
            rest = rest_of(c, every)
            now = payoff(c, own, rest)
            for name, link in c.links.items():
                if ring(c.groups[name], link, i)[0] == i:
                    continue  # alone in its group: no successor to charge
                for factor in np.linspace(0.1, 3.0, 30):
                    quotes = {q: table[i] for q, table in own.items()}
                    y, q1, q2, rho, *rest_of_entry = quotes[name]
                    quotes[name] = (y, q1, q2 * factor + 0.0, rho, *rest_of_entry)
                    best = max(best, payoff(c, own, rest, quotes) - now)
        gains[printed] = best
    assert gains[False] <= 1e-9
    assert gains[True] > 1e-3


@pytest.mark.parametrize("balance", ["weak", "equilibrium", "everywhere"])
@pytest.mark.parametrize("eta", [0.05, 10.0])
def test_linear_equilibria_exist_for_every_eta(balance, eta):
    contracts = instances.five(balance=balance, eta=eta)
    _, steps = run(contracts, Dynamics("padr"), 200)
    assert max(checks.deviations(contracts, steps[-1].tables).values()) <= 1e-9
    total, size = checks.balance(steps[-1].shares)
    assert balance == "weak" or abs(total) <= 1e-9 * size


def test_local_public_goods_end_balanced_and_nobody_deviates():
    contracts = instances.local_goods()
    _, steps = run(contracts, Dynamics("fast"), 200)
    total, size = checks.balance(steps[-1].shares)
    assert abs(total) <= 1e-9 * size
    assert max(checks.deviations(contracts, steps[-1].tables).values()) <= 1e-9


def test_an_eta_that_is_too_large_leaves_no_equilibrium():
    """Erratum 2: the slack term is not concave; with a large eta an agent gains by leaving a link slack."""
    for eta, gains in ((0.02, False), (3.0, True)):
        contracts = instances.line(eta=eta)
        optimum = optimum_of(contracts)
        tables = gather(checks.equilibrium(contracts, optimum))
        assert (max(checks.deviations(contracts, tables).values()) > 1e-3) is gains
    assert checks.eta_bound(instances.line(), optimum) < 3.0


def test_an_equilibrium_outside_the_feasible_demands_has_a_deficit():
    contracts = instances.five(balance="equilibrium")
    _, steps = run(contracts, Dynamics("padr"), 200)
    row = next(iter(contracts["a1"].rows.values()))
    theta, table = 0.0005, steps[-1].tables["row"]
    outside = {"row": {i: (theta + 1.5 * (q[0] - theta), q[1]) for i, q in table.items()}}
    found = shares_of(contracts, outside)
    assert max(checks.deviations(contracts, outside).values()) <= 1e-9
    total, _ = checks.balance(found)
    assert total == pytest.approx(
        table["a1"][1]
        * (
            row.load({i: s.allocation for i, s in found.items()})
            - row.load({i: q[0] for i, q in outside["row"].items()})
        ),
        rel=1e-6,
    )
    assert total < 0.0


def test_regret_falls_as_play_goes_on():
    contracts = instances.line(eta=0.05)
    _, steps = run(contracts, Dynamics("fast"), 41)
    worst = [max(regrets(contracts, steps[k].tables).values()) for k in (0, 10, 40)]
    assert worst[0] > worst[1] > worst[2]
    assert worst[2] <= 1e-6


@pytest.mark.parametrize("damping", [1.0, 0.3])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_strategic_best_responses_do_not_converge(scale, damping):
    contracts = instances.corn(strong=False)
    optimum = optimum_of(contracts)
    rng = np.random.default_rng(0)
    start = {
        i: {
            "corn": (
                float(rng.uniform(0.1, 1.1)),
                scale * optimum.prices["corn"] * float(rng.uniform(0.5, 1.5)),
                1.0,
            )
        }
        for i in contracts
    }
    tables = next(itertools.islice(play_best_responses(contracts, start, damping), 60, None))
    found = shares_of(contracts, tables)
    off = max(abs(found[i].allocation - x) for i, x in optimum.allocation.items())
    assert off / max(optimum.allocation.values()) > 0.05


def test_the_naive_iteration_pays_an_agent_that_hides_demand_and_the_mechanism_does_not():
    contracts = instances.corn()
    optimum = optimum_of(contracts)
    payoffs = {}
    for report in (1.0, 0.7):
        rounds = naive.iterate(contracts, 0.1, reports={"a3": report})
        prices, demands = next(itertools.islice(rounds, 400, None))
        payoffs[report] = naive.payoff(contracts["a3"], prices, demands)
        if report == 1.0:
            assert prices["corn"] == pytest.approx(optimum.prices["corn"], rel=1e-6)
    assert payoffs[0.7] > 1.1 * payoffs[1.0]
    # At the equilibrium of the mechanism the same lie gains nothing.
    tables = gather(checks.equilibrium(contracts, optimum))
    c, rest = contracts["a3"], FREE
    y = tables["corn"]["a3"][0]
    lie = with_demand(c, tables, rest, 0.7 * y)
    assert payoff(c, tables, rest, lie) < payoff(c, tables, rest)


def test_naive_transients_exceed_the_capacity_until_projected():
    contracts = instances.corn()
    _, demands = next(naive.iterate(contracts, 0.1, start=0.1))
    assert checks.overshoot(contracts, demands) > 0.1
    assert checks.overshoot(contracts, naive.projected(contracts, demands)) <= 4.5e-16


def test_every_round_of_play_is_feasible_for_all_mechanisms():
    for kind in ("corn", "line", "tree", "five", "local_goods"):
        contracts = getattr(instances, kind)()
        takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
        for step in itertools.islice(play(takers), 60):
            assert checks.overshoot(contracts, {i: s.allocation for i, s in step.shares.items()}) == 0.0


def test_prices_on_a_link_are_equal_in_every_round():
    contracts = instances.line()
    _, steps = run(contracts, Dynamics("fast"), 30)
    assert all(checks.price_spread(step.tables) == 0.0 for step in steps)
    assert error(steps[-1], optimum_of(contracts)) < 1e-3
