"""Rounds of every consensus primitive against the specified ones: same graphs, same inputs, median.

python -m benchmarks.consensus_rounds [--graphs tree ...] [--primitives ratio ...] [--draws R] [--quick]

Absolute tolerance 1e-9, synchronous ticks, independent loss per directed link and tick. An average has
converged at the first tick after which every estimate is within the tolerance of the exact mean; a minimum
once everybody holds it. An estimate of flow updating is the agent's own one, its input less its flows; the
average with the neighbours' that it says next is nearer, and on dense graphs ten per cent sooner.

The specified figures are medians over the inputs ``numpy.random.default_rng(seed).uniform(0, 1, N)`` of as
many seeds from 0 as ``SEEDS`` says: with these, what is not left to chance agrees to the round. Which
messages were lost in them is not known. So where messages get lost the generators' median stands beside the
interval in which 95 of 100 medians lie, over fresh draws of losses, by ``benchmarks.vectorised``.
"""

from __future__ import annotations

import argparse
import math
import statistics
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from benchmarks import vectorised
from benchmarks.lossy import Lossy
from node import lockstep
from node.consensus.extremum import minimum
from node.consensus.flooding import set_flooding
from node.consensus.flow import flow_updating
from node.consensus.metropolis import metropolis
from node.consensus.ratio import ratio
from node.consensus.survey import survey
from node.consensus.tree import tree_sum
from topologies.generators import agent_ids

if TYPE_CHECKING:
    from node.protocol import Protocol, Say

TOLERANCE = 1e-9
LIMIT = 60_000
Hears = dict[str, list[str]]

# primitive, graph -> loss in percent -> rounds (sections 2.1, 3.1, 3.2, 3.3)
SPEC: dict[str, dict[str, dict[int, int]]] = {
    "minimum": {
        "tree": {0: 7, 30: 12, 70: 32},
        "er": {0: 3, 30: 3, 70: 6},
        "path": {0: 22, 30: 30, 70: 69},
        "ring": {0: 50, 30: 75, 70: 163},
        "grid": {0: 49, 30: 49, 70: 73},
    },
    "ratio": {
        "tree": {0: 1239, 10: 1331, 30: 1584, 50: 2054},
        "er": {0: 32, 10: 36, 30: 46, 50: 69},
        "path": {0: 4909, 10: 5264, 30: 6278, 50: 8108},
        "ring": {0: 13679, 10: 14654, 30: 17537, 50: 22729},
        "grid": {0: 8467, 10: 9207, 30: 11335, 50: 15164},
    },
    "metropolis": {
        "tree": {0: 1761},
        "er": {0: 74},
        "path": {0: 5121},
        "ring": {0: 13639},
        "grid": {0: 8648},
    },
    "chebyshev": {"tree": {0: 144}, "er": {0: 29}, "path": {0: 248}, "ring": {0: 404}, "grid": {0: 338}},
    "chebyshev gap/2": {"tree": {0: 204}},
    "chebyshev gap/10": {"tree": {0: 457}},
    "chebyshev gap*2": {"tree": {0: 302}},
    "flow": {
        "tree": {0: 427, 30: 611},
        "er": {0: 183, 30: 124},
        "path": {0: 1695, 30: 2421},
    },
}


# graph -> how many seeds of inputs the specified medians are over
SEEDS = {"tree": 10, "er": 10, "path": 10, "ring": 5, "grid": 3}


def network(name: str) -> Hears:
    """The graph by this name; agent -> whom it hears."""
    match name:
        case "tree":
            graph = nx.full_rary_tree(2, 31)
        case "er":
            graph = nx.gnp_random_graph(31, 0.3, seed=0)
        case "path":
            graph = nx.path_graph(31)
        case "ring":
            graph = nx.cycle_graph(100)
        case "grid":
            graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(32, 32), ordering="sorted")
        case _:
            raise ValueError(f"unknown graph {name!r}")
    ids = agent_ids(len(graph))
    return {ids[i]: [ids[j] for j in sorted(graph[i])] for i in sorted(graph)}


def inputs(hears: Hears, seed: int) -> dict[str, float]:
    """Everybody's input, uniform on [0, 1]."""
    drawn = np.random.default_rng(seed).uniform(0.0, 1.0, len(hears)).tolist()
    return dict(zip(sorted(hears), drawn, strict=True))


def second_eigenvalue(hears: Hears) -> float:
    """The second largest absolute eigenvalue of the Metropolis weights."""
    index = {agent: k for k, agent in enumerate(sorted(hears))}
    weights = np.zeros((len(index), len(index)))
    for i, neighbours in hears.items():
        for j in neighbours:
            weights[index[i], index[j]] = 1.0 / (1 + max(len(neighbours), len(hears[j])))
    weights += np.diag(1.0 - weights.sum(axis=1))
    return float(np.sort(np.abs(np.linalg.eigvalsh(weights)))[-2])


def own_estimate(x: float, say: Say) -> float:
    """Of flow updating: what the input and the flows come to, before the average with the neighbours'."""
    return x - math.fsum(flow for _, flow, _, _ in say.snapshot[3])


def rounds_of(primitive: str, hears: Hears, x: dict[str, float], loss: float, seed: int) -> int:
    """Rounds of the generators until everybody is right; the Metropolis round of degrees does not count."""
    mean, least = math.fsum(x.values()) / len(x), min(x.values())
    name, *guess = primitive.split()
    rho = None
    if name == "chebyshev":
        gap = 1.0 - second_eigenvalue(hears)
        rho = 1.0 - gap * {"": 1.0, "gap/2": 0.5, "gap/10": 0.1, "gap*2": 2.0}["".join(guess)]

    def make(i: str) -> Protocol:
        match name:
            case "minimum":
                return minimum((x[i],), LIMIT)
            case "ratio":
                return ratio(x[i], hears[i])
            case "flow":
                return flow_updating(x[i], hears[i])
            case "metropolis" | "chebyshev":
                return metropolis(x[i], hears[i], rho)
        raise ValueError(f"unknown primitive {primitive!r}")

    def done(i: str) -> bool:
        say = net.says[i]
        if name == "minimum":
            return bool(say.body == (least,))
        return abs((own_estimate(x[i], say) if name == "flow" else say.report) - mean) <= TOLERANCE

    extra = int(name in ("metropolis", "chebyshev"))
    net = Lossy({i: make(i) for i in hears}, hears, loss, seed)
    behind = set(hears)
    while True:
        net.step()
        # One that is not right yet is proof enough; everybody is looked at only when it is.
        behind = {i for i in behind if not done(i)} or {i for i in hears if not done(i)}
        if not behind:
            return net.ticks - extra
        if net.ticks >= LIMIT:
            raise SystemExit(f"{primitive}: not within {TOLERANCE} after {LIMIT} rounds")


def rounds_by_numpy(
    primitive: str, hears: Hears, x: dict[str, float], loss: float, draws: int, draw: vectorised.Draw
) -> list[int]:
    """The same by the other account, for every draw of losses; minimum, ratio and flow only."""
    wiring, mean = vectorised.Wiring(hears), math.fsum(x.values()) / len(x)
    values = np.array([x[i] for i in wiring.agents])
    if primitive == "minimum":
        found = vectorised.minimum(wiring, values, loss, draws, draw, LIMIT)
    else:
        of = vectorised.ratio if primitive == "ratio" else vectorised.flow
        found = of(wiring, values, mean, loss, draws, draw, TOLERANCE, LIMIT)
    return [int(rounds) for rounds in found]


def interval(primitive: str, graph: str, loss: float, draws: int) -> tuple[float, float, float]:
    """The mean of the median over the inputs, and between what 95 of 100 such medians lie."""
    hears, by_seed = network(graph), []
    for seed in range(SEEDS[graph]):
        rng = np.random.default_rng([seed, 1])  # not the one of the inputs
        draw = lambda count, rng=rng: rng.random((draws, count))  # noqa: E731
        by_seed.append(rounds_by_numpy(primitive, hears, inputs(hears, seed), loss, draws, draw))
    medians = np.median(by_seed, axis=0)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(medians.mean()), float(low), float(high)


def exact_rounds(graph: str, seed: int) -> str:
    """Rounds of what ends by itself, and whether it was right."""
    hears = network(graph)
    x = inputs(hears, seed)
    found = lockstep.run({i: survey(i) for i in hears}, hears)
    diameter = found.results[min(hears)].diameter
    summed = lockstep.run({i: tree_sum(i, (x[i],)) for i in hears}, hears)
    height = max(result.hops for result in summed.results.values())
    flooded = lockstep.run({i: set_flooding(i, (x[i],), hears[i], diameter) for i in hears}, hears)
    total = math.fsum(x.values())
    right = {r.total for r in summed.results.values()} == {(total,)} and {
        math.fsum(v for (v,) in r.values()) for r in flooded.results.values()
    } == {total}
    return (
        f"{graph:7}  D = {diameter:3}   survey {found.rounds:4} (2D+2 = {2 * diameter + 2})   "
        f"tree sum {summed.rounds:4} (3 to 3*{height}+1 = {3 * height + 1})   "
        f"set flooding {flooded.rounds:3} (D)   bit-identical and exact: {right}"
    )


def cell(primitive: str, graph: str, percent: int, expected: int, draws: int, by_generators: bool) -> str:
    """One row: specified, measured, what the draw of losses leaves open, and by which account."""
    hears, loss = network(graph), percent / 100
    ours: float | None = None
    row = f"{primitive:17}{graph:6}{percent:4}%{expected:8}"
    if by_generators:
        found = [rounds_of(primitive, hears, inputs(hears, k), loss, k) for k in range(SEEDS[graph])]
        ours = statistics.median(found)
        row += f"{ours:9g}{ours / expected - 1:+8.1%}"
    elif not loss and primitive in ("minimum", "ratio", "flow"):
        mean, _, _ = interval(primitive, graph, 0.0, 1)
        return row + f"{mean:9g}{mean / expected - 1:+8.1%}   by NumPy"
    else:
        row += f"{'-':>9}{'':8}"
    if loss:
        mean, low, high = interval(primitive, graph, loss, draws)
        verdict = "within" if low <= expected <= high else "outside"
        row += f"   {mean:8.1f}{mean / expected - 1:+7.1%}  [{low:g}, {high:g}] {verdict}"
    return row


def main() -> None:
    """Print specified rounds, ours, the deviation and what chance leaves open."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", nargs="+", default=list(SEEDS), choices=list(SEEDS))
    parser.add_argument("--primitives", nargs="+", default=list(SPEC), choices=list(SPEC))
    parser.add_argument("--draws", type=int, default=200, help="of losses, for the intervals")
    parser.add_argument("--quick", action="store_true", help="generators only below 1e6 agent rounds a seed")
    chosen = parser.parse_args()
    sizes = {"tree": 31, "er": 31, "path": 31, "ring": 100, "grid": 1024}
    print(
        f"{'primitive':17}{'graph':6}{'loss':>5}{'spec':>8}{'ours':>9}{'off':>8}   "
        f"{'mean':>8}{'off':>7}  95 % of medians, by NumPy"
    )
    for primitive in chosen.primitives:
        for graph in chosen.graphs:
            for percent, expected in SPEC[primitive].get(graph, {}).items():
                work = expected * sizes[graph]
                # Averages vary little with the draw, and these cells are large.
                draws = chosen.draws if work < 1e6 else max(chosen.draws // 10, 1)
                row = cell(primitive, graph, percent, expected, draws, work < 1e6 or not chosen.quick)
                print(row, flush=True)
    for graph in chosen.graphs:
        print(exact_rounds(graph, 0), flush=True)


if __name__ == "__main__":
    main()
