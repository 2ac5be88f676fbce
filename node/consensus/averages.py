"""What the averaging protocols share: what they report while they run, and what they return.

All of them run until a side protocol gives its verdict or ``max_rounds`` is over. Without a ``tolerance``
they report their estimate, which windows read; with one they report whether their neighbours' estimates lie
within it, which counters read. Section 4: such a residual of ``tol`` bounds the spread over all agents only
by ``D tol``, so counters want ``tol / D``; windows measure the spread itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

# The report of an agent that has no estimate at the moment. A Say without a report keeps the last one, so
# None would let the stopping rule go on with an estimate that no longer stands.
VETO = math.inf


@dataclass(frozen=True, slots=True)
class Averaged:
    """How averaging ended for one agent.

    Attributes:
        estimate: of the mean (or the sum, or a value between the inputs: as the protocol promises); the last
            one that stood. None if there never was one.
        rounds: rounds of averaging; the same at every agent in rounds mode.
        agreed: whether the side protocol ended it; False if ``max_rounds`` did.
    """

    estimate: float | None
    rounds: int
    agreed: bool


# Doubles end at 2^1024. Inputs up to here, however many and for however many rounds, are told in numbers
# below PLAUSIBLE; what is larger no honest neighbour says, and a sum of it with others might overflow.
LARGEST_INPUT = 2.0**960
PLAUSIBLE = 2.0**1000


def finite_input(x: float) -> float:
    """``x`` as a float.

    Raises:
        ValueError: if it is not finite, or larger than LARGEST_INPUT.
    """
    if not abs(x) <= LARGEST_INPUT:  # also refuses NaN
        raise ValueError(f"only finite numbers up to 2^960 can be averaged, got {x}")
    return float(x)


def plausible(value: object) -> TypeGuard[float]:
    """Whether a neighbour's word is a number that averaging may have led to."""
    return type(value) is float and -PLAUSIBLE <= value <= PLAUSIBLE


def measured(estimate: float | None, residual: float, facts: Mapping[str, float] | None) -> dict[str, float]:
    """What an averaging agent records of the round just heard; infinite residuals are left out."""
    rows = dict(facts) if facts is not None else {}
    if estimate is not None:
        rows["estimate"] = estimate
    if math.isfinite(residual):
        rows["residual"] = residual
    return rows
