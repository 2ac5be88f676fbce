"""Tree convergecast: exact sums, maxima and the largest values, by a tree that elects and builds itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.part import AgentId

Numbers = tuple[float, ...]
Partial = tuple[Numbers, ...]  # per component: non-overlapping doubles whose exact sum is meant
# Of all agents of a subtree: sums, maxima, the largest of each list, how many; its height and diameter.
Account = tuple[Partial, Numbers, Partial, int, int, int]
# The account of the whole tree; the root's smallest child; the round at whose end all leave.
Down = tuple[Account, str, int]
Children = tuple[tuple[str, Account], ...]
Snapshot = tuple[int, str, int, str, Account | None, Children, Down | None]

# Doubles up to here can be added 65,536 times without overflow.
LARGEST = 2.0**1000
# A sum of doubles needs no more than 2100 bits, or 40 doubles that do not overlap.
_MOST = 48


@dataclass(frozen=True, slots=True)
class Behind:
    """What an agent knows of all agents that it reaches through one neighbour on the tree.

    Attributes:
        total: their sums, correctly rounded.
        largest: those of the largest values of all agents that are theirs, descending, one list each.
        agents: how many they are.
    """

    total: Numbers
    largest: Partial
    agents: int


@dataclass(frozen=True, slots=True)
class Gathered:
    """What an agent knows after a convergecast. All but the last six attributes are equal at every agent.

    Attributes:
        total: the sums, correctly rounded.
        maxima: the maxima.
        largest: the ``most`` largest values of each list, descending, fewer if there are fewer agents.
        agents: N.
        depth: of the tree: the largest distance to the root.
        diameter: of the tree: the largest distance between two agents along it.
        root: the smallest id of all.
        first: the root's smallest child; "" if the root is alone.
        rounds: how many it took.
        parent: the neighbour towards the root; None at the root.
        children: the neighbours whose parent is this agent, ascending.
        hops: distance to the root.
        height: of the subtree below this agent; 0 at a leaf.
        behind: neighbour on the tree -> all that is behind it; ids ascending.
    """

    total: Numbers
    maxima: Numbers
    largest: Partial
    agents: int
    depth: int
    diameter: int
    root: AgentId
    first: AgentId
    rounds: int
    parent: AgentId | None
    children: tuple[AgentId, ...]
    hops: int
    height: int
    behind: Mapping[AgentId, Behind]

    def pack(self) -> tuple[Any, ...]:
        """As plain values; ``unpack`` is the inverse."""
        values = [getattr(self, f.name) for f in fields(self)]
        behind = tuple((j, one.total, one.largest, one.agents) for j, one in self.behind.items())
        return (*values[:-1], behind)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Gathered:
        """Inverse of ``pack``."""
        *plain, behind = values
        return cls(*plain, {j: Behind(*one) for j, *one in behind})  # type: ignore[call-arg]


def tree_sum(
    me: AgentId, values: Sequence[float], resume: Snapshot | None = None
) -> Generator[Say, Heard, Gathered]:
    """Sum every component over all agents, exactly: ``convergecast`` of nothing but sums."""
    return convergecast(me, values, resume=resume)


def convergecast(
    me: AgentId,
    sums: Sequence[float] = (),
    maxima: Sequence[float] = (),
    largest: Sequence[float] = (),
    most: int = 1,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, Gathered]:
    """Gather sums, maxima and largest values over all agents; the root is whoever has the smallest id.

    Section 2.3, election and aggregation in one wave. Every agent says (root, hops, parent, account of its
    subtree, down). It follows the neighbour with the smallest root, then the fewest hops, then the smallest
    id, and drops its account when it turns. The account of its subtree is ready when every neighbour but
    the parent names the same root and either names another parent or names this agent and has its own
    ready; the parent must name the root, too. The smallest id's wave reaches everybody by shortest paths at
    once, and only that root ever becomes ready as one. In its round k it sends down the totals and the
    end, k + height. The tree's diameter comes with the accounts: the two deepest branches of some agent.

    Guarantee, in rounds mode on a connected undirected graph: all agents return the same bits, sums being
    those of ``math.fsum`` over all values, whatever the graph and the order; all leave at the end of the
    same round, 3 to 3 height + 1 of them in all. Needs no bound on the diameter. An agent's work and
    memory do not grow with the number of agents. Parents see the accounts of subtrees. If an agent goes,
    open a new epoch.

    Args:
        me: the own id.
        sums: this agent's numbers to be added, each at most 2^1000 in size; as many as every other agent's.
        maxima: likewise, to be maximised. A minimum is a negated maximum, and "all of us" a minimum of 0/1.
        largest: likewise; of each the ``most`` largest are found.
        most: >= 1, the same at every agent.
        resume: a snapshot, or None.
    Raises:
        ValueError: for a number that is too large or not finite.
    """
    if not all(abs(v) <= LARGEST for v in (*sums, *maxima, *largest)):  # also refuses NaN
        raise ValueError(
            f"only finite numbers up to 2^1000 can be gathered, got {(*sums, *maxima, *largest)}"
        )
    accepts = _accepts(len(sums), len(maxima), len(largest), most)
    # No -0.0, which equals 0.0 but has other bits.
    own: Account = (
        tuple((float(v),) if v else () for v in sums),
        tuple(float(v) + 0.0 for v in maxima),
        tuple((float(v) + 0.0,) for v in largest),
        1,
        0,
        0,
    )
    ready: Account | None
    children: Children
    down: Down | None
    if resume is None:
        round_, root, hops, parent, ready, children, down = 0, me, 0, me, None, (), None
    else:
        round_, root, hops, parent, ready, children, down = resume
    body = (root, hops, parent, ready, down)
    said: Mapping[AgentId, Any] | None = None
    while True:
        heard = yield Say(
            body,
            kind="tree",
            accepts=accepts,
            snapshot=(round_, root, hops, parent, ready, children, down),
        )
        round_ += 1
        if down is None and heard.said != said:  # what was heard before changes nothing
            said = heard.said
            best = min([(r, h + 1, j) for j, (r, h, *_) in said.items()], default=(root, hops, parent))
            if best < (root, hops, parent):
                root, hops, parent = best
                ready, children = None, ()
            if ready is None:
                ready, children = _account(me, root, parent, own, said, most)
                if ready is not None and parent == me:
                    first = children[0][0] if children else ""
                    down = (ready, first, round_ + ready[4])
            if parent != me and said[parent][0] == root:
                down = said[parent][4]
            body = (root, hops, parent, ready, down)
        if down is not None and ready is not None and round_ >= down[2]:
            return _gathered(me, root, hops, parent, ready, children, down, round_)


def _account(
    me: AgentId, root: AgentId, parent: AgentId, own: Account, said: Mapping[AgentId, Any], most: int
) -> tuple[Account | None, Children]:
    """The account of the subtree, and the children's, if all of it is there."""
    children = []
    for j, (their_root, _, their_parent, account, _) in said.items():
        if their_root != root:
            return None, ()
        if j == parent or their_parent != me:
            continue
        if account is None:
            return None, ()
        children.append((j, account))
    total, maxima, largest, agents, height, diameter = own
    for _, theirs in children:
        total = tuple(map(exactly, total, theirs[0]))
        maxima = tuple(map(max, maxima, theirs[1]))
        largest = tuple(
            tuple(sorted(mine + other, reverse=True)[:most])
            for mine, other in zip(largest, theirs[2], strict=True)
        )
        agents += theirs[3]
        diameter = max(diameter, theirs[5], height + theirs[4] + 1)
        height = max(height, theirs[4] + 1)
    return (total, maxima, largest, agents, height, diameter), tuple(children)


def _gathered(
    me: AgentId,
    root: AgentId,
    hops: int,
    parent: AgentId,
    account: Account,
    children: Children,
    down: Down,
    rounds: int,
) -> Gathered:
    (sums, maxima, largest, agents, depth, diameter), first, _ = down
    behind = {j: Behind(_rounded(theirs[0]), theirs[2], theirs[3]) for j, theirs in children}
    if parent != me:
        # The difference of exact sums: rounded totals would leave nothing of a small rest beside a large own.
        rest = tuple(whole + tuple(-v for v in own) for whole, own in zip(sums, account[0], strict=True))
        behind[parent] = Behind(
            _rounded(rest), tuple(map(_without, largest, account[2])), agents - account[3]
        )
    return Gathered(
        total=_rounded(sums),
        maxima=maxima,
        largest=largest,
        agents=agents,
        depth=depth,
        diameter=diameter,
        root=root,
        first=first,
        rounds=rounds,
        parent=parent if parent != me else None,
        children=tuple(j for j, _ in children),
        hops=hops,
        height=account[4],
        behind=dict(sorted(behind.items())),
    )


def _rounded(sums: Partial) -> Numbers:
    return tuple(math.fsum(column) + 0.0 for column in sums)  # no -0.0


def _without(whole: Numbers, own: Numbers) -> Numbers:
    """The values of a descending list that are left without those of another one."""
    left = list(whole)
    for v in own:
        if v in left:
            left.remove(v)
    return tuple(left)


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


def _accepts(sums: int, maxima: int, largest: int, most: int) -> Accepts:
    def numbers(body: Any, low: int, high: int) -> bool:
        return type(body) is tuple and low <= len(body) <= high and all(type(v) is float for v in body)

    def lists(body: Any, count: int, low: int, high: int) -> bool:
        return type(body) is tuple and len(body) == count and all(numbers(v, low, high) for v in body)

    def account(body: Any) -> bool:
        return (
            type(body) is tuple
            and len(body) == 6
            and lists(body[0], sums, 0, _MOST)
            and numbers(body[1], maxima, maxima)
            and lists(body[2], largest, 1, most)
            and all(_count(v) for v in body[3:])
        )

    def accepts(body: Any, src: AgentId) -> bool:
        if type(body) is not tuple or len(body) != 5:
            return False
        root, hops, parent, ready, down = body
        return (
            _name(root)
            and root != ""
            and _count(hops)
            and _name(parent)
            and parent != ""
            and (ready is None or account(ready))
            and (
                down is None
                or (
                    type(down) is tuple
                    and len(down) == 3
                    and account(down[0])
                    and _name(down[1])
                    and type(down[2]) is int
                    and 0 <= down[2] < 2**62
                )
            )
        )

    return accepts


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _name(value: Any) -> bool:
    return type(value) is str and len(value) <= 64
