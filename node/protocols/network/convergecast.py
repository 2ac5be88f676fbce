"""Convergecast: the sums of a link up a tree of its agents and down again (spec of chapters 1-3, section 7).

The alternative to flooding tables: what travels does not grow with the number of agents on a link, and an
agent sees sums over subtrees instead of everybody's quote. It takes twice the height of the tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.tree import LARGEST, exactly
from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.part import AgentId
    from node.protocols.network.tables import Channel

# Of every term: doubles that do not overlap and whose exact sum is meant.
Partials = tuple[tuple[float, ...], ...]
# A sum of doubles needs no more than 2100 bits, or 40 doubles that do not overlap.
_MOST = 48


@dataclass(frozen=True, slots=True)
class Branch:
    """An agent's place in the tree of a channel.

    Attributes:
        hops: distance to the root, the first member.
        parent: the neighbour towards it; empty at the root.
        children: those that name this agent as parent, ascending.
    """

    hops: int
    parent: AgentId
    children: tuple[AgentId, ...]


def plant(
    me: AgentId,
    listeners: Sequence[AgentId],
    channels: Mapping[str, Channel],
    towards: Mapping[str, tuple[int, AgentId]],
) -> Generator[Say, Heard, dict[str, Branch]]:
    """Tell the parents who their children are: one round.

    Args:
        me: the own id.
        listeners: who hears it.
        channels: those it is a member or a relay of.
        towards: channel -> hops to its first member, and the neighbour that is nearest to it.
    """

    def accepts(told: Any, src: AgentId) -> bool:
        return type(told) is tuple and all(
            type(name) is str and name in channels and channels[name].carries(src) for name in told
        )

    to = {j: names for j in listeners if (names := tuple(n for n, (_, p) in towards.items() if p == j))}
    heard = yield Say(to=to, kind="plant", accepts=_nothing, accepts_told=accepts)
    found: dict[str, Branch] = {}
    for name, channel in channels.items():
        hops, parent = towards.get(name, (0, "")) if me != channel.members[0] else (0, "")
        children = tuple(j for j, names in heard.told.items() if name in names)
        found[name] = Branch(hops, parent, children)
    return found


def convergecast(
    branches: Mapping[str, Branch], own: Mapping[str, Sequence[float]], width: int, height: int, kind: str
) -> Generator[Say, Heard, dict[str, Partials]]:
    """Add up the terms of all members of every own channel, exactly.

    An agent ``hops`` from the root sends the sums of its subtree in round height - hops + 1, when all its
    children have; the root's total goes down in the rounds after that.

    Guarantee: every agent of a channel holds numbers with the same exact sums. All leave after 2 x ``height``
    rounds.

    Args:
        branches: channel -> the own place in its tree.
        own: channel -> the own terms, finite; none where it is only a relay.
        width: how many terms there are.
        height: the largest number of hops in any tree, at least 1; the same at every agent.
        kind: of the messages.
    """
    sums: dict[str, Partials] = {
        name: tuple((v,) if v else () for v in own[name]) if name in own else ((),) * width
        for name in branches
    }
    whole = {
        name: sums[name] for name, branch in branches.items() if not branch.parent and not branch.children
    }
    accepts = _accepts(branches, width)
    for round_ in range(1, 2 * height + 1):
        to: dict[AgentId, tuple[tuple[str, Partials], ...]] = {}
        for name, branch in branches.items():
            if round_ == height - branch.hops + 1 and branch.parent:
                to[branch.parent] = (*to.get(branch.parent, ()), (name, sums[name]))
            elif round_ == height + branch.hops + 1:
                for j in branch.children:
                    to[j] = (*to.get(j, ()), (name, whole[name]))
        heard = yield Say(to=to, kind=kind, accepts=_nothing, accepts_told=accepts)
        for j, told in heard.told.items():
            for name, partials in told:
                if j == branches[name].parent:
                    whole[name] = partials
                else:
                    sums[name] = tuple(map(exactly, sums[name], partials))
        if round_ == height:
            whole |= {name: sums[name] for name, branch in branches.items() if not branch.parent}
    return whole


def _nothing(body: object, src: AgentId) -> bool:
    return body is None


def _accepts(branches: Mapping[str, Branch], width: int) -> Accepts:
    def partials(body: Any) -> bool:
        return (
            type(body) is tuple
            and len(body) == width
            and all(
                type(term) is tuple
                and len(term) <= _MOST
                and all(type(v) is float and abs(v) <= 2.0 * LARGEST for v in term)
                for term in body
            )
        )

    def accepts(told: Any, src: AgentId) -> bool:
        return type(told) is tuple and all(
            type(part) is tuple
            and len(part) == 2
            and type(part[0]) is str
            and part[0] in branches
            and (src == branches[part[0]].parent or src in branches[part[0]].children)
            and partials(part[1])
            for part in told
        )

    return accepts
