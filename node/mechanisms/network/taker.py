"""Price-taking agents of the network mechanisms: demand at a price, the price by excess demand.

PRICE-TAKING, not strategic (spec of chapters 1-3, section 5): an agent says the demand that is best if prices
stand, and all agents of a link move its price together. Fixed points are exactly the equilibrium messages
with s = 1: y = x*, p = lambda*, rho = r = 1. For the strategic best responses see ``strategic``.

An entry is a quote of the contract, followed by s, the sum of the agent's coefficients on rows in use, and
1/|v''(y)|: what the step scaled by curvature needs (section 5b, step 2).
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.links import GUARD
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Quote, Quotes, Tables
    from node.mechanisms.network.offsets import OffsetPrices
    from node.mechanisms.network.prices import Dynamics, RowPrice
    from node.mechanisms.network.ring_prices import RingPrices
    from node.mechanisms.network.valuations import Valuation

    Replica = RowPrice | RingPrices | OffsetPrices

# Roundings that a gap is trusted to no better than: two values of v, 1.5 units in the last place each, and P.
_ROUNDINGS = 4.0 * sys.float_info.epsilon


@dataclass(frozen=True, slots=True)
class Claim:
    """One agent's side of a proof that an allocation is near the optimum.

    Attributes:
        valuation: its private v.
        price: P, the net price of a unit.
        ideal: the amount in [0, highest] that maximises v - P amount.
        highest: no feasible amount is larger.
        allocation: x of that round, before the guard.
    """

    valuation: Valuation
    price: float
    ideal: float
    highest: float
    allocation: float

    def missed(self, x: float) -> float:
        """B(x) = max over amounts of v - P amount, minus v(x) - P x; >= 0, and convex in x."""
        v = self.valuation
        return (v.value(self.ideal) - v.value(x)) - self.price * (self.ideal - x)

    def holds(self, gap: float, error: float) -> bool:
        """Whether a duality gap of the whole network proves |x - x*| <= error.

        The sum over agents of B_i(x_i*) is at most the gap, so B_i(x_i*) is; B_i is convex with its minimum
        at the ideal amount, so x_i* lies between the two points where B_i passes the gap.
        """
        # What is used is the guarded x, a hair below.
        error -= self.allocation * (1.0 - GUARD)
        low, high = self.allocation - error, self.allocation + error
        return (
            low <= self.ideal <= high
            and (low <= 0.0 or self.missed(low) > gap)
            and (high >= self.highest or self.missed(high) > gap)
        )


class Taker(ABC):
    """One agent's behaviour over its contract.

    Attributes:
        contract: the agent's side of the mechanism.
        price: P, the net price of a unit that it faces this round.
        demand: y of this round.
        ideal: the same without the floor of chapter 3: the optimum need not be above it.
        spread: 1/|v''| at y, with the rule ``proved`` the largest one of the whole range.
    """

    contract: Contract

    def __init__(self, dynamics: Dynamics) -> None:
        self.dynamics = dynamics
        self.price = self.demand = self.ideal = self.spread = 0.0

    @abstractmethod
    def announce(self, guess: float) -> dict[str, Quote]:
        """This round's entries: channel -> quote, s, 1/|v''|. Call once a round.

        Args:
            guess: rho, the agent's guess of r: that of the round before.
        """

    def read(self, tables: Tables) -> Any:
        """What the agent needs of its tables; ``claim`` and ``update`` take it in their place."""
        return tables

    def summaries(self, tables: Tables) -> dict[str, tuple[Any, ...]]:
        """What this agent has to tell the whole network of its links, as plain values; nothing, but for
        Newton's prices."""
        return {}

    def accepts(self, name: str, packed: Any) -> bool:
        """Whether a value may be what somebody tells the network of a link."""
        return False

    def learn(self, summaries: Mapping[str, tuple[Any, ...]]) -> None:
        """What everybody told the network in this round; for Newton's prices."""
        if summaries:
            raise ValueError(f"{type(self).__name__} moves prices by its own links alone")

    @abstractmethod
    def update(self, tables: Any) -> float:
        """Move the prices of the own channels; the largest projected excess, relative to the capacity."""

    def settle(self, quotes: Quotes) -> Quotes:
        """What the agent says in the settlement; the demands are no matter of choice.

        Args:
            quotes: what the contract's ``settled`` makes of the step that counts.
        """
        return quotes

    @abstractmethod
    def idle_value(self, tables: Any, factor: float) -> float:
        """Price times what is left free, over the channels whose first member this agent is; >= 0."""

    def _replicas(self) -> tuple[Replica, ...]:
        """Everything that has a state, in a fixed order."""
        return ()

    def follow(self, dynamics: Dynamics) -> None:
        """Go on by another rule."""
        self.dynamics = dynamics
        for replica in self._replicas():
            replica.follow(dynamics)

    def state(self) -> tuple[Any, ...]:
        """Between two rounds; plain values."""
        return tuple(replica.state() for replica in self._replicas())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        for replica, saved in zip(self._replicas(), state, strict=True):
            replica.restore(saved)

    def _ask(self, price: float) -> None:
        """Set price, demand and spread."""
        valuation, contract = self.contract.valuation, self.contract
        self.price = price
        self.ideal = demand(valuation, price, 0.0, contract.highest)
        self.demand = max(self.ideal, contract.lowest)
        # Curvature falls as x grows in every family, so its inverse is largest at the upper end.
        at = contract.highest if self.dynamics.rule == "proved" else self.demand
        self.spread = 1.0 / valuation.curvature(at)

    def claim(self, tables: Any, least: float) -> tuple[Claim, float]:
        """What a proof that this round's allocation is accurate needs of this agent, and its part of the gap.

        The prices z bound the best welfare W* from above by sum max(v_i - P_i x) + sum z_l c_l. The
        allocation is feasible, so W* is at least its welfare. The difference, the duality gap, is the sum
        over agents of what each one misses and what its links leave idle; rounding errors are included. It
        is taken at the factor without guard, or the guard would be all that can be seen near the end.

        Args:
            tables: of this round, or what ``read`` makes of them.
            least: the least limit of the network.
        """
        v, factor = self.contract.valuation, self.contract.exact(least)
        x = self.contract.allocation(tables, factor)
        claim = Claim(v, self.price, self.ideal, self.contract.highest, x)
        rounding = _ROUNDINGS * (abs(v.value(self.ideal)) + abs(self.price) * self.ideal)
        return claim, max(0.0, claim.missed(x)) + self.idle_value(tables, factor) + rounding
