"""Where the others are: distances and next hops, as the message spaces of chapter 4 need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Vector
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Routes:
    """One agent's view of a strongly connected graph (spec of chapter 4, "Common model").

    Attributes:
        me: this agent's id.
        agents: all ids, ascending; N of them. Arrays over agents are in this order.
        distance: r -> d(i, r), hops from me to r along "listens to" edges; 0 for me.
        hop: r -> n(i, r), the neighbour with d(n(i,r), r) = d(i,r) - 1, smallest id first; for r = me the
            neighbour that is nearest to hearing me.
        echo: g_i = d(n(i,i), i), at least 1; exactly 1 on undirected graphs.
        diameter: the largest distance between any two agents.
    """

    me: AgentId
    agents: tuple[AgentId, ...]
    distance: Mapping[AgentId, int]
    hop: Mapping[AgentId, AgentId]
    echo: int
    diameter: int
    _exponents: Vector = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Asked for again and again while parameters are chosen.
        hops = [max(1, self.distance[r] - 1) for r in self.agents if r != self.me]
        exponents = np.array(hops, dtype=np.float64)
        exponents.flags.writeable = False
        object.__setattr__(self, "_exponents", exponents)

    def pack(self) -> tuple[Any, ...]:
        """As plain values; ``unpack`` is the inverse."""
        distances = tuple(self.distance[r] for r in self.agents)
        hops = tuple(self.hop[r] for r in self.agents)
        return (self.me, self.agents, distances, hops, self.echo, self.diameter)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Routes:
        """Inverse of ``pack``."""
        me, agents, distances, hops, echo, diameter = values
        return cls(
            me,
            agents,
            dict(zip(agents, distances, strict=True)),
            dict(zip(agents, hops, strict=True)),
            echo,
            diameter,
        )

    def exponents(self) -> Vector:
        """e(i, r) = max(1, d(i,r) - 1) for every other agent r, shape (N-1,), in the order of ``agents``.

        A neighbour's proxy of itself carries one factor xi, hence 1 and not 0 at distance one.
        """
        return self._exponents
