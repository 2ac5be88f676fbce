"""Newton's prices of multicast: the model over groups, the path of points, and what agents make of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import lockstep
from node.mechanisms.network import checks, multicast_newton
from node.mechanisms.network.group_model import Bend, Capacity, minimise
from node.mechanisms.network.multicast_newton import Report
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.quadratic import solve_any
from node.mechanisms.network.sequential import play, settle
from node.mechanisms.network.takers import taker
from node.protocols.network.agreement import agreement
from node.protocols.network.life import network, own_of
from runner.simulation.ledger import Ledger
from runner.testing import Network
from tests.node.network import instances
from tests.node.network.test_protocol import STORM
from topologies import load_scenario

NEWTON = "mechanism.prices=newton"


def model(seed):
    """Receivers, and links with two groups or more; spreads over five powers of ten."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    names = [f"m{k}" for k in range(n)]
    bends = {
        i: Bend(
            float(rng.uniform(0, 4)),
            float(rng.choice([0.0, rng.uniform(0, 3)])),
            float(10 ** rng.uniform(-3, 2)),
        )
        for i in names
    }
    links = {}
    for q in range(m):
        on = [i for i in names if q == 0 or rng.random() < 0.6] or names
        groups = {}
        for k, i in enumerate(on if len(on) > 1 else names):
            groups.setdefault(f"g{k % 3}", {})[i] = float(rng.uniform(0.5, 2.0))
        links[f"l{q}"] = Capacity(float(rng.uniform(0.5, 5.0)), groups)
    return bends, links


@pytest.fixture
def once(monkeypatch):
    """All receivers minimise the same model; here it is done once for all of them."""
    known = {}

    def minimised(bends, links):
        key = repr((bends, links))
        if key not in known:
            known[key] = minimise(bends, links)
        return known[key]

    monkeypatch.setattr(multicast_newton, "minimise", minimised)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_the_model_is_minimised_over_prices_whose_groups_have_one_sum(seed):
    bends, links = model(seed)
    mu = minimise(bends, links)
    amounts = {}
    for i, b in bends.items():
        paid = sum(
            members[i] * mu[n][i] for n, c in links.items() for members in c.groups.values() if i in members
        )
        amounts[i] = b.demand - b.spread * (paid - b.price)
    # What the prices make receivers want is the optimum of the other side, by the conditions for that.
    for name, link in links.items():
        tops = {k: max(a * amounts[i] for i, a in members.items()) for k, members in link.groups.items()}
        tiny = 1e-6 * (1.0 + max(abs(x) for x in amounts.values()))
        sums = [sum(mu[name][i] for i in members) for members in link.groups.values()]
        assert min(mu[name].values()) >= 0.0
        assert max(sums) - min(sums) <= 1e-12 * max(1.0, *sums)
        assert sum(tops.values()) <= link.amount + tiny
        if max(sums) > 1e-6:
            assert sum(tops.values()) >= link.amount - tiny
        for k, members in link.groups.items():
            assert all(a * amounts[i] >= tops[k] - tiny for i, a in members.items() if mu[name][i] > 1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_equations_that_depend_on_each_other_are_solved_all_the_same(seed, n):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, n + 1))
    matrix = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, n))
    right = matrix @ rng.normal(size=n)
    x = solve_any(matrix.tolist(), right.tolist())
    assert matrix @ x == pytest.approx(right, abs=1e-6)


# Of the first thirty those in which every link is used by two groups that get something (A4).
USED = (0, 3, 7, 12, 15, 20, 26, 29)


@pytest.mark.parametrize("seed", USED)
def test_random_multicast_networks_are_settled_in_fifteen_moves(once, seed):
    contracts = instances.random_multicast(seed)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    assert checks.lonely(contracts, optimum.allocation, 1e-7) == []
    takers = {i: taker(c, Dynamics("newton")) for i, c in contracts.items()}
    *_, step = itertools.islice(play(takers), 16)
    shares = {i: share.allocation for i, share in step.shares.items()}
    off = max(abs(shares[i] - x) for i, x in optimum.allocation.items())
    assert off <= 1e-6 * max(optimum.allocation.values())
    assert checks.overshoot(contracts, shares) == 0.0


def test_the_dual_of_the_kept_points_falls_to_the_welfare_and_every_gap_bounds_what_is_missing():
    contracts = instances.tree()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    takers, kept = {i: taker(c, Dynamics("newton")) for i, c in contracts.items()}, []
    for step in itertools.islice(play(takers), 12):
        path = takers["a1"]._path
        kept.append(path.value(path._kept))
        assert kept[-1] >= optimum.welfare - 1e-12
        welfare = math.fsum(c.valuation.value(step.shares[i].allocation) for i, c in contracts.items())
        assert optimum.welfare - welfare <= step.gap + 2e-12 * optimum.welfare
        for name, groups in contracts["a1"].groups.items():
            sums = [math.fsum(step.tables[name][i][1] for i in members) for members in groups.values()]
            assert max(sums) - min(sums) <= 1e-13 * max(1.0, *sums)
    assert all(b <= a + 1e-13 * abs(a) for a, b in itertools.pairwise(kept))
    assert kept[-1] == pytest.approx(optimum.welfare, rel=1e-12)
    assert step.residual <= 1e-9


def test_agents_do_what_sequential_play_does_bit_for_bit_and_prove_the_end():
    scenario = load_scenario("network-multicast-9", [NEWTON])
    parts = scenario.parts("test")
    ended = lockstep.run({i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})
    contracts = {i: own_of(p).contract for i, p in parts.items()}
    first = next(iter(ended.results.values()))
    assert first.satisfied
    assert first.steps <= 12
    takers = {i: taker(c, Dynamics("newton")) for i, c in contracts.items()}
    *_, step, _ = itertools.islice(play(takers), first.steps - 1)
    _, shares = settle(takers, step)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    tolerance = scenario.contract()["stopping"]["tolerance"] * max(optimum.allocation.values())
    for i, result in ended.results.items():
        assert (result.allocation, result.tax) == (step.shares[i].allocation, shares[i].tax)
        assert abs(result.allocation - optimum.allocation[i]) <= tolerance


def test_a_receiver_made_from_its_state_goes_on_with_the_same_bits():
    contracts = instances.tree()
    takers = {i: taker(c, Dynamics("newton")) for i, c in contracts.items()}
    next(itertools.islice(play(takers), 3, None))
    again = {i: taker(c, Dynamics("newton")) for i, c in contracts.items()}
    for i, player in takers.items():
        again[i].restore(player.state())
    for one, two in itertools.islice(zip(play(takers), play(again), strict=True), 3):
        assert one.tables == two.tables


def test_the_path_survives_storm_and_crash_and_no_capacity_is_exceeded_meanwhile(once):
    chosen = [NEWTON, "topology.links=ring", "stopping.max_rounds=6"]
    parts, made = load_scenario("network-multicast-9", chosen).parts("test"), []
    ledger = Ledger({i: own_of(p).contract for i, p in parts.items()}, lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=3, faults={**STORM, "seed": 3})
    made.append(net)
    net.advance(1.5)
    net.kill("film-1", 0.4)
    net.run()
    net.assert_equals_lockstep()
    assert ledger.over == 0


ONE, TWO = ("g", 1.0, 0.5, 2.0, 0.0, 1.0, 3.0), ("h", 1.0, 0.5, 2.0, 1.0, 1.0, 0.0)
GOOD = (4.0, (("a", ONE), ("b", TWO)))


@pytest.mark.parametrize(
    ("report", "good"),
    [
        (GOOD, True),
        ((0.0, GOOD[1]), False),  # no capacity
        ((math.inf, GOOD[1]), False),
        ((4, GOOD[1]), False),  # a whole number
        ((4.0, GOOD[1][:1]), False),  # one group alone
        ((4.0, (("a", ONE), ("a", TWO))), False),  # one receiver twice
        ((4.0, (("a", ONE), (7, TWO))), False),
        ((4.0, (("a", ONE), ("b", TWO[:6]))), False),
        ((4.0, (("a", ONE), ("b", (*TWO[:5], 0.0, TWO[6])))), False),  # it does not bend
        ((4.0, (("a", ONE), ("b", (*TWO[:4], 0.5, *TWO[5:])))), False),  # half clipped
        ((4.0, (("a", ONE), ("b", (TWO[0], 0.0, *TWO[2:])))), False),  # no weight
        ((4.0, (("a", ONE), ("b", (*TWO[:2], -0.5, *TWO[3:])))), False),  # a negative price
        ((4.0, (("a", ONE), ("b", (*TWO[:6], math.nan)))), False),
        (GOOD[:1], False),
        (7, False),
    ],
)
def test_malformed_reports_are_not_accepted(report, good):
    say = next(agreement((1.0,), {}, 3, Report.accepts))
    assert say.accepts(((1.0,), (("l", report),)), "b") is good
