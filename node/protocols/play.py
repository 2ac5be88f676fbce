"""Repeated play of a contract: best response round after round, until all have agreed to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.numbers import Matrix
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.learning import Learning
    from node.mechanisms.contract import Contract, Outcome

Snapshot = tuple[Matrix, float, bool, int, Any]

# A message cannot be computed more exactly than this, relative to its largest number: where a threshold asks
# for less, best responses circle among neighbouring doubles for ever.
ROUNDING = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Played:
    """How play ended for one agent.

    Attributes:
        outcome: allocation, price and tax at the final profile of messages.
        rounds: rounds of play.
        residual: |beta_i(m) - m_i| of the own last message, in the contract's norm.
        satisfied: whether that residual was within the threshold, or as small as rounding lets it be.
    """

    outcome: Outcome
    rounds: int
    residual: float
    satisfied: bool


def repeated_play(
    contract: Contract[Any],
    learning: Learning,
    threshold: float,
    max_rounds: int | None = None,
    record: dict[str, float] | None = None,
    resume: Snapshot | None = None,
    *,
    measure: bool = True,
) -> Generator[Say, Heard, Played]:
    """Play the contract until a side protocol gives the verdict to stop.

    Reports whether the message just said differs from the one before by no more than the threshold.

    Args:
        contract: this agent's side of the contract.
        learning: what to respond to; its memory is restored from ``resume``.
        threshold: largest |beta_i(m) - m_i|, in the contract's norm, that counts as at rest; > 0.
        max_rounds: rounds of play after which to leave without being satisfied, the same at every agent.
        record: facts to record with the first message.
        resume: a snapshot, or None.
        measure: whether to record allocation, price and tax of every round and not the residual alone.
    Raises:
        ValueError: if the threshold is not positive.
    """
    if not threshold > 0:
        raise ValueError(f"expected a threshold > 0, got {threshold}")
    if resume is None:
        message, residual, quiet, rounds = contract.opening(), math.inf, False, 0
    else:
        message, residual, quiet, rounds, memory = resume
        learning.restore(memory)
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
            return Played(contract.outcome(message, view), rounds, residual, quiet)
        beliefs = learning.update(heard.said)
        reply = contract.best_response(view if beliefs is heard.said else contract.view(beliefs))
        residual = contract.residual(reply, message, view)
        quiet = residual <= threshold or residual <= ROUNDING * contract.size(reply)
        measured = (
            measurements(contract.outcome(message, view), residual) if measure else {"residual": residual}
        )
        message = reply


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
