"""Repeated play of a contract: best response round after round, until all have agreed to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.learning.dynamics import OWN
from node.numbers import Matrix
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.learning import Learning
    from node.mechanisms.contract import Contract, Outcome

Snapshot = tuple[Matrix, float, bool, int, Any]
# From the round of play, from 1, and the view of what is believed in, to what is said next.
Answer = Callable[[int, Any], Matrix]
# From an agent's side of the contract to how it answers.
Answering = Callable[["Contract[Any]"], Answer]

# A message cannot be computed more exactly than this, relative to its largest number: where a threshold asks
# for less, best responses circle among neighbouring doubles for ever.
ROUNDING = 16 * float(np.finfo(np.float64).eps)

# Messages of this size are those of play that diverges; sums of their squares still fit into a double.
DIVERGED = 1e100


class Diverged(ArithmeticError):
    """Messages grow without bound. Cannot happen where best response is a contraction."""


@dataclass(frozen=True, slots=True)
class Rest:
    """When an agent counts as at rest. Both numbers are the same at every agent.

    Attributes:
        threshold: the largest |beta_i(m) - m_i|, in the contract's norm; > 0.
        reach: how far from the equilibrium the messages may then be, in the same norm; >= threshold. It
            concerns dynamics that remember: see ``repeated_play``.
    """

    threshold: float
    reach: float = math.inf


@dataclass(frozen=True, slots=True)
class Game:
    """This agent's side of the contract, when it is at rest, and the facts to record."""

    contract: Contract[Any]
    rest: Rest
    facts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Played:
    """How play ended for one agent.

    Attributes:
        outcome: allocation, price and tax at the final profile of messages.
        message: the own last one, part of that profile.
        rounds: rounds of play.
        residual: |beta_i(m) - m_i| at the last messages for which it was computed, in the contract's norm.
        satisfied: whether play ended because every agent was at rest in one and the same round; with
            ``max_rounds``, whether this agent was in the last.
    """

    outcome: Outcome
    rounds: int
    residual: float
    satisfied: bool
    message: Matrix | None = None


def repeated_play(
    contract: Contract[Any],
    learning: Learning,
    rest: Rest | float,
    max_rounds: int | None = None,
    record: dict[str, float] | None = None,
    resume: Snapshot | None = None,
    *,
    measure: bool = True,
    answer: Answer | None = None,
) -> Generator[Say, Heard, Played]:
    """Play the contract until a side protocol gives the verdict to stop.

    Reports whether this agent is at rest. If its belief is what was just said (Cournot), that means
    |beta_i(m) - m_i| <= threshold for the profile m just said. If that holds for all agents in one round
    and beta contracts by L, then m is within reach = threshold / (1 - L) of the equilibrium in the norm, and
    so is every later profile. (Summary contracts have a smaller reach, by another argument.)

    A dynamic that remembers may leave the place again, driven by what it has not forgotten. Here the reply
    is not beta_i(m), so that is computed as well, and at rest means |beta_i(m) - m_i| <= threshold / 2 and
    that what is remembered of the own messages is within reach / 2 of the newest one. If that holds for
    all agents in one round, then m is within reach / 2 of the equilibrium, all that anybody remembers is
    within reach, and so is every later belief, being an average of these, and every later profile.

    Args:
        contract: this agent's side of the contract.
        learning: what to respond to; its memory is restored from ``resume``.
        rest: when to be at rest; a number is a threshold without a reach.
        max_rounds: rounds of play after which to leave without being satisfied, the same at every agent.
        record: facts to record with the first message.
        resume: a snapshot, or None.
        measure: whether to record allocation, price and tax of every round and not the residual alone.
        answer: what to say next, from the round of play (from 1) and the view; None: the best response. An
            agent that answers otherwise (``node.strategies``) is at rest when its own answers are.
    Raises:
        ValueError: if the threshold is not positive.
        Diverged: if the messages grow without bound.
    """
    rest = rest if isinstance(rest, Rest) else Rest(rest)
    if not rest.threshold > 0:
        raise ValueError(f"expected a threshold > 0, got {rest.threshold}")
    if resume is None:
        message, residual, quiet, rounds = contract.opening(), math.inf, False, 0
    else:
        message, residual, quiet, rounds, memory = resume
        learning.restore(memory)
    respond = _best(contract) if answer is None else answer
    measured = record if rounds == 0 else None
    while True:
        heard = yield Say(
            message,
            kind="play",
            accepts=contract.accepts,
            report=quiet,
            record=measured,
            snapshot=(message, residual, quiet, rounds, learning.state()),
        )
        rounds += 1
        view = contract.view(heard.said)
        if heard.verdict is not None or rounds == max_rounds:
            outcome = contract.outcome(message, view)
            return Played(outcome, rounds, residual, quiet or heard.verdict is not None, message)
        profile = {**heard.said, OWN: message}
        beliefs = learning.update(profile)
        if beliefs is profile:
            reply = respond(rounds, view)
            residual = largest = contract.residual(reply, message, view)
        else:
            # What is remembered of the own messages is the dynamics' business, not the contract's.
            reply = respond(rounds, contract.view({j: beliefs[j] for j in heard.said}))
            residual = contract.residual(respond(rounds, view), message, view)
            largest = 2.0 * residual
        if not largest < DIVERGED:
            raise Diverged(f"the largest step to be taken is {largest:g}")
        # The size is asked for only where it matters: here, and at rest.
        quiet = largest <= rest.threshold or largest <= ROUNDING * contract.size(reply)
        if quiet and beliefs is not profile:
            spread = 2.0 * contract.spread(learning.spread)
            quiet = spread <= max(rest.reach, ROUNDING * contract.size(reply))
        measured = (
            measurements(contract.outcome(message, view), residual) if measure else {"residual": residual}
        )
        message = reply


def _best(contract: Contract[Any]) -> Answer:
    return lambda round_, view: contract.best_response(view)


def measurements(outcome: Outcome, residual: float) -> dict[str, float]:
    """What an agent records each round: what it gets, at what price and tax, and how far it is from rest."""
    rows = {"residual": residual, "tax": outcome.tax}
    if outcome.price.size == 1:
        rows["allocation"], rows["price"] = float(outcome.allocation[0]), float(outcome.price[0])
    else:
        for k, (x, p) in enumerate(zip(outcome.allocation.tolist(), outcome.price.tolist(), strict=True)):
            rows[f"allocation.{k}"], rows[f"price.{k}"] = x, p
    return rows


def threshold(tolerance: float, scale: float, bound: float, amplification: float) -> float:
    """The residual that promises an allocation within ``tolerance`` times ``scale`` of the optimum.

    If max |beta(m) - m| <= r over all agents at once and beta contracts by ``bound``, then
    |m - m~| <= r / (1 - bound) (maximum norm), there and ever after; the allocation is off by at most
    ``amplification`` times that.
    """
    return tolerance * scale * (1.0 - bound) / amplification
