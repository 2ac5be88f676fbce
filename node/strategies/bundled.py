"""The strategies that come along. Each has one number, its size; most have one at which they are honest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.strategies.strategy import Lie, Seen, Strategy, positive, share

if TYPE_CHECKING:
    from node.numbers import Matrix, Vector


class Scale(Strategy):
    """Misreport: play as if the utility were ``size`` times as large; > 0, honest at 1."""

    honest = 1.0
    sizes = (0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)

    def __init__(self, size: float, seed: int = 0) -> None:
        super().__init__(positive(size), seed)

    def lie(self, public: bool) -> Lie:
        """size v(x)."""
        return Lie(scale=self.size)


class Shift(Strategy):
    """Misreport: play as if every unit were worth ``size`` more, in money; honest at 0. With a negative size
    it is the classic free rider of a public good, to whom the good is worth less, it says, than it is."""

    honest = 0.0
    sizes = (-4.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

    def lie(self, public: bool) -> Lie:
        """v(x) + size times the sum of x."""
        return Lie(shift=self.size)


class Exaggerate(Strategy):
    """Ask for ``size`` times what is wanted; >= 0, honest at 1. Below 1 it hides demand."""

    honest = 1.0
    sizes = (0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)

    def __init__(self, size: float, seed: int = 0) -> None:
        if not size >= 0.0:
            raise ValueError(f"size {size:g}: expected a number >= 0")
        super().__init__(size, seed)

    def ask(self, wanted: Vector, seen: Seen) -> Vector:
        """size times what is wanted."""
        return self.size * wanted


class Constant(Strategy):
    """Ask for ``size`` units of every good, whatever they cost. Honest only where it happens to be right."""

    sizes = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)

    def ask(self, wanted: Vector, seen: Seen) -> Vector:
        """size units."""
        return np.full_like(wanted, self.size)


class FreeRide(Strategy):
    """Let the others carry the part ``size`` of it; 0 to 1, honest at 0. Of a public good: claim that it is
    worth 1 - size of what it is. Else: want as before, and withhold that part of what the others need to
    hear: of the proxies and sums to be passed on, or on networks of the prices by which the others pay."""

    honest = 0.0
    sizes = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)

    def __init__(self, size: float, seed: int = 0) -> None:
        super().__init__(share(size), seed)

    def lie(self, public: bool) -> Lie:
        """(1 - size) v(x) of a public good."""
        return Lie(scale=1.0 - self.size) if public else Lie()

    def repeat(self, owed: Matrix, seen: Seen) -> Matrix:
        """The part 1 - size, unless the good is public."""
        return owed if seen.public else (1.0 - self.size) * owed


class PriceTake(Strategy):
    """Take the price as given: the part ``size`` of the way from the best response to the demand at the
    price; 0 to 1, honest at 0.

    For private goods the price does not contain the own message, and the best response takes it as given
    anyway. Agents of a network mechanism are price takers by the rule.
    """

    honest = 0.0
    sizes = (0.0, 0.25, 0.5, 0.75, 1.0)

    def __init__(self, size: float, seed: int = 0) -> None:
        super().__init__(share(size), seed)

    def ask(self, wanted: Vector, seen: Seen) -> Vector:
        """Between what is wanted and argmax v(x) - p.x."""
        if not hasattr(seen.utility, "demand"):
            return wanted
        taken: Vector = seen.utility.demand(seen.price)
        return wanted + self.size * (taken - wanted)


class Randomise(Strategy):
    """Ask for exp(``size`` z) times what is wanted, z drawn anew every round from the normal distribution;
    >= 0, honest at 0. Play does not come to rest."""

    honest = 0.0
    sizes = (0.0, 0.05, 0.1, 0.2, 0.4)
    random = True

    def __init__(self, size: float, seed: int = 0) -> None:
        if not size >= 0.0:
            raise ValueError(f"size {size:g}: expected a number >= 0")
        super().__init__(size, seed)

    def ask(self, wanted: Vector, seen: Seen) -> Vector:
        """What is wanted, times a factor of its own for every good."""
        return wanted * np.exp(self.size * self.rng(seen).normal(size=wanted.shape))
