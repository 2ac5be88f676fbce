"""The summary mechanism of spec 04, section 3, written down a second time, formula by formula.

Nothing here uses the code under test; the tree is networkx's, messages are dictionaries. ``Literal.array``
and ``Literal.message`` translate to and from the layout of the code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np


@dataclass
class Message:
    """y_i, n_i^j by neighbour, q_i^j by carried neighbour; arrays of shape (K,)."""

    y: np.ndarray
    n: dict[str, np.ndarray] = field(default_factory=dict)
    q: dict[str, np.ndarray] = field(default_factory=dict)


def spanning_tree(graph: nx.DiGraph) -> nx.Graph:
    """Breadth-first from the smallest id; of several possible parents the smallest id."""
    root = min(graph)
    hops = nx.single_source_shortest_path_length(graph, root)
    tree: nx.Graph = nx.Graph()
    tree.add_nodes_from(sorted(graph))
    for i in graph:
        if i != root:
            tree.add_edge(i, min(j for j in graph.successors(i) if hops[j] == hops[i] - 1))
    return tree


class Literal:
    """The whole network under one variant: "plain", "weighted", "anchored" or "public".

    Args:
        tree: undirected.
        values: agent -> v_i as a function of x, shape (K,).
        weights: agent -> w_i, shape (K,); ignored by "plain".
        delta: shape (K,).
        capacities: c, shape (K,).
    """

    def __init__(self, tree, values, weights, delta, capacities, variant):
        self.tree, self.values, self.variant = tree, values, variant
        self.agents = sorted(tree)
        self.count = len(self.agents)
        self.w, self.delta, self.c = weights, np.asarray(delta, float), np.asarray(capacities, float)
        self.neighbours = {i: sorted(tree[i]) for i in self.agents}
        root = min(self.agents)
        towards = nx.predecessor(tree, root)
        self.phi = {i: towards[i][0] if i != root else min(tree[root]) for i in self.agents}
        self.carried = {i: [k for k in self.neighbours[i] if self.phi[k] == i] for i in self.agents}

    def behind(self, i, j):
        """All agents that i reaches through its neighbour j."""
        found, ahead = [], [(i, j)]
        while ahead:
            back, at = ahead.pop()
            found.append(at)
            ahead.extend((at, k) for k in self.neighbours[at] if k != back)
        return sorted(found)

    # -- the contract, for a profile m: agent -> Message -------------------------------------------------

    def b(self, i, j, m):
        total = m[j].y.copy()
        for k in self.neighbours[j]:
            if k != i:
                total += m[j].n[k]
        return total

    def a(self, i, m):
        return sum(self.b(i, j, m) for j in self.neighbours[i])

    def echo(self, i, m):
        return m[self.phi[i]].q[i]

    def allocation(self, i, m):
        a, n = self.a(i, m), self.count
        if self.variant == "public":
            return m[i].y + a
        if self.variant == "plain":
            return m[i].y - a / (n - 1) + self.c / n
        return (1 - self.w[i]) * m[i].y - self.w[i] * a + self.c / n

    def price(self, i, m):
        a, q = self.a(i, m), self.echo(i, m)
        if self.variant == "public":
            return self.delta * ((1 - self.w[i]) * q - self.w[i] * a)
        return (q + a) / self.delta

    def tax(self, i, m):
        x, p = self.allocation(i, m), self.price(i, m)
        share = 0 if self.variant == "public" else self.c / self.count
        t = float(p @ (x - share))
        t += sum(float(np.sum((m[i].n[j] - self.b(i, j, m)) ** 2)) for j in self.neighbours[i])
        t += sum(float(np.sum((m[i].q[j] - m[j].y) ** 2)) for j in self.carried[i])
        off = self.echo(i, m) - m[i].y
        if self.variant == "anchored":
            t += float(np.sum((1 - self.w[i]) / self.delta * off**2)) / 2
        if self.variant == "public":
            t += float(np.sum(self.delta * (1 - self.w[i]) * off**2)) / 2
        return t

    def utility(self, i, m):
        return self.values[i](self.allocation(i, m)) - self.tax(i, m)

    # -- equilibrium and layout ----------------------------------------------------------------------------

    def nash(self, x, prices):
        """The equilibrium in closed form, from the optimum: agent -> x_i*, agent -> price."""
        n = self.count
        if self.variant == "public":
            y = {i: self.w[i] * x[i] + prices[i] / self.delta for i in self.agents}
        elif self.variant == "plain":
            y = {i: (n - 1) / n * (x[i] - self.c / n) + self.delta * prices[i] / n for i in self.agents}
        else:
            y = {i: x[i] - self.c / n + self.w[i] * self.delta * prices[i] for i in self.agents}
        return {
            i: Message(
                y[i],
                {j: sum(y[r] for r in self.behind(i, j)) for j in self.neighbours[i]},
                {j: y[j] for j in self.carried[i]},
            )
            for i in self.agents
        }

    def array(self, i, message):
        """In the layout of the code: y, n by neighbour, q by carried neighbour."""
        rows = [message.n[j] for j in self.neighbours[i]] + [message.q[j] for j in self.carried[i]]
        return np.array([message.y, *rows])

    def message(self, i, array):
        near = self.neighbours[i]
        return Message(
            array[0].copy(),
            {j: array[1 + k].copy() for k, j in enumerate(near)},
            {j: array[1 + len(near) + k].copy() for k, j in enumerate(self.carried[i])},
        )

    def read(self, arrays: dict[str, Any]):
        return {i: self.message(i, arrays[i]) for i in self.agents}

    # -- the norm ------------------------------------------------------------------------------------------

    def norm_weights(self, i, kappa):
        """Of y_i, of n_i^j by neighbour, of q_i^j by carried neighbour, for weights of K = 1 goods."""
        w = {r: 1.0 if self.variant == "plain" else float(self.w[r][0]) for r in self.agents}
        d = nx.single_source_shortest_path_length(self.tree, i)
        return (
            w[i],
            {j: sum(w[r] * kappa ** d[r] for r in self.behind(i, j)) for j in self.neighbours[i]},
            {j: kappa * w[j] for j in self.carried[i]},
        )
