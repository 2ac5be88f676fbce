"""Consensus scenarios: what their sections mean together, the draws, and what the graph must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from node.consensus.robustness import find_cut
from node.protocols.consensus import FREE
from topologies.errors import Invalid, Problem, listed, shown
from topologies.families import QuadraticFamily
from topologies.model import ConsensusEnvironment, ConsensusMechanism
from topologies.nearest import did_you_mean
from topologies.values import Uniform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.consensus.robustness import Cut
    from topologies.model import Scenario

AVERAGES = ("ratio", "metropolis", "flow", "trimmed")
# What sums up along links in both directions, and is wrong where they have one.
UNDIRECTED = ("ratio", "metropolis", "flow", "tree", "set")
# Agents for whom a given diameter is held against the graph before a run: a second. More find out themselves.
MOST_MEASURED = 2000


def check_rules(spec: Scenario) -> None:
    """Whether the sections of a consensus scenario belong together.

    Raises:
        Invalid: naming the key that does not.
    """
    environment, mechanism = spec.environment, spec.mechanism
    if not isinstance(mechanism, ConsensusMechanism):
        raise Invalid(
            Problem(
                "mechanism.name",
                f"got {shown(mechanism.name)}",
                '"consensus", because environment.kind = "consensus"',
            )
        )
    if not isinstance(environment, ConsensusEnvironment):
        raise Invalid(
            Problem(
                "environment.kind",
                f"got {shown(environment.kind)}",
                '"consensus", because mechanism.name = "consensus"',
            )
        )
    if spec.utilities != QuadraticFamily():
        given = spec.utilities.model_dump(mode="json", exclude_none=True)
        raise Invalid(
            Problem("utilities", f"got {shown(given)}", "no such section; environment.values takes its place")
        )
    if spec.learning.dynamics != "cournot":
        raise Invalid(
            Problem(
                "learning.dynamics",
                f"got {shown(spec.learning.dynamics)}",
                'no such section, because mechanism.name = "consensus": nobody responds to beliefs there',
            )
        )
    if spec.stopping.scale is not None:
        raise Invalid(
            Problem(
                "stopping.scale",
                f"got {shown(spec.stopping.scale)}",
                "no such key; the tolerance of consensus is absolute",
            )
        )
    exact = mechanism.primitive not in AVERAGES
    if spec.stopping.rule not in (("counters",) if exact else ("counters", "windows")):
        raise Invalid(
            Problem(
                "stopping.rule",
                f"got {shown(spec.stopping.rule)}",
                f"no such key; {mechanism.primitive} is exact after so many rounds, and ends then"
                if exact
                else '"counters" or "windows"',
            )
        )
    if spec.synchrony.mode == "free" and mechanism.primitive not in FREE:
        raise Invalid(
            Problem(
                "synchrony.mode",
                'got "free"',
                f'"rounds", because mechanism.primitive = {shown(mechanism.primitive)}; '
                f"free mode has {', '.join(FREE)}",
            )
        )
    if mechanism.primitive == "trimmed" and spec.stopping.max_rounds is None:
        raise Invalid(
            Problem(
                "stopping.max_rounds",
                "missing",
                "a whole number >= 1: trimmed averaging plays so many rounds, as liars may hold up rules",
            )
        )
    if mechanism.primitive in AVERAGES and not isinstance(environment.values, Uniform):
        wide = [a for a, v in environment.values.items() if isinstance(v, tuple) and len(v) != 1]
        if wide:
            raise Invalid(
                Problem(
                    f"environment.values.{wide[0]}",
                    f"got {shown(environment.values[wide[0]])}",
                    f"one number; {mechanism.primitive} averages one an agent",
                )
            )


def check_graph(spec: Scenario, graph: nx.DiGraph, directed: bool) -> None:
    """Whether the primitive is right on this graph.

    Raises:
        Invalid: for directed edges where both directions are needed, for a graph that cannot bear the liars
            it is to bear, with the cut that shows it, and for a diameter that is less than the graph's.
    """
    mechanism = spec.mechanism
    assert isinstance(mechanism, ConsensusMechanism)
    if directed and mechanism.primitive in UNDIRECTED:
        raise Invalid(
            Problem(
                "topology",
                "has edges of one direction",
                f"an undirected graph; {mechanism.primitive} talks both ways on every edge",
            )
        )
    if mechanism.diameter is not None and len(graph) <= MOST_MEASURED:
        diameter = nx.diameter(graph)
        if mechanism.diameter < diameter:
            raise Invalid(
                Problem(
                    "mechanism.diameter",
                    f"got {mechanism.diameter}",
                    f"at least the diameter of the graph, which is {diameter}",
                )
            )
    if mechanism.primitive == "trimmed" and mechanism.f:
        need, (cut, _) = robustness(mechanism.f, graph)
        if cut is not None:
            raise Invalid(
                Problem(
                    "topology",
                    f"is not {need}-robust: nobody in {{{listed(cut[0])}}} hears {need} agents "
                    f"outside of it, nor does anybody in {{{listed(cut[1])}}}",
                    f"a (2f+1)-robust graph for mechanism.f = {mechanism.f}",
                )
            )


def robustness(f: int, graph: nx.DiGraph) -> tuple[int, tuple[Cut | None, bool]]:
    """The robustness that trimmed averaging needs for ``f`` liars, and what ``find_cut`` says of it."""
    need = 2 * f + 1
    return need, find_cut({agent: sorted(graph.successors(agent)) for agent in graph}, need)


def draw_values(
    environment: ConsensusEnvironment, agents: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """One private value per agent, ``{"family": "value", "value": [numbers]}``.

    Drawn ones come from ``numpy.random.default_rng(seed)``, agents ascending, one number each.

    Raises:
        Invalid: for unknown agents, agents without a value, and values of different lengths.
    """
    if isinstance(environment.values, Uniform):
        rng = np.random.default_rng(seed if environment.seed is None else environment.seed)
        drawn = rng.uniform(*environment.values.uniform, len(agents)).tolist()
        return {a: {"family": "value", "value": [v]} for a, v in zip(agents, drawn, strict=True)}
    given = {a: list(v) if isinstance(v, tuple) else [v] for a, v in environment.values.items()}
    problems = [
        Problem(
            f"environment.values.{a}",
            "no such agent in the topology",
            f"one of {listed(agents)}{did_you_mean(a, agents)}",
        )
        for a in sorted(set(given) - set(agents))
    ]
    if missing := [a for a in agents if a not in given]:
        problems.append(
            Problem("environment.values", f"nothing for {listed(missing)}", "a value for every agent")
        )
    if not problems:
        width = len(given[agents[0]])
        problems = [
            Problem(f"environment.values.{a}", f"got {len(v)} numbers", f"{width}, as for agent {agents[0]}")
            for a, v in given.items()
            if len(v) != width
        ]
    if problems:
        raise Invalid(*problems)
    return {a: {"family": "value", "value": given[a]} for a in agents}


def contract(spec: Scenario) -> dict[str, Any]:
    """The public rules of a consensus run; ``rho``, ``f``, ``diameter``, ``max_rounds`` only where given."""
    mechanism, stopping = spec.mechanism, spec.stopping
    assert isinstance(mechanism, ConsensusMechanism)
    optional = ("rho", "f", "diameter")
    extra = {key: value for key in optional if (value := getattr(mechanism, key)) is not None}
    limit = {"max_rounds": stopping.max_rounds} if stopping.max_rounds is not None else {}
    return {
        "mechanism": "consensus",
        "primitive": mechanism.primitive,
        **extra,
        "stopping": {"rule": stopping.rule, "tolerance": stopping.tolerance, **limit},
    }
