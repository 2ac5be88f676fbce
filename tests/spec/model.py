"""Section 0 of chapter 4, literally: distances, next hops, echoes; trees; utilities of a whole network.

Agents are 0..N-1. The edge i -> j means "i listens to j". Arrays over agents have N rows and K columns
(goods or features). Nothing of the project is used.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np

Array = np.ndarray
ETA = 25.0


def hops(listens: list[list[int]], start: int) -> list[float]:
    """d(start, r) for all r, by breadth first search along "listens to" edges."""
    distance = [math.inf] * len(listens)
    distance[start] = 0
    queue = deque([start])
    while queue:
        i = queue.popleft()
        for j in listens[i]:
            if distance[j] == math.inf:
                distance[j] = distance[i] + 1
                queue.append(j)
    return distance


class Net:
    """Who listens to whom, with the tables of section 0; ties go to the smallest id."""

    def __init__(self, graph: nx.Graph) -> None:
        both = nx.DiGraph(graph)
        assert sorted(both) == list(range(len(both)))
        self.size = n = len(both)
        self.near = [sorted(both.successors(i)) for i in range(n)]
        self.d = np.array([hops(self.near, i) for i in range(n)])
        assert np.isfinite(self.d).all(), "not strongly connected"
        self.listens = self.d == 1
        self.hop = np.empty((n, n), dtype=int)
        for i in range(n):
            for r in range(n):
                if r == i:
                    self.hop[i, i] = min(self.near[i], key=lambda j, i=i: (self.d[j, i], j))
                else:
                    self.hop[i, r] = min(j for j in self.near[i] if self.d[j, r] == self.d[i, r] - 1)
        # g_i = d(n(i,i), i), and e(i,r) = max(1, d(i,r) - 1)
        self.g = np.array([self.d[self.hop[i, i], i] for i in range(n)])
        self.e = np.maximum(1, self.d - 1)
        self.diameter = int(self.d.max())


class Tree:
    """A spanning tree with phi(i), a chosen neighbour, and the message entries that live on its edges.

    Attributes:
        edges: all (i, j) with j in N(i), sorted: the index of n_i^j.
        phi: phi(i), by default the smallest neighbour. q_{phi(i)}^i is stored at i: one number per agent.
    """

    def __init__(self, graph: nx.Graph, phi: list[int] | None = None) -> None:
        assert nx.is_tree(graph)
        self.size = len(graph)
        self.near = [sorted(graph[i]) for i in range(self.size)]
        self.phi = np.array([near[0] for near in self.near] if phi is None else phi)
        self.edges = [(i, j) for i in range(self.size) for j in self.near[i]]
        index = {edge: k for k, edge in enumerate(self.edges)}
        self.at = index
        self.tail = np.array([i for i, _ in self.edges])  # i of n_i^j
        self.head = np.array([j for _, j in self.edges])  # j of n_i^j
        # B_i^j sums n_j^k over k in N(j), k != i: pairs (row of n_i^j, row of n_j^k).
        pairs = [(index[i, j], index[j, k]) for i, j in self.edges for k in self.near[j] if k != i]
        self.into = np.array([a for a, _ in pairs], dtype=int)
        self.out_of = np.array([b for _, b in pairs], dtype=int)

    @cached_property
    def d(self) -> Array:
        return np.array([hops(self.near, i) for i in range(self.size)])

    @property
    def diameter(self) -> int:
        # Twice breadth first search: the farthest node from anywhere is an end of a longest path.
        far = int(np.argmax(hops(self.near, 0)))
        return int(max(hops(self.near, far)))

    @cached_property
    def behind(self) -> list[list[int]]:
        """For every edge (i, j): the agents r with n(i, r) = j."""
        result = []
        for i, j in self.edges:
            seen, stack = {i, j}, [j]
            while stack:
                for k in self.near[stack.pop()]:
                    if k not in seen:
                        seen.add(k)
                        stack.append(k)
            result.append(sorted(seen - {i}))
        return result


# Utilities of all agents at once -------------------------------------------------------------------------


@dataclass(frozen=True)
class Quadratics:
    """v_i(x) = x'H_i x / 2 + s_i.x; H of shape (N, K, K), negative definite, s of shape (N, K)."""

    H: Array
    s: Array

    @property
    def curvature(self) -> tuple[Array, Array]:
        """(lowest, highest) eigenvalue of -H_i, each of shape (N,)."""
        eigenvalues = np.linalg.eigvalsh(-self.H)
        return eigenvalues[:, 0], eigenvalues[:, -1]

    def value(self, X: Array) -> Array:
        return 0.5 * np.einsum("ik,ikl,il->i", X, self.H, X) + (self.s * X).sum(axis=1)

    def gradient(self, X: Array) -> Array:
        return np.einsum("ikl,il->ik", self.H, X) + self.s

    def demand(self, P: Array, ridge: Array | float = 0.0) -> Array:
        """argmax v_i(x) - p_i.x - ridge_i |x|^2 / 2."""
        ridge = np.broadcast_to(np.asarray(ridge, dtype=float), (len(P),))
        if P.shape[1] == 1:
            return (P - self.s) / (self.H[:, :, 0] - ridge[:, None])
        system = self.H - ridge[:, None, None] * np.eye(P.shape[1])
        return np.linalg.solve(system, (P - self.s)[:, :, None])[:, :, 0]


@dataclass(frozen=True)
class LogCosh:
    """v_i(x) = sum_k s x - low x^2 / 2 - (high - low) log cosh x: -v'' runs through (low, high]."""

    low: Array
    high: Array
    s: Array

    @property
    def curvature(self) -> tuple[Array, Array]:
        return self.low.min(axis=1), self.high.max(axis=1)

    def value(self, X: Array) -> Array:
        log_cosh = np.logaddexp(X, -X) - math.log(2.0)
        return (self.s * X - self.low * X**2 / 2 - (self.high - self.low) * log_cosh).sum(axis=1)

    def gradient(self, X: Array) -> Array:
        return self.s - self.low * X - (self.high - self.low) * np.tanh(X)

    def demand(self, P: Array, ridge: Array | float = 0.0) -> Array:
        """By Newton inside a bracket that bisection keeps valid, until nothing moves any more."""
        low = self.low + np.broadcast_to(np.asarray(ridge, dtype=float), (len(P),))[:, None]
        bend, target = self.high - self.low, self.s - P
        # low x + bend tanh x = target, with |bend tanh x| < bend.
        left, right = (target - bend) / low, (target + bend) / low
        x = target / (low + bend)
        for _ in range(200):
            tanh = np.tanh(x)
            off = low * x + bend * tanh - target
            left, right = np.where(off < 0, x, left), np.where(off > 0, x, right)
            new = x - off / (low + bend * (1 - tanh**2))
            new = np.where((new > left) & (new < right), new, 0.5 * (left + right))
            new = np.where(off == 0, x, new)
            if (np.abs(new - x) <= 1e-16 * np.abs(x)).all():
                break
            x = new
        return x


Utilities = Quadratics | LogCosh


def thesis(n: int, seed: int, goods: int = 1, eta: float = ETA) -> Quadratics:
    """Section 5.2: v = theta x^2 + sigma x, theta in (-eta/2, -1/(2 eta)), sigma in (10, 20), uniform."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-eta / 2, -1 / (2 * eta), (n, goods))
    sigma = rng.uniform(10, 20, (n, goods))
    return diagonal(theta, sigma)


def diagonal(theta: Array, sigma: Array) -> Quadratics:
    H = np.zeros((*theta.shape, theta.shape[1]))
    for k in range(theta.shape[1]):
        H[:, k, k] = 2 * theta[:, k]
    return Quadratics(H, sigma)


def rotated(n: int, goods: int, low: float, high: float, seed: int) -> Quadratics:
    """Eigenvalues of -H_i spread over [low, high] with both ends taken, eigenvectors drawn for each agent."""
    rng = np.random.default_rng([seed, 7])
    H = np.empty((n, goods, goods))
    for i in range(n):
        basis, _ = np.linalg.qr(rng.normal(size=(goods, goods)))
        H[i] = -(basis * np.linspace(low, high, goods)) @ basis.T
    return Quadratics((H + H.transpose(0, 2, 1)) / 2, rng.uniform(10, 20, (n, goods)))


# Central optima, by their first order conditions ---------------------------------------------------------


def private_optimum(v: Utilities, c: Array) -> tuple[Array, Array]:
    """(x*, lambda*): grad v_i(x_i) = lambda for all i, sum x = c. Newton on lambda, excess demand's slope
    by the Hessians; for quadratics one step."""
    price = np.zeros(len(c))
    for _ in range(100):
        X = v.demand(np.tile(price, (len(v.s), 1)))
        step = np.linalg.solve(_slopes(v, X), X.sum(axis=0) - c)
        price = price + step
        if np.abs(step).max() <= 1e-15 * (1 + np.abs(price).max()):
            break
    return v.demand(np.tile(price, (len(v.s), 1))), price


def _slopes(v: Utilities, X: Array) -> Array:
    """sum_i (-Hess v_i(x_i))^-1."""
    if isinstance(v, Quadratics):
        return np.linalg.inv(-v.H).sum(axis=0)
    h = v.low + (v.high - v.low) * (1 - np.tanh(X) ** 2)
    return np.diag((1 / h).sum(axis=0))


def public_optimum(v: Utilities) -> tuple[Array, Array]:
    """(x*, mu*): sum_i grad v_i(x) = 0 and mu_i = grad v_i(x). Damped Newton on the concave sum."""
    n, goods = v.s.shape
    x = np.zeros(goods)
    for _ in range(200):
        X = np.tile(x, (n, 1))
        slope = v.gradient(X).sum(axis=0)
        if isinstance(v, Quadratics):
            hessian = -v.H.sum(axis=0)
        else:
            hessian = np.diag((v.low + (v.high - v.low) * (1 - np.tanh(X) ** 2)).sum(axis=0))
        step = np.linalg.solve(hessian, slope)
        while v.value(np.tile(x + step, (n, 1))).sum() < v.value(X).sum() - 1e-12 * abs(v.value(X).sum()):
            step = step / 2
        x = x + step
        if np.abs(step).max() <= 1e-15 * (1 + np.abs(x).max()):
            break
    X = np.tile(x, (n, 1))
    return x, v.gradient(X)


# Graphs --------------------------------------------------------------------------------------------------


def binary_tree(n: int) -> nx.Graph:
    return nx.full_rary_tree(2, n)


def erdos_renyi(n: int, p: float, seed: int) -> nx.Graph:
    """The first connected one from this seed on."""
    while not nx.is_connected(graph := nx.gnp_random_graph(n, p, seed=seed)):
        seed += 1000
    return graph


def random_tree(n: int, seed: int) -> nx.Graph:
    """Each agent joins an earlier one, drawn uniformly; then ids are shuffled."""
    rng = np.random.default_rng([n, seed])
    name = rng.permutation(n)
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((int(name[i]), int(name[rng.integers(i)])) for i in range(1, n))
    return graph


def strong_digraph(n: int, extra: float, seed: int) -> nx.DiGraph:
    """A one-way cycle through all agents in drawn order, and further one-way edges with probability extra."""
    rng = np.random.default_rng([n, seed, 1])
    order = [int(i) for i in rng.permutation(n)]
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from((order[k], order[(k + 1) % n]) for k in range(n))
    graph.add_edges_from((i, j) for i in range(n) for j in range(n) if i != j and rng.random() < extra)
    return graph


def breadth_first_tree(graph: nx.Graph) -> nx.Graph:
    """A spanning tree of shortest paths from a centre (the smallest id of them)."""
    root = min(nx.center(graph))
    tree = nx.Graph()
    tree.add_nodes_from(graph)
    tree.add_edges_from((i, parents[0]) for i, parents in nx.predecessor(graph, root).items() if parents)
    return tree
