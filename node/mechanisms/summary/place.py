"""An agent's place on the spanning tree, as the messages of the summary mechanism need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.consensus.tree import Gathered
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Layout:
    """Which rows an agent's message has: y, then one n per neighbour, then one q per carried agent.

    Attributes:
        neighbours: N(j), its neighbours on the tree, ascending.
        carried: I_j, those of them whose echo it carries: it repeats their demands; ascending.
    """

    neighbours: tuple[AgentId, ...]
    carried: tuple[AgentId, ...]

    @property
    def rows(self) -> int:
        """1 + |N(j)| + |I_j|."""
        return 1 + len(self.neighbours) + len(self.carried)

    def q(self, k: AgentId) -> int:
        """The row of q_j^k, k in I_j."""
        return 1 + len(self.neighbours) + self.carried.index(k)


@dataclass(frozen=True, slots=True)
class Place:
    """One agent on the tree.

    Attributes:
        me: its id.
        echo: phi(i), the neighbour that repeats this agent's demand: the parent; for the root its smallest
            child.
        own: layout of its own messages.
        layouts: neighbour in the graph -> layout of that one's messages, ids ascending. Neighbours that
            are none on the tree are there, too: their messages are heard and not used.
    """

    me: AgentId
    echo: AgentId
    own: Layout
    layouts: Mapping[AgentId, Layout]

    def pack(self) -> tuple[Any, ...]:
        """As plain values; ``unpack`` is the inverse."""
        theirs = tuple((j, one.neighbours, one.carried) for j, one in self.layouts.items())
        return (self.me, self.echo, self.own.neighbours, self.own.carried, theirs)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Place:
        """Inverse of ``pack``."""
        me, echo, neighbours, carried, theirs = values
        return cls(me, echo, Layout(neighbours, carried), {j: Layout(n, i) for j, n, i in theirs})


def echo_of(tree: Gathered) -> AgentId:
    """phi(i): the parent; for the root its smallest child."""
    return tree.parent if tree.parent is not None else tree.first


def layout_of(me: AgentId, tree: Gathered) -> Layout:
    """Layout of an agent's own messages: it carries its children's echoes, and the root's if it is the
    root's smallest child."""
    carried = tree.children
    if me == tree.first:
        carried = tuple(sorted((*carried, tree.root)))
    return Layout(tuple(tree.behind), carried)
