"""The figures of docs/errata.md on the end of the survey: does the rule ever fail on a directed graph?

    python docs/checks/survey_end.py        (some minutes)

The rule: flood M, the largest eccentricity known so far; once the own one is known, leave at the end of round
2M + 2. The edge i -> j means that i listens to j; ecc(i) = max_r d(i,r). Tried on every strongly connected
labelled graph of 3, 4 and 5 agents and on random ones of 5 to 14.
"""

from __future__ import annotations

import itertools
import random
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Graph = list[list[int]]  # agent -> those it listens to


def diameter(graph: Graph) -> int | None:
    """The largest distance, or None if the graph is not strongly connected."""
    largest = 0
    for source in range(len(graph)):
        seen, level, hops = {source}, {source}, 0
        while level := {j for i in level for j in graph[i]} - seen:
            seen |= level
            hops += 1
        if len(seen) < len(graph):
            return None
        largest = max(largest, hops)
    return largest


def leaves(graph: Graph) -> list[tuple[int, int]]:
    """Agent -> (round it leaves in, diameter it takes away), all messages played through."""
    n = len(graph)
    known = [{i} for i in range(n)]
    fresh = [{i} for i in range(n)]
    own: list[int | None] = [None] * n
    largest = [-1] * n
    left: dict[int, tuple[int, int]] = {}
    round_ = 0
    while len(left) < n:
        round_ += 1
        said_ids, said_largest = list(fresh), list(largest)
        for i in range(n):
            fresh[i] = set().union(*(said_ids[j] for j in graph[i])) - known[i]
            known[i] |= fresh[i]
            if not fresh[i] and own[i] is None:
                own[i] = round_ - 1
            heard = [said_largest[j] for j in graph[i]]
            largest[i] = max(largest[i], -1 if own[i] is None else own[i], *heard)
            if i not in left and own[i] is not None and round_ >= 2 * largest[i] + 2:
                left[i] = (round_, largest[i])
    return [left[i] for i in range(n)]


def every(n: int) -> Iterator[Graph]:
    """All labelled graphs of n agents in which everybody listens to somebody."""
    choices = [
        [list(c) for k in range(1, n) for c in itertools.combinations([j for j in range(n) if j != i], k)]
        for i in range(n)
    ]
    return map(list, itertools.product(*choices))


def some(count: int) -> Iterator[Graph]:
    """Random graphs of 5 to 14 agents: a one-way cycle through all and further edges."""
    rng = random.Random(1)
    for _ in range(count):
        n, p = rng.randint(5, 14), rng.choice([0.02, 0.05, 0.1, 0.2, 0.3])
        order = rng.sample(range(n), n)
        graph = [{j for j in range(n) if j != i and rng.random() < p} for i in range(n)]
        for i, j in itertools.pairwise([*order, order[0]]):
            graph[i].add(j)
        yield [sorted(neighbours) for neighbours in graph]


def main() -> None:
    """Count graphs and failures."""
    sets = {"all of 3": every(3), "all of 4": every(4), "all of 5": every(5), "random": some(40_000)}
    for name, graphs in sets.items():
        tried = failed = 0
        for graph in graphs:
            if (d := diameter(graph)) is not None:
                tried += 1
                failed += any(left != (2 * d + 2, d) for left in leaves(graph))
        sys.stdout.write(f"{name}: {tried} strongly connected graphs, {failed} failures\n")


if __name__ == "__main__":
    main()
