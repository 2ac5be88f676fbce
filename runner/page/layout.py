"""Where to draw the agents of a graph of any size: once, before anybody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from topologies.layout import circle, stress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Places = NDArray[np.float64]
    Pairs = NDArray[np.int64]

# Full majorisation takes n^2 a sweep: 0.3 s here. Beyond, only edges and distances to some pivots count.
EXACT = 120
PIVOTS, SWEEPS = 60, 80
# Half of the agents within this part of the largest distance from the middle is a dense core.
SKEWED, EVENED = 0.4, 0.8


def place(graph: nx.DiGraph, agents: Sequence[str]) -> Places:
    """Positions, shape (N, 2), within [-1, 1].

    A tree is drawn radially from its centre, a ring as a circle; any other graph so that distances on the
    screen resemble hop distances. Deterministic.

    Args:
        graph: with these agents; directions do not matter.
        agents: whose places are wanted, in this order; on a circle if the graph among them falls apart.
    """
    plain = graph.subgraph(agents).to_undirected()
    n = len(agents)
    if n == 1:
        return np.zeros((1, 2))
    if not nx.is_connected(plain):
        return circle(n)
    if plain.number_of_edges() == n - 1:
        return _fitted(_radial(plain, agents))
    if all(degree == 2 for _, degree in plain.degree):
        return _ring(plain, agents)
    number = {agent: k for k, agent in enumerate(agents)}
    if n <= EXACT:
        hops = np.zeros((n, n))
        for source, reached in nx.all_pairs_shortest_path_length(plain):
            for target, distance in reached.items():
                hops[number[source], number[target]] = distance
        return _fitted(stress(hops))
    return _fitted(_pivoted(plain, agents, number))


def _ring(ring: Any, agents: Sequence[str]) -> Places:
    order = {agent: k for k, agent in enumerate(nx.dfs_preorder_nodes(ring, agents[0]))}
    return circle(len(agents))[[order[agent] for agent in agents]]


def _radial(tree: Any, agents: Sequence[str]) -> Places:
    """The centre in the middle, every level on a circle, every subtree in a wedge as wide as its leaves."""
    root = min(nx.center(tree))
    children = {agent: sorted(found) for agent, found in nx.bfs_successors(tree, root)}
    levels = nx.single_source_shortest_path_length(tree, root)
    leaves: dict[str, int] = {}
    for agent in sorted(levels, key=lambda agent: -levels[agent]):
        leaves[agent] = sum(leaves[child] for child in children.get(agent, ())) or 1
    wedge = {root: (0.0, 2 * np.pi)}
    for agent in sorted(levels, key=lambda agent: levels[agent]):
        begin, end = wedge[agent]
        each = (end - begin) / leaves[agent]
        for child in children.get(agent, ()):
            width = each * leaves[child]
            wedge[child] = (begin, begin + width)
            begin += width
    angle = np.array([sum(wedge[agent]) / 2 for agent in agents]) - np.pi / 2
    radius = np.array([levels[agent] for agent in agents], float)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])


def _pivoted(plain: Any, agents: Sequence[str], number: dict[str, int]) -> Places:
    """Sparse stress: weights 1/d^2 on edges and on distances to pivots that lie far from one another."""
    n, pivots, hops = len(agents), [0], []
    nearest = np.full(n, np.inf)
    while True:
        reached = nx.single_source_shortest_path_length(plain, agents[pivots[-1]])
        hops.append(np.array([reached[agent] for agent in agents], float))
        nearest = np.minimum(nearest, hops[-1])
        if len(pivots) == PIVOTS:
            break
        pivots.append(int(nearest.argmax()))
    distances = np.array(hops).T  # (n, pivots)
    # Classical scaling from the pivots alone is where the sweeps start.
    squared = distances**2
    centred = squared - squared.mean(0) - squared.mean(1, keepdims=True) + squared.mean()
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    places = -0.5 * centred @ axes[:2].T
    spread = np.linalg.norm(places - places.mean(0), axis=1).mean() or 1.0
    places = places / spread * distances.mean() / 2
    # Those of the same distances would lie on one point for ever.
    places += 0.05 * np.random.default_rng(0).standard_normal(places.shape)

    edges = np.array([(number[a], number[b]) for a, b in plain.edges], np.int64)
    far = np.column_stack([np.repeat(np.arange(n), len(pivots)), np.tile(pivots, n)])
    far = far[far[:, 0] != far[:, 1]]
    first = np.concatenate([edges[:, 0], edges[:, 1], far[:, 0], far[:, 1]])
    second = np.concatenate([edges[:, 1], edges[:, 0], far[:, 1], far[:, 0]])
    near = distances[np.arange(n)[:, None] != np.array(pivots)]
    wanted = np.concatenate([np.ones(2 * len(edges)), near, near])
    weight = 1.0 / wanted**2
    total = np.bincount(first, weight, n)
    for _ in range(SWEEPS):
        gap = places[first] - places[second]
        length = np.maximum(np.linalg.norm(gap, axis=1), 1e-9)
        aim = places[second] + gap * (wanted / length)[:, None]
        moved = np.column_stack([np.bincount(first, weight * aim[:, k], n) for k in (0, 1)]) / total[:, None]
        places = 0.5 * (places + moved)  # all at once: undamped, two neighbours would swap for ever
    return np.asarray(places)


def _fitted(places: Places) -> Places:
    """Scaled into [-1, 1], about the origin."""
    places = places - np.median(places, axis=0)
    radius = np.linalg.norm(places, axis=1)
    if np.median(radius) < SKEWED * radius.max():
        # A dense core and a few far out would leave most of the screen empty: all keep their direction and
        # their order from the middle, and come to lie as densely everywhere.
        even = np.sqrt(radius.argsort().argsort() / len(radius))
        wanted = EVENED * even + (1 - EVENED) * radius / radius.max()
        places = places * (wanted / np.maximum(radius, 1e-9))[:, None]
    places = places - (places.max(0) + places.min(0)) / 2
    return np.asarray(places / (np.abs(places).max() or 1.0))
