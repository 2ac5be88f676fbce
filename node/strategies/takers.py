"""Strategies in the network mechanisms: a price taker that announces something else."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.taker import Taker
from node.mechanisms.network.unicast import Unicast
from node.strategies.answers import checked
from node.strategies.claims import ClaimedValuation
from node.strategies.strategy import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.mechanisms.network.contract import Contract, Quote, Quotes, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.taker import Claim
    from node.strategies.strategy import Strategy

# Numbers of an entry behind its quote: coefficients in use, 1/|v''|; with Newton's prices a third one.
_TAIL = 2


def behaving(strategy: Strategy) -> Callable[[Taker], Taker]:
    """How an agent behaves by a strategy, for ``node.protocols.network.life.network``."""
    return lambda honest: Bent(honest, strategy)


def prices_in(contract: Contract, quote: Quote) -> int:
    """How many prices a quote holds, behind the demand; in chapters 1 and 2 rho follows them."""
    return len(quote) - 1 - isinstance(contract, Unicast | Multicast)


class Bent(Taker):
    """A price taker that announces by a strategy; the prices of its links it moves like everybody.

    Args:
        honest: the behaviour that the rule asks for.
        strategy: what it does instead.
    Raises:
        ValueError: if the utility that the strategy claims has no demand.
    """

    def __init__(self, honest: Taker, strategy: Strategy) -> None:
        super().__init__(honest.dynamics)
        self.strategy, self.true = strategy, honest.contract.valuation
        self.inner = honest
        lie = strategy.lie(False)
        if not lie.truth:
            side: Any = copy.copy(honest.contract)
            side.valuation = ClaimedValuation(self.true, lie)
            self.inner = copy.copy(honest)  # prices do not depend on the utility, so they can be kept
            self.inner.contract = side
        self.contract = self.inner.contract
        self.round = 0
        self._tail = _TAIL + (self.dynamics.rule == "newton")

    def announce(self, guess: float) -> dict[str, Quote]:
        """The honest entries with demand and prices as the strategy has them."""
        self.round += 1
        entries = self.inner.announce(guess)
        seen = Seen(self.contract.me, self.round, np.array([self.inner.price]), self.true)
        wanted = np.array([self.inner.demand])
        asked = float(checked(self.strategy.ask(wanted.copy(), seen), wanted, "ask")[0])
        asked = max(asked, self.contract.lowest)
        self.price, self.ideal, self.spread = self.inner.price, self.inner.ideal, self.inner.spread
        self.demand = asked
        bent: dict[str, Quote] = {}
        for name, entry in entries.items():
            last = 1 + prices_in(self.contract, entry[: -self._tail])
            bent[name] = (asked, *self._repeated(entry[1:last], seen), *entry[last:])
        return bent

    def settle(self, quotes: Quotes) -> Quotes:
        """The prices that it has said, or if there are new ones, these as the strategy has them."""
        honest = self.inner.settle(quotes)
        if honest == quotes:
            return quotes
        seen = Seen(self.contract.me, self.round, np.array([self.inner.price]), self.true)
        bent: dict[str, Quote] = {}
        for name, quote in honest.items():
            last = 1 + prices_in(self.contract, quote)
            bent[name] = (quote[0], *self._repeated(quote[1:last], seen), *quote[last:])
        return bent

    def _repeated(self, prices: Quote, seen: Seen) -> list[float]:
        owed = np.array(prices)
        said = checked(self.strategy.repeat(owed.copy(), seen), owed, "repeat")
        return list(np.maximum(said, 0.0).tolist())

    def follow(self, dynamics: Dynamics) -> None:
        """The rule that all go on by is no matter of strategy."""
        super().follow(dynamics)
        self.inner.follow(dynamics)

    def read(self, tables: Tables) -> Any:
        """What the honest behaviour needs."""
        return self.inner.read(tables)

    def summaries(self, tables: Tables) -> dict[str, tuple[Any, ...]]:
        """Honestly; the numbers in them are those of the tables."""
        return self.inner.summaries(tables)

    def accepts(self, name: str, packed: Any) -> bool:
        """As everybody does."""
        return self.inner.accepts(name, packed)

    def learn(self, summaries: Mapping[str, tuple[Any, ...]]) -> None:
        """As everybody does."""
        self.inner.learn(summaries)

    def update(self, tables: Any) -> float:
        """Honestly: the prices are the same at all agents of a link."""
        return self.inner.update(tables)

    def idle_value(self, tables: Any, factor: float) -> float:
        """As the rule says."""
        return self.inner.idle_value(tables, factor)

    def claim(self, tables: Any, least: float) -> tuple[Claim, float]:
        """By the utility that it claims: a proof is worth what those are who prove."""
        return self.inner.claim(tables, least)

    def state(self) -> tuple[Any, ...]:
        """The rounds so far, and the honest state."""
        return (self.round, self.inner.state())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        self.round, inner = state
        self.inner.restore(inner)
