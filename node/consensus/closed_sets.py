"""Two closed sets of agents in a graph of any size: likely places first, then a search that may prove that
there are none.

A set is *closed* if none of its members hears ``r`` agents from outside of it. Sets are integers: bit k is
agent k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Branches that the search looks at, times agents: a few seconds.
EFFORT = 400_000
# Eigenvectors whose orders of the agents are cut in two.
VECTORS = 8
# Up to so many agents there are matrices; eigenvectors take time with the cube.
MOST_SPECTRAL = 1500
# Sides tried at once, times agents: memory.
_AT_ONCE = 2_000_000
# Places tried in graphs that are larger still.
_FEW = 400


def likely(near: Sequence[int], r: int) -> tuple[int, int] | None:
    """Two disjoint closed sets, if they lie where such sets mostly do.

    Tried are balls around every agent, and the prefixes of orders in which those who hear each other are
    close together: by the first eigenvectors of the Laplacian. Each, and the rest of the agents, is peeled.

    Args:
        near: whom each agent hears.
        r: >= 1.
    """
    n = len(near)
    if n > MOST_SPECTRAL:
        return _among_balls(near, r)
    links = np.zeros((n, n), np.float32)
    for k, own in enumerate(near):
        links[k, list(members(own))] = 1.0
    sides = _sides(links)
    for some in np.array_split(sides, -(-len(sides) * n // _AT_ONCE)):
        first = _peel_all(some, links, r)
        second = _peel_all(~first, links, r)
        if (hits := np.flatnonzero(first.any(axis=1) & second.any(axis=1))).size:
            one, other = first[hits[0]], second[hits[0]]
            return _as_set(one), _as_set(other)
    return None


def peel(side: int, near: Sequence[int], r: int) -> int:
    """The largest closed set within ``side``, perhaps empty; such sets join to such sets."""
    while True:
        loud = 0
        for k in members(side):
            if (near[k] & ~side).bit_count() >= r:
                loud |= 1 << k
        if not loud:
            return side
        side ^= loud


def members(side: int) -> Iterator[int]:
    """The numbers of the agents of a set, ascending."""
    while side:
        lowest = side & -side
        yield lowest.bit_length() - 1
        side ^= lowest


def search(near: Sequence[int], r: int, effort: int = EFFORT) -> tuple[tuple[int, int] | None, bool]:
    """Two disjoint closed sets, or the proof that there are none.

    If there are two, one of them has at most half of the agents. So: for every agent in turn, look for such a
    set that contains it and none of the agents before, and branch on whom its members have with them. A
    branch ends when its set is closed and the agents outside hold another; when they hold none, which they
    do not either when the set grows; when the set is too large, or one of its members must hear ``r`` agents
    from outside.

    Args:
        near: whom each agent hears.
        r: >= 1.
        effort: branches, times agents, that are looked at before it gives up.
    Returns:
        The sets or None; and whether that is proven, which None is unless the search gave up.
    """
    return _Search(near, r).run(max(1, effort // len(near)))


class _Search:
    def __init__(self, near: Sequence[int], r: int) -> None:
        self.near, self.r = near, r
        self.everybody = (1 << len(near)) - 1
        self.heard_by = [0] * len(near)
        for k, own in enumerate(near):
            for j in members(own):
                self.heard_by[j] |= 1 << k

    def run(self, branches: int) -> tuple[tuple[int, int] | None, bool]:
        barred = 0
        # Who hears few first: a set around it needs few others, and those are then rid of it.
        for k in sorted(range(len(self.near)), key=lambda k: (self.near[k].bit_count(), k)):
            open_ = [(1 << k, barred)]
            while open_:
                if not branches:
                    return None, False
                branches -= 1
                grown = self._grown(*open_.pop())
                if grown is None:
                    continue
                inside, without, pick = grown
                second = peel(self.everybody ^ inside, self.near, self.r)
                if not second:
                    continue
                if pick < 0:
                    return (inside, second), True
                fewer = self._barred(without, 1 << pick)
                if not fewer & inside:
                    open_.append((inside, fewer))
                open_.append((inside | 1 << pick, without))
            barred = self._barred(barred, 1 << k)
        return None, True

    def _grown(self, inside: int, barred: int) -> tuple[int, int, int] | None:
        """A set with all whom its members must have with them, who may not join, and whom to branch on (-1:
        it is closed already); None if no closed set contains it, or none that is small enough."""
        near, r, most = self.near, self.r, len(self.near) // 2
        while inside.bit_count() <= most:
            # Branch where a few more that stay outside settle all others: that ends soonest.
            forced, pressed, pressure = 0, -1, (-1, 0)
            for k in members(inside):
                lost = (near[k] & barred).bit_count()
                if lost >= r:
                    return None
                free = near[k] & ~inside & ~barred
                if lost == r - 1:
                    forced |= free
                elif lost + free.bit_count() >= r and (lost, free.bit_count()) > pressure:
                    pressed, pressure = k, (lost, free.bit_count())
            if forced:
                inside |= forced
                continue
            if pressed < 0:
                return inside, barred, -1
            free = near[pressed] & ~inside & ~barred
            # Whoever hears most of the set belongs to it most likely.
            return inside, barred, max(members(free), key=lambda j: ((near[j] & inside).bit_count(), -j))
        return None

    def _barred(self, barred: int, new: int) -> int:
        """With the new ones, and with those who then hear ``r`` agents from outside of any set of theirs."""
        while new:
            barred |= new
            asked = 0
            for j in members(new):
                asked |= self.heard_by[j]
            new = 0
            for k in members(asked & ~barred):
                if (self.near[k] & barred).bit_count() >= self.r:
                    new |= 1 << k
        return barred


def _sides(links: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(S, N): what is tried as one of the two sets."""
    n = len(links)
    ball = np.eye(n, dtype=bool)
    sides = [ball]
    while True:
        wider = ball | ((ball.astype(np.float32) @ links) > 0)
        wider = wider[(wider.sum(axis=1) > ball.sum(axis=1)) & (wider.sum(axis=1) < n)]
        if not len(wider):
            break
        sides.append(wider)
        ball = wider
    both = (links + links.T) / 2
    _, vectors = np.linalg.eigh(np.diag(both.sum(axis=1)) - both)
    for column in range(1, min(1 + VECTORS, n)):
        place = np.argsort(np.argsort(vectors[:, column], kind="stable"), kind="stable")
        sides.append(place < np.arange(1, n)[:, None])
    found = np.concatenate(sides)
    return np.concatenate([found, ~found])


def _peel_all(sides: NDArray[np.bool_], links: NDArray[np.float32], r: int) -> NDArray[np.bool_]:
    """``peel`` of every row."""
    left = sides.copy()
    while True:
        loud = left & (((~left).astype(np.float32) @ links.T) >= r)
        if not loud.any():
            return left
        left &= ~loud


def _as_set(row: NDArray[np.bool_]) -> int:
    return sum(1 << k for k in np.flatnonzero(row).tolist())


def _among_balls(near: Sequence[int], r: int) -> tuple[int, int] | None:
    everybody, left = (1 << len(near)) - 1, _FEW
    for k in sorted(range(len(near)), key=lambda k: (near[k].bit_count(), k)):
        ball, edge = 0, 1 << k
        while edge and ball.bit_count() <= len(near) // 2:
            ball |= edge
            one = peel(ball, near, r)
            if one and (other := peel(everybody ^ one, near, r)):
                return one, other
            reach = 0
            for j in members(edge):
                reach |= near[j]
            edge, left = reach & ~ball, left - 1
            if not left:
                return None
    return None
