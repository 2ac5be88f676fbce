"""Where the agents of a graph stand on a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from topologies.drawing import DENSE
from topologies.layout import circle, stress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.float64]

# Agents up to which all distances are looked at; the majorisation takes a product of such matrices a sweep.
MOST_EXACT = 150
PIVOTS = 60


def places(graph: nx.DiGraph, directed: bool) -> Places:
    """Positions in the plane, shape (N, 2), in the order of the graph's nodes; the same at every call.

    Trees stand in rings about their centre, small dense, directed and ring-shaped graphs on a circle, others
    so that distances resemble hops.

    Args:
        graph: (strongly) connected.
        directed: whether single directions matter.
    """
    plain = graph.to_undirected()
    if nx.is_tree(plain):
        return rings(plain)
    degrees = [degree for _, degree in plain.degree]
    small = len(plain) <= MOST_EXACT
    if small and (directed or max(degrees) <= 2 or sum(degrees) / len(degrees) > DENSE):
        return circle(len(plain)) * [1, -1]  # made for terminals, whose rows count downwards
    if small:
        return stress(nx.floyd_warshall_numpy(plain, list(plain)))
    return by_pivots(plain)


def rings(tree: nx.Graph) -> Places:
    """A tree about its centre: the distance from it is the radius, and every leaf has an equal angle."""
    root = min(nx.center(tree)) if len(tree) <= MOST_EXACT else _middle(tree)
    parent, order, depth = {root: root}, [root], {root: 0}
    stack = [root]
    while stack:
        node = stack.pop()
        for child in sorted((other for other in tree[node] if other not in parent), reverse=True):
            parent[child], depth[child] = node, depth[node] + 1
            stack.append(child)
        if node != root:
            order.append(node)
    leaves = [node for node in order if len(tree[node]) == 1 and node != root]
    angle: dict[str, tuple[float, float]] = {  # node -> the angles between which its leaves stand
        leaf: (2 * np.pi * k / len(leaves),) * 2 for k, leaf in enumerate(leaves)
    }
    for node in reversed(order):
        if node != root:
            low, high = angle[node]
            first, last = angle.get(parent[node], (low, high))
            angle[parent[node]] = min(first, low), max(last, high)
    found = {
        node: depth[node] * np.array([np.sin(sum(angle[node]) / 2), np.cos(sum(angle[node]) / 2)])
        for node in order
    }
    return np.array([found[node] for node in tree])


def _middle(tree: nx.Graph) -> str:
    """The middle of a longest path, found by two sweeps."""
    far = _farthest(tree, min(tree))[-1]
    path = nx.shortest_path(tree, far, _farthest(tree, far)[-1])
    return str(path[len(path) // 2])


def _farthest(graph: nx.Graph, start: str) -> list[str]:
    return list(nx.single_source_shortest_path_length(graph, start))


def by_pivots(graph: nx.Graph) -> Places:
    """The two directions in which the hop distances to some agents, far from one another, vary most (Brandes
    and Pich, Eigensolver methods for progressive multidimensional scaling of large data, 2006)."""
    nodes = list(graph)
    at = {node: k for k, node in enumerate(nodes)}
    columns, nearest = [], np.full(len(nodes), np.inf)
    pivot = 0
    for _ in range(min(PIVOTS, len(nodes))):
        hops = np.zeros(len(nodes))
        for node, count in nx.single_source_shortest_path_length(graph, nodes[pivot]).items():
            hops[at[node]] = count
        columns.append(hops)
        nearest = np.minimum(nearest, hops)
        pivot = int(nearest.argmax())
    squares = np.array(columns).T ** 2
    centred = squares - squares.mean(0) - squares.mean(1, keepdims=True) + squares.mean()
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ vectors[:, [-1, -2]])
