"""Sums by convergecast: the bits of flooded tables, whatever the network does, with less to carry."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import lockstep
from node.mechanisms.network import sums
from node.mechanisms.network.links import Link
from node.protocols.network.convergecast import Branch, convergecast
from node.protocols.network.life import network
from runner.testing import Network
from tests.node.network.test_protocol import RELAYED, STORM
from topologies import load_scenario

CONVERGECAST = "mechanism.exchange=convergecast"


@cache
def loaded(name, *overrides):
    return load_scenario(name, overrides)


def played(scenario, observe=None):
    parts = scenario.parts("test")
    hears = {i: p.hears for i, p in parts.items()}
    return lockstep.run({i: network(p) for i, p in parts.items()}, hears, observe)


def without_depth(ended):
    return {i: dataclasses.replace(result, depth=0) for i, result in ended.results.items()}


@pytest.mark.parametrize("pattern", ["hub", "ring", "complete"])
@pytest.mark.parametrize("name", ["network-corn-5", "network-abilene-18"])
def test_convergecast_and_flooding_give_the_same_bits(name, pattern):
    overrides = (f"topology.links={pattern}", "mechanism.moves=2", "stopping.max_rounds=15")
    tables, added = played(loaded(name, *overrides)), played(loaded(name, *overrides, CONVERGECAST))
    assert without_depth(tables) == without_depth(added)


def test_relays_add_nothing_and_pass_sums_on(tmp_path):
    path = tmp_path / "relayed.toml"
    path.write_text(RELAYED)
    tables = played(load_scenario(path, ["mechanism.moves=1"]))
    added = played(load_scenario(path, ["mechanism.moves=1", CONVERGECAST]))
    assert without_depth(tables) == without_depth(added)
    assert {r.depth for r in added.results.values()} == {4}  # a - r - b: up and down two hops


@pytest.mark.parametrize("seed", range(2))
def test_sums_survive_storm_and_crash(seed):
    scenario = loaded("network-corn-5", "topology.links=ring", "stopping.max_rounds=6", CONVERGECAST)
    parts = scenario.parts("test")
    net = Network(parts, network, seed=seed, faults={**STORM, "seed": seed})
    net.advance(2.0)
    net.kill(sorted(parts)[seed], 0.4)
    net.run()
    net.assert_equals_lockstep()


def test_a_life_made_from_a_snapshot_knows_its_trees():
    scenario = loaded("network-corn-5", "stopping.max_rounds=8", "stopping.tolerance=1e-14", CONVERGECAST)
    parts = scenario.parts("test")
    protocols, saved = {i: network(p) for i, p in parts.items()}, []

    def observe(round_, says):
        if all(p.gi_yieldfrom is None for p in protocols.values()):
            saved.append({i: s.snapshot for i, s in says.items()})

    hears = {i: p.hears for i, p in parts.items()}
    ended = lockstep.run(protocols, hears, observe)
    resumed = lockstep.run({i: network(p, saved[4][i]) for i, p in parts.items()}, hears)
    assert resumed.results == ended.results


def carried(scenario):
    numbers = words = 0

    def count(told):
        return sum(map(count, told)) if type(told) is tuple else int(type(told) is float)

    def observe(round_, says):
        nonlocal numbers, words
        for say in says.values():
            if say.kind in ("tables", "prices"):
                numbers += sum(count(told) for told in say.to.values())
                words += len(say.to)

    played(scenario, observe)
    return numbers, words


def test_on_a_link_of_many_agents_less_is_carried(tmp_path):
    path = tmp_path / "many.toml"
    agents = ", ".join(f'"a{k:02d}"' for k in range(30))
    path.write_text(
        '[topology]\nlinks = "hub"\n[environment]\nkind = "network"\n[environment.links.one]\n'
        f'capacity = 9.0\nagents = [{agents}]\n[mechanism]\nname = "unicast"\nmoves = 1\n'
        "[stopping]\nmax_rounds = 4\n"
    )
    tables, added = carried(load_scenario(path)), carried(load_scenario(path, [CONVERGECAST]))
    assert added[0] < tables[0] / 3  # numbers
    assert added[1] < tables[1]  # words said to a neighbour


numbers = st.floats(-1e12, 1e12, allow_nan=False)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=9), st.integers(0, 10**6))
def test_every_agent_of_a_tree_holds_the_exact_sums(values, seed):
    # A tree by the seed: the parent of k is one before it.
    names = [f"n{k}" for k in range(len(values))]
    parent = {k: (seed // (k + 1)) % k for k in range(1, len(values))}
    hops = {0: 0}
    for k, p in parent.items():
        hops[k] = hops[p] + 1
    height = max(hops.values())
    branches = {
        names[k]: Branch(
            hops[k],
            names[parent[k]] if k else "",
            tuple(names[j] for j, p in parent.items() if p == k),
        )
        for k in range(len(values))
    }
    hears = {i: tuple(sorted((*b.children, *([b.parent] if b.parent else [])))) for i, b in branches.items()}
    ended = lockstep.run(
        {
            i: convergecast({"l": branches[i]}, {"l": value}, 2, height, "sums")
            for i, value in zip(names, values, strict=True)
        },
        hears,
    )
    assert ended.rounds == 2 * height
    for k in (0, 1):
        exact = math.fsum(value[k] for value in values)
        for i, value in zip(names, values, strict=True):
            parts = ended.results[i]["l"][k]
            assert math.fsum(parts) == exact
            others = math.fsum(v[k] for j, v in zip(names, values, strict=True) if j != i)
            assert math.fsum((*parts, -value[k])) == others


@pytest.mark.parametrize("demands", [(0.0, 0.0, 0.0), (0.0, 0.7, 0.0), (0.2, 0.0, 0.9), (1e-300, 1.0, 2.0)])
def test_zeros_travel_with_the_sums(demands):
    from node.mechanisms.network.unicast import limit

    link = Link("l", 2.0, {"a": 1.0, "b": 0.5, "c": 3.0})
    table = {i: (y, 1.0, 1.0, 1.0, 0.5) for i, y in zip("abc", demands, strict=True)}
    found = sums.of_table(link, "a", table)
    assert found.limit == limit(link, dict(zip("abc", demands, strict=True)))


@pytest.mark.parametrize(
    ("told", "src", "good"),
    [
        ((), "p", True),
        ((("l", ((1.0,), (2.0, 1e-20))),), "c", True),
        ((("l", ((1.0,), ())),), "p", True),
        ((("l", ((1.0,),)),), "c", False),  # a term is missing
        ((("l", ((1,), (2.0,))),), "c", False),  # a whole number
        ((("l", ((1.0,) * 49, ())),), "c", False),  # more than any sum needs
        ((("l", ((1e308,), ())),), "c", False),  # would overflow
        ((("x", ((1.0,), ())),), "c", False),  # no channel of mine
        ((("l", ((1.0,), ())),), "s", False),  # a neighbour that is not next to me on the tree
        ("l", "c", False),
        (7, "c", False),
    ],
)
def test_malformed_sums_are_not_accepted(told, src, good):
    say = next(convergecast({"l": Branch(1, "p", ("c",))}, {"l": (1.0, 2.0)}, 2, 2, "sums"))
    assert say.accepts_told(told, src) is good
