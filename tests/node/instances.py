"""Seeded instances, and the model of spec 04 section 0 written down a second time, from networkx distances.

Nothing here uses the code under test but its plain data types (``Part``, ``Routes``) and the generators it
is given to step.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np

from node.part import Part
from node.protocol import Heard
from node.routes import Routes

ETA = 25.0


def named(graph: nx.Graph) -> nx.DiGraph:
    """The graph with two-digit string ids, edge i -> j meaning "i listens to j"; undirected: both ways."""
    nodes = sorted(graph)
    names = {node: f"n{index:02d}" for index, node in enumerate(nodes)}
    result = nx.DiGraph()
    result.add_nodes_from(names[node] for node in nodes)
    result.add_edges_from((names[a], names[b]) for a, b in nx.DiGraph(graph).edges)
    return result


def both_ways(edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The undirected graph with these edges, as a list of directed ones."""
    return [*edges, *((b, a) for a, b in edges)]


def tree(n: int) -> nx.DiGraph:
    """The full binary tree, filled up from the left."""
    return named(nx.full_rary_tree(2, n))


def ring(n: int) -> nx.DiGraph:
    return named(nx.cycle_graph(n))


def erdos_renyi(n: int, p: float, seed: int) -> nx.DiGraph:
    """The first connected one from this seed on."""
    while not nx.is_connected(graph := nx.gnp_random_graph(n, p, seed=seed)):
        seed += 1000
    return named(graph)


def one_way_ring(n: int, chords: tuple[tuple[int, int], ...] = ()) -> nx.DiGraph:
    """Everybody listens to the next one only, and some to one more: strongly connected, g_i > 1."""
    graph = nx.DiGraph([(i, (i + 1) % n) for i in range(n)])
    graph.add_edges_from(chords)
    return named(graph)


def random_graph(n: int, seed: int, directed: bool) -> nx.DiGraph:
    """A random tree (undirected) or a random one-way cycle (directed) plus random further edges."""
    rng = np.random.default_rng([n, seed, directed])
    order = [int(i) for i in rng.permutation(n)]
    graph: nx.Graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(n))
    if directed:
        graph.add_edges_from((order[i], order[(i + 1) % n]) for i in range(n))
    else:
        graph.add_edges_from((order[i], order[int(rng.integers(i))]) for i in range(1, n))
    density = rng.choice([0.0, 0.05, 0.2, 0.5]) if n > 2 else 0.0
    graph.add_edges_from((i, j) for i in range(n) for j in range(n) if i != j and rng.random() < density)
    return named(graph)


DIRECTED = one_way_ring(7, ((0, 3), (4, 1)))

GRAPHS = {
    "tree": tree(7),
    "er": erdos_renyi(8, 0.4, seed=3),
    "ring": ring(6),
    "one-way ring": one_way_ring(6),
    "one-way ring with chords": DIRECTED,
    "directed": random_graph(8, seed=4, directed=True),
}


def hears(graph: nx.DiGraph) -> dict[str, tuple[str, ...]]:
    return {i: tuple(sorted(graph.successors(i))) for i in sorted(graph)}


def routes(graph: nx.DiGraph) -> dict[str, Routes]:
    """Section 0: d(i,r), n(i,r) with smallest id first, n(i,i) minimising d(j,i), g_i = d(n(i,i), i)."""
    d = dict(nx.all_pairs_shortest_path_length(graph))
    agents = tuple(sorted(graph))
    result = {}
    for i in agents:
        near = sorted(graph.successors(i))
        hop = {r: next(j for j in near if d[j][r] == d[i][r] - 1) for r in agents if r != i}
        echo = min(d[j][i] for j in near)
        hop[i] = next(j for j in near if d[j][i] == echo)
        result[i] = Routes(
            me=i,
            agents=agents,
            distance={r: d[i][r] for r in agents},
            hop={r: hop[r] for r in agents},
            echo=echo,
            diameter=max(max(row.values()) for row in d.values()),
        )
    return result


@dataclass(frozen=True)
class Quadratics:
    """v_i(x) = sum_k theta x_k^2 + sigma x_k for all agents; arrays of shape (N, K), agents ascending."""

    agents: tuple[str, ...]
    theta: np.ndarray
    sigma: np.ndarray

    def spec(self, agent: str) -> dict[str, Any]:
        i = self.agents.index(agent)
        return {"family": "quadratic", "theta": self.theta[i].tolist(), "sigma": self.sigma[i].tolist()}

    def optimum(self, capacities: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """(x*, lambda*) from the linear KKT system, by good: 2 theta_i x_i + sigma_i = lambda, sum x = c."""
        n, goods = self.theta.shape
        x, multiplier = np.empty((n, goods)), np.empty(goods)
        for k in range(goods):
            system = np.zeros((n + 1, n + 1))
            system[:n, :n] = np.diag(2 * self.theta[:, k])
            system[:n, n], system[n, :n] = -1.0, 1.0
            solution = np.linalg.solve(system, np.append(-self.sigma[:, k], capacities[k]))
            x[:, k], multiplier[k] = solution[:n], solution[n]
        return x, multiplier

    def public_optimum(self) -> tuple[np.ndarray, np.ndarray]:
        """(x*, mu*) with sum over agents of 2 theta_i x + sigma_i = 0, mu_i = 2 theta_i x + sigma_i."""
        x = -self.sigma.sum(axis=0) / (2 * self.theta.sum(axis=0))
        return x, 2 * self.theta * x + self.sigma


@dataclass(frozen=True)
class Forms:
    """v_i(x) = x'H_i x/2 + sigma_i'x, not separable; hessian of shape (N, K, K), sigma (N, K)."""

    agents: tuple[str, ...]
    hessian: np.ndarray
    sigma: np.ndarray

    def spec(self, agent: str) -> dict[str, Any]:
        i = self.agents.index(agent)
        return {
            "family": "quadratic-form",
            "hessian": self.hessian[i].tolist(),
            "sigma": self.sigma[i].tolist(),
        }

    def optimum(self, capacities: list[float]) -> tuple[np.ndarray, np.ndarray]:
        """(x*, lambda*) from the linear KKT system: H_i x_i + sigma_i = lambda, sum x = c."""
        n, goods = self.sigma.shape
        system = np.zeros(((n + 1) * goods, (n + 1) * goods))
        for i in range(n):
            rows = slice(i * goods, (i + 1) * goods)
            system[rows, rows] = self.hessian[i]
            system[rows, n * goods :] = -np.eye(goods)
            system[n * goods :, rows] = np.eye(goods)
        solution = np.linalg.solve(system, np.append(-self.sigma.ravel(), capacities))
        return solution[: n * goods].reshape(n, goods), solution[n * goods :]

    def public_optimum(self) -> tuple[np.ndarray, np.ndarray]:
        """(x*, mu*) with sum over agents of H_i x + sigma_i = 0, mu_i = H_i x + sigma_i."""
        x = np.linalg.solve(self.hessian.sum(axis=0), -self.sigma.sum(axis=0))
        return x, self.hessian @ x + self.sigma


def forms(graph: nx.DiGraph, seed: int, goods: int, lowest: float, highest: float) -> Forms:
    """Random eigenvectors; eigenvalues of -Hess v uniform in [lowest, highest], both ends taken by all."""
    rng = np.random.default_rng([seed, goods, 7])
    agents = tuple(sorted(graph))
    hessians = []
    for _ in agents:
        turn, _ = np.linalg.qr(rng.normal(size=(goods, goods)))
        curvature = np.array([lowest, highest, *rng.uniform(lowest, highest, goods)])[:goods]
        form = -(turn * curvature) @ turn.T
        hessians.append((form + form.T) / 2)
    return Forms(agents, np.array(hessians), rng.uniform(10, 20, (len(agents), goods)))


def thesis(graph: nx.DiGraph, seed: int, goods: int = 1, eta: float = ETA) -> Quadratics:
    """The family of thesis section 5.2."""
    rng = np.random.default_rng(seed)
    agents = tuple(sorted(graph))
    shape = (len(agents), goods)
    theta = rng.uniform(-eta / 2, -1 / (2 * eta), shape)
    return Quadratics(agents, theta, rng.uniform(10, 20, shape))


def parts(graph: nx.DiGraph, utilities: Quadratics | Forms, contract: dict[str, Any]) -> dict[str, Part]:
    return {
        i: Part(
            agent=i,
            run="test",
            hears=tuple(sorted(graph.successors(i))),
            heard_by=tuple(sorted(graph.predecessors(i))),
            utility=utilities.spec(i),
            contract=contract,
            record_every=0,
        )
        for i in sorted(graph)
    }


@dataclass
class Transcript:
    """What a hand-stepped run left: results, rounds in which agents left (from 1), and all that was said."""

    results: dict[str, Any] = field(default_factory=dict)
    left: dict[str, int] = field(default_factory=dict)
    failed: dict[str, tuple[int, Exception]] = field(default_factory=dict)
    said: dict[str, list[Any]] = field(default_factory=dict)
    heard: dict[str, list[Heard]] = field(default_factory=dict)


def step(
    protocols: dict[str, Any], listens: dict[str, tuple[str, ...]], order: list[str], rounds: int = 10_000
) -> Transcript:
    """Drive protocols by hand, in the given order of agents; what is said is copied when it is said."""
    log = Transcript(said={i: [] for i in order}, heard={i: [] for i in order})
    now = {i: next(protocols[i]) for i in order}
    for k in range(1, rounds + 1):
        for i in order:
            if i in now:
                log.said[i].append(copy.deepcopy(now[i]))
        new = {}
        for i in [agent for agent in order if agent in now]:
            heard = Heard(
                {j: copy.deepcopy(now[j].body) for j in sorted(listens[i]) if j in now},
                {j: now[j].to[i] for j in sorted(listens[i]) if j in now and i in now[j].to},
            )
            log.heard[i].append(copy.deepcopy(heard))
            try:
                new[i] = protocols[i].send(heard)
            except StopIteration as stop:
                log.results[i], log.left[i] = stop.value, k
            except ValueError as error:
                log.failed[i] = (k, error)
        now = new
        if not now:
            return log
    raise AssertionError(f"{sorted(now)} still talk after {rounds} rounds")
