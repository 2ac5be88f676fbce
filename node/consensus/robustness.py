"""Whether a graph is r-robust, and if not, the cut that shows it. For the runner, which knows the graph."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from node.consensus.closed_sets import likely, members, search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.part import AgentId

Cut = tuple[tuple[str, ...], tuple[str, ...]]

# Up to so many agents every subset is looked at: 2^18 of them in well under a second.
EXACT_UP_TO = 18
# Of the search's effort: what it takes on most graphs that are sparse, or far from a cut.
A_LITTLE = 20_000


def find_cut(hears: Mapping[AgentId, Sequence[AgentId]], r: int) -> tuple[Cut | None, bool]:
    """Look for two disjoint sets of agents in neither of which anybody hears ``r`` agents from outside it.

    A graph is r-robust if there are no such sets (section 8; trimmed averaging against f liars needs
    r = 2f + 1): two sets that each hear too little of the outside can hold different values for ever.

    Exact for up to ``EXACT_UP_TO`` agents: all subsets are tried. For more there is a search that proves what
    it says when it comes to its end, and likely places before it is long; see ``node.consensus.closed_sets``.
    It is given up after a few seconds.

    Args:
        hears: agent -> whom it hears.
        r: >= 1.
    Returns:
        The cut, each side ascending, the smaller first, or None; and whether the answer is proven. A cut
        always is.
    """
    agents = sorted(hears)
    index = {agent: k for k, agent in enumerate(agents)}
    near = tuple(sum(1 << index[j] for j in set(hears[agent])) for agent in agents)
    found, proven = _cut(near, r)
    if found is None:
        return None, proven
    first, second = sorted(found, key=lambda side: (side.bit_count(), list(members(side))))
    return (tuple(agents[k] for k in members(first)), tuple(agents[k] for k in members(second))), True


# A scenario is read, and then asked for its guarantee.
@lru_cache(maxsize=16)
def _cut(near: tuple[int, ...], r: int) -> tuple[tuple[int, int] | None, bool]:
    n = len(near)
    if n <= EXACT_UP_TO:
        return _exact(near, r), True
    # Any two disjoint sets: the smaller has at most n/2 members, so each of them hears at least
    # (degree - n/2 + 1) from outside.
    if min(own.bit_count() for own in near) >= n // 2 + r - 1:
        return None, True
    found, proven = search(near, r, A_LITTLE)
    if proven:
        return found, True
    found = likely(near, r)
    return (found, True) if found is not None else search(near, r)


def _exact(near: Sequence[int], r: int) -> tuple[int, int] | None:
    n = len(near)
    masks = np.arange(1 << n, dtype=np.uint32)
    counts = np.zeros(1 << 9, dtype=np.uint8)
    for bit in range(9):
        counts += ((np.arange(1 << 9) >> bit) & 1).astype(np.uint8)
    closed = np.ones(1 << n, dtype=bool)  # nobody inside hears r agents from outside
    for k in range(n):
        outside = ~masks & np.uint32(near[k])
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
    return int(first[hits[0]]), int(second[hits[0]])
