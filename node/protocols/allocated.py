"""What an agent knows at the end of an allocation run, whatever the mechanism, and what was promised to
it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix


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
        play_rounds: rounds of play, in free mode ticks; what went before comes on top.
        residual: of the own last message.
        satisfied: whether it was within the threshold when all stopped.
        stopped: free mode: the round of the stopping rule, counted with the set-up, in which all stopped.
        message: its last message, row by row; with everybody's, whoever judges recomputes the rest.
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
    stopped: int | None = None
    message: tuple[tuple[float, ...], ...] = ()


def rows_of(message: Matrix | None) -> tuple[tuple[float, ...], ...]:
    """A message as plain values."""
    return () if message is None else tuple(map(tuple, message.tolist()))


def goods_of(rules: Mapping[str, Any]) -> int:
    """K of private goods, P of a public good, from the public rules."""
    return len(rules["capacities"]) if "capacities" in rules else int(rules["features"])


def scale_of(rules: Mapping[str, Any], agents: int) -> float:
    """The size of allocation that ``stopping.tolerance`` is relative to.

    Unless it is given: for private goods max |c| / N, for some agent gets at least that much, so an error
    relative to it is at most that of the largest share; for a public good, of whose optimum nothing is
    known beforehand, 1.
    """
    given = rules["stopping"].get("scale")
    if given is not None:
        return float(given)
    return max(abs(c) for c in rules["capacities"]) / agents if "capacities" in rules else 1.0
