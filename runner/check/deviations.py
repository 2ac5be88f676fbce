"""The best unilateral deviation of one agent: its best response in closed form, then a search that does not
believe it.

The others' messages are fixed, and with them all that the agent reads; what is searched is its own message
space. First a structured scan: every number of the message moved, near and far, everything scaled, the
messages of neighbours, random messages. Then uphill from the best of these, along single numbers and random
directions, to the top of the parabola through three points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.utilities import UtilityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from node.mechanisms.contract import Contract, Outcome
    from node.numbers import Matrix

# Sizes of moves, in units of the size of the message.
SIZES = tuple(float(size) for size in np.geomspace(1e-4, 30.0, 9))
# Numbers of a message that are moved one by one, beside those of its demand; of more, a part drawn at random.
CELLS = 64
SWEEPS = 2


@dataclass(frozen=True, slots=True)
class Best:
    """The most that an agent can have.

    Attributes:
        payoff: v_i(x_i) - t_i with the best message found.
        scale: the size of the numbers that such a payoff is a sum of, at least 1: money.
        how: the message, in words.
        tried: how many messages were tried.
        steepest: the largest curvature of the payoff in the own message that was seen along the way.
    """

    payoff: float
    scale: float
    how: str
    tried: int
    steepest: float


class Search:
    """One agent's payoff as a function of its own message.

    Args:
        contract: the agent's side.
        view: what it reads out of the others' messages.
        seed: of random messages.
    """

    def __init__(self, contract: Contract[Any], view: Any, seed: Sequence[int]) -> None:
        self._contract, self._view = contract, view
        self._rng = np.random.default_rng(seed)
        self.tried = 0
        self.steepest = 0.0

    def payoff(self, message: Matrix) -> float:
        """v_i(x_i) - t_i; minus infinity where the utility has no value."""
        self.tried += 1
        outcome = self._contract.outcome(message, self._view)
        try:
            value = self._contract.utility.value(outcome.allocation)
        except UtilityError:
            return -math.inf
        return value - outcome.tax

    def candidates(
        self, message: Matrix, reply: Matrix, others: Sequence[Matrix]
    ) -> Iterator[tuple[str, Matrix]]:
        """Messages to try, with words for each."""
        size = max(1.0, float(np.abs(message).max()))
        yield "saying nothing", np.zeros(message.shape)
        for other in others:
            yield "the message of a neighbour", other
        for factor in (-1.0, 0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
            yield f"the message times {factor:g}", factor * message
            only = message.copy()
            only[0] *= factor
            yield f"the demand times {factor:g}", only
        for good in range(message.shape[1]):
            for by in (sign * size * part for part in SIZES for sign in (1.0, -1.0)):
                yield f"the demand for good {good} moved by {by:.3g}", _moved(message, (0, good), by)
        for cell in self._cells(message):
            for by in (sign * size * part for part in (1e-2, 1.0) for sign in (1.0, -1.0)):
                yield f"number {cell} moved by {by:.3g}", _moved(message, cell, by)
        for k in range(30):
            step = self._rng.normal(size=message.shape) * size * SIZES[k % len(SIZES)]
            if k % 3 == 0:  # some rows only
                step[self._rng.random(len(step)) < 0.5] = 0.0
            yield "all numbers moved at random", message + step
            yield "the best response moved at random", reply + step

    def climb(self, message: Matrix) -> tuple[float, Matrix]:
        """Uphill from a message; the payoff reached and where."""
        best, at = self.payoff(message), message
        for _ in range(SWEEPS):
            before = best
            cells = [(0, good) for good in range(message.shape[1])]
            for cell in [*cells, *self._cells(message)]:
                direction = np.zeros(message.shape)
                direction[cell] = 1.0
                best, at = self._along(direction, best, at)
            for _ in range(4):
                direction = self._rng.normal(size=message.shape)
                best, at = self._along(direction / np.linalg.norm(direction), best, at)
            if not best > before:
                break
        return best, at

    def _along(self, direction: Matrix, best: float, at: Matrix) -> tuple[float, Matrix]:
        step = 1e-2 * max(1.0, float(np.abs(at).max()))
        up, down = self.payoff(at + step * direction), self.payoff(at - step * direction)
        slope, bend = (up - down) / (2.0 * step), (up - 2.0 * best + down) / step**2
        tried = [(up, at + step * direction), (down, at - step * direction)]
        if math.isfinite(bend) and bend < 0.0:
            self.steepest = max(self.steepest, -bend)
            top = at - slope / bend * direction
            tried.append((self.payoff(top), top))
        for payoff, message in tried:
            if payoff > best:
                best, at = payoff, message
        return best, at

    def _cells(self, message: Matrix) -> list[tuple[int, int]]:
        """Numbers beyond the demand: all or, of many, some."""
        cells = [(row, good) for row in range(1, len(message)) for good in range(message.shape[1])]
        if len(cells) <= CELLS:
            return cells
        return [cells[k] for k in sorted(self._rng.choice(len(cells), CELLS, replace=False).tolist())]


def best_deviation(
    contract: Contract[Any],
    view: Any,
    message: Matrix,
    others: Sequence[Matrix],
    seed: Sequence[int],
    *,
    search: bool,
) -> Best:
    """The most that an agent can have, whatever it says.

    Args:
        contract: its side.
        view: what it reads out of the others' messages.
        message: what it said.
        others: messages of neighbours, of which those of the same shape are tried.
        seed: of random messages.
        search: whether to search; else the closed form is all.
    """
    looking = Search(contract, view, seed)
    reply = contract.best_response(view)
    best, how, at = looking.payoff(reply), "its best response", reply
    if search:
        same = [other for other in others if other.shape == message.shape]
        for words, candidate in looking.candidates(message, reply, same):
            payoff = looking.payoff(candidate)
            if payoff > best:
                best, how, at = payoff, words, candidate
        climbed, _ = looking.climb(at)
        if climbed > best:
            best, how = climbed, f"{how}, and uphill from there"
    outcome = contract.outcome(reply, view)
    return Best(best, scale_of(contract, outcome), how, looking.tried, looking.steepest)


def scale_of(contract: Contract[Any], outcome: Outcome) -> float:
    """The size of the numbers that a payoff is a sum of, at least 1."""
    value = contract.utility.value(outcome.allocation)
    paid = float(np.abs(outcome.price * outcome.allocation).sum())
    return max(1.0, abs(value), abs(outcome.tax), paid)


def _moved(message: Matrix, cell: tuple[int, int], by: float) -> Matrix:
    moved = message.copy()
    moved[cell] += by
    return moved


def messages_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Matrix]:
    """Everybody's last message, out of their accounts.

    Raises:
        ValueError: naming the agent whose message is none.
    """
    found = {}
    for agent, result in results.items():
        try:
            message = np.array(result["message"], dtype=np.float64)
        except (KeyError, TypeError, ValueError):
            message = np.empty(0)
        if message.ndim != 2 or not message.size or not np.isfinite(message).all():
            raise ValueError(f"agent {agent}: no last message of rows of finite numbers")
        found[agent] = message
    return found
