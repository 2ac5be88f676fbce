"""A diameter given by hand: one that is too small is found out, by the runner and by the agents."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import lockstep
from node.consensus.reach import DiameterTooSmall, confirm_diameter
from node.protocols.consensus import consensus
from topologies import ScenarioError, load_scenario

PATH = "consensus-tree-path-31"


def graph_of(n, seed, directed):
    graph = nx.DiGraph(nx.random_labeled_tree(n, seed=seed)) if n > 1 else nx.DiGraph()
    if directed:  # a cycle through all, and some chords of the tree one way
        graph = nx.DiGraph([*nx.cycle_graph(n, create_using=nx.DiGraph).edges, *list(graph.edges)[: n // 2]])
    return nx.relabel_nodes(graph, {k: f"n{k:02}" for k in graph})


@given(n=st.integers(2, 14), seed=st.integers(0, 1000), off=st.integers(-3, 3), directed=st.booleans())
def test_a_given_diameter_is_accepted_if_and_only_if_nobody_is_further_away(n, seed, off, directed):
    graph = graph_of(n, seed, directed)
    hears = {i: sorted(graph.successors(i)) for i in graph}
    diameter = nx.diameter(graph)
    given = max(1, diameter + off)

    def play():
        return lockstep.run({i: confirm_diameter(i, given) for i in graph}, hears)

    if given >= diameter:
        ended = play()
        assert set(ended.results.values()) == {n}
        assert ended.rounds == given + 1
    else:
        with pytest.raises(DiameterTooSmall, match=rf"given as {given}, but agent n\d\d is {given + 1} hops"):
            play()


def test_less_than_one_is_no_diameter():
    with pytest.raises(ValueError, match="expected a diameter >= 1, got 0"):
        next(confirm_diameter("a", 0))


def test_a_scenario_with_a_diameter_that_is_too_small_is_refused():
    with pytest.raises(
        ScenarioError, match=r"mechanism\.diameter: got 29 .* the diameter of the graph, which is 30"
    ):
        load_scenario(PATH, ["mechanism.diameter=29"])
    with pytest.raises(ScenarioError, match=r"mechanism\.diameter: got 0"):
        load_scenario(PATH, ["mechanism.diameter=0"])
    with pytest.raises(ScenarioError, match="what is to be found"):
        load_scenario(PATH, ["mechanism.primitive=diameter", "mechanism.diameter=30"])


@pytest.mark.parametrize(("given", "rounds"), [(30, 31 + 90), (35, 36 + 90)])
def test_a_given_diameter_takes_the_place_of_the_survey(given, rounds):
    parts = load_scenario(PATH, [f"mechanism.diameter={given}"]).parts("r")
    ended = lockstep.run({i: consensus(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})
    assert ended.rounds == rounds
    assert {(r.agents, r.diameter) for r in ended.results.values()} == {(31, given)}


def test_agents_find_out_that_a_diameter_is_too_small_when_nobody_else_could(virtual_network):
    edges = [("a", "b"), ("b", "c"), ("c", "d")]
    rules = {"primitive": "minimum", "diameter": 2}
    private = {i: {"family": "value", "value": [float(ord(i))]} for i in "abcd"}
    net = virtual_network(edges, lambda part, resume=None: consensus(part), contract=rules, private=private)
    with pytest.raises(
        DiameterTooSmall, match=r"agent [ad]: the diameter was given as 2, but agent [ad] is 3"
    ):
        net.run()
