"""Strategic agents: best responses as a rule of play, among agents and without convergence."""

from __future__ import annotations

import itertools

import pytest

from node import lockstep
from node.mechanisms.network import strategic
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import play, settle
from node.mechanisms.network.takers import taker
from node.protocols.network.life import network, own_of
from tests.node.network import instances
from topologies import load_scenario

STRATEGIC = Dynamics("strategic", start=1.2)


def responders(contracts, dynamics=STRATEGIC):
    return {i: taker(c, dynamics) for i, c in contracts.items()}


def test_agents_respond_as_in_sequential_play_bit_for_bit():
    scenario = load_scenario("network-corn-strategic-5", ["stopping.max_rounds=9"])
    parts = scenario.parts("test")
    ended = lockstep.run({i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})
    contracts = {i: own_of(p).contract for i, p in parts.items()}
    players = responders(contracts)
    *_, step = itertools.islice(play(players), 8)
    _, shares = settle(players, step)
    assert {r.steps for r in ended.results.values()} == {9}
    for i, result in ended.results.items():
        assert (result.allocation, result.tax) == (step.shares[i].allocation, shares[i].tax)


def test_every_message_is_the_best_response_to_the_last_tables():
    contracts = instances.corn()
    players = responders(contracts)
    one, two = itertools.islice(play(players), 2)
    for i, c in contracts.items():
        best = strategic.best_response(c, one.tables, 1e300, strategic.MOST * c.highest)
        assert two.tables["corn"][i][:3] == best.quotes["corn"]


@pytest.mark.parametrize("start", [0.3, 1.2, 4.0])
def test_best_responses_stay_away_from_the_optimum_and_regret_does_not_vanish(start):
    contracts = instances.corn()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    steps = list(itertools.islice(play(responders(contracts, Dynamics("strategic", start=start))), 40))
    largest = max(optimum.allocation.values())
    for step in steps[-20:]:
        off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
        assert off > 0.1 * largest
    assert max(strategic.regrets(contracts, steps[-1].tables).values()) > 1e-2


@pytest.mark.parametrize("kind", ["corn", "line"])
def test_the_gap_of_strategic_play_bounds_what_is_missing(kind):
    contracts = getattr(instances, kind)()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    for step in itertools.islice(play(responders(contracts)), 12):
        welfare = sum(c.valuation.value(step.shares[i].allocation) for i, c in contracts.items())
        assert optimum.welfare - welfare <= step.gap + 1e-12


def test_a_responder_made_from_its_state_says_the_same():
    contracts = instances.line()
    players = responders(contracts)
    next(itertools.islice(play(players), 4, None))
    again = responders(contracts)
    for i, player in players.items():
        again[i].restore(player.state())
        assert again[i].announce(1.0) == player.announce(1.0)


def test_best_responses_are_for_unicast_and_go_the_whole_way_at_most():
    with pytest.raises(ValueError, match="agent a1: best responses are played with unicast only"):
        taker(instances.tree()["a1"], STRATEGIC)
    with pytest.raises(ValueError, match=r"kappa 1\.5 with best responses; expected at most 1"):
        taker(instances.corn()["a1"], Dynamics("strategic", kappa=1.5))
