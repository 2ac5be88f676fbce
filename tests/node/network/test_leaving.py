"""Leaving a network mechanism for good: links are unwound, or it is said why they cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial

import pytest

from node import lockstep
from node.errors import TooFew
from node.protocols.network.facts import contract_of
from node.protocols.network.life import network
from runner.simulation.ledger import Ledger
from runner.testing import Network
from topologies import load_scenario


@cache
def loaded(name, *overrides):
    return load_scenario(name, overrides)


def without(parts, gone):
    """The parts of those that stay."""
    return {
        i: replace(
            part,
            hears=tuple(j for j in part.hears if j not in gone),
            heard_by=tuple(j for j in part.heard_by if j not in gone),
            absent=tuple(j for j in part.hears if j in gone),
        )
        for i, part in parts.items()
        if i not in gone
    }


def in_lockstep(parts):
    return lockstep.run({i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})


def reason(parts):
    """Why those cannot play; the same at every agent, in the same round."""
    protocols, told = {i: network(part) for i, part in parts.items()}, {}

    def caught(i):
        def run():
            try:
                return (yield from protocols[i])
            except TooFew as few:
                told[i] = str(few)

        return run()

    lockstep.run({i: caught(i) for i in parts}, {i: p.hears for i, p in parts.items()})  # all in one round
    assert sorted(told) == sorted(parts)
    (said,) = set(told.values())
    return said


def rewritten(scenario, gone, path):
    """The scenario as somebody would have written it who never knew of those."""
    plain = json.loads(json.dumps(scenario.resolved()))
    environment, topology = plain["environment"], plain["topology"]
    for name, link in list(environment["links"].items()):
        for i in gone:
            link["coefficients"].pop(i, None)
        if not link["coefficients"]:
            del environment["links"][name]
    for name, members in list(environment.get("groups", {}).items()):
        environment["groups"][name] = [i for i in members if i not in gone]
        if not environment["groups"][name]:
            del environment["groups"][name]
    for i in gone:
        environment["valuations"]["agents"].pop(i)
    topology["nodes"] = [i for i in topology["nodes"] if i not in gone]
    topology["edges"] = [edge for edge in topology["edges"] if not set(edge) & set(gone)]
    path.write_text(json.dumps(plain))
    return load_scenario(path)


@pytest.mark.parametrize(
    ("name", "gone", "prices"),
    [
        ("network-corn-5", ("a2",), "newton"),
        ("network-abilene-18", ("f12",), "newton"),
        ("network-abilene-18", ("f06", "f12"), "fast"),
        ("network-multicast-9", ("game-3",), "fast"),
        ("network-microgrid-7", ("house-2",), "fast"),  # of the three that share the battery
        ("network-microgrid-7", ("house-2",), "newton"),
        ("network-microgrid-7", ("school", "house-4"), "fast"),
    ],
)
def test_those_that_are_left_play_the_scenario_without_the_others_bit_for_bit(tmp_path, name, gone, prices):
    scenario = loaded(name, f"mechanism.prices={prices}", "stopping.tolerance=1e-2")
    written = rewritten(scenario, gone, tmp_path / "without.json")
    expected = in_lockstep(written.parts("test"))
    found = in_lockstep(without(scenario.parts("test"), gone))
    assert found.results == expected.results
    # Who has left, and whether all can play, takes a diameter each; the links are measured once more.
    assert found.rounds > expected.rounds


@pytest.mark.parametrize(
    ("name", "gone"), [("network-corn-5", ("a1",)), ("network-microgrid-7", ("house-2",))]
)
def test_it_is_the_same_with_sums_on_trees(name, gone):
    ended = {
        exchange: in_lockstep(
            without(
                loaded(
                    name, f"mechanism.exchange={exchange}", "mechanism.moves=1", "topology.links=ring"
                ).parts("test"),
                gone,
            )
        ).results
        for exchange in ("flood", "convergecast")
    }
    depths = {exchange: {r.depth for r in results.values()} for exchange, results in ended.items()}
    assert depths["flood"] != depths["convergecast"]
    plain = {
        exchange: {i: replace(r, depth=0) for i, r in results.items()} for exchange, results in ended.items()
    }
    assert plain["flood"] == plain["convergecast"]
    assert all(r.satisfied for r in ended["flood"].values())


@pytest.mark.parametrize(
    ("name", "gone", "said"),
    [
        ("network-corn-5", ("a1", "a2", "a3", "a4"), "agent a5: link corn: used by a5 alone; expected at"),
        (
            "network-abilene-18",
            ("f05",),
            "agent f09: link NewYork--Washington: agent f09 cannot be reached by f17; expected its members",
        ),
        ("network-multicast-9", ("film-3",), "agent game-2: link east--e2: used by game-2 alone"),
        (
            "network-wireless-8",
            ("t2",),
            "agent t1: row north: concerns 4 agents; balance off the equilibrium needs at least 5",
        ),
    ],
)
def test_what_cannot_be_played_ends_for_all_in_one_round_with_agent_and_link_named(name, gone, said):
    assert said in reason(without(loaded(name).parts("test"), gone))


PATH = """
[topology]
nodes = ["a", "b", "c", "d", "e"]
edges = [["a", "b"], ["b", "c"], ["c", "d"], ["d", "e"], ["a", "c"]]
[environment]
kind = "network"
[environment.links.long]
capacity = 1.0
agents = ["a", "b", "e"]
relays = ["c", "d"]
[environment.links.short]
capacity = 2.0
agents = ["a", "b", "c", "d"]
[environment.valuations]
w = 3.0
[mechanism]
name = "unicast"
[stopping]
tolerance = 1e-3
"""


def path_parts(tmp_path):
    path = tmp_path / "path.toml"
    path.write_text(PATH)
    return load_scenario(path).parts("test")


def test_a_share_of_a_member_that_is_cut_off_is_not_handed_out(tmp_path):
    parts = without(path_parts(tmp_path), ("d",))
    cut_off = {i: part for i, part in parts.items() if i != "e"}
    said = reason(cut_off)
    assert "agent a: link long: e cannot be heard, and nobody here knows that it has left" in said
    # The other part is e alone, which knows no more of the others.
    assert "agent e: link long: a, b cannot be heard" in reason({"e": parts["e"]})


def test_a_share_of_a_member_that_all_know_has_left_is_handed_out(tmp_path):
    ended = in_lockstep(
        without(path_parts(tmp_path), ("e",))
    )  # a neighbour of d, which is on no link with it
    assert all(r.satisfied and r.agents == 4 for r in ended.results.values())
    assert sum(ended.results[i].allocation for i in "ab") == pytest.approx(1.0, rel=1e-3)  # as asked for


def test_a_relay_that_has_left_is_missed_only_where_no_other_way_is_left(tmp_path):
    parts = path_parts(tmp_path)
    closer = {
        i: replace(part, hears=more, heard_by=more) for i, part in parts.items() if (more := part.hears)
    }
    # Another way from e to a: without d and c the members of the long link reach each other over it.
    closer["e"] = replace(parts["e"], hears=("a", "d"), heard_by=("a", "d"))
    closer["a"] = replace(parts["a"], hears=("b", "c", "e"), heard_by=("b", "c", "e"))
    ended = in_lockstep(without(closer, ("d",)))
    assert all(r.satisfied and r.agents == 4 for r in ended.results.values())
    far = {i: part for i, part in without(parts, ("d",)).items() if i != "e"}
    assert "cannot be heard" in reason(far)


def test_silence_shows_of_nobody_that_it_uses_nothing():
    parts = {
        i: replace(part, on_down="continue")
        for i, part in without(loaded("network-corn-5").parts("test"), ("a2",)).items()
    }
    assert "agent a1: link corn: a2 cannot be heard, and nobody here knows that it has left" in reason(parts)


STORM = {"loss": 0.1, "duplicate": 0.1, "delay": [0.001, 0.05]}


@pytest.mark.parametrize(
    ("name", "gone", "overrides"),
    [
        ("network-corn-5", ("a1", "a4"), ()),
        ("network-multicast-9", ("game-3",), ()),
        ("network-wireless-8", ("t8", "t1"), ("mechanism.balance=equilibrium",)),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_whoever_leaves_is_unwound_and_no_capacity_is_exceeded_at_any_instant(name, gone, overrides, seed):
    scenario = loaded(name, "stopping.max_rounds=12", "stopping.tolerance=1e-14", *overrides)
    parts, made = scenario.parts("test"), []
    contracts = {i: contract_of(i, scenario.contract(), own) for i, own in scenario.utilities.items()}
    ledger = Ledger(contracts, lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=seed, faults={**STORM, "seed": seed})
    made.append(net)
    for k, i in enumerate(gone):
        net.run_until(lambda k=k: min(a.result is None and a.round for a in net.agents.values()) > 20 - 8 * k)
        ledger.leaves(i)
        net.leave(i)
        net.advance(0.3)
        net.kill(sorted(net.agents)[seed], 0.4)  # one that stays; it comes back
    net.run()
    expected = in_lockstep(without(parts, gone))
    assert {i: agent.result for i, agent in net.agents.items()} == dict(expected.results)
    assert {agent.round + 1 for agent in net.agents.values()} == {expected.rounds}
    assert ledger.over == 0
    assert ledger.changes > 10 * len(parts)
    assert ledger.amounts == {
        **dict.fromkeys(gone, 0.0),
        **{i: agent.result.allocation for i, agent in net.agents.items()},
    }


class Keeps(Ledger):
    """An agent that takes part in a new computation and goes on using what the last one gave."""

    def _use(self, agent, stamp, amount):
        living = self._agents()
        if agent != "a3" or agent not in living or not living[agent].epoch:
            super()._use(agent, stamp, amount)


def test_an_agent_that_keeps_what_an_older_computation_gave_is_seen():
    scenario = loaded("network-corn-5", "stopping.tolerance=1e-4")
    contracts = {i: contract_of(i, scenario.contract(), own) for i, own in scenario.utilities.items()}
    made = []
    ledger = Keeps(contracts, lambda: made[0].agents if made else {})
    made.append(Network(scenario.parts("test"), ledger.protocol, seed=1))
    net = made[0]
    net.run_until(lambda: min(agent.round for agent in net.agents.values()) > 20)
    net.kill("a2", 0.3, forget=True)  # all begin anew, from prices at which they get something else
    net.run_until(lambda: ledger.over > 0, limit=60.0)


def test_whoever_is_stranded_uses_nothing_any_more():
    scenario = loaded("network-corn-5")
    parts, made = scenario.parts("test"), []
    contracts = {i: contract_of(i, scenario.contract(), own) for i, own in scenario.utilities.items()}
    ledger = Ledger(contracts, lambda: made[0].agents if made else {})
    made.append(Network(parts, ledger.protocol, seed=2))
    net = made[0]
    net.run_until(lambda: min(ledger.amounts.values()) > 0.0)
    for i in ("a1", "a2", "a3", "a4"):
        ledger.leaves(i)
        net.leave(i)
    net.run()
    assert "used by a5 alone" in net.agents["a5"].conversation.stranded
    assert ledger.amounts == dict.fromkeys(parts, 0.0)


def test_a_life_made_from_a_snapshot_plays_with_those_that_are_left():
    scenario = loaded("network-abilene-18", "stopping.tolerance=1e-14", "stopping.max_rounds=8")
    parts = without(scenario.parts("test"), ("f12",))
    hears = {i: p.hears for i, p in parts.items()}
    protocols, saved = {i: network(p) for i, p in parts.items()}, []

    def observe(round_, says):
        if says["f01"].snapshot is not None and protocols["f01"].gi_yieldfrom is None:
            saved.append({i: say.snapshot for i, say in says.items()})

    ended = lockstep.run(protocols, hears, observe)
    resumed = lockstep.run({i: network(p, saved[4][i]) for i, p in parts.items()}, hears)
    assert resumed.results == ended.results


def test_whoever_joins_late_is_waited_for():
    scenario = loaded("network-corn-5")
    parts = scenario.parts("test")
    join = {"event": [{"kind": "join", "at": 2.0, "agents": ["a3"]}]}
    net = Network(parts, partial(network), seed=4, faults=join)
    net.advance(1.9)
    assert all(agent.result is None for agent in net.agents.values())
    net.run()
    net.assert_equals_lockstep()
