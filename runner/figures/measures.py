"""What a record shows of the way to the optimum: distances round by round, and the rate that was observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.record import Record

Vector = NDArray[np.float64]

# The part of an error's decades that is fitted, counted from the smallest error: above the rounding floor,
# below the transient of the first rounds.
_FIT_FROM, _FIT_TO = 0.15, 0.75
_FIT_POINTS = 8


@dataclass(frozen=True, slots=True)
class Errors:
    """How far the network was from the optimum, round by round.

    Attributes:
        rounds: (R,) ascending.
        values: (R,) >= 0, NaN where nothing is known.
    """

    rounds: NDArray[np.int64]
    values: Vector


def deviations(record: Record, name: str, optimal: Mapping[str, Sequence[float]]) -> Errors:
    """max over agents and goods of |value - optimum|, over max |optimum|, in every recorded round of play.

    The maximum is over the agents that have a row in that round.

    Args:
        record: with ``name``, or ``name.0``, ``name.1``, ...
        name: ``allocation`` or ``price``.
        optimal: agent -> what it should be, shape (K,). Agents that it does not name do not count.
    """
    rounds, values, agents = record.goods(name)
    known = [n for n, agent in enumerate(agents) if agent in optimal]
    if not known:
        return Errors(rounds, np.full(rounds.size, np.nan))
    target = np.array([optimal[agents[n]] for n in known], float)
    scale = float(np.abs(target).max()) or 1.0
    return Errors(rounds, largest(values[:, known] - target) / scale)


def allocation_errors(record: Record, optimal: Mapping[str, Sequence[float]]) -> Errors:
    """``deviations`` of allocations: max |x_i - x_i*| over max |x*|."""
    return deviations(record, "allocation", optimal)


def observed_rate(record: Record, optimal_allocation: Mapping[str, Sequence[float]]) -> float | None:
    """The factor by which the allocation error shrank per round.

    A line is fitted by least squares to the logarithm of ``allocation_errors`` against the round; its slope
    is the logarithm of the rate. Fitted are the rounds, in one piece after the largest error, in which the
    logarithm lies between 15 % and 75 % of its range: above, first rounds show a transient of many rates;
    below, the error may have reached the floor of rounding.

    Returns:
        The rate per round, or None if there are fewer than eight such rounds or the error fell by less than
        a factor of ten in all.
    """
    errors = allocation_errors(record, optimal_allocation)
    known = errors.values > 0  # false for NaN
    rounds, logs = errors.rounds[known].astype(float), np.log(errors.values[known])
    if logs.size < _FIT_POINTS:
        return None
    rounds, logs = rounds[logs.argmax() :], logs[logs.argmax() :]
    low, span = logs.min(), np.ptp(logs)
    if span < np.log(10.0):
        return None
    begin = int(np.argmax(logs <= low + _FIT_TO * span))
    end = int(np.argmax(logs <= low + _FIT_FROM * span))
    if end - begin < _FIT_POINTS:
        return None
    slope = np.polyfit(rounds[begin:end] - rounds[begin], logs[begin:end], 1)[0]
    return float(np.exp(slope))


def largest(deviation: Vector) -> Vector:
    """max |.| over all axes but the first, NaN where nothing is known."""
    axes = tuple(range(1, deviation.ndim))
    known = ~np.isnan(deviation)
    largest = np.where(known, np.abs(deviation), 0.0).max(axis=axes, initial=0.0)
    return np.where(known.any(axis=axes), largest, np.nan)


def tax_balance(record: Record) -> Errors:
    """|sum of taxes| over sum of |taxes|, in the rounds in which every agent that pays has a tax.

    A round in which an agent's row is missing says nothing about the budget: NaN. Who has no row at all was
    gone before.
    """
    rounds, taxes, _ = record.series("tax")
    taxes = taxes[:, ~np.isnan(taxes).all(axis=0)]
    with np.errstate(invalid="ignore"):
        return Errors(rounds, np.abs(taxes.sum(axis=1)) / np.abs(taxes).sum(axis=1))
