"""The fallback to proved steps, several price moves a step, and the offsets of groups."""

from __future__ import annotations

import itertools
import math

import pytest

from node import lockstep
from node.mechanisms.network.fallback import PATIENCE, Fallback
from node.mechanisms.network.offsets import OffsetPrices
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from node.protocols.network import life
from tests.node.network import instances
from topologies import load_scenario

KINDS = ("corn", "line", "tree", "five", "local_goods")


def gaps(contracts, dynamics, steps, fallback=None, moves=1):
    takers = {i: taker(c, dynamics) for i, c in contracts.items()}
    return [step.gap for step in itertools.islice(play(takers, moves, fallback), steps)]


def test_nothing_happens_while_the_gap_is_halved_in_time():
    rule = Fallback(patience=10)
    assert not any(rule.learn(0.7**k, 1) for k in range(100))
    assert not rule.calm


def test_proved_steps_are_played_until_the_gap_is_half_and_the_next_time_a_quarter():
    rule = Fallback(patience=10)
    rule.learn(1.0, 2)
    assert [rule.learn(0.9, 2) for _ in range(5)] == [False] * 4 + [True]
    assert rule.calm
    assert not any(rule.learn(0.6, 2) for _ in range(50))
    assert rule.learn(0.5, 2)
    assert not rule.calm
    assert [rule.learn(0.4, 2) for _ in range(5)] == [False] * 4 + [True]
    assert not rule.learn(0.2, 2)
    assert rule.learn(0.125, 2)


def test_a_fallback_made_from_its_state_decides_the_same():
    one, two = Fallback(patience=6), Fallback(patience=6)
    for gap in (1.0, 0.9, 0.9):
        one.learn(gap, 2)
    two.restore(one.state())
    for gap in (0.9, 0.8, 0.4, 0.4, 0.4, 0.4, 0.1):
        assert one.learn(gap, 2) == two.learn(gap, 2)
        assert one.calm == two.calm


@pytest.mark.parametrize("kind", KINDS)
def test_the_fallback_is_not_called_where_fast_play_gets_on(kind):
    contracts, rule = getattr(instances, kind)(), Fallback()
    found = gaps(contracts, Dynamics("fast"), 150, rule)
    assert found == gaps(contracts, Dynamics("fast"), 150)
    assert min(found) < 1e-9
    assert 10 * max(_halvings(found)) < PATIENCE


def _halvings(found):
    """Moves between one halving of the gap and the next, down to rounding."""
    mark, since = math.inf, 0
    for gap in found:
        since += 1
        if gap <= 0.5 * mark:
            yield since
            mark, since = gap, 0
        if gap < 1e-10:
            return


@pytest.mark.parametrize("kind", ["corn", "five"])
def test_a_step_that_never_settles_is_brought_home_by_the_fallback(monkeypatch, kind):
    # Momentum with kappa = 1.9, without the safeguard that would halve it.
    monkeypatch.setattr("node.mechanisms.network.prices.PATIENCE", 10**9)
    contracts = getattr(instances, kind)()
    wild = Dynamics("fast", kappa=1.9)
    alone, helped = gaps(contracts, wild, 800), gaps(contracts, wild, 800, Fallback(patience=20))
    assert min(alone) > 1e-4
    assert min(helped) < 1e-6


def test_agents_change_the_rule_together_and_as_in_sequential_play(monkeypatch):
    monkeypatch.setattr(life, "Fallback", lambda: Fallback(patience=1))
    scenario = load_scenario("network-microgrid-7", ["stopping.max_rounds=20", "mechanism.moves=1"])
    turned = []
    follow = life.taker

    def watched(contract, dynamics, routes):
        made = follow(contract, dynamics, routes)
        inner = made.follow
        made.follow = lambda rule: (turned.append((contract.me, rule.rule)), inner(rule))[1]
        return made

    monkeypatch.setattr(life, "taker", watched)
    parts = scenario.parts("test")
    hears = {i: p.hears for i, p in parts.items()}
    ended = lockstep.run({i: life.network(p) for i, p in parts.items()}, hears)
    first = next(iter(ended.results.values()))
    rules = scenario.contract()
    contracts = {i: life.own_of(p).contract for i, p in parts.items()}
    takers = {i: taker(c, life.dynamics_of(rules)) for i, c in contracts.items()}
    steps = list(itertools.islice(play(takers, 1, Fallback(patience=1)), first.steps))
    step = steps[first.steps - (3 if first.satisfied else 2)]
    assert {rule for _, rule in turned} == {"proved", "fast"}
    assert len(turned) % len(contracts) == 0
    assert {i: r.allocation for i, r in ended.results.items()} == {
        i: step.shares[i].allocation for i in contracts
    }


@pytest.mark.parametrize("moves", [1, 3])
@pytest.mark.parametrize("kind", ["line", "tree"])
def test_moves_between_allocations_change_no_price(kind, moves):
    contracts = getattr(instances, kind)(strong=False)
    every = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    some = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    one = list(itertools.islice(play(every), 3 * moves + 1))
    other = list(itertools.islice(play(some, moves), 4))
    for k, step in enumerate(other):
        assert step.shares == one[k * moves].shares


def test_offsets_settle_a_group_in_fewer_steps_than_pairs_of_prices(monkeypatch):
    contracts = instances.local_goods()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})

    def settled(pairs):
        takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
        if pairs:
            for i, c in contracts.items():
                takers[i] = taker(c, Dynamics("padr"))  # makes pairs
                takers[i].follow(Dynamics("fast"))
        late = 0
        for k, step in enumerate(itertools.islice(play(takers), 300)):
            off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
            late = k + 1 if off >= 1e-6 * max(optimum.allocation.values()) else late
        return late

    assert settled(False) < settled(True) < 300


def test_the_prices_of_the_pairs_add_up_to_the_offsets():
    members = ("a", "b", "c", "d")
    prices = OffsetPrices(Dynamics("fast"), members)
    for k in range(6):
        prices.announce()
        total = math.fsum(prices.announced.values())
        assert abs(total) <= 1e-14
        for i in members:
            up_next, down_next, up_last, down_last = prices.quoted(i)
            assert min(up_next, down_next, up_last, down_last) == 0.0
            assert up_next - down_next - up_last + down_last == pytest.approx(prices.announced[i], abs=1e-14)
        demands = {i: 1.0 + 0.3 * n + 0.1 * k for n, i in enumerate(members)}
        prices.update(demands, dict.fromkeys(members, 2.0), {i: 0.5 + 0.1 * n for n, i in enumerate(members)})


def test_an_agent_that_deviates_changes_the_rule_with_the_others():
    from node.strategies import bundled
    from node.strategies.takers import Bent

    contracts = instances.corn()
    honest = taker(contracts["a1"], Dynamics("fast"))
    bent = Bent(honest, bundled.Exaggerate(2.0))
    bent.follow(Dynamics("fast").calm)
    assert honest.dynamics.rule == bent.dynamics.rule == "proved"
