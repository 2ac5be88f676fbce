"""Agents whose prices move by projected Newton, from sums of all links that the whole network knows.

An entry is a quote of the contract, followed by whether y is clipped, 1/|v''|, and by how much v(y) - P y is
above its value at the floor (0 in chapter 1). The agents on a link are told each other's other links, for the
curvature between links; the sums are then known to everybody. Single quotes stay within the link, as ever.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network import unicast_taker
from node.mechanisms.network.newton import LinkPath, Summary
from node.mechanisms.network.taker import Taker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Quote, Quotes, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.unicast import Unicast
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Priced:
    """A constraint sum A_j y_j <= c with a price: a link, a row, or two neighbours of a group, y_j = y_k.

    Attributes:
        channel: whose table has all its members.
        coefficients: member -> A_j; the first one adds up.
        capacity: c; 0 for neighbours.
        taken: A d, what the floors take of it.
        signed: whether it is an equality.
    """

    channel: str
    coefficients: Mapping[AgentId, float]
    capacity: float
    taken: float = 0.0
    signed: bool = False


class NewtonTaker(Taker):
    """An agent of any mechanism whose capacities are linear.

    Args:
        contract: its side.
        dynamics: ``start`` is the first price of every link.
        priced: the own constraints by name, ascending.
        routes: own channel -> member -> all constraints that the member is in, and its coefficients there.
    """

    def __init__(
        self,
        contract: Contract,
        dynamics: Dynamics,
        priced: Mapping[str, Priced],
        routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]],
    ) -> None:
        super().__init__(dynamics)
        self.contract, self._priced, self._routes = contract, priced, routes
        self._prices = {name: 0.0 if p.signed else dynamics.start for name, p in priced.items()}
        self._following = self._prices
        self._path = LinkPath()

    @abstractmethod
    def _quotes(self, guess: float) -> Quotes:
        """Channel -> the quote of this round's demand and prices."""

    def announce(self, guess: float) -> dict[str, Quote]:
        """The quotes, and behind them the same tail on every channel."""
        c = self.contract
        own = {n: p.coefficients[c.me] for n, p in self._priced.items() if c.me in p.coefficients}
        self._ask(math.fsum(a * self._prices[n] for n, a in own.items()))
        clipped = float(self.demand <= c.lowest or self.demand >= c.highest)
        # The floor can always be demanded, so this is never negative but for rounding.
        gained = c.valuation.value(self.demand) - c.valuation.value(c.lowest)
        surplus = max(0.0, gained - self.price * (self.demand - c.lowest))
        tail = (clipped, self.spread, surplus)
        return {name: (*quote, *tail) for name, quote in self._quotes(guess).items()}

    def summaries(self, tables: Tables) -> dict[str, tuple[Any, ...]]:
        """Those of the constraints whose first member this agent is."""
        found: dict[str, tuple[Any, ...]] = {}
        for name, p in self._priced.items():
            if next(iter(p.coefficients)) != self.contract.me:
                continue
            table, routes, z = tables[p.channel], self._routes[p.channel], self._prices[name]
            curvature: dict[str, tuple[list[float], list[float]]] = {}
            values = [z * (p.capacity - p.taken)]
            for j, a in p.coefficients.items():
                *_, clipped, spread, surplus = table[j]
                if name == min(routes[j]):
                    values.append(surplus)
                for other, b in routes[j].items():
                    if other >= name:
                        curvature.setdefault(other, ([], []))[int(clipped)].append(a * b * spread)
            sums = {m: (math.fsum(free), math.fsum(held)) for m, (free, held) in sorted(curvature.items())}
            found[name] = Summary(z, _excess(p, tables), math.fsum(values), sums, p.signed).pack()
        return found

    def accepts(self, name: str, packed: Any) -> bool:
        """Whether a value may be a packed summary."""
        return Summary.accepts(name, packed)

    def learn(self, summaries: Mapping[str, tuple[Any, ...]]) -> None:
        """Everybody's summaries of the tables of this round; ``update`` then makes the move."""
        moved = self._path.move({name: Summary.unpack(packed) for name, packed in summaries.items()})
        self._following = {name: moved[name] for name in self._priced}

    def update(self, tables: Tables) -> float:
        """Make the move that was learnt."""
        worst = 0.0
        for name, p in self._priced.items():
            excess = _excess(p, tables)
            if p.signed:
                worst = max(worst, abs(excess) / self.contract.highest)
            elif excess > 0.0 or self._prices[name] > 0.0:
                worst = max(worst, abs(excess) / p.capacity)
        self._prices = self._following
        return worst

    def state(self) -> tuple[Any, ...]:
        """Own prices and the path."""
        return (tuple(self._prices.values()), self._path.state())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        prices, path = state
        self._prices = dict(zip(self._priced, prices, strict=True))
        self._path.restore(path)


def _excess(p: Priced, tables: Tables) -> float:
    table = tables[p.channel]
    return math.fsum((*(a * table[j][0] for j, a in p.coefficients.items()), -p.capacity))


class UnicastNewton(NewtonTaker):
    """A flow.

    Args: as ``NewtonTaker``; routes: own link -> member -> that member's links and its coefficients there.
    """

    contract: Unicast

    def __init__(
        self,
        contract: Unicast,
        dynamics: Dynamics,
        routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]],
    ) -> None:
        priced = {
            name: Priced(name, link.coefficients, link.capacity) for name, link in contract.links.items()
        }
        super().__init__(contract, dynamics, priced, routes)

    def _quotes(self, guess: float) -> Quotes:
        rho = guess if self.contract.strong else 0.0
        return {name: (self.demand, z, rho) for name, z in self._prices.items()}

    def idle_value(self, tables: Tables, factor: float) -> float:
        """z (c - r Y) of the links that this agent leads."""
        return unicast_taker.left_idle(self.contract, self._prices, tables, factor)
