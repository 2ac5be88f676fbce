"""What the results of a workload promise, checked by one who knows everything: never early, never wrong.

Given are all parts, all results, and what every agent recorded in every round of the run in lockstep; the
other runs must equal that one bit for bit, so what holds for it holds for them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

from node.part import AgentId, Part
from node.protocols.allocated import scale_of
from runner.result import environment_of

Records = Sequence[Mapping[AgentId, Mapping[str, float]]]
Check = Callable[[Mapping[AgentId, Part], Mapping[AgentId, Any], Records], Iterator[str]]

# Estimates of one run differ from exact arithmetic by the roundings of some hundred rounds.
ROUNDING = 1e-9


def allocation(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """The allocation is as near to the optimum as was promised; nobody stopped early; money adds up."""
    rules, first = next(iter(parts.values())).contract, next(iter(results.values()))
    if (first.agents, first.diameter) != (len(parts), diameter(parts)):
        yield f"N = {first.agents} and D = {first.diameter}, expected {len(parts)} and {diameter(parts)}"
    yield from _accurate(parts, results)
    if first.play_rounds != rules["stopping"].get("max_rounds"):
        yield from _nobody_early(first.play_rounds, first.diameter, records, share_of(rules))


def _accurate(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], *, free: bool = False
) -> Iterator[str]:
    rules = next(iter(parts.values())).contract
    stopping = rules["stopping"]
    first = next(iter(results.values()))
    stop = "stopped" if free else "play_rounds"
    for fact in ("agents", "diameter", "parameters", "bound", "norm", "guaranteed", stop):
        if any(getattr(result, fact) != getattr(first, fact) for result in results.values()):
            yield f"the agents disagree on {fact}"
    satisfied = all(result.satisfied for result in results.values())
    if not satisfied and first.play_rounds != stopping.get("max_rounds"):
        yield f"stopped unsatisfied after {first.play_rounds} rounds"
    if satisfied:
        optimum = environment_of(rules, {i: part.utility for i, part in parts.items()}).optimum()
        scale = scale_of(rules, len(parts))
        off = max(float(np.abs(results[i].allocation - optimum.allocation[i]).max()) for i in parts)
        if off > stopping["tolerance"] * scale:
            yield f"satisfied, but {off / scale:.3g} off the optimum; promised {stopping['tolerance']:g}"
    yield from settles([result.tax for result in results.values()])


def free_allocation(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """The same in free mode, where every agent has ticks of its own and all stop in one round of the side."""
    first = next(iter(results.values()))
    if (first.agents, first.diameter) != (len(parts), diameter(parts)):
        yield f"N = {first.agents} and D = {first.diameter}, expected {len(parts)} and {diameter(parts)}"
    yield from _accurate(parts, results, free=True)


def share_of(rules: Mapping[str, Any]) -> float:
    """Whoever remembers is at rest at half the threshold (``node.protocols.play``)."""
    return 1.0 if rules["learning"] == "cournot" else 0.5


def summary(parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records) -> Iterator[str]:
    """The same on a spanning tree, on which the depth is what counts for stopping."""
    rules, first = next(iter(parts.values())).contract, next(iter(results.values()))
    depth = tree_depth(parts)
    if not depth <= first.diameter <= 2 * depth:
        yield f"D = {first.diameter} on a tree of depth {depth}"
    yield from _accurate(parts, results)
    if first.agents != len(parts):
        yield f"N = {first.agents}, expected {len(parts)}"
    if first.play_rounds != rules["stopping"].get("max_rounds"):
        yield from _nobody_early(first.play_rounds, depth, records, share_of(rules))


def free_summary(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """The same in free mode."""
    first, depth = next(iter(results.values())), tree_depth(parts)
    if first.agents != len(parts) or not depth <= first.diameter <= 2 * depth:
        yield f"N = {first.agents} and D = {first.diameter}, expected {len(parts)} on a tree of depth {depth}"
    yield from _accurate(parts, results, free=True)


def tree_depth(parts: Mapping[AgentId, Part]) -> int:
    """Of the breadth-first tree of the smallest id."""
    graph = _graph(parts)
    return int(max(nx.single_source_shortest_path_length(graph, min(parts)).values()))


def _nobody_early(play_rounds: int, hops: int, records: Records, share: float) -> Iterator[str]:
    """Counters: what falls due at the end of round k was announced in k - D, by an agent that knew that
    everybody had been satisfied D rounds before, in k - 2D; on a tree the depth takes the place of D."""
    play = len(records) - play_rounds
    limits = {share * row["threshold"] for row in records[play].values()}
    due = len(records) - 1 - 2 * hops
    if due < play + 1:
        yield f"stopped after {play_rounds} rounds of play, fewer than {2 * hops}"
        return
    late = {i: row["residual"] for i, row in records[due].items() if row["residual"] > max(limits)}
    if late:
        name, residual = max(late.items(), key=lambda item: item[1])
        yield (
            f"early stop: {2 * hops} rounds before the end {len(late)} agents were unsatisfied, "
            f"{name} with a residual of {residual:.3g}; threshold {max(limits):.3g}"
        )


def settles(taxes: Sequence[float]) -> Iterator[str]:
    """The sum of all taxes is the same number, bit for bit, whoever adds it up and in which order."""
    rng, order = random.Random(0), list(taxes)
    sums = {math.fsum(order)}
    for _ in range(5):
        rng.shuffle(order)
        sums.add(math.fsum(order))
    if len(sums) != 1 or not all(map(math.isfinite, sums)):
        yield f"the taxes add up to {sorted(sums)}, depending on the order"


def consensus(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """The value is the true one: exactly where that is promised, else within the tolerance."""
    rules = next(iter(parts.values())).contract
    primitive = rules["primitive"]
    columns = list(zip(*(parts[i].utility["value"] for i in parts), strict=True))
    found = {i: results[i].value for i in parts}
    exact: tuple[float, ...] | None = None
    match primitive:
        case "minimum":
            exact = tuple(map(min, columns))
        case "maximum":
            exact = tuple(map(max, columns))
        case "set" | "tree":
            exact = tuple(map(math.fsum, columns))
        case "diameter":
            exact = (float(diameter(parts)),)
    if exact is not None:
        wrong = [i for i in parts if found[i] != exact]
        if wrong:
            yield f"{primitive}: {wrong[0]} has {found[wrong[0]]}, expected {exact} at all"
        return
    yield from averages(parts, results)


def free_consensus(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """The same in free mode."""
    yield from consensus(parts, results, records)
    first = next(iter(results.values()))
    if (first.agents, first.diameter) != (len(parts), diameter(parts)):
        yield f"N = {first.agents} and D = {first.diameter}, expected {len(parts)} and {diameter(parts)}"
    if len({result.stopped for result in results.values()}) != 1:
        yield f"the agents stopped in rounds {sorted({r.stopped for r in results.values()})} of their rule"


def averages(parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any]) -> Iterator[str]:
    """Whoever is satisfied has a mean within the tolerance."""
    rules = next(iter(parts.values())).contract
    primitive, stopping = rules["primitive"], rules["stopping"]
    values = [parts[i].utility["value"][0] for i in parts]
    found = {i: results[i].value for i in parts}
    if len({results[i].satisfied for i in parts}) != 1:
        yield f"{primitive}: some agents stopped satisfied and others did not"
    if not all(results[i].satisfied for i in parts):
        return  # ended by max_rounds, and says so
    estimates = [value[0] for value in found.values() if value]
    if len(estimates) != len(parts):
        yield f"{primitive}: satisfied without an estimate"
    elif primitive == "trimmed":
        if min(estimates) < min(values) or max(estimates) > max(values):
            yield f"trimmed: an estimate outside [{min(values)}, {max(values)}]"
    else:
        mean, limit = math.fsum(values) / len(values), stopping["tolerance"]
        # Chebyshev's two-step recursion and flows are not monotone: what was within the tolerance when it
        # was asked may be a little further apart when all stop.
        slack = (
            1.0 if primitive == "ratio" or (rules.get("rho") is None and primitive == "metropolis") else 4.0
        )
        off = max(abs(estimate - mean) for estimate in estimates)
        if off > slack * limit + ROUNDING:
            yield f"{primitive}: satisfied, but {off:.3g} off the mean; promised {limit:g}"
        apart = max((abs(a - b) for a, b in itertools.pairwise(sorted(estimates))), default=0.0)
        if apart > slack * limit + ROUNDING:
            yield f"{primitive}: satisfied, but two estimates are {apart:.3g} apart; promised {limit:g}"


def diameter(parts: Mapping[AgentId, Part]) -> int:
    """The largest distance between two agents."""
    graph = _graph(parts)
    return int(nx.diameter(graph))


def _graph(parts: Mapping[AgentId, Part]) -> nx.DiGraph:
    graph: nx.DiGraph = nx.DiGraph([(i, j) for i, part in parts.items() for j in part.hears])
    graph.add_nodes_from(parts)  # somebody may be all alone
    return graph
