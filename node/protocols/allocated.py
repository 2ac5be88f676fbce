"""What an agent knows at the end of an allocation run, whatever the mechanism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Allocated:
    """An agent's share and how sure it is.

    Attributes:
        allocation: x_i, K numbers.
        price: p_i, K numbers.
        tax: t_i.
        agents: N, as the agents counted it.
        diameter: D, likewise: of the graph, or of the spanning tree where the mechanism plays on one.
        parameters: of the contract, as agreed: the same bits at every agent.
        bound: the factor by which a round of play brings the messages nearer to the Nash message at least.
        norm: the norm in which it does.
        guaranteed: whether ``bound`` is proved; if not, nothing is promised about the allocation.
        play_rounds: rounds of play; what went before comes on top.
        residual: of the own last message.
        satisfied: whether it was within the threshold when all stopped.
    """

    allocation: tuple[float, ...]
    price: tuple[float, ...]
    tax: float
    agents: int
    diameter: int
    parameters: Mapping[str, float]
    bound: float
    norm: str
    guaranteed: bool
    play_rounds: int
    residual: float
    satisfied: bool
