"""Price-taking agents of the network mechanisms: demand at a price, the price by excess demand.

PRICE-TAKING, not strategic (spec of chapters 1-3, section 5): an agent says the demand that is best if prices
stand, and all agents of a link move its price together. Fixed points are exactly the equilibrium messages
with s = 1: y = x*, p = lambda*, rho = r = 1. For the strategic best responses see ``strategic``.

An entry is a quote of the contract, followed by s, the sum of the agent's coefficients on rows in use, and
1/|v''(y)|: what the step scaled by curvature needs (section 5b, step 2).
"""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.linear import DOWN_LAST, DOWN_NEXT, UP_LAST, UP_NEXT, Linear, neighbours
from node.mechanisms.network.links import GUARD
from node.mechanisms.network.multicast import Multicast, ring
from node.mechanisms.network.offsets import OffsetPrices
from node.mechanisms.network.prices import Dynamics, RowPrice
from node.mechanisms.network.ring_prices import RingPrices
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Quote, Seen, Tables
    from node.mechanisms.network.newton import Summary
    from node.mechanisms.network.sums import LinkSums
    from node.mechanisms.network.valuations import Valuation
    from node.part import AgentId

# Roundings that a gap is trusted to no better than: two values of v, 1.5 units in the last place each, and P.
_ROUNDINGS = 4.0 * sys.float_info.epsilon


Replica = RowPrice | RingPrices | OffsetPrices


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

    def summaries(self, tables: Tables) -> dict[str, Summary]:
        """What this agent has to tell the whole network of its links; nothing, but for Newton's prices."""
        return {}

    def learn(self, summaries: Mapping[str, Summary]) -> None:
        """What everybody told the network in this round; for Newton's prices."""
        if summaries:
            raise ValueError(f"{type(self).__name__} moves prices by its own links alone")

    @abstractmethod
    def update(self, tables: Any) -> float:
        """Move the prices of the own channels; the largest projected excess, relative to the capacity."""

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
        return math.fsum(
            self.prices[name].announced
            * max(0.0, link.capacity - factor * self.contract.sums(name, tables).load)
            for name, link in self.contract.links.items()
            if link.members[0] == self.contract.me
        )

    def _replicas(self) -> tuple[Replica, ...]:
        return tuple(self.prices.values())


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
        """lambda c - sum mu a x of the links that this agent leads; lambda the largest sum of a group."""
        parts: list[float] = []
        for name, link in self.contract.links.items():
            if link.members[0] != self.contract.me:
                continue
            mu, table = self.prices[name].announced, tables[name]
            top = max(math.fsum(mu[j] for j in members) for members in self.contract.groups[name].values())
            paid = math.fsum(mu[j] * a * factor * table[j][0] for j, a in link.coefficients.items())
            parts.append(max(0.0, top * link.capacity - paid))
        return math.fsum(parts)

    def _replicas(self) -> tuple[Replica, ...]:
        return tuple(self.prices.values())


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

    def update(self, tables: Tables) -> float:
        """Every row's price by its excess, every pair's by the difference of its demands."""
        worst = 0.0
        for name, price in self.prices.items():
            row, table = self.contract.rows[name], tables[name]
            load = row.raw({j: table[j][0] for j in row.coefficients})
            shared = math.fsum(abs(a) * table[j][2] * table[j][3] for j, a in row.coefficients.items())
            alone = math.fsum(a * a * table[j][3] for j, a in row.coefficients.items())
            worst = max(worst, price.update(load, shared, alone) / row.capacity)
        if self.contract.group is not None:
            table, me, unit = tables[self.contract.group.name], self.contract.me, self.contract.highest
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

    def idle_value(self, tables: Tables, factor: float) -> float:
        """z (c - A x) of the rows that this agent leads; x at the groups' means, so ties have no slack."""
        parts: list[float] = []
        for name, price in self.prices.items():
            row, table = self.contract.rows[name], tables[name]
            if next(iter(row.coefficients)) != self.contract.me:
                continue
            load = row.load({j: quote[0] for j, quote in table.items()})
            if factor < 1.0:
                load = row.base + factor * (load - row.base)
            parts.append(price.announced * max(0.0, row.capacity - load))
        return math.fsum(parts)

    def _replicas(self) -> tuple[Replica, ...]:
        offsets = () if self.offsets is None else (self.offsets,)
        return (*self.prices.values(), *self.ties.values(), *offsets)


def taker(
    contract: Unicast | Multicast | Linear,
    dynamics: Dynamics,
    routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]] | None = None,
) -> Taker:
    """The agent over a contract: a price-taking one, or with the rule "strategic" one of ``responder``.

    Args:
        contract: its side of the mechanism.
        dynamics: the rule.
        routes: with the rule "newton": own link -> member -> that member's links and its coefficients there.
    Raises:
        ValueError: for "strategic" and "newton" with another mechanism than unicast; "newton" without routes.
    """
    if dynamics.rule == "newton":
        from node.mechanisms.network.newton_taker import NewtonTaker  # it is a Taker, too

        if not isinstance(contract, Unicast) or routes is None:
            raise ValueError(f"agent {contract.me}: Newton's prices need unicast and the members' routes")
        return NewtonTaker(contract, dynamics, routes)
    if dynamics.rule == "strategic":
        from node.mechanisms.network.responder import Responder  # it is a Taker, so it imports this module

        if not isinstance(contract, Unicast):
            raise ValueError(f"agent {contract.me}: best responses are played with unicast only")
        return Responder(contract, dynamics)
    match contract:
        case Unicast():
            return UnicastTaker(contract, dynamics)
        case Multicast():
            return MulticastTaker(contract, dynamics)
        case Linear():
            return LinearTaker(contract, dynamics)
