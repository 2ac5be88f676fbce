"""PADR, FAST-PADR and Newton's prices on 45 random unicast networks, beside the figures of section 5b.

    python docs/checks/network_random.py [SEED]

Networks are drawn from three models of routes, 15 of each: shortest paths between random nodes of a random
graph, the way to the root of a random tree, and any few links. They have 8 to 39 agents and 3 to 19 links;
utilities are logarithmic, exponential and square-root. What fails (A4) is left out, for there the optimum is
not attained: a link needs two agents with x* > 0. Price moves from price 1 until max |x - x*| / max x* stays
below 1e-2, 1e-4, 1e-6. Section 5b has 45 such networks, too, but not how they were drawn.
"""

from __future__ import annotations

import random
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import networkx as nx

sys.path.insert(0, str(Path(__file__).parents[2]))

from network_variants import rounds

from node.mechanisms.network.links import Link
from node.mechanisms.network.optimum import NotSolved, program, solve
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import Exponential, Log, SquareRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EACH, LIMIT = 15, 900
AGENTS, LINKS = (8, 39), (3, 19)
POSITIVE = 1e-6  # of the largest x*
VARIANTS = {"PADR": "padr", "FAST-PADR": "fast", "Newton": "whole H"}


def shortest_paths(rng: random.Random, agents: int) -> list[list[str]]:
    """Between random nodes of a random connected graph."""
    nodes = rng.randint(4, 10)
    edges = min(rng.randint(nodes, 18), nodes * (nodes - 1) // 2)
    graph = nx.gnm_random_graph(nodes, edges, rng)
    for a, b in zip(range(nodes), range(1, nodes), strict=False):
        if not nx.has_path(graph, a, b):
            graph.add_edge(a, b)
    pairs = [rng.sample(range(nodes), 2) for _ in range(agents)]
    paths = [nx.shortest_path(graph, a, b) for a, b in pairs]
    return [["-".join(map(str, sorted(hop))) for hop in pairwise(path)] for path in paths]


def to_the_root(rng: random.Random, agents: int) -> list[list[str]]:
    """From random nodes of a random tree."""
    links = rng.randint(*LINKS)
    parent = {k: rng.randrange(k) for k in range(1, links + 1)}

    def way(k: int) -> list[str]:
        return [] if k == 0 else [str(k), *way(parent[k])]

    return [way(rng.randint(1, links)) for _ in range(agents)]


def any_few(rng: random.Random, agents: int) -> list[list[str]]:
    """One to four links, whichever."""
    links = [str(k) for k in range(rng.randint(*LINKS))]
    return [rng.sample(links, rng.randint(1, min(4, len(links)))) for _ in range(agents)]


MODELS: tuple[Callable[[random.Random, int], list[list[str]]], ...] = (shortest_paths, to_the_root, any_few)


def network(rng: random.Random, model: Callable[[random.Random, int], list[list[str]]]) -> dict | None:
    """Contracts of a network; None if it is none of those that are asked for."""
    routes = model(rng, rng.randint(*AGENTS))
    users: dict[str, list[int]] = {}
    for i, route in enumerate(routes):
        for name in route:
            users.setdefault(name, []).append(i)
    if not LINKS[0] <= len(users) <= LINKS[1] or min(map(len, users.values())) < 2:
        return None
    names = [f"a{i:02}" for i in range(len(routes))]
    links = {
        name: Link(name, rng.uniform(2.0, 10.0), {names[i]: rng.uniform(0.5, 2.0) for i in who})
        for name, who in users.items()
    }
    contracts = {}
    for name, route in zip(names, routes, strict=True):
        family, w, s = (
            rng.choice((Log, Exponential, SquareRoot)),
            rng.uniform(2.0, 12.0),
            rng.uniform(0.5, 2.0),
        )
        contracts[name] = Unicast(name, family(w, s), [links[link] for link in route])
    try:
        best = solve(program(contracts), {i: c.valuation for i, c in contracts.items()}).allocation
    except NotSolved:  # dependent links: no optimum to compare with to the last digit
        return None
    least = POSITIVE * max(best.values())
    enough = all(sum(best[i] > least for i in link.coefficients) >= 2 for link in links.values())
    return contracts if enough else None


def networks(seed: int) -> Iterator[dict]:
    """``EACH`` of every model."""
    for model in MODELS:
        rng, found = random.Random(f"{seed} {model.__name__}"), 0
        while found < EACH:
            if (contracts := network(rng, model)) is not None:
                found += 1
                yield contracts


def main() -> None:
    """Print the tables."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    found = [{name: rounds(c, v, LIMIT) for name, v in VARIANTS.items()} for c in networks(seed)]
    sys.stdout.write("| prices | median to 1e-2/1e-4/1e-6 | at most |\n|---|---|---|\n")
    for name in VARIANTS:
        columns = list(zip(*(each[name] for each in found), strict=True))
        ends = "/".join(str(max(c)) if max(c) < LIMIT else "-" for c in columns)
        sys.stdout.write(f"| {name} | {'/'.join(f'{median(c):g}' for c in columns)} | {ends} |\n")
    sys.stdout.write("\n| times faster than PADR | median | least |\n|---|---|---|\n")
    for name in [name for name in VARIANTS if name != "PADR"]:
        ratios = [
            [p / max(1, q) for p, q in zip(each["PADR"], each[name], strict=True)]
            for each in found
            if each["PADR"][2] < LIMIT
        ]
        columns = list(zip(*ratios, strict=True))
        shown = ("/".join(f"{f(c):.1f}" for c in columns) for f in (median, min))
        sys.stdout.write(f"| {name} ({len(ratios)} networks) | {' | '.join(shown)} |\n")


if __name__ == "__main__":
    main()
