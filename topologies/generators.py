"""Graph generators: their parameters as a scenario gives them, and the graph each one draws.

A generator numbers its agents 0..N-1; ``agent_ids`` names them so that string order is numeric order.
``seed`` is None where the file gave none; the scenario's own seed is then used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import networkx as nx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from topologies.errors import Invalid, Problem, shown

if TYPE_CHECKING:
    from collections.abc import Callable

# How many seeds in a row a random generator may try. At the connectivity threshold about one graph in
# three is connected, so a failure here means parameters far below it, not bad luck.
TRIES = 200
# Expected agents without any edge above which no draw is tried: all have one with probability ~ exp(-20).
HOPELESS = 20.0

Agents = Annotated[int, Field(ge=3, le=262144, description="a number of agents, 3 to 262144")]
# For generators whose work grows with the square of the number of agents.
FewAgents = Annotated[int, Field(ge=3, le=4096, description="a number of agents, 3 to 4096")]
Side = Annotated[int, Field(ge=1, le=256, description="a whole number from 1 to 256")]
Seed = Annotated[int | None, Field(ge=0, description="a whole number >= 0; without it the scenario's seed")]
Probability = Annotated[float, Field(gt=0, le=1, description="a probability in (0, 1]")]


class Section(BaseModel):
    """A table of a scenario file: no unknown keys, no coercion, no NaN or infinity, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Generated(Section):
    """What all generators share. ``draw`` gives a graph on 0..N-1, directed if ``is_directed``."""

    is_directed: ClassVar[bool] = False

    def draw(self, seed: int) -> nx.Graph:
        """The graph for this seed; equal parameters and seed give an equal graph.

        Raises:
            Invalid: if no connected graph was found, or the parameters contradict each other.
        """
        raise NotImplementedError


class Seedless(Generated):
    """A generator without randomness."""

    seed: ClassVar[None] = None


class BinaryTree(Seedless):
    """Full binary tree, filled level by level from the root."""

    generator: Literal["binary-tree"]
    agents: Agents

    def draw(self, seed: int) -> nx.Graph:
        return nx.full_rary_tree(2, self.agents)


class Tree(Seedless):
    """Full tree in which every inner agent has ``branching`` children, filled level by level."""

    generator: Literal["tree"]
    agents: Agents
    branching: int = Field(ge=1, description="a whole number >= 1")

    def draw(self, seed: int) -> nx.Graph:
        return nx.full_rary_tree(self.branching, self.agents)


class RandomTree(Generated):
    """Tree drawn uniformly among all labelled trees (its Pruefer sequence is uniform)."""

    generator: Literal["random-tree"]
    agents: Agents
    seed: Seed = None

    def draw(self, seed: int) -> nx.Graph:
        sequence = np.random.default_rng(seed).integers(0, self.agents, self.agents - 2)
        return nx.from_prufer_sequence(sequence.tolist())


class ErdosRenyi(Generated):
    """Every pair is an edge with probability ``p``; seeds are tried upwards until it is connected."""

    generator: Literal["erdos-renyi"]
    agents: FewAgents
    p: Probability
    seed: Seed = None

    def draw(self, seed: int) -> nx.Graph:
        alone = self.agents * (1 - self.p) ** (self.agents - 1)
        if alone > HOPELESS:
            raise _wrong(
                "p", self.p, f"more: this leaves {alone:.0f} of {self.agents} agents alone on average"
            )
        return _connected(lambda s: nx.gnp_random_graph(self.agents, self.p, seed=s), seed, "p", self.p)


class SmallWorld(Generated):
    """Watts-Strogatz: a ring of ``neighbours`` nearest agents, each edge rewired with probability ``p``."""

    generator: Literal["small-world"]
    agents: Agents
    neighbours: int = Field(ge=2, description="a whole number >= 2")
    p: float = Field(ge=0, le=1, description="a probability in [0, 1]")
    seed: Seed = None

    def draw(self, seed: int) -> nx.Graph:
        if self.neighbours >= self.agents:
            raise _wrong("neighbours", self.neighbours, f"fewer than agents = {self.agents}")
        return _connected(
            lambda s: nx.watts_strogatz_graph(self.agents, self.neighbours, self.p, seed=s), seed, "p", self.p
        )


class ScaleFree(Generated):
    """Barabasi-Albert: every new agent links to ``links`` earlier ones, popular ones more likely."""

    generator: Literal["scale-free"]
    agents: Agents
    links: int = Field(default=2, ge=1, description="a whole number >= 1")
    seed: Seed = None

    def draw(self, seed: int) -> nx.Graph:
        if self.links >= self.agents:
            raise _wrong("links", self.links, f"fewer than agents = {self.agents}")
        return nx.barabasi_albert_graph(self.agents, self.links, seed=seed)


class RandomRegular(Generated):
    """Every agent has exactly ``degree`` neighbours, drawn at random; seeds are tried until connected."""

    generator: Literal["random-regular"]
    agents: Agents
    degree: int = Field(default=3, ge=2, description="a whole number >= 2")
    seed: Seed = None

    def draw(self, seed: int) -> nx.Graph:
        if self.degree >= self.agents or self.degree * self.agents % 2:
            raise _wrong(
                "degree",
                self.degree,
                f"less than agents = {self.agents}, with an even product agents x degree",
            )
        return _connected(
            lambda s: nx.random_regular_graph(self.degree, self.agents, seed=s), seed, "degree", self.degree
        )


class Ring(Seedless):
    """Cycle."""

    generator: Literal["ring"]
    agents: Agents

    def draw(self, seed: int) -> nx.Graph:
        return nx.cycle_graph(self.agents)


class Path(Seedless):
    """Line of agents: the largest diameter there is."""

    generator: Literal["path"]
    agents: Agents

    def draw(self, seed: int) -> nx.Graph:
        return nx.path_graph(self.agents)


class Star(Seedless):
    """One agent in the middle, all others its neighbours."""

    generator: Literal["star"]
    agents: Agents

    def draw(self, seed: int) -> nx.Graph:
        return nx.star_graph(self.agents - 1)


class Complete(Seedless):
    """Everybody is everybody's neighbour."""

    generator: Literal["complete"]
    agents: FewAgents

    def draw(self, seed: int) -> nx.Graph:
        return nx.complete_graph(self.agents)


class Grid(Seedless):
    """Rectangular grid, numbered row by row."""

    generator: Literal["grid"]
    rows: Side
    columns: Side

    def draw(self, seed: int) -> nx.Graph:
        return nx.convert_node_labels_to_integers(
            nx.grid_2d_graph(self.rows, self.columns), ordering="sorted"
        )


class DirectedRing(Generated):
    """Cycle in which agent k listens to agent k+1 only, and ``chords`` further one-way edges at random."""

    is_directed: ClassVar[bool] = True
    generator: Literal["directed-ring"]
    agents: FewAgents
    chords: int = Field(default=0, ge=0, description="a whole number >= 0")
    seed: Seed = None

    def draw(self, seed: int) -> nx.DiGraph:
        n, most = self.agents, self.agents * (self.agents - 2)
        if self.chords > most:
            raise _wrong("chords", self.chords, f"at most {most} with agents = {n}")
        graph = nx.cycle_graph(n, create_using=nx.DiGraph)
        # A chord from i goes to i+2 .. i+n-1: neither to itself nor along the cycle.
        for chord in sorted(np.random.default_rng(seed).choice(most, self.chords, replace=False).tolist()):
            i, step = divmod(chord, n - 2)
            graph.add_edge(i, (i + 2 + step) % n)
        return graph


AnyGenerator = (
    BinaryTree | Tree | RandomTree | ErdosRenyi | SmallWorld | ScaleFree | RandomRegular | Ring | Path | Star
    | Complete | Grid | DirectedRing
)  # fmt: skip


def agent_ids(n: int) -> list[str]:
    """Names of n generated agents: ``a00``, ``a01``, ...; ascending as strings and as numbers."""
    width = max(2, len(str(n - 1)))
    return [f"a{k:0{width}d}" for k in range(n)]


def _connected(draw: Callable[[int], nx.Graph], seed: int, key: str, value: Any) -> nx.Graph:
    for s in range(seed, seed + TRIES):
        graph = draw(s)
        if nx.is_connected(graph):
            return graph
    raise Invalid(
        Problem(
            f"topology.{key}",
            f"got {shown(value)}, and none of the {TRIES} graphs drawn with seeds {seed} to "
            f"{seed + TRIES - 1} is connected",
            "parameters that make a connected graph likely",
        )
    )


def _wrong(key: str, value: Any, expected: str) -> Invalid:
    return Invalid(Problem(f"topology.{key}", f"got {shown(value)}", expected))
