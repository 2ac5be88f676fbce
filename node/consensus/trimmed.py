"""Trimmed averaging (W-MSR): agreement inside the honest range although some agents lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.consensus.averages import Averaged, finite_input, measured
from node.errors import AgentError
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from node.part import AgentId

Snapshot = tuple[float, int, float, bool]


class NotRobust(AgentError):
    """The graph cannot bear as many liars as the run file declares; the text names the cut."""


def degree_condition(
    me: AgentId, neighbours: Sequence[AgentId], liars: int, rounds: int
) -> Generator[Say, Heard, None]:
    """Make sure that everybody has at least ``2 f + 1`` neighbours.

    Section 8. Necessary for the (2f+1)-robustness that trimmed averaging needs: an agent with fewer and all
    others together form a cut across which too little is heard (see ``node.consensus.robustness``).

    Guarantee: with ``rounds`` at least the diameter, all agents leave in the same round, and either all or
    none of them raise. Degrees are believed as they are said; the runner's check of the graph is not.

    Args:
        me: the own id.
        neighbours: whom it hears.
        liars: f >= 0, the same at every agent.
        rounds: the diameter or any larger number, the same at every agent.
    Raises:
        NotRobust: at every agent in the same round, naming the agent of smallest degree, the first by id.
    """
    least = (len(neighbours), me)
    for _ in range(rounds):
        heard = yield Say(least, kind="trimmed-degrees", accepts=_accepts_degree)
        least = min([least, *heard.said.values()])
    degree, weakest = least
    if liars > 0 and degree < 2 * liars + 1:
        raise NotRobust(
            f"agent {me}: {liars} liars need a {2 * liars + 1}-robust graph, but agent {weakest} has only "
            f"{degree} neighbours: the cut {{{weakest}}} | all others shows that it is not"
        )


def trimmed(
    x: float,
    liars: int,
    tolerance: float | None = None,
    max_rounds: int | None = None,
    facts: Mapping[str, float] | None = None,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, Averaged]:
    """Drop up to ``f`` heard values above and up to ``f`` below the own one; average the rest with it.

    Section 8. Guarantee, in rounds mode, if the graph is (2f+1)-robust and at most ``f`` agents lie, to each
    neighbour as they please: every honest estimate lies between the smallest and the largest honest input,
    in every round, and all of them converge to one value. That value is *not* the mean. The bounds hold on
    every graph on which no agent hears more than ``f`` liars; agreement needs the robustness.

    A liar can hold up or hurry counters and windows; where liars are expected, leave after ``max_rounds``.

    Args:
        x: this agent's input, finite.
        liars: f >= 0, the same at every agent.
        tolerance: report whether all kept values lie within it of mine, instead of the estimate.
        max_rounds: leave after so many rounds, the same number at every agent.
        facts: to record with the first round.
        resume: a snapshot, or None.
    Raises:
        ValueError: if ``x`` is not finite or ``liars`` is negative.
    """
    if liars < 0:
        raise ValueError(f"expected f >= 0, got {liars}")
    now, rounds, residual, quiet = resume if resume is not None else (finite_input(x), 0, math.inf, False)
    while True:
        heard = yield Say(
            now,
            kind="trimmed",
            accepts=lambda body, src: type(body) is float,
            report=now if tolerance is None else quiet,
            record=measured(now, residual, facts if rounds == 0 else None),
            snapshot=(now, rounds, residual, quiet),
        )
        kept = trim(now, heard.said.values(), liars)
        residual = max((abs(other - now) for other in kept), default=0.0)
        quiet = tolerance is not None and residual <= tolerance
        # A mean computed in floating point may leave the range of its terms by a rounding; the range is
        # what is promised.
        lowest, highest = min([now, *kept]), max([now, *kept])
        # Each term divided first: the sum of liars' huge values must not overflow.
        mean = math.fsum(term / (1 + len(kept)) for term in (now, *kept))
        now = min(max(mean, lowest), highest)
        rounds += 1
        if heard.verdict is not None or rounds == max_rounds:
            return Averaged(now, rounds, heard.verdict is not None)


def trim(own: float, heard: Iterable[float], liars: int) -> list[float]:
    """The values that survive: without the ``liars`` largest above and smallest below the own one.

    If fewer than ``liars`` lie above (below), all of those are dropped. Ascending.
    """
    values = sorted(heard)
    low = min(liars, sum(value < own for value in values))
    high = min(liars, sum(value > own for value in values))
    return values[low : len(values) - high]


def _accepts_degree(body: object, src: AgentId) -> bool:
    match body:
        case (int(degree), str(agent)):
            return type(degree) is int and 0 <= degree < 2**31 and 0 < len(agent) <= 64
        case _:
            return False
