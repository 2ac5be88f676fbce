"""Metropolis averaging, plain or with Chebyshev acceleration: few rounds, but only where none is lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.consensus.averages import Averaged, finite_input, measured, plausible
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.part import AgentId

Snapshot = tuple[float, float, float, int, bool, float, tuple[tuple[str, float], ...] | None]


def metropolis(
    x: float,
    neighbours: Sequence[AgentId],
    rho: float | None = None,
    tolerance: float | None = None,
    max_rounds: int | None = None,
    facts: Mapping[str, float] | None = None,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, Averaged]:
    """Average with the weights ``1 / (1 + max(d_i, d_j))``; one round of degrees comes first.

    Section 3.2. With ``rho``, a bound on the second largest absolute eigenvalue of the weights, the
    two-step recursion ``x[k+1] = omega (W x[k] - x[k-1]) + x[k-1]`` needs about the square root of the
    rounds. A wrong ``rho`` below 1 costs speed only; guess high, not low.

    Guarantee, in rounds mode on a connected undirected graph: the sum over all agents does not change but
    for rounding, and every estimate converges to the mean geometrically. *Not* to be used in free mode: a
    value used twice or missing conserves nothing, and the result is wrong for good. A restart needs this
    very snapshot and the round's messages; without them, or when a neighbour has gone, open a new epoch.

    Args:
        x: this agent's input, finite.
        neighbours: whom it hears and who hears it.
        rho: in [0, 1), the same at every agent; None for the plain iteration.
        tolerance: report whether all neighbours' values lie within it of mine, instead of the estimate.
        max_rounds: leave after so many rounds of averaging, the same number at every agent.
        facts: to record with the first round.
        resume: a snapshot, or None.
    Raises:
        ValueError: if ``x`` is not finite or ``rho`` outside [0, 1).
        RuntimeError: if a neighbour has gone.
    """
    if rho is not None and not 0.0 <= rho < 1.0:
        raise ValueError(f"expected 0 <= rho < 1, got {rho}")
    squared = float(rho) ** 2 if rho is not None else None
    weights: dict[AgentId, float] | None = None
    if resume is None:
        now = before = finite_input(x)
        omega, rounds, quiet, residual = 1.0, 0, False, math.inf
    else:
        now, before, omega, rounds, quiet, residual, known = resume
        weights = dict(known) if known is not None else None
    if weights is None:
        degree = len(neighbours)
        heard = yield Say(
            degree,
            kind="metropolis-degrees",
            accepts=lambda body, src: type(body) is int and 1 <= body < 2**31,
            report=now if tolerance is None else quiet,
            record=measured(now, residual, facts),
            snapshot=(now, before, omega, rounds, quiet, residual, None),
        )
        _all_there(heard)
        weights = {j: 1.0 / (1 + max(degree, other)) for j, other in heard.said.items()}
    own, pairs = 1.0 - math.fsum(weights.values()), tuple(weights.items())
    while True:
        heard = yield Say(
            now,
            kind="metropolis",
            accepts=lambda body, src: plausible(body),
            report=now if tolerance is None else quiet,
            record=measured(now, residual, None),
            snapshot=(now, before, omega, rounds, quiet, residual, pairs),
        )
        _all_there(heard)
        residual = max((abs(other - now) for other in heard.said.values()), default=0.0)
        quiet = tolerance is not None and residual <= tolerance
        mixed = own * now
        for j, other in heard.said.items():
            mixed += weights[j] * other
        if squared is None:
            now = mixed
        else:
            now, before = omega * (mixed - before) + before, now
            omega = 1.0 / (1.0 - squared * (0.5 if rounds == 0 else 0.25 * omega))
        rounds += 1
        if heard.verdict is not None or rounds == max_rounds:
            return Averaged(now, rounds, heard.verdict is not None)


def _all_there(heard: Heard) -> None:
    if heard.gone:
        raise RuntimeError(f"neighbours {list(heard.gone)} have gone: the weights need a new epoch")
