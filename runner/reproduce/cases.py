"""What is played to reproduce the thesis' section 5.2: mechanism, graph, dynamics, seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from topologies import LoadedScenario

Mechanism = Literal["private-goods", "public-goods"]
Graph = Literal["tree", "er"]
Dynamics = Literal["cournot", "exponential", "k10"]

MECHANISMS: tuple[Mechanism, ...] = ("private-goods", "public-goods")
GRAPHS: tuple[Graph, ...] = ("tree", "er")
DYNAMICS: tuple[Dynamics, ...] = ("cournot", "exponential", "k10")
# The thesis plays these two; Cournot best response is what everything else is compared with.
OF_THE_THESIS: tuple[Dynamics, ...] = ("exponential", "k10")

# The instances of which the medians are known. A seed draws theta, then sigma, and the random graph.
SEEDS = range(5)
# A graph of the same family whose four parameters are those printed for the thesis' unknown graph.
WITNESS = 8

# Absolute distance from the Nash message, 2-norm, at which a run ends: where the thesis compares.
TOLERANCES: dict[Mechanism, float] = {"private-goods": 1e-3, "public-goods": 1e-5}
# Rounds of play after which a run is given up; some instances need more, and count as such.
LIMIT = 60_000

_SCENARIOS: dict[tuple[Mechanism, Graph], str] = {
    ("private-goods", "tree"): "binary-tree-31",
    ("private-goods", "er"): "erdos-renyi-31",
    ("public-goods", "tree"): "public-tree-31",
    ("public-goods", "er"): "public-er-31",
}
_LEARNING: dict[Dynamics, str] = {
    "cournot": 'learning={dynamics="cournot"}',
    "exponential": 'learning={dynamics="exponential"}',
    "k10": 'learning={dynamics="k-period", k=10}',
}


@dataclass(frozen=True, slots=True)
class Case:
    """One run.

    Attributes:
        mechanism: the contract.
        graph: the full binary tree, or an Erdős–Rényi graph with p = 0.3.
        dynamics: Cournot, exponential (4.31), or the mean of the last 10 rounds.
        seed: of utilities and random graph.
        parameters: how xi and delta are chosen: by the proof of convergence, or tuned.
        agents: N; 31 in the thesis.
    """

    mechanism: Mechanism
    graph: Graph
    dynamics: Dynamics
    seed: int
    parameters: Literal["proof", "tuned"] = "proof"
    agents: int = 31

    @property
    def name(self) -> str:
        """Unique among cases, fit for a file."""
        kind = self.mechanism.removesuffix("-goods")
        return f"{kind}-{self.graph}-{self.dynamics}-{self.parameters}-n{self.agents}-seed{self.seed}"

    @property
    def tolerance(self) -> float:
        """Absolute distance from the Nash message at which the run ends."""
        return TOLERANCES[self.mechanism]

    def scenario(self, *overrides: str) -> LoadedScenario:
        """The bundled scenario of this mechanism and graph, with the thesis' numbers.

        There is nothing to share (c = 0), so demands are trades. The agents' own stopping rule is asked for
        more than the run will see: whoever knows the equilibrium ends it (``play``).
        """
        settings = [
            f"topology.agents={self.agents}",
            f"mechanism.parameters={self.parameters}",
            _LEARNING[self.dynamics],
            "stopping.tolerance=1e-9",
            "stopping.scale=1.0",
        ]
        if self.mechanism == "private-goods":
            settings.append("environment.capacities=[0.0]")
        return load_scenario(_SCENARIOS[self.mechanism, self.graph], [*settings, *overrides], self.seed)


def cases(seeds: Iterable[int], *, quick: bool = False) -> list[Case]:
    """All runs of Figures 12 to 15 and of the tuned parameters, those that take longest first.

    Args:
        seeds: of the instances.
        quick: leave out the longest, k = 10 for private goods on the tree.
    """
    found = []
    for seed in seeds:
        found += [
            Case(mechanism, graph, dynamics, seed)
            for mechanism in MECHANISMS
            for graph in GRAPHS
            for dynamics in DYNAMICS
        ]
        found.append(Case("private-goods", "tree", "cournot", seed, "tuned"))
    if quick:
        found = [case for case in found if not is_longest(case)]
    return sorted(found, key=_effort, reverse=True)


def is_longest(case: Case) -> bool:
    """Whether a case is the one that takes as long as all others together."""
    return (case.mechanism, case.graph, case.dynamics) == ("private-goods", "tree", "k10")


def table_one(seeds: Iterable[int]) -> list[Case]:
    """Cases whose agreed parameters make up Table 1: one tree, which has no seed, and every random graph."""
    graphs: Sequence[tuple[Graph, int]] = [("tree", 0), *(("er", seed) for seed in sorted({*seeds, WITNESS}))]
    return [Case(mechanism, graph, "cournot", seed) for mechanism in MECHANISMS for graph, seed in graphs]


def _effort(case: Case) -> float:
    """About proportional to the time a case takes, so that no process is left with the longest."""
    rounds = {"private-goods": 70.0, "public-goods": 1.0}[case.mechanism]
    rounds *= {"tree": 2.8, "er": 1.0}[case.graph] * {"cournot": 1.0, "exponential": 1.5, "k10": 5.5}[
        case.dynamics
    ]
    return rounds / 10.0 if case.parameters == "tuned" else rounds
