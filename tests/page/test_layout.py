"""Places of agents on the screen."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from runner.page.layout import EXACT, place


def directed(graph: nx.Graph) -> nx.DiGraph:
    return nx.DiGraph(nx.relabel_nodes(graph, {k: f"a{k:04}" for k in graph}).to_directed())


@pytest.mark.parametrize(
    "graph",
    [
        nx.path_graph(1),
        nx.path_graph(2),
        nx.balanced_tree(2, 4),
        nx.cycle_graph(12),
        nx.complete_graph(5),
        nx.gnp_random_graph(60, 0.2, seed=1),
        nx.connected_watts_strogatz_graph(EXACT + 40, 6, 0.2, seed=1),
        nx.barbell_graph(EXACT // 3, 80),
    ],
    ids=lambda graph: f"{graph.number_of_nodes()}-{graph.number_of_edges()}",
)
def test_places_are_apart_within_bounds_and_always_the_same(graph: nx.Graph) -> None:
    network = directed(graph)
    agents = tuple(sorted(network))
    places = place(network, agents)
    assert places.shape == (len(agents), 2)
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1.0 + 1e-9
    assert (place(network, agents) == places).all()
    gaps = np.linalg.norm(places[:, None] - places[None], axis=2)[~np.eye(len(agents), dtype=bool)]
    assert gaps.size == 0 or gaps.min() > 1e-4


def test_levels_of_a_tree_are_circles_and_no_two_edges_cross() -> None:
    network = directed(nx.balanced_tree(2, 4))
    agents = tuple(sorted(network))
    places = place(network, agents)
    root = places[0]
    depth = nx.single_source_shortest_path_length(network, agents[0])
    radii = np.linalg.norm(places - root, axis=1)
    for level in range(1, 5):
        ring = radii[[depth[agent] == level for agent in agents]]
        assert ring.max() - ring.min() < 1e-9
    at = dict(zip(agents, places, strict=True))
    edges = [(at[a], at[b]) for a, b in network.edges if a < b]
    assert not any(_cross(*one, *two) for k, one in enumerate(edges) for two in edges[:k])


def test_agents_that_are_not_connected_among_themselves_are_placed_too() -> None:
    network = directed(nx.path_graph(9))
    agents = tuple(sorted(network))[::2]
    assert len({tuple(p) for p in place(network, agents).round(6)}) == len(agents)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    if any(np.allclose(p, q) for p in (a, b) for q in (c, d)):
        return False  # neighbours meet

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
