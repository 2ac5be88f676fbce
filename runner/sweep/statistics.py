"""Means over seeds with 95 % confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.numbers import Vector

LEVEL = 0.95
INTERVALS = ("student", "bootstrap")
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over runs.

    Attributes:
        runs: how many have the number.
        mean, deviation: their mean and standard deviation (n - 1); None without runs, the latter with one.
        low, high: 95 % confidence interval of the mean; None with fewer than two runs.
    """

    runs: int
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


def estimate(values: Sequence[float], interval: str = "student") -> Estimate:
    """The mean and its interval.

    Args:
        values: one a run.
        interval: ``student``: mean -+ t s / sqrt(n), exact if values are normal. ``bootstrap``: between the
            2.5 and the 97.5 percentile of the means of 10,000 resamples, drawn from a fixed seed; for values
            that are far from normal, and too narrow for few runs.
    Raises:
        ValueError: for another interval.
    """
    if interval not in INTERVALS:
        raise ValueError(f"unknown interval {interval!r}; expected {' or '.join(INTERVALS)}")
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n == 0:
        return Estimate(0)
    mean = math.fsum(x.tolist()) / n
    if n == 1:
        return Estimate(1, mean)
    deviation = float(x.std(ddof=1))
    if interval == "student":
        half = student(n - 1) * deviation / math.sqrt(n)
        return Estimate(n, mean, deviation, mean - half, mean + half)
    low, high = np.quantile(_resampled(x), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]).tolist()
    return Estimate(n, mean, deviation, low, high)


def _resampled(x: Vector) -> Vector:
    rng = np.random.default_rng(0)
    # In slices: 10,000 resamples of 10,000 runs would not fit.
    most = max(1, 2_000_000 // len(x))
    means = [
        x[rng.integers(len(x), size=(min(most, RESAMPLES - k), len(x)))].mean(axis=1)
        for k in range(0, RESAMPLES, most)
    ]
    return np.concatenate(means)


def student(freedom: int, level: float = LEVEL) -> float:
    """The t with P(|T| <= t) = level for Student's T with so many degrees of freedom.

    With t = sqrt(freedom) tan a the density is cos(a)^(freedom-1), up to a factor; its integral is bisected.
    """
    # The bulk lies within a few 1/sqrt(freedom); beyond ten of these nothing of a double is left.
    top = min(math.pi / 2, 10.0 / math.sqrt(freedom)) if freedom > 50 else math.pi / 2
    whole = _integral(freedom, top)
    low, high = 0.0, top
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _integral(freedom, middle) < level * whole:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def _integral(freedom: int, end: float) -> float:
    """Of cos(a)^(freedom-1) from 0 to ``end``."""
    angles = 0.5 * end * (_NODES + 1.0)
    return float(0.5 * end * (_WEIGHTS * np.cos(angles) ** (freedom - 1)).sum())


def summarise(
    rows: Sequence[dict[str, Any]], keys: Sequence[str], metrics: Sequence[str], interval: str
) -> list[dict[str, Any]]:
    """One entry for every combination of parameters, in the order in which they come.

    Args:
        rows: of the result.
        keys: the grid's.
        metrics: what to estimate.
        interval: of ``INTERVALS``.
    Returns:
        ``parameters``; ``runs``, ``failed`` (with an error), ``broken`` (promise not kept); ``metrics``: name
        -> ``Estimate``, over the runs that did not fail.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return [
        {
            "parameters": dict(zip(keys, values, strict=True)),
            "runs": len(group),
            "failed": sum(row["error"] is not None for row in group),
            "broken": sum(row["kept"] is False for row in group),
            "metrics": {
                name: estimate([float(row[name]) for row in group if row[name] is not None], interval)
                for name in metrics
            },
        }
        for values, group in groups.items()
    ]
