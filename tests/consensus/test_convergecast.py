"""Everything that one wave gathers, and stopping on the tree that it leaves (spec 10, 2.3, 4.1)."""

from __future__ import annotations

import math

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import codec
from node import lockstep
from node.consensus.counters import counters, tree_counters
from node.consensus.tree import Gathered, convergecast, tree_sum
from node.protocol import together
from tests.consensus.test_stopping import at, scripted
from tests.node.instances import hears, named, random_graph, step
from tests.node.summary import spanning_tree

LAWS = settings(deadline=None, max_examples=40, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(2, 12), seed=st.integers(0, 999), directed=st.just(False))
numbers = st.floats(-1e6, 1e6)


@LAWS
@given(data=st.data(), graph=graphs, most=st.integers(1, 4))
def test_sums_maxima_and_largest_are_exact_and_the_same_everywhere(data, graph, most):
    own = {i: data.draw(st.tuples(*[numbers] * 5)) for i in sorted(graph)}
    log = step(
        {i: convergecast(i, own[i][:2], own[i][2:4], own[i][4:], most) for i in graph},
        hears(graph),
        sorted(graph),
    )
    columns = list(zip(*own.values(), strict=True))
    tree = spanning_tree(graph)
    for i, got in log.results.items():
        assert got.total == tuple(math.fsum(column) for column in columns[:2])
        assert got.maxima == tuple(max(column) for column in columns[2:4])
        assert got.largest == (tuple(sorted(columns[4], reverse=True)[:most]),)
        assert (got.agents, got.diameter) == (len(graph), nx.diameter(tree))
        assert got.depth == nx.eccentricity(tree, min(graph))
        assert got.first == min(tree[min(graph)])
        assert list(got.behind) == sorted(tree[i])
        for j, part in got.behind.items():
            cut = tree.copy()
            cut.remove_edge(i, j)
            theirs = nx.node_connected_component(cut, j)
            assert part.agents == len(theirs)
            assert part.total == tuple(math.fsum(own[r][k] for r in theirs) for k in range(2))
            values = sorted((own[r][4] for r in theirs), reverse=True)
            # Those of the largest of all that are theirs, and perhaps others.
            assert set(part.largest[0]) <= set(values)
            assert all(v in part.largest[0] for v in values if v > got.largest[0][-1])
    assert len(set(log.left.values())) == 1


def test_a_small_rest_beside_a_large_subtree_keeps_its_digits():
    graph = named(nx.path_graph(3))
    own = {"n00": (0.1,), "n01": (1e17,), "n02": (0.3,)}
    got = lockstep.run({i: convergecast(i, own[i]) for i in graph}, hears(graph)).results
    assert got["n01"].behind["n00"].total == (0.1,)
    assert got["n01"].behind["n02"].total == (0.3,)


def test_what_is_gathered_makes_the_round_trip_through_the_codec():
    graph = random_graph(7, 3, directed=False)
    found = lockstep.run(
        {i: convergecast(i, (1.5, 2.0), (0.0,), (3.0, 4.0), 2) for i in graph}, hears(graph)
    ).results
    for got in found.values():
        assert Gathered.unpack(codec.unpack(codec.pack(got.pack()))) == got


@pytest.mark.parametrize("values", [((math.inf,), ()), ((), (math.nan,)), ((1e305,), ())])
def test_numbers_that_cannot_be_gathered_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        next(convergecast("a", *values))


def test_accounts_of_another_form_are_not_accepted():
    say = next(convergecast("a", (1.0,), (2.0,), (3.0,), 2))
    good = (((1.0,),), (2.0,), ((3.0,),), 1, 0, 0)
    assert say.accepts(("a", 0, "a", None, None), "b")
    assert say.accepts(("a", 0, "a", good, (good, "c", 7)), "b")
    for wrong in (
        (((1.0,),), (2.0,), ((3.0,),), 1, 0),
        (((1.0,), ()), (2.0,), ((3.0,),), 1, 0, 0),
        (((1,),), (2.0,), ((3.0,),), 1, 0, 0),
        (((1.0,),), (), ((3.0,),), 1, 0, 0),
        (((1.0,),), (2.0,), ((3.0, 2.0, 1.0),), 1, 0, 0),
        (((1.0,),), (2.0,), ((),), 1, 0, 0),
        (((1.0,),), (2.0,), ((3.0,),), -1, 0, 0),
        "account",
    ):
        assert not say.accepts(("a", 0, "a", wrong, None), "b")
        assert not say.accepts(("a", 0, "a", good, (wrong, "c", 7)), "b")
    assert not say.accepts(("", 0, "a", None, None), "b")
    assert not say.accepts(("a", 0, "a", None, (good, "c", -1)), "b")


# Stopping on the tree -----------------------------------------------------------------------------------


def stopping(graph, scripts, slack=0):
    """Everybody's scripted reports beside counters on the breadth-first tree; the round of the verdict."""
    trees = lockstep.run({i: tree_sum(i, ()) for i in graph}, hears(graph)).results

    def agent(i):
        tree = trees[i]
        return together(
            lambda r: scripted(scripts[i]),
            lambda r: tree_counters(tree.parent, tree.children, tree.depth + slack, r),
        )

    ended = lockstep.run({i: agent(i) for i in graph}, hears(graph))
    (k,) = set(ended.results.values())
    return k, trees[min(graph)].depth + slack


@LAWS
@given(data=st.data(), graph=graphs, slack=st.sampled_from([0, 0, 2]))
def test_all_stop_in_one_round_never_early_and_two_depths_after_rest(data, graph, slack):
    scripts = {i: [*data.draw(st.lists(st.booleans(), max_size=12)), True] for i in sorted(graph)}
    k, depth = stopping(graph, scripts, slack)

    def fine(t):
        return all(at(script, t) for script in scripts.values())

    # The stop was announced when it was known that all were satisfied, depth rounds before that.
    assert fine(k - 2 * depth)
    quiet = max((t for t in range(14) if not fine(t)), default=-1) + 1
    assert k <= quiet + 2 * depth


def test_on_a_balanced_tree_it_takes_half_of_what_counters_take():
    graph = named(nx.full_rary_tree(2, 31))
    scripts = dict.fromkeys(graph, [False] * 5 + [True])
    k, depth = stopping(graph, scripts)
    assert (k, depth) == (5 + 8, 4)
    flooded = lockstep.run(
        {i: together(lambda r, i=i: scripted(scripts[i]), lambda r: counters(8, r)) for i in graph},
        hears(graph),
    )
    assert set(flooded.results.values()) == {5 + 16}


def test_a_depth_that_is_too_small_breaks_the_guarantee():
    """So that the test above can fail."""
    graph = named(nx.path_graph(6))
    scripts = {i: [True] for i in graph} | {"n05": [False] * 9 + [True]}
    trees = lockstep.run({i: tree_sum(i, ()) for i in graph}, hears(graph)).results
    agents = {
        i: together(
            lambda r, i=i: scripted(scripts[i]),
            lambda r, i=i: tree_counters(trees[i].parent, trees[i].children, 2, r),
        )
        for i in graph
    }
    says = {i: next(g) for i, g in agents.items()}
    left = {}
    for k in range(30):
        later = {}
        for i in says:
            heard = {j: says[j].body for j in hears(graph)[i] if j in says}
            if len(heard) < len(hears(graph)[i]):
                continue
            try:
                later[i] = agents[i].send(lockstep.Heard(heard))
            except StopIteration:
                left[i] = k
        says = later
    assert left["n00"] < 9


def test_a_snapshot_of_tree_counters_gives_the_very_say_again():
    side = tree_counters(None, ("b",), 1)
    say = next(side)
    for k in range(6):
        again = next(tree_counters(None, ("b",), 1, codec.unpack(codec.pack(say.snapshot))))
        assert (again.body, again.report, again.snapshot) == (say.body, say.report, say.snapshot)
        say = side.send(lockstep.Heard({"b": (k, 2**62)}, report=k > 1))
    assert say.report is not None
