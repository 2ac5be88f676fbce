"""Tree convergecast and set flooding: exact, the same bits, leaving together (spec 10, 2.2, 2.3)."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.lossy import Lossy
from node import lockstep
from node.combinators import in_rounds, throughout
from node.consensus.counters import counters
from node.consensus.extremum import minimum
from node.consensus.flooding import exact_sum, set_flooding
from node.consensus.tree import exactly, tree_sum
from node.protocol import Heard, together
from runner.testing import Network, parts_of
from tests.node.instances import hears, random_graph, step

LAWS = settings(deadline=None, max_examples=30, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(2, 12), seed=st.integers(0, 999), directed=st.just(False))
doubles = st.floats(-1e250, 1e250)


def lossy(rng, src, dst, topic, now):
    """30 % lost, some twice, any order; statuses are retained and get through."""
    if topic.endswith("/status"):
        return (rng.uniform(0.0, 0.02),)
    copies = 0 if rng.random() < 0.3 else 1 + (rng.random() < 0.2)
    return [rng.uniform(0.0, 0.1) for _ in range(copies)]


def small_graph(seed):
    graph = nx.gnp_random_graph(9, 0.3, seed=seed)
    nx.add_path(graph, range(9))
    return [(f"n{a}", f"n{b}") for a, b in graph.edges]


@LAWS
@given(data=st.data(), graph=graphs)
def test_tree_sum_is_exact_and_all_leave_together(data, graph):
    values = {i: data.draw(st.tuples(doubles, st.floats(-1, 1))) for i in sorted(graph)}
    log = step({i: tree_sum(i, values[i]) for i in graph}, hears(graph), sorted(graph))
    expected = tuple(math.fsum(column) for column in zip(*values.values(), strict=True))
    assert {r.total for r in log.results.values()} == {expected}
    height = max(nx.single_source_shortest_path_length(graph, min(graph)).values())
    (left,) = set(log.left.values())
    assert 3 * height <= left <= 3 * height + 1
    assert {r.rounds for r in log.results.values()} == {left}


@LAWS
@given(graph=graphs)
def test_the_tree_is_the_breadth_first_tree_of_the_smallest_id(graph):
    found = lockstep.run({i: tree_sum(i, (1.0,)) for i in graph}, hears(graph)).results
    distance = nx.single_source_shortest_path_length(graph, min(graph))
    for i, r in found.items():
        assert (r.root, r.hops, r.total) == (min(graph), distance[i], (float(len(graph)),))
        nearer = [j for j in graph.successors(i) if distance[j] < distance[i]]
        assert r.parent == min(nearer, default=None)
        assert r.children == tuple(sorted(j for j, other in found.items() if other.parent == i))
        assert r.height == max((found[j].height + 1 for j in r.children), default=0)


def test_the_smallest_id_anywhere_on_two_hundred_graphs():
    for seed in range(200):
        rng = random.Random(seed)
        graph = random_graph(rng.randint(2, 15), seed, directed=False)
        names = dict(zip(sorted(graph), rng.sample(sorted(graph), len(graph)), strict=True))
        graph = nx.relabel_nodes(graph, names)
        x = {i: rng.uniform(-1, 1) * 10.0 ** rng.randint(-30, 30) for i in sorted(graph)}
        found = lockstep.run({i: tree_sum(i, (x[i],)) for i in graph}, hears(graph)).results
        assert {r.total for r in found.values()} == {(math.fsum(x.values()),)}


@LAWS
@given(st.lists(doubles), st.lists(doubles))
def test_partial_sums_are_exact(first, second):
    one, other = exactly((), tuple(first)), exactly((), tuple(second))
    both = exactly(one, other)
    assert sum(map(Fraction, both)) == sum(map(Fraction, first)) + sum(map(Fraction, second))
    assert len(both) <= 48


@pytest.mark.parametrize("value", [math.inf, math.nan, 1e305])
def test_tree_sum_refuses_what_it_could_not_add(value):
    with pytest.raises(ValueError, match="2\\^1000"):
        next(tree_sum("a", (1.0, value)))


@pytest.mark.parametrize("seed", range(3))
def test_exact_primitives_are_bit_identical_to_lockstep_under_loss(seed):
    parts = parts_of(small_graph(seed))
    rng = random.Random(seed)
    x = {i: (rng.uniform(-1, 1), 10.0 ** rng.randint(-20, 20)) for i in parts}

    def protocol(part, resume=None):
        low = yield from minimum(x[part.agent], 8)
        summed = yield from tree_sum(part.agent, x[part.agent])
        everything = yield from set_flooding(part.agent, x[part.agent], part.hears, 8)
        return low, summed, exact_sum(everything), tuple(everything)

    net = Network(parts, protocol, seed, fate=lossy)
    net.run()
    net.assert_equals_lockstep()
    expected = net.lockstep()
    assert len({repr((r[0], r[1].total, r[2], r[3])) for r in expected.results.values()}) == 1
    assert expected.results["n0"][1].total == expected.results["n0"][2] == exact_sum(x)


@LAWS
@given(graph=graphs)
def test_set_flooding_is_complete_after_d_rounds_and_says_each_value_at_most_twice_a_link(graph):
    x = {i: (float(k), -float(k)) for k, i in enumerate(sorted(graph))}
    d = nx.diameter(graph.to_undirected())
    log = step({i: set_flooding(i, x[i], hears(graph)[i], d + 3) for i in graph}, hears(graph), sorted(graph))
    assert all(got == x and list(got) == sorted(x) for got in log.results.values())
    for says in log.said.values():
        for i in graph:
            assert sum(entry[0] == i for say in says for entry in say.body[1]) <= 2
        assert says[-1].body[1] == ()  # silent once everybody has everything
    if d > 1:
        short = {i: set_flooding(i, x[i], hears(graph)[i], d - 1) for i in graph}
        assert any(len(got) < len(x) for got in lockstep.run(short, hears(graph)).results.values())


@pytest.mark.parametrize("seed", range(4))
def test_set_flooding_survives_loss_and_amnesia_and_all_stop_in_free_mode(seed):
    graph = random_graph(9, seed, directed=False)
    listens, n, d = hears(graph), len(graph), nx.diameter(graph.to_undirected())
    x = {i: (float(k),) for k, i in enumerate(sorted(graph))}

    def protocol(i, version=0, resume=None):
        return together(
            lambda r: set_flooding(i, x[i], listens[i], size=n, version=version, resume=r),
            lambda r: in_rounds(lambda q: counters(d, q), listens[i], throughout, r),
            resume,
        )

    net = Lossy({i: protocol(i) for i in graph}, listens, 0.3, seed, delay=4, twice=0.2)
    while len(net.results) < n:
        net.step()
        assert net.ticks < 1000
    assert net.results == dict.fromkeys(graph, x)


def test_an_agent_that_forgot_everything_is_told_everything_anew():
    graph = random_graph(9, 2, directed=False)
    listens = hears(graph)
    x = {i: (float(k),) for k, i in enumerate(sorted(graph))}
    net = Lossy({i: set_flooding(i, x[i], listens[i]) for i in graph}, listens, 0.3, 2)
    for _ in range(60):
        net.step()
    assert all(say.body[1] == () for say in net.says.values())
    x["n04"] = (-1.0,)
    net.crash("n04")
    net.restart("n04", set_flooding("n04", x["n04"], listens["n04"], version=1))
    for _ in range(60):
        net.step()
    for say in net.says.values():
        assert {i: value for i, _, value in say.snapshot[0]} == x


def test_the_newest_version_of_a_value_wins_whatever_the_order():
    for first, second in ((1, 2), (2, 1)):
        g = set_flooding("a", (0.0,), ["b", "c"], rounds=2)
        next(g)
        g.send(Heard({"b": (0, (("z", first, (float(first),)),), ()), "c": (0, (), ())}))
        with pytest.raises(StopIteration) as stop:
            g.send(Heard({"b": (0, (), ()), "c": (0, (("z", second, (float(second),)),), ())}))
        assert stop.value.value["z"] == (2.0,)
