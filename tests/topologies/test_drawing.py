"""The graph as text."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from topologies import bundled, draw, load_scenario
from topologies.canvas import Canvas
from topologies.layout import stress


def directed(graph: nx.Graph) -> nx.DiGraph:
    return nx.relabel_nodes(graph, {node: f"n{node:02d}" for node in graph}).to_directed()


def test_a_tree_is_drawn_from_its_centre_and_chains_stay_on_a_line() -> None:
    tree = nx.Graph([("hub", "a"), ("hub", "b"), ("hub", "c"), ("c", "d"), ("a", "e"), ("b", "f")])
    assert draw(tree.to_directed(), False).splitlines()[:5] == [
        "7 agents, 6 edges, tree, diameter 4",
        "",
        "hub",
        "├─ a ─ e",
        "├─ b ─ f",
    ]


# More than sixty agents are counted, not drawn: their number ends the name.
@pytest.mark.parametrize("name", [name for name, _, _ in bundled() if int(name.rpartition("-")[2]) <= 60])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_agent_is_in_the_picture_and_in_the_list_within_the_width(name: str, width: int) -> None:
    scenario = load_scenario(name)
    text = draw(scenario.graph, scenario.directed, width)
    picture, _, neighbours = text.rpartition("\n\n")
    assert all(len(line) <= width for line in neighbours.splitlines())
    for agent in scenario.agents:
        assert agent in neighbours
    if name != "erdos-renyi-31":  # its table writes the ids of the columns downwards
        assert all(len(line) <= width for line in picture.splitlines())
        assert all(agent in picture for agent in scenario.agents)


def test_a_dense_graph_is_a_table_with_a_dot_per_listening() -> None:
    graph = directed(nx.gnp_random_graph(31, 0.3, seed=1))
    lines = draw(graph, False).splitlines()
    rows = [line for line in lines if "╲" in line]
    assert [line.split()[0] for line in rows] == sorted(graph)
    assert sum(line.count("●") for line in rows) == graph.number_of_edges()


def test_one_way_edges_have_an_arrow_each() -> None:
    ring = nx.DiGraph([(f"n{k}", f"n{(k + 1) % 6}") for k in range(6)])
    picture = draw(ring, True).partition("i → j")[0]
    assert sum(picture.count(arrow) for arrow in "→↘↓↙←↖↑↗") == 6


def test_a_large_graph_is_summed_up() -> None:
    graph = directed(nx.barabasi_albert_graph(300, 2, seed=1))
    text = draw(graph, False)
    assert "agents by number of neighbours" in text
    assert sum(int(line.split()[-1]) for line in text.splitlines() if "█" in line) == 300
    assert len(text.splitlines()) < 60


def test_the_diameter_of_a_very_large_graph_is_a_bound_and_of_a_tree_exact() -> None:
    assert "diameter >= " in draw(directed(nx.cycle_graph(700)), False)
    assert "tree, diameter 699" in draw(directed(nx.path_graph(700)), False)


def test_long_ids_are_shortened_on_the_canvas_and_whole_in_the_list() -> None:
    ids = [f"{'long-' * 10}{k}" for k in range(4)]
    ring = nx.DiGraph([pair for k in range(4) for pair in [(ids[k], ids[k - 1]), (ids[k - 1], ids[k])]])
    picture, _, neighbours = draw(ring, False).rpartition("\n\n")
    assert "…" in picture
    assert all(agent in neighbours for agent in ids)


def test_labels_never_cover_each_other() -> None:
    canvas = Canvas(60, 20)
    spots = canvas.spread(np.zeros((12, 2)), 3)
    assert len(set(spots)) == 12


def test_the_layout_of_a_path_is_a_line_with_even_steps() -> None:
    distances = np.abs(np.subtract.outer(np.arange(7.0), np.arange(7.0)))
    places = stress(distances)
    assert np.allclose(np.abs(np.diff(places[:, 0])), 1, atol=1e-3)
    assert np.allclose(places[:, 1], 0, atol=1e-2)
