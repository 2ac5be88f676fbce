"""Price-taking play: fixed points, convergence, the projection, and the certificate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.mechanisms.network import checks
from node.mechanisms.network.links import Link
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import PATIENCE, Dynamics, RowPrice, Safeguard
from node.mechanisms.network.ring_prices import project
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import Log
from tests.node.network import instances, literal

KINDS = ("corn", "line", "tree", "five", "local_goods")


def optimum_of(contracts):
    return solve(program(contracts), {i: c.valuation for i, c in contracts.items()})


def run(contracts, dynamics, rounds):
    takers = {i: taker(c, dynamics) for i, c in contracts.items()}
    return takers, list(itertools.islice(play(takers), rounds))


def error(step, optimum):
    off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
    return off / max(optimum.allocation.values())


def settled(contracts, optimum, dynamics, tolerance, rounds):
    """The first round from which on the error stays below the tolerance."""
    _, steps = run(contracts, dynamics, rounds)
    late = [k for k, step in enumerate(steps) if error(step, optimum) >= tolerance]
    return late[-1] + 1 if late else 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", ["fast", "padr"])
def test_play_comes_to_the_optimum(kind, rule):
    contracts = getattr(instances, kind)()
    optimum = optimum_of(contracts)
    assert settled(contracts, optimum, Dynamics(rule), 1e-6, 400) < 400


@pytest.mark.parametrize("kind", ["corn", "five", "local_goods"])
def test_the_proved_step_comes_to_the_optimum_and_its_dual_value_never_rises(kind):
    contracts = getattr(instances, kind)()
    optimum = optimum_of(contracts)
    _, steps = run(contracts, Dynamics("proved"), 400)
    assert error(steps[-1], optimum) < 1e-6
    # A projected gradient step of length 1/L in the metric of the scales lowers the dual function.
    duals = []
    fresh = {i: taker(c, Dynamics("proved")) for i, c in contracts.items()}
    for _ in itertools.islice(play(fresh), 100):
        value = math.fsum(t.contract.valuation.value(t.demand) - t.price * t.demand for t in fresh.values())
        value += math.fsum(
            {
                name: price.announced * price._capacity
                for t in fresh.values()
                for name, price in t.prices.items()
            }.values()
        )
        duals.append(value)
    assert all(b <= a + 1e-12 * abs(a) for a, b in itertools.pairwise(duals))


def test_a_constant_step_converges_if_small_and_not_if_large():
    contracts = instances.corn()
    optimum = optimum_of(contracts)
    assert settled(contracts, optimum, Dynamics("constant", gamma=0.1), 1e-6, 400) < 400
    assert settled(contracts, optimum, Dynamics("constant", gamma=3.0), 1e-2, 400) == 400


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("kind", ["corn", "line"])
def test_agents_step_by_step_equal_the_matrix_form(kind, fast):
    contracts = getattr(instances, kind)()
    _, steps = run(contracts, Dynamics("fast" if fast else "padr"), 60)
    agents = sorted(contracts)
    for step, x in zip(steps, literal.unicast_rounds(contracts, fast), strict=False):
        found = [step.shares[i].allocation for i in agents]
        assert found == pytest.approx(x.tolist(), rel=1e-10, abs=1e-12)


# Those of the first seeds on which assumption (A4) holds: two agents get something on every link.
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 7, 8, 11, 12, 14, 16, 17, 18])
def test_fast_play_settles_on_random_networks(seed):
    contracts = instances.random_unicast(seed)
    optimum = optimum_of(contracts)
    assert checks.lonely(contracts, optimum.allocation, 1e-9) == []
    assert settled(contracts, optimum, Dynamics("fast"), 1e-4, 300) < 300


def test_where_too_few_agents_want_a_link_the_allocation_stays_off_and_is_not_certified():
    # (A4) fails: only one agent of link l wants anything, so l is never used up.
    link, other = Link("l", 1.0, {"a": 1.0, "b": 1.0}), Link("m", 1.0, {"b": 1.0, "c": 1.0})
    contracts = {
        "a": Unicast("a", Log(3.0), [link]),
        "b": Unicast("b", Log(0.1), [link, other]),
        "c": Unicast("c", Log(5.0), [other]),
    }
    optimum = optimum_of(contracts)
    takers, steps = run(contracts, Dynamics("fast"), 200)
    assert checks.lonely(contracts, {i: t.demand for i, t in takers.items()}) == ["l", "m"]
    assert error(steps[-1], optimum) > 0.1
    assert not any(claim.holds(steps[-1].gap, 0.05) for claim in steps[-1].claims.values())


@pytest.mark.parametrize("kind", KINDS)
def test_no_certificate_is_ever_wrong(kind):
    contracts = getattr(instances, kind)()
    optimum = optimum_of(contracts)
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    certified = 0
    for step in itertools.islice(play(takers), 80):
        shown = optimum.welfare - math.fsum(
            claim.valuation.value(claim.allocation) for claim in step.claims.values()
        )
        assert shown <= step.gap + 1e-14
        for i, claim in step.claims.items():
            off = abs(step.shares[i].allocation - optimum.allocation[i])
            for allowed in (1e-1, 1e-3, 1e-5):
                if claim.holds(step.gap, allowed):
                    certified += 1
                    assert off <= allowed
    assert certified > 5 * 80  # and it does certify: every agent, most of the time


def test_a_floor_above_the_optimum_is_never_certified():
    contracts = instances.five()
    low = {i: type(c)(i, c.valuation, list(c.rows.values()), floor=0.001) for i, c in contracts.items()}
    object.__setattr__(low["a5"], "lowest", 0.4)  # the optimum is below
    optimum = optimum_of(contracts)
    assert optimum.allocation["a5"] < 0.4
    _, steps = run(low, Dynamics("fast"), 100)
    assert not steps[-1].claims["a1"].holds(steps[-1].gap, 1e-3)


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 10**6))
def test_the_projection_of_multicast_prices_satisfies_its_optimality_conditions(seed):
    rng = np.random.default_rng(seed)
    groups, members = {}, []
    for k in range(int(rng.integers(2, 5))):
        groups[f"g{k}"] = tuple(f"m{len(members) + j}" for j in range(int(rng.integers(1, 5))))
        members += groups[f"g{k}"]
    points = {i: float(rng.normal(1.0, 2.0)) for i in members}
    scales = {i: float(rng.uniform(0.1, 3.0)) for i in members}
    c = float(rng.uniform(0.1, 4.0))
    mu = project(points, scales, groups, c)
    assert min(mu.values()) >= 0.0
    sums = [math.fsum(mu[i] for i in on) for on in groups.values()]
    assert max(sums) - min(sums) <= 1e-12 * (1.0 + max(sums))

    # It minimises sum (mu - u)^2 / (2 g) + c lambda: no feasible point nearby is better.
    def cost(at):
        return sum((at[i] - points[i]) ** 2 / (2 * scales[i]) for i in members) + c * sum(
            at[i] for i in groups["g0"]
        )

    for _ in range(20):
        other = {i: max(0.0, mu[i] + float(rng.normal(0, 0.05))) for i in members}
        target = max(0.0, sums[0] + float(rng.normal(0, 0.05)))
        for on in groups.values():
            total = math.fsum(other[i] for i in on)
            for i in on:
                other[i] = other[i] * target / total if total else target / len(on)
        assert cost(mu) <= cost(other) + 1e-9


def test_the_safeguard_halves_a_step_that_makes_no_progress():
    guard = Safeguard(1.0)
    assert not guard.watch(1.0, 0.0)
    assert [guard.watch(1.0, 0.0) for _ in range(PATIENCE)] == [False] * (PATIENCE - 1) + [True]
    assert guard.kappa == 0.5
    assert not guard.watch(0.5, 0.0)
    # At the level of rounding there is no progress to be made and none is asked for.
    assert not any(guard.watch(1e-16, 1e-13) for _ in range(3 * PATIENCE))


def test_a_price_made_from_its_state_goes_on_with_the_same_bits():
    one = RowPrice(Dynamics("fast"), 2.0)
    for k in range(5):
        one.announce()
        one.update(2.0 + 0.3 / (k + 1), 1.5, 1.0)
    two = RowPrice(Dynamics("fast"), 2.0)
    two.restore(one.state())
    for k in range(20):
        assert one.announce() == two.announce()
        assert one.update(1.9 + 0.01 * k, 1.5, 1.0) == two.update(1.9 + 0.01 * k, 1.5, 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_taker_made_from_its_state_says_the_same(kind):
    contracts = getattr(instances, kind)()
    takers, steps = run(contracts, Dynamics("fast"), 7)
    again = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    for i, t in takers.items():
        again[i].restore(t.state())
    for i in contracts:
        assert takers[i].announce(steps[-1].factor) == again[i].announce(steps[-1].factor)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rule": "faster"}, "unknown rule 'faster'"),
        ({"kappa": 2.0}, "0 < kappa < 2"),
        ({"rule": "constant"}, "gamma belongs to 'constant'"),
        ({"gamma": 1.0}, "gamma belongs to 'constant'"),
        ({"rule": "constant", "gamma": -1.0}, "gamma > 0"),
        ({"start": math.nan}, "a start price >= 0"),
    ],
)
def test_wrong_dynamics_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Dynamics(**arguments)
