"""Stopping by max-min windows: all agents stop in the same round, with a measured spread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import AgentId

Pair = tuple[float, float]
Snapshot = tuple[int, Pair | None, bool]


def windows(diameter: int, tolerance: float, resume: Snapshot | None = None) -> Generator[Say, Heard, None]:
    """Side protocol that tells when all agents' estimates lie within ``tolerance`` of one another.

    Section 4.2. Rounds are cut into windows of D. At the start of one every agent takes the estimate that
    its main protocol reports; the largest and the smallest are flooded, and at the end all agents hold the
    same pair. An agent without an estimate (its report is not a finite number) vetoes the window: an empty
    pair, which wins over every other, goes out in place of (inf, -inf), for infinities do not travel.

    Guarantee: the report turns from None to True in the same round at all agents, the last one of a window;
    at the start of that window the largest and the smallest estimate of all agents were no further apart
    than the tolerance; it comes within 2D rounds after the first round from which on that always holds.

    Args:
        diameter: D or any larger number, the same at every agent. Where neighbours may be lost on the way: of
            whatever is left, for which N - 1 is enough.
        tolerance: >= 0, the same at every agent; below the rounding of the estimates it never holds.
        resume: a snapshot, or None.
    Raises:
        ValueError: if the tolerance is negative or not finite.
    """
    if not 0.0 <= tolerance < math.inf:
        raise ValueError(f"expected a tolerance >= 0, got {tolerance}")
    length = max(1, diameter)
    # Before the first report there is no estimate: the first window is vetoed.
    left, pair, stop = resume if resume is not None else (length, None, False)
    while True:
        heard = yield Say(
            () if pair is None else pair,
            kind="windows",
            accepts=_accepts,
            report=True if stop else None,
            snapshot=(left, pair, stop),
            survives=True,
        )
        for other in heard.said.values():
            pair = (max(pair[0], other[0]), min(pair[1], other[1])) if pair and other else None
        left -= 1
        if left == 0:
            stop = stop or (pair is not None and pair[0] - pair[1] <= tolerance)
            estimate = heard.report
            stands = type(estimate) is float and math.isfinite(estimate)
            left, pair = length, (estimate, estimate) if stands else None


def _accepts(body: object, src: AgentId) -> bool:
    return type(body) is tuple and (
        body == ()
        or (len(body) == 2 and type(body[0]) is float and type(body[1]) is float and body[0] >= body[1])
    )
