"""Trimmed averaging: the honest range holds, and graphs that cannot bear it are refused (spec 10, 8)."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import numpy as np
import pytest

from node import lockstep
from node.consensus.closed_sets import likely, members, search
from node.consensus.robustness import find_cut
from node.consensus.trimmed import NotRobust, degree_condition, trim, trimmed
from node.protocol import Heard
from tests.node.instances import hears, named


def with_liars(graph, x, f, liars, rounds, seed):
    """Honest agents' values after every round; liars tell every neighbour something else."""
    rng = random.Random(seed)
    honest = {i: trimmed(x[i], f) for i in graph if i not in liars}
    says = {i: next(g) for i, g in honest.items()}
    history = []
    for k in range(rounds):
        said = {
            i: {
                j: rng.choice([1e308, -1e308, 0.5, float(k), x[i], says[i].body])
                if j in liars
                else says[j].body
                for j in sorted(graph.successors(i))
            }
            for i in says
        }
        says = {i: honest[i].send(Heard(said[i])) for i in says}
        history.append([say.body for say in says.values()])
    return history


@pytest.mark.parametrize("seed", range(6))
def test_f_liars_never_move_anybody_out_of_the_honest_range_and_the_honest_agree(seed):
    graph, f = named(nx.circulant_graph(14, [1, 2, 3, 4, 5])), 2
    rng = np.random.default_rng(seed)
    x = dict(zip(sorted(graph), rng.uniform(0, 1, 14).tolist(), strict=True))
    liars = set(rng.choice(sorted(graph), f, replace=False).tolist())
    assert find_cut(hears(graph), 2 * f + 1) == (None, True)
    inside = [v for i, v in x.items() if i not in liars]
    history = with_liars(graph, x, f, liars, 200, seed)
    assert all(min(inside) <= v <= max(inside) for values in history for v in values)
    assert max(history[-1]) - min(history[-1]) < 1e-9


def test_more_liars_than_declared_break_the_range():
    """So that the test above can fail."""
    graph = named(nx.complete_graph(7))
    x = dict.fromkeys(graph, 0.5)
    history = with_liars(graph, x, 1, {"n00", "n01"}, 20, 0)
    assert max(abs(v - 0.5) for values in history for v in values) > 1e3


def test_trim_drops_at_most_f_on_either_side_of_the_own_value():
    assert trim(3.0, [9.0, 1.0, 4.0, 2.0, 3.0], 1) == [2.0, 3.0, 4.0]
    assert trim(0.0, [9.0, 1.0, 4.0], 2) == [1.0]
    assert trim(10.0, [9.0, 1.0], 5) == []
    assert trim(1.0, [2.0, 0.0], 0) == [0.0, 2.0]


def brute(listens, r):
    """All pairs of disjoint sets, by definition."""
    agents = sorted(listens)
    sets = [set(c) for k in range(1, len(agents)) for c in itertools.combinations(agents, k)]
    closed = [s for s in sets if all(len(set(listens[i]) - s) < r for i in s)]
    return any(not a & b for a, b in itertools.combinations(closed, 2))


@pytest.mark.parametrize("seed", range(40))
def test_the_exact_check_agrees_with_the_definition(seed):
    rng = random.Random(seed)
    graph = nx.gnp_random_graph(
        rng.randint(3, 7), rng.choice([0.4, 0.7, 0.9]), seed=seed, directed=seed % 2 == 1
    )
    listens = {str(i): [str(j) for j in graph[i]] for i in graph}
    for r in (1, 2, 3):
        cut, proven = find_cut(listens, r)
        assert proven
        assert (cut is not None) == brute(listens, r)
        if cut is not None:
            check_cut(listens, r, cut)


def check_cut(listens, r, cut):
    first, second = map(set, cut)
    assert first
    assert second
    assert not first & second
    for side in (first, second):
        assert all(len(set(listens[i]) - side) < r for i in side)


@pytest.mark.parametrize(
    ("graph", "r"),
    [
        (nx.cycle_graph(40), 3),
        (nx.full_rary_tree(2, 31), 2),
        (nx.barbell_graph(15, 0), 3),
        (nx.grid_2d_graph(6, 6), 3),
    ],
)
def test_cuts_of_large_graphs_are_found_and_are_cuts(graph, r):
    listens = hears(named(graph))
    cut, proven = find_cut(listens, r)
    assert proven
    check_cut(listens, r, cut)


def test_a_large_graph_of_high_degree_is_proven_robust():
    assert find_cut(hears(named(nx.complete_graph(30))), 5) == (None, True)
    assert find_cut(hears(named(nx.circulant_graph(30, [1, 2, 3, 4]))), 3) == (None, True)


def two_communities(n, r, seed):
    """A graph with a cut: within two sets of agents most hear each other, nobody hears r of the other set; a
    sixth of the agents belong to neither and hear whom they like."""
    rng = random.Random(seed)
    ids = rng.sample(range(n), n)
    apart = n - n // 6
    half = rng.randint(apart // 3, apart // 2)
    side = {k: 0 if at < half else 1 if at < apart else 2 for at, k in enumerate(ids)}
    outside = dict.fromkeys(range(n), 0)
    graph = nx.empty_graph(n)
    for i, j in rng.sample(list(itertools.combinations(range(n), 2)), n * (n - 1) // 2):
        if side[i] == side[j]:
            if rng.random() < 0.75:
                graph.add_edge(i, j)
        elif all(side[k] == 2 or outside[k] < r - 1 for k in (i, j)):
            graph.add_edge(i, j)
            outside[i] += 1
            outside[j] += 1
    return graph


@pytest.mark.parametrize("n", [20, 24, 30, 40, 60])
@pytest.mark.parametrize("r", [3, 5])
def test_a_cut_between_two_communities_is_found(n, r):
    listens = hears(named(two_communities(n, r, seed=n + r)))
    cut, proven = find_cut(listens, r)
    assert proven
    check_cut(listens, r, cut)


@pytest.mark.parametrize("seed", range(12))
def test_the_search_for_large_graphs_agrees_with_all_subsets_of_small_ones(seed):
    rng = random.Random(seed)
    n = rng.randint(6, 14)
    graph = nx.gnp_random_graph(n, rng.choice([0.4, 0.6, 0.8]), seed=seed, directed=seed % 3 == 0)
    near = [sum(1 << j for j in graph[k]) for k in range(n)]
    listens = {f"{k:02d}": [f"{j:02d}" for j in graph[k]] for k in graph}
    for r in (1, 2, 3, 4):
        cut, _ = find_cut(listens, r)
        found, proven = search(near, r)
        assert proven
        assert (found is None) == (cut is None)
        for sides in (found, likely(near, r)):
            if sides is not None:
                check_cut(listens, r, [[f"{k:02d}" for k in members(side)] for side in sides])


def test_a_search_that_is_given_up_proves_nothing():
    graph = nx.random_regular_graph(12, 40, seed=1)
    near = [sum(1 << j for j in graph[k]) for k in graph]
    assert search(near, 5, effort=40 * 100) == (None, False)
    assert search(near, 3, effort=40 * 100) == (None, True)


def test_too_small_a_degree_is_refused_by_everybody_in_the_same_round():
    graph = nx.complete_graph(8)
    graph.add_edges_from([(8, 0), (8, 1)])
    graph = named(graph)

    def tell(i):
        try:
            yield from degree_condition(i, hears(graph)[i], 1, 2)
        except NotRobust as error:
            return str(error)
        return None

    found = lockstep.run({i: tell(i) for i in graph}, hears(graph))
    assert found.rounds == 2
    assert all("agent n08 has only 2 neighbours: the cut {n08}" in text for text in found.results.values())


def test_enough_neighbours_everywhere_are_accepted():
    graph = named(nx.complete_graph(6))
    lockstep.run({i: degree_condition(i, hears(graph)[i], 2, 1) for i in graph}, hears(graph))
