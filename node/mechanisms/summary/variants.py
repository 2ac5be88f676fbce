"""How the variants of a summary contract choose weights and price scale; see ``weights`` for the reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.contraction import MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import AgentId

# The cap of weights where none is given. At 0.49 a dominant agent costs three to five times the rounds
# (spec of chapter 4, section 7), at 0.40 the others get too much.
CAP = 0.45


def most_capped(cap: float) -> int:
    """How many of the largest middles an agent needs to know: one more than can be capped."""
    return math.floor(1.0 / cap) + 1


@dataclass(frozen=True, slots=True)
class Column:
    """Everything about one column (a good, or all goods) that the variants need; numbers of all agents."""

    agents: int
    mid: float  # own
    low_sum: float
    mid_sum: float
    high_max: float
    low_min: float
    ratio: float  # max c_i
    top: tuple[float, ...]  # largest middles, descending
    others: float  # sum of the middles of all others
    behind: Mapping[AgentId, tuple[float, int, tuple[float, ...]]]  # middles: sum, how many, largest ones


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a variant makes of a column."""

    weight: float
    rest: float
    delta: float
    spread: float  # m = max |1-G| over all agents
    limit: float
    largest: float  # weight
    behind: Mapping[AgentId, float]  # sum of weights
    stretch: float = 1.0


def anchored(column: Column, contract: Mapping[str, Any], scalar: bool) -> Chosen:
    """w_i = mid_i / delta, delta the sum of all mid_j unless given; L <= max |1-G|."""
    total = column.mid_sum
    delta = float(contract.get("delta", total))
    ends = [total / delta * (1.0 - column.ratio), total / delta * (1.0 + column.ratio)]
    spread = max(abs(1.0 - g) for g in ends)
    return Chosen(
        weight=column.mid / total,
        # Not 1 - w_i, which is inexact where one agent holds nearly all.
        rest=column.others / total,
        delta=delta,
        spread=spread,
        limit=spread,
        largest=column.top[0] / total,
        behind={j: middles / total for j, (middles, _, _) in column.behind.items()},
    )


def plain(column: Column, contract: Mapping[str, Any], scalar: bool) -> Chosen:
    """w_i = 1/N and another unit of demand, delta = 1.02 N max hi / 2 unless given.

    Raises:
        ValueError: for fewer than three agents.
    """
    n = column.agents
    if n < 3:
        raise ValueError(f"variant 'plain' needs at least 3 agents, got {n}")
    delta = float(contract.get("delta", (1.0 + MARGIN) * n * column.high_max / 2.0))
    stretch = n / (n - 1)
    ends = (n * column.low_min / (stretch * delta), n * column.high_max / (stretch * delta))
    return Chosen(
        weight=1.0 / n,
        rest=(n - 1) / n,
        delta=delta,
        spread=max(abs(1.0 - g) for g in ends),
        limit=echoed(ends, 1.0 / n, scalar),
        largest=1.0 / n,
        behind={j: agents / n for j, (_, agents, _) in column.behind.items()},
        stretch=stretch,
    )


def weighted(column: Column, contract: Mapping[str, Any], scalar: bool) -> Chosen:
    """w_i = min(cap, s mid_i), delta = max hi_i/w_i unless given.

    Raises:
        ValueError: for a cap that is not below 1/2, or with which the weights cannot sum to 1.
    """
    cap = float(contract.get("cap", CAP))
    if not 0 < cap < 0.5 or cap * column.agents < 1:
        raise ValueError(
            f"variant 'weighted': no weights of {column.agents} agents below a cap of {cap} sum to 1; "
            "expected a cap below 1/2 and at least 1/N"
        )
    scale, capped = water_level(column.mid_sum, column.top, cap)
    low, high = 1.0 - column.ratio, 1.0 + column.ratio
    # The largest hi_i/w_i, of whoever is capped and of the others.
    delta = float(contract.get("delta", high * max(1.0 / scale, column.top[0] / cap)))
    # (G without its factor 1 -+ c, weight): of each that is capped, and of all others at once.
    groups = [(mid / (cap * delta), cap) for mid in column.top[:capped]]
    if capped < len(column.top):
        groups.append((1.0 / (scale * delta), min(cap, scale * column.top[capped])))
    weight = min(cap, scale * column.mid)

    def behind(middles: float, largest: tuple[float, ...]) -> float:
        return scale * middles - math.fsum(max(0.0, scale * mid - cap) for mid in largest)

    return Chosen(
        weight=weight,
        rest=1.0 - weight,
        delta=delta,
        spread=max(max(abs(1.0 - g * low), abs(1.0 - g * high)) for g, _ in groups),
        limit=max(echoed((g * low, g * high), w, scalar) for g, w in groups),
        largest=max(w for _, w in groups),
        behind={j: behind(middles, largest) for j, (middles, _, largest) in column.behind.items()},
    )


def water_level(total: float, top: tuple[float, ...], cap: float) -> tuple[float, int]:
    """s with sum of min(cap, s mid_i) = 1, and how many agents are capped.

    Args:
        total: the sum of all middles.
        top: the largest middles, descending: at least one more than can be capped, or all there are.
        cap: < 1, and so that there is an s.
    """
    capped = 0
    while True:
        scale = (1.0 - capped * cap) / (total - math.fsum(top[:capped]))
        # Not sharply: where all agents but one are capped the last one may have just the cap.
        if capped == len(top) or scale * top[capped] <= cap * (1.0 + 1e-12):
            return scale, capped
        capped += 1


def echoed(ends: tuple[float, float], weight: float, scalar: bool) -> float:
    """max of |1-G| + G w/(1-w); for matrices both terms may be largest at the same time."""
    echo = weight / (1.0 - weight)
    if scalar:
        return max(abs(1.0 - g) + g * echo for g in ends)
    return max(abs(1.0 - g) for g in ends) + ends[1] * echo


# name -> (column, public rules, whether k is a number rather than a matrix) -> choice.
VARIANTS = {"anchored": anchored, "weighted": weighted, "plain": plain}
