"""Roles on the spanning tree: one exchange after which every agent can read its neighbours' messages."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from node.mechanisms.summary.place import Layout, Place, echo_of, layout_of
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.consensus.tree import Gathered
    from node.part import AgentId


def roles(me: AgentId, tree: Gathered) -> Generator[Say, Heard, Place]:
    """Say who the own neighbours on the tree are and whose echo is carried; hear the same of all neighbours.

    One round. What is said is (N(i), I_i), both ascending. A body that contradicts what the tree's wave has
    told is not accepted: a neighbour on the tree must have this agent among its own, and nobody else may;
    the neighbour that is to carry this agent's echo must say so, and nobody else may.

    Args:
        me: the own id.
        tree: of the convergecast.
    """
    own, echo = layout_of(me, tree), echo_of(tree)

    def accepts(body: Any, src: AgentId) -> bool:
        if type(body) is not tuple or len(body) != 2 or not all(map(_ascending, body)):
            return False
        neighbours, carried = body
        return (
            len(neighbours) > 0
            and set(carried) <= set(neighbours)
            and (me in neighbours) == (src in own.neighbours)
            and (me in carried) == (src == echo)
        )

    heard = yield Say((own.neighbours, own.carried), kind="roles", accepts=accepts)
    return Place(me, echo, own, {j: Layout(*body) for j, body in heard.said.items()})


def _ascending(ids: Any) -> bool:
    return (
        type(ids) is tuple
        and all(type(j) is str and 0 < len(j) <= 64 for j in ids)
        and all(a < b for a, b in pairwise(ids))
    )
