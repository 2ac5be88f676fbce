"""How prices answer to excess demand: PADR and FAST-PADR (spec of chapters 1-3, sections 5 and 5b).

Price-taking dynamics, not best responses of the game: agents demand D_i(price) as if they could not move it.
The price of a link is a deterministic function of sums that all its agents hold alike, so each of them keeps
a replica and no one is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# Rounds without progress after which the safeguard restarts a link and halves its step.
PATIENCE = 50
# Below this excess, relative to the capacity, rounding is all that is left to improve.
NOISE = 1e-13

RULES = ("fast", "newton", "padr", "proved", "constant", "strategic")

RowState = tuple[float, float, float, bool, float, float, int]


@dataclass(frozen=True, slots=True)
class Dynamics:
    """Which price dynamics is played; the same at every agent.

    Attributes:
        rule: ``fast``: FAST-PADR, momentum with a restart and a safeguard per link; needs synchronous rounds.
            Agents turn to ``proved`` while that is called for (``fallback``). ``padr``: plain steps scaled by
            the curvature at the current demands. ``proved``: plain steps scaled by the least curvature of
            the whole range, which provably converge, slowly. ``constant``: plain steps of ``gamma``.
            ``newton``: projected Newton, from the sums of all links (module ``newton``); kappa does not
            matter. ``strategic``: no price dynamics but best responses of the game, which do not converge.
        kappa: multiplies the scaled step; 1 is the default, 2 the limit of stability.
        gamma: the constant step, money per unit of excess; with ``constant`` only.
        start: the price of every link before the first round, >= 0.
    Raises:
        ValueError: for an unknown rule or a number out of range.
    """

    rule: str = "fast"
    kappa: float = 1.0
    gamma: float | None = None
    start: float = 1.0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"unknown rule {self.rule!r}; expected one of {', '.join(RULES)}")
        if not 0.0 < self.kappa < 2.0:
            raise ValueError(f"expected 0 < kappa < 2, got {self.kappa}")
        if (self.rule == "constant") != (self.gamma is not None):
            raise ValueError(f"rule {self.rule!r} with gamma = {self.gamma}; gamma belongs to 'constant'")
        if self.gamma is not None and not 0.0 < self.gamma < math.inf:
            raise ValueError(f"expected gamma > 0 and finite, got {self.gamma}")
        if not 0.0 <= self.start < math.inf:
            raise ValueError(f"expected a start price >= 0 and finite, got {self.start}")

    @property
    def fast(self) -> bool:
        """Whether prices have momentum and idle links are left out of the scale."""
        return self.rule == "fast"

    @property
    def calm(self) -> Dynamics:
        """The plain steps that are proved to converge; beyond kappa = 1 they only overshoot."""
        return replace(self, rule="proved", kappa=min(1.0, self.kappa))


class Safeguard:
    """Halves a link's step when its excess has not reached a new minimum for ``PATIENCE`` rounds."""

    def __init__(self, kappa: float) -> None:
        self.kappa, self.best, self.since = kappa, math.inf, 0

    def watch(self, excess: float, noise: float) -> bool:
        """Take in |excess| of a link in use; whether to restart it now."""
        if excess < self.best or excess <= noise:
            self.best, self.since = min(self.best, excess), 0
            return False
        self.since += 1
        if self.since < PATIENCE:
            return False
        self.kappa, self.since = 0.5 * self.kappa, 0
        return True


class RowPrice:
    """One agent's replica of the price of a row sum A_j x_j <= c.

    Attributes:
        price: p, the newest.
        announced: z, what is quoted this round: p, with momentum a point beyond it.
        busy: whether demand exceeded the capacity last round.
    """

    def __init__(self, dynamics: Dynamics, capacity: float, start: float | None = None) -> None:
        self._dynamics, self._capacity = dynamics, capacity
        self.price = self._before = dynamics.start if start is None else start
        self.announced = self.price
        self._counter, self.busy = 1.0, True
        self._guard = Safeguard(dynamics.kappa)

    def state(self) -> RowState:
        """Between two rounds; a new replica is made from it by ``restore``."""
        guard = self._guard
        best = guard.best if math.isfinite(guard.best) else -1.0  # infinities are no message
        return (self.price, self._before, self._counter, self.busy, guard.kappa, best, guard.since)

    def restore(self, state: RowState) -> None:
        """Inverse of ``state``."""
        self.price, self._before, self._counter, self.busy, kappa, best, since = state
        self._guard.kappa, self._guard.best, self._guard.since = kappa, best if best >= 0 else math.inf, since

    def follow(self, dynamics: Dynamics) -> None:
        """Go on from here by another rule; momentum starts anew."""
        self._dynamics, self._before, self._counter = dynamics, self.price, 1.0

    def announce(self) -> float:
        """z of this round. Call once a round."""
        if not self._dynamics.fast:
            self.announced = self.price
            return self.price
        counter, self._counter = self._counter, 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * self._counter**2))
        beyond = self.price + (counter - 1.0) / self._counter * (self.price - self._before)
        self.announced = max(0.0, beyond)
        return self.announced

    def in_use(self) -> bool:
        """Whether the row counts in the scale of its agents' other rows, given z and the round before."""
        return not self._dynamics.fast or self.announced > 0.0 or self.busy

    def update(self, load: float, shared: float, alone: float) -> float:
        """Move the price by the excess of this round's raw demands.

        Args:
            load: sum of A_j y_j.
            shared: sum of |A_j| s_j / |v_j''|, s_j over the agent's rows in use.
            alone: sum of A_j^2 / |v_j''|, which bounds the scale while the row is idle.
        Returns:
            The projected excess |min(excess, -z scale)|: 0 exactly where demand meets capacity, or stays
            below it at price 0.
        """
        z, excess = self.announced, load - self._capacity
        if self._dynamics.gamma is not None:
            step = self._dynamics.gamma
        elif self._dynamics.fast:
            step = self._guard.kappa / max(shared, alone)
        else:
            step = self._dynamics.kappa / shared
        new = max(0.0, z + step * excess)
        residual = abs(new - z) / step
        if self._dynamics.fast:
            if (new - z) * (new - self.price) < 0.0:
                self._counter = 1.0
            if excess > 0.0 or z > 0.0:
                stuck = self._guard.watch(residual, NOISE * max(self._capacity, abs(load)))
                self._counter = 1.0 if stuck else self._counter
        self.busy = excess > 0.0
        self._before, self.price = self.price, new
        return residual
