"""The search for a message that pays an agent more than the one it said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.numbers import Matrix
    from node.part import AgentId
    from node.testing.instance import Instance, Profile

# Sizes of deviations, in units of the size of the messages.
_SIZES = tuple(float(size) for size in np.geomspace(1e-4, 30.0, 9))


class Deviations:
    """One agent's utility as a function of its own message, the others' messages fixed.

    Args:
        instance: the mechanism.
        agent: who deviates.
        profile: what the others say.
        salt: tells random searches apart.
    """

    def __init__(self, instance: Instance, agent: AgentId, profile: Profile, salt: int) -> None:
        self.instance, self.agent, self.profile = instance, agent, profile
        self.view: Any = instance.view(agent, profile)
        self.rng = np.random.default_rng([instance.seed, 3, salt])

    def utility(self, message: Matrix) -> float:
        """u_i when the agent says this; minus infinity if its neighbours would not accept it."""
        if not self.instance.admissible(self.agent, message):
            return -math.inf
        outcome = self.instance.contracts[self.agent].outcome(message.copy(), self.view)
        return self.instance.utility(self.agent, outcome)

    def rounding(self, message: Matrix) -> float:
        """The size of the numbers that u_i is a sum of at this message, at least 1."""
        outcome = self.instance.contracts[self.agent].outcome(message.copy(), self.view)
        value = self.instance.utilities[self.agent].value(outcome.allocation)
        paid = float(np.abs(outcome.price * outcome.allocation).sum())
        return max(1.0, abs(value), abs(float(outcome.tax)), paid)

    def candidates(self, message: Matrix) -> Iterator[tuple[str, Matrix]]:
        """Messages far and near: of others, scaled, and with numbers, rows or everything moved."""
        opening = self.instance.contracts[self.agent].opening()
        yield "the opening", opening
        yield "zeros", np.zeros(message.shape)
        for j, other in self.profile.items():
            if other.shape == message.shape:
                yield f"the message of {j}", other.copy()
        for factor in (-1.0, 0.0, 0.5, 0.99, 1.01, 2.0):
            yield f"the message times {factor:g}", factor * message
            for row in range(len(message)):
                scaled = message.copy()
                scaled[row] *= factor
                yield f"row {row} times {factor:g}", scaled
        size = self.instance.size
        for cell in np.ndindex(message.shape):
            for by in (sign * size * relative for relative in _SIZES for sign in (1.0, -1.0)):
                moved = message.copy()
                moved[cell] += by
                yield f"number {cell} moved by {by:.3g}", moved
        for k in range(60):
            step = self.rng.normal(size=message.shape) * size * _SIZES[k % len(_SIZES)]
            if k % 3 == 0:  # some rows only
                step[self.rng.random(len(step)) < 0.5] = 0.0
            yield "all numbers moved at random", message + step
        if self.instance.draw is not None:
            for _ in range(20):
                yield "a drawn message", self.instance.draw(self.agent, self.rng)

    def climb(self, message: Matrix, sweeps: int = 3) -> tuple[float, Matrix]:
        """Go uphill from a message, number by number and then along the slope and along random directions.

        Along each direction to the top of the parabola through three points, which is exact where u_i is
        quadratic in the message, as it is for most mechanisms and quadratic utilities.

        Returns:
            The utility reached and where.
        """
        best, at = self.utility(message), message
        cells = list(np.ndindex(message.shape))
        for _ in range(sweeps):
            before, slope = best, np.zeros(message.shape)
            for cell in cells:
                direction = np.zeros(message.shape)
                direction[cell] = 1.0
                best, at, slope[cell] = self._along(direction, best, at)
            if (length := float(np.linalg.norm(slope))) > 0 and math.isfinite(length):
                best, at, _ = self._along(slope / length, best, at)
            for _ in range(4):
                direction = self.rng.normal(size=message.shape)
                best, at, _ = self._along(direction / np.linalg.norm(direction), best, at)
            if not best > before:
                break
        return best, at

    def _along(self, direction: Matrix, best: float, at: Matrix) -> tuple[float, Matrix, float]:
        """The best of three points and the top of their parabola; and the slope at the middle one."""
        step = 1e-2 * self.instance.size
        up, down = self.utility(at + step * direction), self.utility(at - step * direction)
        slope, bend = (up - down) / (2 * step), (up - 2 * best + down) / step**2
        tried = [(up, at + step * direction), (down, at - step * direction)]
        if math.isfinite(bend) and bend < 0:
            top = at - slope / bend * direction
            tried.append((self.utility(top), top))
        for utility, message in tried:
            if utility > best:
                best, at = utility, message
        return best, at, slope if math.isfinite(slope) else 0.0


def best_deviation(instance: Instance, agent: AgentId, profile: Profile, salt: int) -> tuple[float, str]:
    """How much more an agent gets by saying anything else than its message in ``profile``, and what.

    Returns:
        The largest gain found, relative to the size of the numbers that the utility is a sum of; and what the
        deviation is, in words.
    """
    search, message = Deviations(instance, agent, profile, salt), profile[agent]
    rest, scale = search.utility(message), search.rounding(message)
    best, how, at = rest, "", message
    for words, candidate in search.candidates(message):
        utility = search.utility(candidate)
        if not utility <= best:
            best, how, at = utility, words, candidate
    climbed, top = search.climb(at)
    if not climbed <= best:
        best, how = climbed, f"{_difference(top, message)} (found by climbing)"
    return (best - rest) / scale, f"{agent} gains {best - rest:.3g} (it has {rest:.6g}) by {how}"


def _difference(message: Matrix, before: Matrix) -> str:
    off = np.abs(message - before)
    cell = tuple(int(k) for k in np.unravel_index(int(off.argmax()), off.shape))
    return f"moving mostly number {cell}, by {float(message[cell] - before[cell]):.3g}"
