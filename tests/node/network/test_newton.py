"""Newton's prices: the model, the path of points, and what agents make of it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node import lockstep
from node.mechanisms.network import checks, quadratic
from node.mechanisms.network.newton import LEAST_PART, LinkPath, Summary
from node.mechanisms.network.optimum import program
from node.mechanisms.network.optimum import solve as plan
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.quadratic import minimise, solve
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


def settled(contracts, takers, rounds, tolerance=1e-6):
    optimum = plan(program(contracts), {i: c.valuation for i, c in contracts.items()})
    late, largest = 0, max(optimum.allocation.values())
    for k, step in enumerate(itertools.islice(play(takers), rounds)):
        off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
        late = k + 1 if off >= tolerance * largest else late
        assert checks.overshoot(contracts, {i: x.allocation for i, x in step.shares.items()}) == 0.0
    return late


def positive(seed, n):
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n + 1))
    return rng, half @ half.T + 0.1 * np.eye(n)


@pytest.mark.parametrize("sets", [quadratic.ACTIVE_SETS, 0])
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(0, 10**6), st.integers(1, 8), st.booleans())
def test_the_model_is_minimised_over_prices_that_are_not_negative(monkeypatch, sets, seed, n, equalities):
    monkeypatch.setattr(quadratic, "ACTIVE_SETS", sets)  # with 0 one price after the other
    rng, hessian = positive(seed, n)
    signed = rng.random(n) < (0.4 if equalities else 0.0)
    start = rng.normal(size=n)
    start = np.where(signed, start, np.maximum(0.0, start))
    excess = rng.normal(size=n) * 2.0
    point, lower = minimise(hessian.tolist(), excess.tolist(), start.tolist(), signed.tolist())
    point, d = np.array(point), np.array(point) - start
    slope, tiny = hessian @ d - excess, 1e-8 * (1.0 + abs(excess).max()) * (1.0 + abs(np.array(point)).max())
    assert point[~signed].min(initial=0.0) >= 0.0
    assert slope[~signed].min(initial=0.0) >= -tiny  # nothing falls by a price that rises
    assert abs(slope[signed]).max(initial=0.0) <= tiny  # nor by any change of one that may be negative
    assert abs(slope[~signed] @ point[~signed]) <= tiny
    assert lower == pytest.approx(excess @ d - 0.5 * d @ hessian @ d, abs=1e-9)
    assert lower >= -1e-12


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_linear_systems_are_solved(seed, n):
    rng, matrix = positive(seed, n)
    right = rng.normal(size=n)
    assert matrix @ solve(matrix.tolist(), right.tolist()) == pytest.approx(right, rel=1e-8, abs=1e-8)


def summary(price, value, excess=1.0):
    return {"l": Summary(price, excess, value, {"l": (1.0, 0.5)})}


def test_a_point_at_which_the_dual_does_not_fall_is_left_again():
    path = LinkPath()
    first = path.move(summary(1.0, 10.0))["l"]
    assert first == pytest.approx(1.0 + 1.0 / (1.0 + 0.5 * LEAST_PART))
    tried = [path.move(summary(first, 11.0))["l"] for _ in range(6)]
    # From the same point, shorter and shorter: first by the part of the clipped, then by H itself.
    assert all(1.0 < b < a for a, b in itertools.pairwise([first, *tried]))
    assert tried[-1] - 1.0 == pytest.approx(0.5 * (tried[-2] - 1.0), rel=1e-6)
    assert path.move(summary(tried[-1], 9.0))["l"] > tried[-1]  # kept: on from there


def test_a_path_made_from_its_state_goes_on_with_the_same_bits():
    one, two = LinkPath(), LinkPath()
    one.move(summary(1.0, 10.0))
    one.move(summary(1.5, 12.0))
    two.restore(one.state())
    for value in (9.9, 9.8, 9.8):
        assert one.move(summary(1.2, value)) == two.move(summary(1.2, value))


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 7, 8, 11, 12, 14, 16, 17, 18])
def test_random_networks_are_settled_in_twenty_moves(seed):
    contracts = instances.random_unicast(seed)
    assert settled(contracts, instances.newton_takers(contracts), 40) <= 20


# Of the first sixty those in which all optimal amounts are between the floor and the largest amount (A2).
INNER = (4, 6, 11, 12, 16, 19, 21, 22, 23, 24, 38, 41, 42, 47, 48, 49, 51, 56, 57)


@pytest.mark.parametrize("seed", INNER)
def test_random_linear_constraints_with_groups_are_settled_in_twenty_moves(seed):
    contracts = instances.random_linear(seed)
    optimum = plan(program(contracts), {i: c.valuation for i, c in contracts.items()})
    assert all(c.lowest < optimum.allocation[i] < c.highest for i, c in contracts.items())
    assert settled(contracts, instances.newton_takers(contracts), 40) <= 20


@pytest.mark.parametrize("kind", ["corn", "line", "five", "local_goods"])
def test_the_dual_of_the_kept_points_falls_and_bounds_the_welfare(kind):
    contracts = getattr(instances, kind)()
    optimum = plan(program(contracts), {i: c.valuation for i, c in contracts.items()})
    takers, kept = instances.newton_takers(contracts), []
    # Told is what is gained over the floors; nothing in unicast, where they are 0.
    least = math.fsum(c.valuation.value(c.lowest) for c in contracts.values())
    for step in itertools.islice(play(takers), 15):
        path = takers["a1"]._path
        kept.append(least + path.value(path._kept))
        assert kept[-1] >= optimum.welfare - 1e-12
        welfare = math.fsum(c.valuation.value(step.shares[i].allocation) for i, c in contracts.items())
        assert optimum.welfare - welfare <= step.gap + 2e-12 * optimum.welfare  # the guard, as in a run
    assert all(b <= a + 1e-13 * abs(a) for a, b in itertools.pairwise(kept))
    assert kept[-1] == pytest.approx(optimum.welfare, rel=1e-9)


@pytest.mark.parametrize(
    "name", ["network-corn-5", "network-abilene-18", "network-wireless-8", "network-microgrid-7"]
)
def test_agents_do_what_sequential_play_does_bit_for_bit_and_prove_the_end(name):
    scenario = load_scenario(name, [NEWTON])
    parts = scenario.parts("test")
    ended = lockstep.run({i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})
    first = next(iter(ended.results.values()))
    contracts = {i: own_of(p).contract for i, p in parts.items()}
    assert first.satisfied
    assert first.moves == 1
    takers = instances.newton_takers(contracts)
    *_, step, _ = itertools.islice(play(takers), first.steps - 1)
    _, shares = settle(takers, step)
    optimum = plan(program(contracts), {i: c.valuation for i, c in contracts.items()})
    tolerance = scenario.contract()["stopping"]["tolerance"] * max(optimum.allocation.values())
    for i, result in ended.results.items():
        assert (result.allocation, result.tax) == (step.shares[i].allocation, shares[i].tax)
        assert abs(result.allocation - optimum.allocation[i]) <= tolerance


@pytest.mark.parametrize("name", ["network-nsfnet-24", "network-microgrid-7"])
def test_a_life_made_from_a_snapshot_goes_on_along_the_same_path(name):
    chosen = [NEWTON, "stopping.max_rounds=7", "stopping.tolerance=1e-14"]
    parts = load_scenario(name, chosen).parts("test")
    protocols, saved = {i: network(p) for i, p in parts.items()}, []

    def observe(round_, says):
        if all(p.gi_yieldfrom is None for p in protocols.values()):
            saved.append({i: s.snapshot for i, s in says.items()})

    hears = {i: p.hears for i, p in parts.items()}
    ended = lockstep.run(protocols, hears, observe)
    resumed = lockstep.run({i: network(p, saved[3][i]) for i, p in parts.items()}, hears)
    assert resumed.results == ended.results


@pytest.mark.parametrize(("name", "victim"), [("network-corn-5", "a2"), ("network-microgrid-7", "bakery")])
def test_the_path_survives_storm_and_crash_and_no_capacity_is_exceeded_meanwhile(name, victim):
    parts, made = load_scenario(name, [NEWTON, "topology.links=ring"]).parts("test"), []
    ledger = Ledger({i: own_of(p).contract for i, p in parts.items()}, lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=3, faults={**STORM, "seed": 3})
    made.append(net)
    net.advance(1.5)
    net.kill(victim, 0.4)
    net.run()
    net.assert_equals_lockstep()
    assert ledger.over == 0


GOOD = (1.0, -2.0, 3.0, (("l", 1.0, 0.0), ("m", 0.0, -2.0)), False)


@pytest.mark.parametrize(
    ("body", "good"),
    [
        (((1.0, 2.0), ()), True),
        (((1.0, 2.0), (("l", GOOD),)), True),
        (((1.0,), ()), False),  # a number is missing
        (((1.0, 2), ()), False),  # a whole number
        (((1.0, 2.0), (("n", GOOD),)), False),  # curvature with links before it
        (((1.0, 2.0), (("l", GOOD[:3]),)), False),
        (((1.0, 2.0), (("l", (-1.0, *GOOD[1:])),)), False),  # a negative price
        (((1.0, 2.0), (("l", (-1.0, *GOOD[1:4], True)),)), True),  # that of an equality
        (((1.0, 2.0), (("l", (*GOOD[:4], 0.0)),)), False),
        (((1.0, 2.0), (("l", (*GOOD[:3], (("l", -1.0, 0.0),), False)),)), False),  # negative curvature
        (((1.0, 2.0), (("l", (*GOOD[:3], (("m", 1.0, 0.0),), False)),)), False),  # without its own
        (((1.0, 2.0), (("", GOOD),)), False),
        ((1.0, 2.0), False),
        (7, False),
    ],
)
def test_malformed_summaries_are_not_accepted(body, good):
    say = next(agreement((1.0, 2.0), {}, 3, Summary.accepts))
    assert say.accepts(body, "b") is good


@pytest.mark.parametrize("kind", ["corn", "five"])
def test_newton_needs_routes(kind):
    with pytest.raises(ValueError, match="agent a1: Newton's prices need the members' routes"):
        taker(getattr(instances, kind)()["a1"], Dynamics("newton"))
