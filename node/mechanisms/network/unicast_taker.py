"""A flow that takes prices as given (chapter 1): see ``taker``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.prices import Dynamics, RowPrice
from node.mechanisms.network.taker import Taker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, Seen, Tables
    from node.mechanisms.network.sums import LinkSums
    from node.mechanisms.network.taker import Replica
    from node.mechanisms.network.unicast import Unicast


class UnicastTaker(Taker):
    """A flow."""

    contract: Unicast

    def __init__(self, contract: Unicast, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        self.contract = contract
        self.prices = {name: RowPrice(dynamics, link.capacity) for name, link in contract.links.items()}

    def announce(self, guess: float) -> dict[str, Quote]:
        """(y, p, rho, s, 1/|v''|) on every link."""
        own = {name: link.coefficients[self.contract.me] for name, link in self.contract.links.items()}
        z = {name: price.announce() for name, price in self.prices.items()}
        self._ask(math.fsum(a * z[name] for name, a in own.items()))
        count = math.fsum(a for name, a in own.items() if self.prices[name].in_use())
        rho = guess if self.contract.strong else 0.0
        return {name: (self.demand, z[name], rho, count, self.spread) for name in own}

    def read(self, tables: Tables) -> dict[str, LinkSums]:
        """Sums are all that a flow needs."""
        return self.contract.read(tables)

    def update(self, tables: Seen) -> float:
        """Every link's price by its excess."""
        worst = 0.0
        for name, link in self.contract.links.items():
            sums = self.contract.sums(name, tables)
            residual = self.prices[name].update(sums.load, sums.shared, sums.alone)
            worst = max(worst, residual / link.capacity)
        return worst

    def idle_value(self, tables: Seen, factor: float) -> float:
        """z (c - r Y) of the links that this agent leads."""
        announced = {name: price.announced for name, price in self.prices.items()}
        return left_idle(self.contract, announced, tables, factor)

    def _replicas(self) -> tuple[Replica, ...]:
        return tuple(self.prices.values())


def left_idle(contract: Unicast, prices: Mapping[str, float], tables: Seen, factor: float) -> float:
    """z (c - r Y), >= 0, summed over the links that the agent of the contract leads, z at ``prices``."""
    return math.fsum(
        prices[name] * max(0.0, link.capacity - factor * contract.sums(name, tables).load)
        for name, link in contract.links.items()
        if link.members[0] == contract.me
    )
