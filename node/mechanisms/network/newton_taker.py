"""A flow whose prices move by projected Newton, from sums of all links that the whole network knows.

An entry is (y, p, rho, whether y is clipped, 1/|v''|, v(y) - P y). The agents on a link are told each other's
other links, for the curvature between links; the sums are then known to everybody. Single quotes stay within
the link, as ever.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.newton import Path, Summary
from node.mechanisms.network.taker import Taker
from node.mechanisms.network.unicast_taker import left_idle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.unicast import Unicast
    from node.part import AgentId


class NewtonTaker(Taker):
    """A flow.

    Args:
        contract: its side.
        dynamics: ``start`` is the first price of every link.
        routes: own link -> member -> that member's links and its coefficients there.
    """

    contract: Unicast

    def __init__(
        self,
        contract: Unicast,
        dynamics: Dynamics,
        routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]],
    ) -> None:
        super().__init__(dynamics)
        self.contract, self._routes = contract, routes
        self._prices = dict.fromkeys(contract.channels, dynamics.start)
        self._following = self._prices
        self._path = Path()

    def announce(self, guess: float) -> dict[str, Quote]:
        """The same entry on every link, but for the price."""
        c = self.contract
        self._ask(math.fsum(link.coefficients[c.me] * self._prices[n] for n, link in c.links.items()))
        clipped = float(self.demand <= 0.0 or self.demand >= c.highest)
        # 0 can be demanded for nothing, so this is never negative but for rounding.
        surplus = max(0.0, c.valuation.value(self.demand) - self.price * self.demand)
        rho = guess if c.strong else 0.0
        return {n: (self.demand, self._prices[n], rho, clipped, self.spread, surplus) for n in c.channels}

    def summaries(self, tables: Tables) -> dict[str, Summary]:
        """Those of the links whose first member this agent is."""
        found: dict[str, Summary] = {}
        for name, link in self.contract.links.items():
            if link.members[0] != self.contract.me:
                continue
            table, routes, z = tables[name], self._routes[name], self._prices[name]
            curvature: dict[str, tuple[list[float], list[float]]] = {}
            values = [z * link.capacity]
            for j, a in link.coefficients.items():
                *_, clipped, spread, surplus = table[j]
                if name == min(routes[j]):
                    values.append(surplus)
                for other, b in routes[j].items():
                    if other >= name:
                        curvature.setdefault(other, ([], []))[int(clipped)].append(a * b * spread)
            excess = math.fsum((*(a * table[j][0] for j, a in link.coefficients.items()), -link.capacity))
            sums = {m: (math.fsum(free), math.fsum(held)) for m, (free, held) in sorted(curvature.items())}
            found[name] = Summary(z, excess, math.fsum(values), sums)
        return found

    def learn(self, summaries: Mapping[str, Summary]) -> None:
        """Everybody's summaries of the tables of this round; ``update`` then makes the move."""
        moved = self._path.move(summaries)
        self._following = {name: moved[name] for name in self.contract.channels}

    def update(self, tables: Tables) -> float:
        """Make the move that was learnt."""
        worst = 0.0
        for name, link in self.contract.links.items():
            excess = math.fsum(a * tables[name][j][0] for j, a in link.coefficients.items()) - link.capacity
            if excess > 0.0 or self._prices[name] > 0.0:
                worst = max(worst, abs(excess) / link.capacity)
        self._prices = self._following
        return worst

    def idle_value(self, tables: Tables, factor: float) -> float:
        """z (c - r Y) of the links that this agent leads."""
        return left_idle(self.contract, self._prices, tables, factor)

    def state(self) -> tuple[Any, ...]:
        """Own prices and the path."""
        return (tuple(self._prices.values()), self._path.state())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        prices, path = state
        self._prices = dict(zip(self.contract.channels, prices, strict=True))
        self._path.restore(path)
