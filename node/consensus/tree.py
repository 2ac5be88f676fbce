"""Tree convergecast: an exact sum at every agent, by a tree that elects and builds itself on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from node.part import AgentId

Numbers = tuple[float, ...]
Partial = tuple[Numbers, ...]  # per component: non-overlapping doubles whose exact sum is meant
Down = tuple[Numbers, int]  # the total, and the round at whose end all leave
Snapshot = tuple[int, str, int, str, tuple[Partial, int] | None, tuple[str, ...], Down | None]

# Doubles up to here can be added 65,536 times without overflow.
LARGEST = 2.0**1000
# A sum of doubles needs no more than 2100 bits, or 40 doubles that do not overlap.
_MOST = 48


@dataclass(frozen=True, slots=True)
class Summed:
    """What an agent knows after a convergecast.

    Attributes:
        total: the sums, correctly rounded; the same bits at every agent.
        root: the smallest id of all.
        parent: the neighbour towards the root; None at the root.
        children: the neighbours whose parent is this agent, ascending.
        hops: distance to the root.
        height: of the subtree below this agent; 0 at a leaf.
        rounds: how many it took, the same at every agent.
    """

    total: Numbers
    root: AgentId
    parent: AgentId | None
    children: tuple[AgentId, ...]
    hops: int
    height: int
    rounds: int


def tree_sum(
    me: AgentId, values: Sequence[float], resume: Snapshot | None = None
) -> Generator[Say, Heard, Summed]:
    """Sum every component over all agents, exactly; the root is whoever has the smallest id.

    Section 2.3, election and sum in one wave. Every agent says (root, hops, parent, partial sums, height,
    down). It follows the neighbour with the smallest root, then the fewest hops, then the smallest id, and
    drops its partial sum when it turns. The sum of its subtree is ready when every neighbour but the parent
    names the same root and either names another parent or names this agent and has its own sum ready; the
    parent must name the root, too. The smallest id's wave reaches everybody by shortest paths at once, and
    only that root ever becomes ready as one. In its round k it sends down the total and the end, k + height.

    Guarantee, in rounds mode on a connected undirected graph: all agents return the same bits, those of
    ``math.fsum`` over all values, whatever the graph and the order; all leave at the end of the same
    round, 3 to 3 height + 1 of them in all. Needs no bound on the diameter. Parents see subtree sums. If an
    agent goes, open a new epoch.

    Args:
        me: the own id.
        values: this agent's numbers, each at most 2^1000 in size; as many as every other agent's.
        resume: a snapshot, or None.
    Raises:
        ValueError: for a number that is too large or not finite.
    """
    if not all(abs(v) <= LARGEST for v in values):  # also refuses NaN
        raise ValueError(f"only finite numbers up to 2^1000 can be summed, got {tuple(values)}")
    accepts = _accepts(len(values))
    own: Partial = tuple((float(v),) if v else () for v in values)
    down: Down | None
    ready: tuple[Partial, int] | None
    children: tuple[AgentId, ...]
    if resume is None:
        round_, root, hops, parent, ready, children, down = 0, me, 0, me, None, (), None
    else:
        round_, root, hops, parent, ready, children, down = resume
    while True:
        partial, height = ready if ready is not None else (None, 0)
        heard = yield Say(
            (root, hops, parent, partial, height, down),
            kind="tree-sum",
            accepts=accepts,
            snapshot=(round_, root, hops, parent, ready, children, down),
        )
        round_ += 1
        best = min((r, h + 1, j) for j, (r, h, *_) in heard.said.items())
        if best < (root, hops, parent):
            root, hops, parent = best
            ready, children = None, ()
        if ready is None:
            ready, children = _gather(me, root, parent, own, heard)
            if ready is not None and parent == me:
                down = (tuple(math.fsum(column) + 0.0 for column in ready[0]), round_ + ready[1])
        if down is None and parent != me:
            theirs = heard.said[parent]
            if theirs[0] == root:
                down = theirs[5]
        if down is not None and round_ >= down[1] and ready is not None:
            above = parent if parent != me else None
            return Summed(down[0], root, above, children, hops, ready[1], round_)


def _gather(
    me: AgentId, root: AgentId, parent: AgentId, own: Partial, heard: Heard
) -> tuple[tuple[Partial, int] | None, tuple[AgentId, ...]]:
    """The subtree's sum and height, and the children, if all of it is there."""
    total, height, children = own, 0, []
    for j, (their_root, _, their_parent, partial, their_height, _) in heard.said.items():
        if their_root != root:
            return None, ()
        if j == parent or their_parent != me:
            continue
        if partial is None:
            return None, ()
        children.append(j)
        height = max(height, their_height + 1)
        total = tuple(exactly(a, b) for a, b in zip(total, partial, strict=True))
    return (total, height), tuple(children)


def exactly(first: Numbers, second: Numbers) -> Numbers:
    """Non-overlapping doubles, ascending in size, whose exact sum is that of all the given ones.

    Shewchuk's grow-expansion, as ``math.fsum`` keeps its partial sums; no rounding takes place.
    """
    partials = list(first)
    for x in second:
        kept = 0
        for y in partials:
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low:
                partials[kept] = low
                kept += 1
            x = high
        partials[kept:] = [x] if x else []
    return tuple(partials)


def _accepts(width: int) -> Accepts:
    def numbers(body: Any, most: int) -> bool:
        return type(body) is tuple and len(body) <= most and all(type(v) is float for v in body)

    def accepts(body: Any, src: AgentId) -> bool:
        if type(body) is not tuple or len(body) != 6:
            return False
        root, hops, parent, partial, height, down = body
        return (
            type(root) is type(parent) is str
            and 0 < len(root) <= 64
            and 0 < len(parent) <= 64
            and type(hops) is type(height) is int
            and 0 <= hops < 2**31
            and 0 <= height < 2**31
            and (
                partial is None
                or (
                    type(partial) is tuple
                    and len(partial) == width
                    and all(numbers(p, _MOST) for p in partial)
                )
            )
            and (
                down is None
                or (
                    type(down) is tuple
                    and len(down) == 2
                    and numbers(down[0], width)
                    and len(down[0]) == width
                    and type(down[1]) is int
                    and 0 <= down[1] < 2**62
                )
            )
        )

    return accepts
