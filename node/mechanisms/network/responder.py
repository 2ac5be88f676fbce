"""STRATEGIC agents: every message is a best response to the others' last ones. This does not converge here.

Own price enters the payoff by squares and slack terms only, so the best one repeats what the others quote,
lowered where there is slack and never raised. Prices come to rest near where they started, not at lambda*:
at a price that is too low demands grow without end, at one that is too high they vanish while the common
factor scales them up to the capacity (spec of chapters 1-3, section 5). In chapter 3 demands that are
feasible stay as they are, so there the slack of a price that is too high lowers it, ever more slowly. In
chapter 2 every member of a group closes the whole gap of the group's price alone: together they miss it by
more than before. The contract is an equilibrium contract, not a rule of learning. This is played to show
just that; to allocate, use the price-taking rules.

An agent knows what its own links allow, and the least of all links. Where that least is not on its own links
it takes it for what the others allow; where it is, it believes that they allow anything.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from node.mechanisms.network import linear_taker, multicast_taker, strategic, unicast_taker
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.linear import DOWN_LAST, DOWN_NEXT, UP_LAST, UP_NEXT, Linear, P, neighbours
from node.mechanisms.network.multicast import Q1, Multicast, group_loads
from node.mechanisms.network.taker import Claim, Taker
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.mechanisms.network.contract import Contract, Quote, Seen, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.unicast import Unicast
    from node.part import AgentId

# Prices that diverge are quoted up to here: a message has to be finite, and so do the squares in a tax.
MOST_PRICE = 1e40


class Responder(Taker):
    """An agent that plays best responses.

    Args:
        contract: its side.
        dynamics: ``start`` is the price that it quotes first, ``kappa`` the part of the way that it goes from
            its old message to the best one, at most 1.
    Raises:
        ValueError: for ``kappa`` above 1.
    """

    def __init__(self, contract: Contract, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        if dynamics.kappa > 1.0:
            raise ValueError(f"kappa {dynamics.kappa} with best responses; expected at most 1, the whole way")
        self.contract = contract
        price, prices = self._opening()
        y = demand(contract.valuation, price, contract.lowest, contract.highest)
        self._quotes: dict[str, Quote] = {name: (y, *prices[name]) for name in contract.channels}
        self._least = FREE

    @abstractmethod
    def _opening(self) -> tuple[float, Mapping[str, Sequence[float]]]:
        """(the net price of a unit at the start price, channel -> the quote behind the demand)."""

    @abstractmethod
    def _net(self, tables: Tables) -> float:
        """The net price of a unit, at prices that bound the planner from above: the same for all."""

    @abstractmethod
    def _excess(self, tables: Tables) -> float:
        """The largest projected excess of the own channels, relative to their capacities."""

    def announce(self, guess: float) -> dict[str, Quote]:
        """The quote, 0, 0 on every channel; rho is part of the response, so the guess is not used."""
        return {name: (*quote, 0.0, 0.0) for name, quote in self._quotes.items()}

    def claim(self, tables: Tables, least: float) -> tuple[Claim, float]:
        """As for price-takers, at prices made of what is quoted: any bound the planner from above, if they
        are the same for all on a channel."""
        self._least = least
        self.demand = next(iter(self._quotes.values()))[0]
        self.price = self._net(tables)
        self.ideal = demand(self.contract.valuation, self.price, 0.0, self.contract.highest)
        return super().claim(tables, least)

    def update(self, tables: Tables) -> float:
        """Respond; the largest projected excess, as for price-takers. Needs ``claim`` of the same tables."""
        contract, worst = self.contract, self._excess(tables)
        own = min(contract.limits(tables).values(), default=FREE)
        rest = self._least if self._least < own else FREE
        # Demands would grow without end, and a message has to be finite.
        most = strategic.MOST * contract.highest
        best = strategic.best_response(contract, tables, rest, most).quotes
        part = self.dynamics.kappa
        self._quotes = {
            name: tuple(
                min(new if part == 1.0 else old + part * (new - old), MOST_PRICE)
                for old, new in zip(quote, best[name][: len(quote)], strict=True)
            )
            for name, quote in self._quotes.items()
        }
        return worst

    def state(self) -> tuple[Any, ...]:
        """What is said next, channel by channel."""
        return tuple(self._quotes.values())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        self._quotes = dict(zip(self._quotes, state, strict=True))


class UnicastResponder(Responder):
    """A flow. The planner's bound is taken at the mean of what is quoted on a link."""

    contract: Unicast

    def _opening(self) -> tuple[float, Mapping[str, Sequence[float]]]:
        start, me = self.dynamics.start, self.contract.me
        price = math.fsum(link.coefficients[me] for link in self.contract.links.values()) * start
        return price, dict.fromkeys(self.contract.channels, (start, 1.0))

    def _net(self, tables: Seen) -> float:
        mean = self._means(tables)
        return math.fsum(
            link.coefficients[self.contract.me] * mean[name] for name, link in self.contract.links.items()
        )

    def _excess(self, tables: Seen) -> float:
        mean = self._means(tables)
        return max(
            _projected(self.contract.sums(name, tables).load - link.capacity, mean[name], link.capacity)
            for name, link in self.contract.links.items()
        )

    def idle_value(self, tables: Seen, factor: float) -> float:
        """Mean price times what is left free, on the links that this agent leads."""
        return unicast_taker.left_idle(self.contract, self._means(tables), tables, factor)

    def _means(self, tables: Seen) -> dict[str, float]:
        return {
            name: self.contract.sums(name, tables).price / len(link.members)
            for name, link in self.contract.links.items()
        }


class MulticastResponder(Responder):
    """A receiver. The planner's bound is taken at everybody's own q1, the largest sum of a group a link's."""

    contract: Multicast

    def _opening(self) -> tuple[float, Mapping[str, Sequence[float]]]:
        contract, start, me = self.contract, self.dynamics.start, self.contract.me
        price, quotes = 0.0, dict[str, tuple[float, ...]]()
        for name, link in contract.links.items():
            size = next(len(members) for members in contract.groups[name].values() if me in members)
            price += link.coefficients[me] * start / size
            quotes[name] = (start / size, start / size if size > 1 else 0.0, 1.0)
        return price, quotes

    def _net(self, tables: Tables) -> float:
        me = self.contract.me
        return math.fsum(
            link.coefficients[me] * tables[name][me][Q1] for name, link in self.contract.links.items()
        )

    def _excess(self, tables: Tables) -> float:
        worst = 0.0
        for name, link in self.contract.links.items():
            demands = {j: quote[0] for j, quote in tables[name].items()}
            load = math.fsum(group_loads(link, self.contract.groups[name], demands).values())
            price = max(quote[Q1] for quote in tables[name].values())
            worst = max(worst, _projected(load - link.capacity, price, link.capacity))
        return worst

    def idle_value(self, tables: Tables, factor: float) -> float:
        """Price times capacity, less what is paid for, on the links that this agent leads."""
        mu = {name: {j: quote[Q1] for j, quote in table.items()} for name, table in tables.items()}
        return multicast_taker.left_idle(self.contract, mu, tables, factor)


class LinearResponder(Responder):
    """An agent under linear constraints, with or without a group; means as for a flow, pairs have theirs.

    Prices of the pairs in a group start at 0: only their differences matter.
    """

    contract: Linear

    def _opening(self) -> tuple[float, Mapping[str, Sequence[float]]]:
        contract, start, me = self.contract, self.dynamics.start, self.contract.me
        price = math.fsum(row.coefficients.get(me, 0.0) for row in contract.rows.values()) * start
        quotes: dict[str, tuple[float, ...]] = {
            name: (start if me in row.coefficients else 0.0,) for name, row in contract.rows.items()
        }
        if contract.group is not None:
            quotes[contract.group.name] = (0.0,) * 4
        return price, quotes

    def _net(self, tables: Tables) -> float:
        contract, me = self.contract, self.contract.me
        mean = self._means(tables)
        terms = [row.coefficients[me] * mean[n] for n, row in contract.rows.items() if me in row.coefficients]
        if contract.group is not None:
            table = tables[contract.group.name]
            last, after = neighbours(contract.group, me)
            if after is not None:
                terms.append(_pair(table, me, after))
            if last is not None:
                terms.append(-_pair(table, last, me))
        return math.fsum(terms)

    def _excess(self, tables: Tables) -> float:
        contract, worst, mean = self.contract, 0.0, self._means(tables)
        for name, row in contract.rows.items():
            load = row.raw({j: quote[0] for j, quote in tables[name].items()})
            worst = max(worst, _projected(load - row.capacity, mean[name], row.capacity))
        if contract.group is not None:
            demands = [quote[0] for quote in tables[contract.group.name].values()]
            worst = max(worst, (max(demands) - min(demands)) / contract.highest)
        return worst

    def idle_value(self, tables: Tables, factor: float) -> float:
        """Mean price times what is left free, on the rows that this agent leads."""
        return linear_taker.left_idle(self.contract, self._means(tables), tables, factor)

    def _means(self, tables: Tables) -> dict[str, float]:
        return {
            name: math.fsum(tables[name][j][P] for j in row.coefficients) / len(row.coefficients)
            for name, row in self.contract.rows.items()
        }


def _pair(table: Mapping[AgentId, Quote], one: AgentId, two: AgentId) -> float:
    """What ``one``, just before ``two``, pays more by their pair of rows: the mean of what both quote."""
    up = 0.5 * (table[one][UP_NEXT] + table[two][UP_LAST])
    return up - 0.5 * (table[one][DOWN_NEXT] + table[two][DOWN_LAST])


def _projected(excess: float, price: float, capacity: float) -> float:
    return abs(excess) / capacity if excess > 0.0 or price > 0.0 else 0.0


def responder(contract: Unicast | Multicast | Linear, dynamics: Dynamics) -> Responder:
    """The strategic agent over a contract."""
    match contract:
        case Multicast():
            return MulticastResponder(contract, dynamics)
        case Linear():
            return LinearResponder(contract, dynamics)
    return UnicastResponder(contract, dynamics)
