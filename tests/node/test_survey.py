"""The survey against networkx, and the rule of spec 10, 4.3 that needs less flooding."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

from node.consensus.survey import survey
from node.lockstep import run
from node.protocol import Say
from tests.node.instances import GRAPHS, hears, named, one_way_ring, random_graph, ring, routes, step, tree

SIZES = (2, 3, 4, 5, 7, 9, 12, 16, 20, 25)
RANDOM = [(n, seed, directed) for n in SIZES for seed in range(6) for directed in (False, True)]


def diameter(graph):
    return max(max(row.values()) for _, row in nx.all_pairs_shortest_path_length(graph))


def surveyed(graph):
    return step({i: survey(i) for i in sorted(graph)}, hears(graph), sorted(graph))


@pytest.fixture(scope="module")
def surveys():
    return [(graph, surveyed(graph)) for graph in (random_graph(*case) for case in RANDOM)]


def test_more_than_a_hundred_random_graphs_of_both_kinds(surveys):
    assert len(surveys) >= 100
    assert len({tuple(graph.edges) for graph, _ in surveys}) > 90
    assert max(route.echo for graph, _ in surveys for route in routes(graph).values()) > 3


def test_everybody_leaves_at_the_end_of_round_2d_plus_2(surveys):
    for graph, log in surveys:
        assert log.left == dict.fromkeys(graph, 2 * diameter(graph) + 2)


def test_everybody_finds_everybody_and_the_diameter(surveys):
    for graph, log in surveys:
        for i, got in log.results.items():
            assert got.me == i
            assert got.agents == tuple(sorted(graph))
            assert got.diameter == diameter(graph)


def test_distances_are_exact(surveys):
    for graph, log in surveys:
        for i, got in log.results.items():
            assert dict(got.distance) == nx.single_source_shortest_path_length(graph, i)


def test_hops_satisfy_the_recursion_with_the_smallest_id_first(surveys):
    for graph, log in surveys:
        d = dict(nx.all_pairs_shortest_path_length(graph))
        for i, got in log.results.items():
            assert set(got.hop) == set(graph)
            for r in graph:
                if r != i:
                    nearer = [j for j in graph.successors(i) if d[j][r] == d[i][r] - 1]
                    assert got.hop[r] == min(nearer)


def test_echo_is_the_shortest_way_back_to_oneself(surveys):
    for graph, log in surveys:
        d = dict(nx.all_pairs_shortest_path_length(graph))
        for i, got in log.results.items():
            back = {j: d[j][i] for j in graph.successors(i)}
            assert got.echo == min(back.values())
            assert back[got.hop[i]] == got.echo
            # Ties deterministic, the smallest id (section 0).
            assert got.hop[i] == min(j for j in back if back[j] == got.echo)


def test_echo_is_one_on_undirected_graphs(surveys):
    for (_, _, directed), (_, log) in zip(RANDOM, surveys, strict=True):
        if not directed:
            assert {got.echo for got in log.results.values()} == {1}


@pytest.mark.parametrize("name", GRAPHS)
def test_routes_of_the_named_graphs_are_the_literal_ones(name):
    got = run({i: survey(i) for i in GRAPHS[name]}, hears(GRAPHS[name]))
    assert got.results == routes(GRAPHS[name])
    assert got.rounds == 2 * diameter(GRAPHS[name]) + 2


def test_ids_ascend_as_text_whatever_their_length():
    graph = nx.relabel_nodes(
        ring(6), dict(zip(sorted(ring(6)), ("n1", "n10", "n2", "B", "a", "_"), strict=True))
    )
    got = run({i: survey(i) for i in graph}, hears(graph)).results
    assert got == routes(graph)
    assert got["n1"].agents == ("B", "_", "a", "n1", "n10", "n2")


@pytest.mark.parametrize("graph", [tree(15), one_way_ring(8)], ids=["tree", "one-way ring"])
def test_order_of_stepping_does_not_matter(graph):
    agents = sorted(graph)
    one = surveyed(graph)
    for seed in range(3):
        order = [agents[k] for k in np.random.default_rng(seed).permutation(len(agents))]
        other = step({i: survey(i) for i in order}, hears(graph), order)
        assert other.results == one.results
        assert other.left == one.left


@pytest.mark.parametrize("directed", [False, True])
def test_every_id_is_said_by_every_agent_exactly_once(directed):
    """So that a survey costs N ids a link, whatever the diameter."""
    graph = random_graph(9, 1, directed)
    for says in surveyed(graph).said.values():
        ids = [word for say in says for word in flatten(say.body) if isinstance(word, str)]
        assert set(ids) == set(graph)


def flatten(body):
    if isinstance(body, tuple | list):
        for item in body:
            yield from flatten(item)
    elif isinstance(body, dict):
        for key, value in body.items():
            yield key
            yield from flatten(value)
    else:
        yield body


# The rule of spec 10, 4.3 ------------------------------------------------------------------------------


def by_maximum(me, margin=2):
    """Flood ids and the largest eccentricity M known; leave at the end of round 2M + margin, D := M."""
    known, fresh, own, largest, k = {me}, (me,), None, -1, 0
    while True:
        heard = yield Say((fresh, largest), kind="maximum")
        k += 1
        fresh = tuple({r for ids, _ in heard.said.values() for r in ids} - known)
        known.update(fresh)
        if not fresh and own is None:
            own = k - 1
        largest = max(largest, -1 if own is None else own, *(m for _, m in heard.said.values()))
        if own is not None and k >= 2 * largest + margin:
            return largest


def exact_by_maximum(graph, margin=2):
    log = step({i: by_maximum(i, margin) for i in sorted(graph)}, hears(graph), sorted(graph), rounds=200)
    d = diameter(graph)
    return log.results == dict.fromkeys(graph, d) and set(log.left.values()) == {2 * d + 2}


def strongly_connected(n):
    pairs = list(itertools.permutations(range(n), 2))
    for chosen in itertools.product((False, True), repeat=len(pairs)):
        graph = nx.DiGraph()
        graph.add_nodes_from(range(n))
        graph.add_edges_from(itertools.compress(pairs, chosen))
        if nx.is_strongly_connected(graph):
            yield named(graph)


def test_flooding_the_largest_eccentricity_is_enough_on_undirected_graphs():
    assert all(exact_by_maximum(random_graph(n, seed, directed=False)) for n in SIZES for seed in range(6))


def test_flooding_the_largest_eccentricity_is_enough_on_directed_graphs_too():
    """No counter-example exists; this is the exhaustive part for three agents and random graphs beyond.

    j listening to i gives ecc(j) <= ecc(i) + 1. So along the agents that (indirectly) listen to i, from i up
    to one with eccentricity D, no value in between is skipped: if i holds M with ecc(i) <= M < D, some agent
    r has ecc(r) = M + 1. It knows so at the end of round M + 2, and i hears it d(i,r) <= ecc(i) <= M rounds
    later, at the end of round 2M + 2 at the latest, which is when i would have left.
    """
    assert all(exact_by_maximum(graph) for graph in strongly_connected(3))
    assert all(exact_by_maximum(random_graph(n, seed, directed=True)) for n in SIZES for seed in range(20))


@pytest.mark.parametrize("n", [4])
def test_flooding_the_largest_eccentricity_is_enough_on_every_directed_graph_of_four(n):
    graphs = list(strongly_connected(n))
    assert len(graphs) == 1606  # OEIS A003030
    assert all(exact_by_maximum(graph) for graph in graphs)


def test_one_round_less_would_break_on_a_path_of_three():
    """The margin of two is needed, so the test above can fail."""
    path = named(nx.path_graph(3))
    log = step({i: by_maximum(i, margin=1) for i in sorted(path)}, hears(path), sorted(path), rounds=50)
    assert log.left == {"n00": 5, "n01": 3, "n02": 5}
    assert log.results["n01"] == 1


def test_survey_says_plain_values():
    first = next(survey("a"))
    assert first.kind
    assert first.to == {}
    assert isinstance(first.body, tuple | str | int | float | bytes | None)


def test_a_body_that_is_no_word_of_the_survey_is_not_accepted():
    say = next(survey("a"))
    assert say.accepts is not None
    assert say.accepts(say.body, "b")
    for body in (3.5, "text", (1, 2, 3, 4, 5, 6, 7), ((1.5,),), {"a": 1}, np.zeros(3)):
        assert not say.accepts(body, "b")


def test_two_agents_hear_of_each_other():
    log = step({i: survey(i) for i in "ab"}, {"a": ("b",), "b": ("a",)}, ["a", "b"])
    assert log.left == {"a": 4, "b": 4}
    assert log.results["a"].hop == {"a": "b", "b": "b"}
