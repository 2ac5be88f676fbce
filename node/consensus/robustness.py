"""Whether a graph is r-robust, and if not, the cut that shows it. For the runner, which knows the graph."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.part import AgentId

Cut = tuple[tuple[str, ...], tuple[str, ...]]

# Up to so many agents every subset is looked at: 2^18 of them in well under a second.
EXACT_UP_TO = 18
# Partitions tried on larger graphs, each improved by peeling; most cuts that exist are around a few agents.
TRIES = 400


def find_cut(hears: Mapping[AgentId, Sequence[AgentId]], r: int) -> tuple[Cut | None, bool]:
    """Look for two disjoint sets of agents in neither of which anybody hears ``r`` agents from outside it.

    A graph is r-robust if there are no such sets (section 8; trimmed averaging against f liars needs
    r = 2f + 1): two sets that each hear too little of the outside can hold different values for ever.

    Exact for up to ``EXACT_UP_TO`` agents: all subsets are tried. For more, a search that is always right
    when it finds a cut: balls around every agent, single agents, and random sets, each peeled down. If it
    finds none, the smallest degree may still prove robustness.

    Args:
        hears: agent -> whom it hears.
        r: >= 1.
    Returns:
        The cut, each side ascending, the smaller first, or None; and whether the answer is proven. A cut
        always is.
    """
    agents = sorted(hears)
    n = len(agents)
    index = {agent: k for k, agent in enumerate(agents)}
    near = [frozenset(index[j] for j in hears[agent]) for agent in agents]
    if n <= EXACT_UP_TO:
        found, proven = _exact(near, r), True
    else:
        found = _search(near, r)
        # Any two disjoint sets: the smaller has at most n/2 members, so each of them hears at least
        # (degree - n/2 + 1) from outside.
        proven = found is not None or min(map(len, near)) >= n // 2 + r - 1
    if found is None:
        return None, proven
    first, second = sorted(found, key=lambda side: (len(side), sorted(side)))
    return (tuple(agents[k] for k in sorted(first)), tuple(agents[k] for k in sorted(second))), True


def _exact(near: Sequence[frozenset[int]], r: int) -> tuple[set[int], set[int]] | None:
    n = len(near)
    masks = np.arange(1 << n, dtype=np.uint32)
    counts = np.zeros(1 << 9, dtype=np.uint8)
    for bit in range(9):
        counts += ((np.arange(1 << 9) >> bit) & 1).astype(np.uint8)
    closed = np.ones(1 << n, dtype=bool)  # nobody inside hears r agents from outside
    for k in range(n):
        outside = ~masks & np.uint32(sum(1 << j for j in near[k]))
        heard = counts[outside & 0x1FF] + counts[outside >> 9]
        closed &= (masks >> k & 1 == 0) | (heard < r)
    closed[0] = False
    # within[m]: a closed set inside m, or 0. One pass a bit over all subsets.
    within = np.where(closed, masks, np.uint32(0))
    for k in range(n):
        halves = within.reshape(-1, 2, 1 << k)
        halves[:, 1] = np.where(halves[:, 1] != 0, halves[:, 1], halves[:, 0])
    first = masks[closed]
    second = within[(np.uint32((1 << n) - 1) ^ first)]
    hits = np.flatnonzero(second)
    if not hits.size:
        return None
    a, b = int(first[hits[0]]), int(second[hits[0]])
    return {k for k in range(n) if a >> k & 1}, {k for k in range(n) if b >> k & 1}


def _search(near: Sequence[frozenset[int]], r: int) -> tuple[set[int], set[int]] | None:
    n = len(near)
    everybody = set(range(n))
    rng = random.Random(0)
    candidates: list[set[int]] = [{k} for k in range(n)]
    for k in range(n):
        ball, edge = {k}, {k}
        while len(ball) <= n // 2 and edge:
            edge = {j for i in edge for j in near[i]} - ball
            ball = ball | edge
            candidates.append(ball)
    candidates += [set(rng.sample(range(n), rng.randint(2, n // 2))) for _ in range(TRIES)]
    for side in candidates:
        first = _peel(side, near, r)
        if first and (second := _peel(everybody - first, near, r)):
            return first, second
    return None


def _peel(side: set[int], near: Sequence[frozenset[int]], r: int) -> set[int]:
    """The largest subset in which nobody hears ``r`` agents from outside it; such sets join to such sets."""
    left = set(side)
    while loud := {k for k in left if len(near[k] - left) >= r}:
        left -= loud
    return left
