"""What is simulated: small pools of graphs and of workloads on them, each with its run in lockstep.

``WORKLOADS`` is the registry: a mechanism that is to be simulated adds a function that draws parts for a
graph; ``FREE`` holds those that run freely. A pool is small so that the reference of an instance is computed
once and met by many seeds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import networkx as nx

from broker import codec
from node import lockstep
from node.part import Part
from node.protocols.allocate import allocate
from node.protocols.consensus import consensus
from node.protocols.free_consensus import consensus_freely
from node.protocols.free_play import allocate_freely
from node.protocols.network.life import network
from node.protocols.scalable import scalable, scalable_freely
from runner.simulation import networks, promises
from runner.world import World
from topologies.generators import agent_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import AgentId
    from node.protocol import Say

RUN = "sim"
# Instances of one workload on one topology.
POOL = 6
# Virtual seconds after which a free run is given up in which nothing goes wrong.
CALM_LIMIT = 1000.0

Rules = dict[str, Any]
Utility = dict[str, Any]
# For a graph (edge i -> j: i listens to j) and a generator: the public rules and everybody's utility.
Draw = Callable[[nx.DiGraph, random.Random], tuple[Rules, dict[str, Utility]]]


@dataclass(frozen=True)
class Workload:
    """A protocol, how to draw an instance of it, and what its results promise.

    Attributes:
        protocol: (part, snapshot or None) -> generator.
        draw: makes rules and utilities for a graph.
        promises: (parts, results, says) -> broken promises, in words.
        directed: whether it can be drawn for directed graphs.
        tick: seconds between two ticks of an agent that runs freely; None: it keeps rounds.
    """

    protocol: Callable[..., Any]
    draw: Draw
    promises: promises.Check
    directed: bool = True
    tick: float | None = None


@dataclass(frozen=True)
class Reference:
    """How the instance ends in lockstep; if agents run freely, how it ends when nothing goes wrong.

    Attributes:
        results: agent -> its result; empty if the run failed.
        rounds: until then; in free mode the ticks of the agent that had most.
        words: agent -> a hash of what it says, round by round; comparable within this process. Empty in free
            mode, where it depends on timing.
        broken: promises that not even this run keeps.
        diameter: of the graph.
        seconds: free mode: virtual time until then.
    """

    results: Mapping[AgentId, Any]
    rounds: int
    words: Mapping[AgentId, list[int]]
    broken: list[str]
    diameter: int
    seconds: float = 0.0


@dataclass
class Instance:
    """Parts, and the protocol that they play.

    Attributes:
        name: tells it from every other one.
        parts: agent -> its part.
        protocol: (part, snapshot or None) -> generator.
        promises: what its results promise.
    """

    name: str
    parts: dict[AgentId, Part]
    protocol: Callable[..., Any]
    promises: promises.Check
    _reference: Reference | None = field(default=None, repr=False)

    @property
    def free(self) -> bool:
        """Whether its agents run freely."""
        return any(part.free for part in self.parts.values())

    def reference(self) -> Reference:
        """The run in lockstep, or a calm one in free mode; computed once."""
        if self._reference is None:
            self._reference = self._when_calm() if self.free else self._in_lockstep()
        return self._reference

    def _in_lockstep(self) -> Reference:
        words: dict[AgentId, list[int]] = {i: [] for i in self.parts}
        records: list[dict[AgentId, Mapping[str, float]]] = []

        def observe(round_: int, says: Mapping[AgentId, Say]) -> None:
            for i, say in says.items():
                words[i].append(hash_of(say))
            records.append({i: say.record for i, say in says.items() if say.record is not None})

        protocols = {i: self.protocol(part, None) for i, part in self.parts.items()}
        hears = {i: part.hears for i, part in self.parts.items()}
        try:
            end = lockstep.run(protocols, hears, observe)
            broken = list(self.promises(self.parts, end.results, records))
            results, rounds = end.results, end.rounds
        except Exception as error:  # of a protocol that is wrong without any network: a finding
            results, rounds = {}, len(records)
            broken = [f"{type(error).__name__}: {error}"]
        return Reference(results, rounds, words, broken, promises.diameter(self.parts))

    def _when_calm(self) -> Reference:
        world = World(self.parts, self.protocol, seed=0)
        world.start()
        results: dict[AgentId, Any] = {}
        try:
            world.run(CALM_LIMIT)
            results = {i: agent.result for i, agent in world.agents.items()}
            broken = list(self.promises(self.parts, results, []))
        except Exception as error:
            broken = [f"{type(error).__name__}: {error}"]
        ticks = max(agent.round + 1 for agent in world.agents.values())
        return Reference(results, ticks, {}, broken, promises.diameter(self.parts), world.network.now)


def hash_of(say: Say) -> int:
    """Of everything that others can hear of it."""
    return hash(codec.pack((say.kind, say.body, dict(say.to))))


# -- graphs ----------------------------------------------------------------------------------------------


def _both_ways(graph: nx.Graph) -> nx.DiGraph:
    names = agent_ids(graph.number_of_nodes())
    return nx.relabel_nodes(graph, dict(enumerate(names))).to_directed()


def _connected(rng: random.Random, n: int, p: float) -> nx.Graph:
    while True:
        graph = nx.gnp_random_graph(n, p, seed=rng.randrange(2**32))
        if nx.is_connected(graph):
            return graph


def _directed(rng: random.Random) -> nx.DiGraph:
    n = rng.randint(3, 8)
    names = agent_ids(n)
    ring = rng.sample(names, n)
    graph: nx.DiGraph = nx.DiGraph(zip(ring, [*ring[1:], ring[0]], strict=True))
    for _ in range(rng.randint(0, 2 * n)):
        graph.add_edge(*rng.sample(names, 2))
    return graph


TOPOLOGIES: dict[str, Callable[[random.Random], nx.DiGraph]] = {
    "tree-31": lambda rng: _both_ways(nx.full_rary_tree(2, 31)),
    "er-31": lambda rng: _both_ways(_connected(rng, 31, 0.3)),
    "ring-100": lambda rng: _both_ways(nx.cycle_graph(100)),
    "small": lambda rng: _both_ways(_connected(rng, rng.randint(3, 10), rng.uniform(0.3, 0.9))),
    "small-directed": _directed,
}


# -- workloads -------------------------------------------------------------------------------------------


def _stopping(agents: int, rng: random.Random) -> Rules:
    """When full-table play ends."""
    stopping: Rules = {"rule": "counters", "tolerance": rng.choice((0.3, 0.5)), "scale": None}
    if agents > 31:
        # The contraction bound of a ring of 100 is 0.998: at rest only after hundreds of rounds. A few
        # rounds of play after the agreement exercise the driver just as well; small graphs play to the end.
        stopping["max_rounds"] = rng.randint(5, 30)
    elif agents <= 10:
        stopping["tolerance"] = rng.choice((1e-1, 1e-2, 1e-3))
    return stopping


def _private_goods(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
    n = len(graph)
    goods = rng.choice((1, 1, 2)) if n <= 31 else 1
    stopping = _stopping(n, rng)
    rules = {
        "mechanism": "private-goods",
        "capacities": [round(rng.uniform(1.0, 2.0 * n), 3) for _ in range(goods)],
        "eta": 25.0,
        "parameters": rng.choice(("tuned", "tuned", "eta")) if n <= 10 else "tuned",
        "learning": "cournot",
        "stopping": stopping,
    }
    return rules, {i: _quadratic(goods, rng) for i in sorted(graph)}


def _public_goods(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
    n = len(graph)
    features = rng.choice((1, 1, 2)) if n <= 31 else 1
    stopping = _stopping(n, rng)
    learning: Any = rng.choice(("cournot", "cournot", "exponential", "k-period", "fictitious"))
    if learning == "k-period":
        learning = {"dynamics": learning, "k": rng.randint(1, 4)}
    elif learning == "fictitious":
        stopping["max_rounds"] = rng.randint(20, 60)  # the distance falls like a power of the round only
    rules = {
        "mechanism": "public-goods",
        "features": features,
        "eta": 25.0,
        "parameters": rng.choice(("tuned", "tuned", "eta")) if n <= 10 else "tuned",
        "learning": learning,
        "stopping": stopping,
    }
    draw = _form if features > 1 and rng.random() < 0.5 else _quadratic
    return rules, {i: draw(features, rng) for i in sorted(graph)}


def _quadratic(goods: int, rng: random.Random) -> Utility:
    return {
        "family": "quadratic",
        "theta": [rng.uniform(-1.5, -0.4) for _ in range(goods)],
        "sigma": [rng.uniform(1.0, 20.0) for _ in range(goods)],
    }


def _form(goods: int, rng: random.Random) -> Utility:
    """A quadratic whose goods depend on each other; curvatures between 0.4 and 4."""
    meeting = [[rng.uniform(-0.4, 0.4) for _ in range(goods)] for _ in range(goods)]
    own = [rng.uniform(-3.0, -1.2) for _ in range(goods)]
    return {
        "family": "quadratic-form",
        "hessian": [
            [own[k] if k == j else meeting[min(k, j)][max(k, j)] for j in range(goods)] for k in range(goods)
        ],
        "sigma": [rng.uniform(1.0, 20.0) for _ in range(goods)],
    }


def _consensus(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
    exact = ["minimum", "maximum", "diameter"]
    if all(graph.has_edge(j, i) for i, j in graph.edges):
        exact += ["set", "tree", "ratio", "metropolis", "flow", "trimmed"]
    primitive = rng.choice(exact)
    rules: Rules = {"mechanism": "consensus", "primitive": primitive}
    if primitive in ("ratio", "metropolis", "flow", "trimmed"):
        rules["stopping"] = {
            "rule": rng.choice(("windows", "counters")),
            "tolerance": rng.choice((1e-3, 1e-6)) if len(graph) <= 10 else 1e-1,
            "max_rounds": 400 if len(graph) <= 10 else 120,
        }
    if primitive == "metropolis":
        rules["rho"] = rng.choice((None, 0.9, 0.99))
    if primitive == "trimmed":
        rules["f"] = 1 if min(d for _, d in graph.out_degree) >= 3 else 0
        rules["stopping"]["max_rounds"] = 40
    width = rng.randint(1, 3) if primitive in ("minimum", "maximum", "set", "tree") else 1
    return rules, {
        i: {"family": "value", "value": [rng.uniform(-1.0, 1.0) for _ in range(width)]} for i in sorted(graph)
    }


def _summary(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
    n = len(graph)
    public = rng.random() < 0.3
    variant = "anchored" if public or n > 31 else rng.choice(("anchored", "anchored", "weighted", "plain"))
    goods = rng.choice((1, 1, 2)) if n <= 31 else 1
    shared: Rules = (
        {"features": goods}
        if public
        else {"capacities": [round(rng.uniform(1.0, 2.0 * n), 3) for _ in range(goods)]}
    )
    rules = {
        "mechanism": "summary",
        **shared,
        "eta": 25.0,
        "variant": variant,
        "parameters": rng.choice(("tuned", "tuned", "eta")) if n <= 10 else "tuned",
        **({"cap": 0.45} if variant == "weighted" else {}),
        "learning": "cournot",
        "stopping": {
            "rule": "counters",
            "tolerance": rng.choice((1e-1, 1e-2)) if n > 10 else rng.choice((1e-1, 1e-2, 1e-4)),
            "scale": 1.0 if public else None,
            # Plain play on 31 agents takes a thousand rounds, and a ring of 100 two hundred to stop; some
            # dozen exercise the driver just as well.
            **({"max_rounds": rng.randint(5, 30)} if n > 31 or (variant == "plain" and n > 10) else {}),
        },
    }
    return rules, {
        i: {
            "family": "quadratic",
            "theta": [rng.uniform(-1.5, -0.4) for _ in range(goods)],
            "sigma": [rng.uniform(1.0, 20.0) for _ in range(goods)],
        }
        for i in sorted(graph)
    }


WORKLOADS: dict[str, Workload] = {
    "private-goods": Workload(allocate, _private_goods, promises.allocation),
    "public-goods": Workload(allocate, _public_goods, promises.allocation),
    "summary": Workload(scalable, _summary, promises.summary, directed=False),
    "consensus": Workload(lambda part, resume=None: consensus(part), _consensus, promises.consensus),
    **{mechanism: Workload(network, draw, networks.promises) for mechanism, draw in networks.DRAWS.items()},
}


def _freely(draw: Draw) -> Draw:
    """The same, as free mode plays it: Cournot's responses only, and to the end."""

    def drawn(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
        rules, utilities = draw(graph, rng)
        rules["stopping"].pop("max_rounds", None)
        return {**rules, "learning": "cournot"}, utilities

    return drawn


def _free_consensus(graph: nx.DiGraph, rng: random.Random) -> tuple[Rules, dict[str, Utility]]:
    stopping = {
        "rule": rng.choice(("windows", "counters")),
        "tolerance": rng.choice((1e-3, 1e-6)) if len(graph) <= 10 else 1e-2,
    }
    rules = {
        "mechanism": "consensus",
        "primitive": rng.choice(("ratio", "flow", "set")),
        "stopping": stopping,
    }
    return rules, {i: {"family": "value", "value": [rng.uniform(-1.0, 1.0)]} for i in sorted(graph)}


FREE: dict[str, Workload] = {
    "private-goods": Workload(allocate_freely, _freely(_private_goods), promises.free_allocation, tick=0.05),
    "public-goods": Workload(allocate_freely, _freely(_public_goods), promises.free_allocation, tick=0.05),
    "summary": Workload(scalable_freely, _freely(_summary), promises.free_summary, directed=False, tick=0.05),
    "consensus": Workload(
        consensus_freely, _free_consensus, promises.free_consensus, directed=False, tick=0.02
    ),
}
# A ring of a hundred takes thousands of ticks: half a minute for each of these.
FREE_TOPOLOGIES = ("tree-31", "er-31", "small", "small-directed")

DIRECTED = ("small-directed",)


def workloads(topology: str, *, free: bool = False) -> list[str]:
    """The workloads that can be drawn for a topology, by name."""
    known = FREE if free else WORKLOADS
    return [name for name, one in sorted(known.items()) if one.directed or topology not in DIRECTED]


@lru_cache(maxsize=512)
def instance(topology: str, workload: str, number: int, free: bool = False) -> Instance:
    """One of the pool; the same for the same arguments."""
    rng = random.Random(f"instance {topology} {workload} {number}{' free' if free else ''}")
    graph, chosen = TOPOLOGIES[topology](rng), (FREE if free else WORKLOADS)[workload]
    rules, utilities = chosen.draw(graph, rng)
    parts = {
        i: Part(
            agent=i,
            run=RUN,
            hears=tuple(sorted(graph.successors(i))),
            heard_by=tuple(sorted(graph.predecessors(i))),
            utility=utilities[i],
            contract=rules,
            record_every=0,
            tick=chosen.tick,
        )
        for i in sorted(graph)
    }
    what = f"{'free-' if free else ''}{rules.get('primitive', workload)}"
    return Instance(f"{topology}/{what}/{number}", parts, chosen.protocol, chosen.promises)
