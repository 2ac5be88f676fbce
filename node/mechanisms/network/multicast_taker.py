"""A receiver that takes prices as given (chapter 2): see ``taker``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.multicast import Multicast, ring
from node.mechanisms.network.ring_prices import RingPrices
from node.mechanisms.network.taker import Taker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, Quotes, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.taker import Replica
    from node.part import AgentId


class MulticastTaker(Taker):
    """A receiver."""

    contract: Multicast

    def __init__(self, contract: Multicast, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        self.contract = contract
        self.prices = {
            name: RingPrices(dynamics, link.capacity, contract.groups[name])
            for name, link in contract.links.items()
        }

    def announce(self, guess: float) -> dict[str, Quote]:
        """(y, q1 = mu, q2 = mu of the successor, rho, s, 1/|v''|) on every link."""
        me, links = self.contract.me, self.contract.links
        mu = {name: price.announce() for name, price in self.prices.items()}
        self._ask(math.fsum(link.coefficients[me] * mu[name][me] for name, link in links.items()))
        used = [name for name in links if self.prices[name].in_use(me)]
        count = math.fsum(links[name].coefficients[me] for name in used)
        rho = guess if self.contract.strong else 0.0
        entries: dict[str, Quote] = {}
        for name, link in links.items():
            _, after = ring(self.contract.groups[name], link, me)
            q2 = mu[name][after] if after != me else 0.0
            entries[name] = (self.demand, mu[name][me], q2, rho, count, self.spread)
        return entries

    def update(self, tables: Tables) -> float:
        """Every link's prices by the projected step."""
        worst = 0.0
        for name, link in self.contract.links.items():
            table = tables[name]
            residual = self.prices[name].update(
                {j: a * table[j][0] for j, a in link.coefficients.items()},
                link.coefficients,
                {j: quote[4] for j, quote in table.items()},
                {j: quote[5] for j, quote in table.items()},
            )
            worst = max(worst, residual / link.capacity)
        return worst

    def idle_value(self, tables: Tables, factor: float) -> float:
        """lambda c - sum mu a x of the links that this agent leads."""
        announced = {name: price.announced for name, price in self.prices.items()}
        return left_idle(self.contract, announced, tables, factor)

    def settle(self, quotes: Quotes) -> Quotes:
        """With the prices that stand in place of those announced: momentum may carry one below 0, where it is
        cut off; then the sums of groups differ, and only prices with one sum balance taxes."""
        said: dict[str, Quote] = {}
        for name, (y, _, _, rho) in quotes.items():
            mu = self.prices[name].prices
            _, after = ring(self.contract.groups[name], self.contract.links[name], self.contract.me)
            said[name] = (y, mu[self.contract.me], mu[after] if after != self.contract.me else 0.0, rho)
        return said

    def _replicas(self) -> tuple[Replica, ...]:
        return tuple(self.prices.values())


def left_idle(
    contract: Multicast, prices: Mapping[str, Mapping[AgentId, float]], tables: Tables, factor: float
) -> float:
    """lambda c - sum mu a x, >= 0, summed over the links that the agent of the contract leads.

    Args:
        contract: the agent's side.
        prices: link -> member -> mu. lambda is the largest sum of a group: with it, the planner's bound holds
            for any mu >= 0.
        tables, factor: of the round.
    """
    parts: list[float] = []
    for name, link in contract.links.items():
        if link.members[0] != contract.me:
            continue
        mu, table = prices[name], tables[name]
        top = max(math.fsum(mu[j] for j in members) for members in contract.groups[name].values())
        paid = math.fsum(mu[j] * a * factor * table[j][0] for j, a in link.coefficients.items())
        parts.append(max(0.0, top * link.capacity - paid))
    return math.fsum(parts)
