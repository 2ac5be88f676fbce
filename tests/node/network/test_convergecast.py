"""Sums by convergecast: the bits of flooded tables, whatever the network does, with less to carry."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import lockstep
from node.mechanisms.network import row_sums, sums
from node.mechanisms.network.links import Link
from node.protocol import Heard, Say
from node.protocols.network.beside import beside
from node.protocols.network.convergecast import Branch, convergecast
from node.protocols.network.life import network
from runner.testing import Network
from tests.node.network import instances
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
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("network-corn-5", ()),
        ("network-abilene-18", ()),
        ("network-wireless-8", ()),
        ("network-wireless-8", ("mechanism.balance=equilibrium", "mechanism.prices=padr")),
        ("network-microgrid-7", ()),
        ("network-microgrid-7", ("mechanism.balance=weak", "mechanism.prices=padr")),
    ],
)
def test_convergecast_and_flooding_give_the_same_bits(name, more, pattern):
    overrides = (f"topology.links={pattern}", "mechanism.moves=2", "stopping.max_rounds=15", *more)
    tables, added = played(loaded(name, *overrides)), played(loaded(name, *overrides, CONVERGECAST))
    assert without_depth(tables) == without_depth(added)


def test_relays_add_nothing_and_pass_sums_on(tmp_path):
    path = tmp_path / "relayed.toml"
    path.write_text(RELAYED)
    tables = played(load_scenario(path, ["mechanism.moves=1"]))
    added = played(load_scenario(path, ["mechanism.moves=1", CONVERGECAST]))
    assert without_depth(tables) == without_depth(added)
    assert {r.depth for r in added.results.values()} == {4}  # a - r - b: up and down two hops


PUBLIC = """
[topology]
nodes = ["a", "b", "c", "d", "r"]
edges = [["a", "r"], ["r", "b"], ["b", "c"], ["c", "d"]]
[environment]
kind = "network"
[environment.links.one]
capacity = 2.0
agents = ["a", "b"]
relays = ["r"]
[environment.links.two]
capacity = 3.0
coefficients = { b = 1.0, c = 0.5, d = 1.5, r = 1.0 }
[environment.groups]
shared = ["b", "c", "d"]
[environment.valuations]
w = { uniform = [2.0, 4.0] }
[mechanism]
name = "linear"
moves = 2
[stopping]
tolerance = 1e-4
"""


def test_a_group_floods_its_table_beside_the_sums_of_rows(tmp_path):
    path = tmp_path / "public.toml"
    path.write_text(PUBLIC)
    flooding, adding = load_scenario(path), load_scenario(path, [CONVERGECAST])
    tables, added = played(flooding), played(adding)
    assert all(r.satisfied for r in added.results.values())
    assert without_depth(tables) == without_depth(added)
    # Row one concerns c and d by their group: a - r - b - c - d, up and down four hops.
    assert {r.depth for r in added.results.values()} == {8}
    seen = set()

    def observe(round_, says):
        for i, say in says.items():
            if say.kind in ("tables", "prices", "settlement"):
                for j, (_, entries) in say.to.items():
                    seen.update((i, j, name) for name, _ in entries or ())

    played(adding, observe)
    assert {name for *_, name in seen} == {"shared"}
    assert {i for i, *_ in seen} | {j for _, j, _ in seen} == {"b", "c", "d"}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", ["network-corn-5", "network-microgrid-7"])
def test_sums_survive_storm_and_crash(name, seed):
    scenario = loaded(name, "topology.links=ring", "stopping.max_rounds=6", CONVERGECAST)
    parts = scenario.parts("test")
    net = Network(parts, network, seed=seed, faults={**STORM, "seed": seed})
    net.advance(2.0)
    net.kill(sorted(parts)[seed], 0.4)
    net.run()
    net.assert_equals_lockstep()


@pytest.mark.parametrize("name", ["network-corn-5", "network-microgrid-7"])
def test_a_life_made_from_a_snapshot_knows_its_trees(name):
    scenario = loaded(name, "stopping.max_rounds=8", "stopping.tolerance=1e-14", CONVERGECAST)
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


@pytest.mark.parametrize("mechanism", ["unicast", "linear"])
def test_on_a_link_of_many_agents_less_is_carried(tmp_path, mechanism):
    path = tmp_path / "many.toml"
    agents = ", ".join(f'"a{k:02d}"' for k in range(30))
    path.write_text(
        '[topology]\nlinks = "hub"\n[environment]\nkind = "network"\n[environment.links.one]\n'
        f'capacity = 9.0\nagents = [{agents}]\n[mechanism]\nname = "{mechanism}"\nmoves = 1\n'
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


def rounds_of(words, result):
    """An exchange that tells these words, one a round."""
    heard = []
    for word in words:
        said = yield Say(to={"b": word}, kind="x", accepts_told=lambda told, src: type(told) is str)
        heard.append(dict(said.told))
    return result, heard


def test_two_exchanges_ride_in_the_same_messages_until_the_longer_one_is_over():
    both = beside(rounds_of(["p", "q"], 1), rounds_of(["u"], 2), "sums")
    say = next(both)
    assert (say.to, say.kind) == ({"b": ("p", "u")}, "sums")
    good = [("r", None), (None, None), (None, "v"), ("r", "v")]
    bad = ["r", ("r",), ("r", 7), (7, "v"), ["r", "v"], None, ("r", "v", "w")]
    assert all(say.accepts_told(told, "b") for told in good)
    assert not any(say.accepts_told(told, "b") for told in bad)
    say = both.send(Heard({"b": None}, {"b": ("r", "v")}))
    assert say.to == {"b": ("q", None)}
    assert say.accepts_told(("s", None), "b")
    assert not say.accepts_told(("s", "late"), "b")
    with pytest.raises(StopIteration) as stop:
        both.send(Heard({"b": None}, {"b": (None, None)}))
    assert stop.value.value == ((1, [{"b": "r"}, {}]), (2, [{"b": "v"}]))


def test_sums_of_a_row_are_those_of_its_table_without_a_rounding():
    row = instances.local_goods()["a1"].rows["r2"]  # a1 and a3 are in it by their group only
    rng = np.random.default_rng(7)
    table = {j: tuple(rng.uniform(0.0, 3.0, 4).tolist()) for j in row.carriers}
    for more, width in ((False, row_sums.TERMS), (True, row_sums.MORE_TERMS)):
        columns = {j: row_sums.terms(row, j, table[j], more) for j in row.carriers}
        assert {len(column) for column in columns.values()} == {width}
        for me in row.carriers:
            found = row_sums.of_table(row, me, table, more)
            for k in range(width):
                assert found.total(k) == math.fsum(column[k] for column in columns.values())
                assert found.others(k) == math.fsum(c[k] for j, c in columns.items() if j != me)
            assert found.total(row_sums.LOAD) == row.load({j: q[0] for j, q in table.items()})
            assert found.total(row_sums.RAW) == row.raw({j: q[0] for j, q in table.items()})
