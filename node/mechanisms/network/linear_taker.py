"""An agent that takes prices as given over chapter 3's linear constraints: see ``taker``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.linear import DOWN_LAST, DOWN_NEXT, UP_LAST, UP_NEXT, Linear, neighbours
from node.mechanisms.network.offsets import OffsetPrices
from node.mechanisms.network.prices import Dynamics, RowPrice
from node.mechanisms.network.row_sums import ALONE, RAW, SHARED
from node.mechanisms.network.taker import Taker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, SeenRows, Tables
    from node.mechanisms.network.taker import Replica


class LinearTaker(Taker):
    """An agent under linear constraints, with or without a group.

    Every pair of neighbours in the group has two prices, of x_m <= x_{m+1} and of the reverse. With the rule
    "fast" they are made of the members' offsets, of which all members keep all; else the two members of a
    pair keep them, nobody else.
    """

    contract: Linear

    def __init__(self, contract: Linear, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        self.contract = contract
        self.prices = {
            name: RowPrice(dynamics, row.capacity)
            for name, row in contract.rows.items()
            if contract.me in row.coefficients
        }
        self.ties: dict[int, RowPrice] = {}
        self.offsets = (
            OffsetPrices(dynamics, contract.group.members)
            if contract.group is not None and dynamics.fast
            else None
        )
        if contract.group is not None and self.offsets is None:
            last, after = neighbours(contract.group, contract.me)
            if after is not None:
                self.ties |= {UP_NEXT: RowPrice(dynamics, 0.0), DOWN_NEXT: RowPrice(dynamics, 0.0)}
            if last is not None:
                self.ties |= {UP_LAST: RowPrice(dynamics, 0.0), DOWN_LAST: RowPrice(dynamics, 0.0)}

    def announce(self, guess: float) -> dict[str, Quote]:
        """(y, p, s, 1/|v''|) on every row, (y, four prices, s, 1/|v''|) in the group."""
        contract = self.contract
        own = {name: contract.rows[name].coefficients[contract.me] for name in self.prices}
        z = {name: price.announce() for name, price in self.prices.items()}
        tied = {k: price.announce() for k, price in self.ties.items()}
        if self.offsets is not None:
            self.offsets.announce()
            four = self.offsets.quoted(contract.me)
            tied = dict(zip((UP_NEXT, DOWN_NEXT, UP_LAST, DOWN_LAST), four, strict=True))
        # My coefficient is 1 in mine <= its and its >= mine, -1 in the other two.
        sign = {UP_NEXT: 1.0, DOWN_NEXT: -1.0, UP_LAST: -1.0, DOWN_LAST: 1.0}
        terms = [a * z[name] for name, a in own.items()] + [sign[k] * p for k, p in tied.items()]
        self._ask(math.fsum(terms))
        used = [abs(a) for name, a in own.items() if self.prices[name].in_use()]
        used += [1.0 for price in self.ties.values() if price.in_use()]
        used += [1.0] if self.offsets is not None else []
        tail = (math.fsum(used), self.spread)
        entries: dict[str, Quote] = {name: (self.demand, z.get(name, 0.0), *tail) for name in contract.rows}
        if contract.group is not None:
            quoted = (tied.get(k, 0.0) for k in (UP_NEXT, DOWN_NEXT, UP_LAST, DOWN_LAST))
            entries |= {contract.group.name: (self.demand, *quoted, *tail)}
        return {name: entries[name] for name in contract.channels}

    def read(self, tables: Tables) -> SeenRows:
        """Sums are all that is needed of rows."""
        return self.contract.read(tables)

    def update(self, tables: SeenRows) -> float:
        """Every row's price by its excess, every pair's by the difference of its demands."""
        worst = 0.0
        for name, price in self.prices.items():
            sums, capacity = self.contract.sums(name, tables), self.contract.rows[name].capacity
            load, shared, alone = (sums.total(k) for k in (RAW, SHARED, ALONE))
            worst = max(worst, price.update(load, shared, alone) / capacity)
        if self.contract.group is not None:
            table, me, unit = self.contract.peers(tables), self.contract.me, self.contract.highest
            if self.offsets is not None:
                y, s, spread = ({j: quote[k] for j, quote in table.items()} for k in (0, 5, 6))
                return max(worst, self.offsets.update(y, s, spread) / unit)
            last, after = neighbours(self.contract.group, me)
            for first, second, up, down in ((me, after, UP_NEXT, DOWN_NEXT), (last, me, UP_LAST, DOWN_LAST)):
                if first is None or second is None:
                    continue
                one, two = table[first], table[second]
                shared = one[5] * one[6] + two[5] * two[6]
                alone = one[6] + two[6]
                worst = max(worst, self.ties[up].update(one[0] - two[0], shared, alone) / unit)
                worst = max(worst, self.ties[down].update(two[0] - one[0], shared, alone) / unit)
        return worst

    def idle_value(self, tables: SeenRows, factor: float) -> float:
        """z (c - A x) of the rows that this agent leads."""
        announced = {name: price.announced for name, price in self.prices.items()}
        return left_idle(self.contract, announced, tables, factor)

    def _replicas(self) -> tuple[Replica, ...]:
        offsets = () if self.offsets is None else (self.offsets,)
        return (*self.prices.values(), *self.ties.values(), *offsets)


def left_idle(contract: Linear, prices: Mapping[str, float], tables: SeenRows, factor: float) -> float:
    """z (c - A x), >= 0, summed over the rows that the agent of the contract leads, z at ``prices``; x at the
    groups' means, so ties have no slack."""
    parts: list[float] = []
    for name, row in contract.rows.items():
        if next(iter(row.coefficients)) != contract.me:
            continue
        slack = contract.slack(row, contract.sums(name, tables), factor)
        parts.append(prices[name] * max(0.0, slack))
    return math.fsum(parts)
