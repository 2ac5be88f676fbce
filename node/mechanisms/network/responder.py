"""STRATEGIC agents: every message is a best response to the others' last ones. This does not converge here.

Own price enters the payoff by squares and slack terms only, so the best one repeats what the others quote,
lowered where there is slack and never raised. Prices come to rest near where they started, not at lambda*:
at a price that is too low demands grow without end, at one that is too high they vanish while the common
factor scales them up to the capacity (spec of chapters 1-3, section 5). The contract is an equilibrium
contract, not a rule of learning. This is played to show just that; to allocate, use the price-taking rules.

An agent knows what its own links allow, and the least of all links. Where that least is not on its own links
it takes it for what the others allow; where it is, it believes that they allow anything.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from node.mechanisms.network import strategic
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.taker import Claim, Taker
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from node.mechanisms.network.contract import Quote, Seen, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.unicast import Unicast


class Responder(Taker):
    """A flow that plays best responses.

    Args:
        contract: its side.
        dynamics: ``start`` is the price that it quotes first, ``kappa`` the part of the way that it goes from
            its old message to the best one, at most 1.
    Raises:
        ValueError: for ``kappa`` above 1.
    """

    contract: Unicast

    def __init__(self, contract: Unicast, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        if dynamics.kappa > 1.0:
            raise ValueError(f"kappa {dynamics.kappa} with best responses; expected at most 1, the whole way")
        self.contract = contract
        first = math.fsum(link.coefficients[contract.me] for link in contract.links.values()) * dynamics.start
        y = demand(contract.valuation, first, 0.0, contract.highest)
        self._quotes: dict[str, Quote] = dict.fromkeys(contract.channels, (y, dynamics.start, 1.0))
        self._least = FREE

    def announce(self, guess: float) -> dict[str, Quote]:
        """(y, p, rho, 0, 0) on every link; rho is part of the response, so the guess is not used."""
        return {name: (*quote, 0.0, 0.0) for name, quote in self._quotes.items()}

    def claim(self, tables: Seen, least: float) -> tuple[Claim, float]:
        """As for price-takers, at the mean of what is quoted: any price bounds the planner from above, if it
        is the same for all on a link."""
        self._least = least
        self.demand = next(iter(self._quotes.values()))[0]
        self.price = math.fsum(
            link.coefficients[self.contract.me] * self._mean(name, tables)
            for name, link in self.contract.links.items()
        )
        self.ideal = demand(self.contract.valuation, self.price, 0.0, self.contract.highest)
        return super().claim(tables, least)

    def update(self, tables: Tables) -> float:
        """Respond; the largest projected excess, as for price-takers. Needs ``claim`` of the same tables."""
        contract, worst = self.contract, 0.0
        for name, link in contract.links.items():
            excess = contract.sums(name, tables).load - link.capacity
            if excess > 0.0 or self._mean(name, tables) > 0.0:
                worst = max(worst, abs(excess) / link.capacity)
        own = min(contract.limits(tables).values())
        rest = self._least if self._least < own else FREE
        # Demands would grow without end, and a message has to be finite.
        most = strategic.MOST * contract.highest
        best = strategic.best_response(contract, tables, rest, most).quotes
        part = self.dynamics.kappa
        self._quotes = {
            name: tuple(
                new if part == 1.0 else old + part * (new - old)
                for old, new in zip(quote, best[name][: len(quote)], strict=True)
            )
            for name, quote in self._quotes.items()
        }
        return worst

    def idle_value(self, tables: Seen, factor: float) -> float:
        """Mean price times what is left free, on the links that this agent leads."""
        return math.fsum(
            self._mean(name, tables)
            * max(0.0, link.capacity - factor * self.contract.sums(name, tables).load)
            for name, link in self.contract.links.items()
            if link.members[0] == self.contract.me
        )

    def state(self) -> tuple[Any, ...]:
        """What is said next, link by link."""
        return tuple(self._quotes.values())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        self._quotes = dict(zip(self._quotes, state, strict=True))

    def _mean(self, name: str, tables: Seen) -> float:
        return self.contract.sums(name, tables).price / len(self.contract.links[name].members)
