"""The mechanisms among agents without a coordinator: against sequential play, faults, crashes, and lies."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest

from node import lockstep
from node.mechanisms.network import checks
from node.mechanisms.network.sequential import play, settle
from node.mechanisms.network.takers import taker
from node.part import Part
from node.protocols.network.facts import contract_of, dynamics_of
from node.protocols.network.life import network
from node.protocols.network.tables import Channel, flood
from node.protocols.network.wires import Contradiction, Unreachable, Withheld
from runner.simulation.ledger import Ledger
from runner.testing import Network
from topologies import load_scenario

SCENARIOS = ("network-corn-5", "network-multicast-9", "network-wireless-8", "network-microgrid-7")


@cache
def loaded(name, *overrides):
    return load_scenario(name, overrides)


def contracts_of(scenario):
    rules = scenario.contract()
    return {i: contract_of(i, rules, own) for i, own in scenario.utilities.items()}


def in_lockstep(parts, observe=None):
    return lockstep.run(
        {i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()}, observe
    )


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("prices", ["fast", "padr"])
def test_the_agents_do_what_sequential_play_does_bit_for_bit(name, prices):
    scenario = loaded(name, f"mechanism.prices={prices}", "stopping.max_rounds=25")
    ended = in_lockstep(scenario.parts("test"))
    contracts = contracts_of(scenario)
    takers = {i: taker(c, dynamics_of(scenario.contract())) for i, c in contracts.items()}
    first = next(iter(ended.results.values()))
    assert first.moves == max(1, 2 * first.diameter // first.depth)
    steps = list(itertools.islice(play(takers, first.moves), first.steps - 1))
    more = (first.steps - 1) * (first.moves - 1) * first.depth
    assert ended.rounds > first.steps * (first.depth + first.diameter) + more
    # Proved: of the step two before the last one; else of the last but one.
    step = steps[-2 if first.satisfied else -1]
    tables, shares = settle(takers, step)
    for i, result in ended.results.items():
        assert (result.allocation, result.tax) == (step.shares[i].allocation, shares[i].tax)
        assert result.quotes == {name: tables[name][i] for name in contracts[i].channels}
        assert result.factor == contracts[i].closing(step.factor)
        assert result.gap == step.gap


@pytest.mark.parametrize("name", SCENARIOS)
def test_agents_stop_when_the_accuracy_is_proved_and_it_is_there(name):
    from node.mechanisms.network.optimum import program, solve

    scenario = loaded(name)
    ended = in_lockstep(scenario.parts("test"))
    contracts = contracts_of(scenario)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    assert all(r.satisfied for r in ended.results.values())
    off = max(abs(r.allocation - optimum.allocation[i]) for i, r in ended.results.items())
    assert off <= scenario.contract()["stopping"]["tolerance"] * max(optimum.allocation.values())
    welfare = math.fsum(contracts[i].valuation.value(r.allocation) for i, r in ended.results.items())
    assert optimum.welfare - welfare <= next(iter(ended.results.values())).gap + 1e-11


# An accuracy that is never proved, so that all steps are played.
TWELVE = ("stopping.max_rounds=12", "stopping.tolerance=1e-14", "mechanism.moves=2")
STORM = {"loss": 0.2, "duplicate": 0.2, "delay": [0.001, 0.08]}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["network-corn-5", "network-multicast-9", "network-wireless-8"])
def test_no_capacity_is_exceeded_at_any_instant_whatever_the_network_does(name, seed):
    scenario = loaded(name, *TWELVE)
    parts = scenario.parts("test")
    made = []
    ledger = Ledger(contracts_of(scenario), lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=seed, faults={**STORM, "seed": seed})
    made.append(net)
    victims = sorted(parts)
    net.advance(1.5)
    net.kill(victims[seed], 0.5)
    net.advance(1.0)
    net.kill(victims[-1], 0.3)
    net.run()
    net.assert_equals_lockstep()
    assert ledger.changes > 20 * len(parts)
    assert ledger.over == 0
    assert ledger.amounts == {i: agent.result.allocation for i, agent in net.agents.items()}


class Late(Ledger):
    """One agent makes room only when it should take more."""

    def _use(self, agent, stamp, amount):
        super()._use(
            agent, stamp, max(amount, self.amounts[agent]) if agent == "a1" and stamp % 2 else amount
        )


def test_an_agent_that_makes_room_too_late_is_seen():
    parts = loaded("network-corn-5", *TWELVE).parts("test")
    made = []
    ledger = Late(contracts_of(loaded("network-corn-5", *TWELVE)), lambda: made[0].agents if made else {})
    made.append(Network(parts, ledger.protocol, seed=1))
    made[0].run()
    assert ledger.over > 0
    assert ledger.fullest > 1.0 + 1e-6


def test_using_allocations_at_once_would_exceed_a_capacity():
    # What the test above would see without the order of decreases and increases: old and new at a time.
    scenario = loaded("network-corn-5")
    contracts = contracts_of(scenario)
    takers = {i: taker(c, dynamics_of(scenario.contract())) for i, c in contracts.items()}
    one, two = itertools.islice(play(takers), 2)
    mixed = {i: max(one.shares[i].allocation, two.shares[i].allocation) for i in contracts}
    assert checks.overshoot(contracts, mixed) > 1e-3


def test_an_agent_that_forgets_makes_everybody_start_again_within_the_capacities():
    scenario = loaded("network-wireless-8", "stopping.max_rounds=12")
    parts = scenario.parts("test")
    made = []
    ledger = Ledger(contracts_of(scenario), lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=5)
    made.append(net)
    net.advance(1.0)
    net.kill("t4", 0.5, forget=True)
    net.run()
    assert min(agent.epoch for agent in net.agents.values()) > 0
    expected = net.lockstep().results
    assert {i: agent.result for i, agent in net.agents.items()} == expected
    assert ledger.over == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_life_made_from_a_snapshot_goes_on_with_the_same_words(name):
    scenario = loaded(name, *TWELVE)
    parts = scenario.parts("test")
    hears = {i: p.hears for i, p in parts.items()}
    words = []
    protocols = {i: network(p) for i, p in parts.items()}
    snapshots = {}

    def observe(round_, says):
        words.append({i: (s.kind, s.body, dict(s.to)) for i, s in says.items()})
        # Only what the outermost generator yields itself counts.
        if all(p.gi_yieldfrom is None for p in protocols.values()):
            assert all(s.snapshot is not None for s in says.values())
            snapshots[round_] = {i: (s.snapshot, dict(s.record)) for i, s in says.items()}

    ended = lockstep.run(protocols, hears, observe)
    assert len(snapshots) == ended.results[min(parts)].steps >= 10
    for round_ in sorted(snapshots)[1::4]:
        saved, again = snapshots[round_], []

        def listen(k, says, again=again, saved=saved):
            if k == 0:
                assert {i: dict(s.record) for i, s in says.items()} == {i: r for i, (_, r) in saved.items()}
            again.append({i: (s.kind, s.body, dict(s.to)) for i, s in says.items()})

        resumed = lockstep.run({i: network(p, saved[i][0]) for i, p in parts.items()}, hears, listen)
        assert again == words[round_:]
        assert resumed.results == ended.results


def test_nobody_but_the_members_and_relays_of_a_link_hears_of_it():
    scenario = loaded("network-abilene-18", "stopping.max_rounds=3")
    carriers = {}
    for i, own in scenario.utilities.items():
        for name in own["links"]:
            carriers.setdefault(name, set()).add(i)
    told = 0

    def observe(round_, says):
        nonlocal told
        for i, say in says.items():
            if say.kind not in ("tables", "prices", "measure", "settlement"):
                continue
            assert say.body is None
            for j, news in say.to.items():
                for name, entries in news:
                    told += len(entries)
                    assert {i, j} <= carriers[name]

    in_lockstep(scenario.parts("test"), observe)
    assert told > 100


RELAYED = """
[topology]
nodes = ["a", "b", "c", "r"]
edges = [["a", "r"], ["r", "b"], ["b", "c"]]
[environment]
kind = "network"
[environment.links.one]
capacity = 1.0
agents = ["a", "b"]
relays = ["r"]
[environment.links.two]
capacity = 2.0
agents = ["b", "c", "r"]
[environment.valuations]
w = 3.0
[mechanism]
name = "unicast"
[stopping]
tolerance = 1e-4
"""


def test_relays_carry_a_link_whose_members_are_not_neighbours(tmp_path):
    path = tmp_path / "relayed.toml"
    path.write_text(RELAYED)
    scenario = load_scenario(path)
    ended = in_lockstep(scenario.parts("test"))
    assert all(r.satisfied for r in ended.results.values())
    assert {r.depth for r in ended.results.values()} == {2}
    used = checks.used(contracts_of(scenario), {i: r.allocation for i, r in ended.results.items()})
    assert used["one"] == pytest.approx(1.0)


def test_members_that_cannot_reach_one_another_are_named(tmp_path):
    path = tmp_path / "relayed.toml"
    path.write_text(RELAYED)
    parts = load_scenario(path).parts("test")
    # Somebody took the relay out of everybody's facts.
    lamed = {}
    for i, part in parts.items():
        own = dict(part.utility)
        own["relays"] = {name: [] for name in own["relays"]}
        own["forwards"] = {}
        lamed[i] = Part(**{f: getattr(part, f) for f in Part.__slots__ if f != "utility"}, utility=own)
    with pytest.raises(Unreachable, match="link one: agent a cannot be reached by b; expected"):
        in_lockstep(lamed)


def test_different_facts_about_a_link_are_found_before_anything_is_played():
    parts = loaded("network-corn-5").parts("test")
    own = dict(parts["a2"].utility)
    own["links"] = {"corn": {**own["links"]["corn"], "capacity": 5.0}}
    parts["a2"] = Part(**{f: getattr(parts["a2"], f) for f in Part.__slots__ if f != "utility"}, utility=own)
    with pytest.raises(Contradiction, match="agents a1 and a2 were told different facts about link corn"):
        in_lockstep(parts)


@pytest.mark.parametrize(
    ("exchange", "who", "message"),
    [
        (
            "flood",
            "a2",
            "link corn: nothing of a2 has come; who it is or a neighbour on the way from",
        ),
        ("convergecast", "a1", "link corn: a1 has not told the sums of all"),
    ],
)
def test_what_a_neighbour_withholds_is_named(exchange, who, message):
    parts = loaded("network-corn-5", f"mechanism.exchange={exchange}").parts("test")

    def withholding(part):
        protocol = network(part)
        say = next(protocol)
        while True:
            say = protocol.send((yield replace(say, to={}) if say.kind == "tables" else say))

    protocols = {i: withholding(part) if i == who else network(part) for i, part in parts.items()}
    with pytest.raises(Withheld, match=message):
        lockstep.run(protocols, {i: part.hears for i, part in parts.items()})


def flooding(me="a", rounds=2):
    channels = {"l": Channel("l", ("a", "b", "c")), "m": Channel("m", ("b", "c"), ("a",))}
    return flood(me, ("b", "c"), channels, {"l": (1.0, 2.0)}, {"l": 2, "m": 1}, rounds, "tables")


@pytest.mark.parametrize(
    ("told", "good"),
    [
        ((), True),
        ((("l", (("b", (1.0, 2.0)),)),), True),
        ((("l", (("b", (1.0, 2.0)), ("c", (0.0, 0.0)))), ("m", (("c", (3.0,)),))), True),
        ((("l", (("b", (1.0,)),)),), False),  # a number is missing
        ((("l", (("z", (1.0, 2.0)),)),), False),  # no member
        ((("l", (("b", (1.0, -2.0)),)),), False),  # a negative price
        ((("l", (("b", (1, 2)),)),), False),  # whole numbers
        ((("x", ()),), False),  # no channel of mine
        ((("l", (([], (1.0, 2.0)),)),), False),  # no id at all
        ((("l", ((("b",), (1.0, 2.0)),)),), False),
        (((7, ()),), False),
        ((("l",),), False),
        ("l", False),
        ({"l": 1}, False),
        ((("l", "b"),), False),
    ],
)
def test_malformed_tables_are_not_accepted(told, good):
    say = next(flooding())
    assert say.accepts_told(told, "b") is good
    assert say.accepts(None, "b")
    assert not say.accepts(1.0, "b")


def test_an_entry_is_told_once_and_not_back_to_who_told_it():
    from node.protocol import Heard

    protocol = flooding()
    first = next(protocol)
    assert first.to == {"b": (("l", (("a", (1.0, 2.0)),)),), "c": (("l", (("a", (1.0, 2.0)),)),)}
    said = {"b": None, "c": None}
    second = protocol.send(Heard(said, {"b": (("l", (("b", (3.0, 4.0)),)), ("m", (("b", (5.0,)),)))}))
    assert second.to == {"c": (("l", (("b", (3.0, 4.0)),)), ("m", (("b", (5.0,)),)))}
    with pytest.raises(StopIteration) as stop:
        protocol.send(Heard(said, {"c": (("l", (("b", (3.0, 4.0)), ("c", (6.0, 7.0)))),)}))
    found = stop.value.value
    assert found.tables == {"l": {"a": (1.0, 2.0), "b": (3.0, 4.0), "c": (6.0, 7.0)}}
    assert found.missing == {}
    assert found.deepest == 2
