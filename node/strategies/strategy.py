"""What an agent may do instead of what the rule says.

A strategy is a pure object: no I/O, no clock, no global randomness. It acts in three places, and where it
says nothing the agent is honest:

``lie``     the agent plays the rule with another utility than its own;
``ask``     it asks for other amounts than those that the rule would have it ask for;
``repeat``  it repeats something else than what it owes to the others: the proxies of their demands (private
            and public goods), the sums behind it and the echo (summary), the prices it quotes (networks).

It deviates in play. Whatever comes before (survey, agreement, the spanning tree, the depth of the tables) it
does honestly, with its true curvature: so the parameters of the contract are those of honest play.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from node.numbers import Matrix, Vector
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Lie:
    """A false utility, scale v(x) + shift.x, made of the true one.

    Attributes:
        scale: >= 0; 0 claims not to care, which only a public good has an answer to.
        shift: added to the marginal utility of every good, money per unit.
    Raises:
        ValueError: for numbers out of range.
    """

    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.scale < float("inf") and abs(self.shift) < float("inf")):
            raise ValueError(f"expected scale >= 0 and a finite shift, got {self.scale} and {self.shift}")

    @property
    def truth(self) -> bool:
        """Whether it is none."""
        return self.scale == 1.0 and self.shift == 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a strategy may look at: all that its agent knows.

    Attributes:
        agent: its id.
        round: of play, from 1 for the first answer; on networks the step, from 1 for the first quote.
        price: the price that the agent faces, shape (K,), money per unit.
        utility: its true one: a ``node.utilities.Utility``, on networks a
            ``node.mechanisms.network.valuations.Valuation``.
        public: whether the good is public.
    """

    agent: AgentId
    round: int
    price: Vector
    utility: Any
    public: bool = False


class Strategy:
    """The honest strategy, and the base of all others.

    A class of the user's own derives from it and overrides what it likes; it is made as
    ``Class(size, seed)``.

    Args:
        size: how large the lie is; every strategy says in which unit.
        seed: of whatever it draws.
    Raises:
        ValueError: if the size is out of range.

    Class attributes:
        honest: the size at which it is no lie; None if there is none.
        sizes: what is tried if nobody says.
        random: whether it draws numbers, so that one round tells little.
    """

    honest: ClassVar[float | None] = None
    sizes: ClassVar[tuple[float, ...]] = (1.0,)
    random: ClassVar[bool] = False

    def __init__(self, size: float, seed: int = 0) -> None:
        if not abs(size) < float("inf"):
            raise ValueError(f"size {size}: expected a finite number")
        self.size, self.seed = float(size), seed

    def lie(self, public: bool) -> Lie:
        """The utility that it plays as if it were its own.

        Args:
            public: whether the good is public.
        """
        return Lie()

    def ask(self, wanted: Vector, seen: Seen) -> Vector:
        """The amounts it asks for, shape (K,), given those that best response to the others (on networks:
        demand at the price) would have it ask for."""
        return wanted

    def repeat(self, owed: Matrix, seen: Seen) -> Matrix:
        """What it repeats, given what it owes; any shape, the same one back."""
        return owed

    def rng(self, seen: Seen) -> np.random.Generator:
        """Random numbers that depend on seed, agent and round alone."""
        name = int.from_bytes(hashlib.sha256(seen.agent.encode()).digest()[:8], "big")
        return np.random.default_rng([self.seed, name, seen.round])


def positive(size: float) -> float:
    """The size, if it is > 0.

    Raises:
        ValueError: if it is not.
    """
    if not size > 0.0:
        raise ValueError(f"size {size:g}: expected a number > 0")
    return size


def share(size: float) -> float:
    """The size, if it is within [0, 1].

    Raises:
        ValueError: if it is not.
    """
    if not 0.0 <= size <= 1.0:
        raise ValueError(f"size {size:g}: expected a number from 0 to 1")
    return size
