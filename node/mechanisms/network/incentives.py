"""Whether anybody would rather leave a profile, or stay away, and what of that its distance to rest explains.

No agent uses this; it takes everybody's side of one mechanism. All numbers are parts of what is at stake for
the agent, so that no unit of money matters.

A run stops near the equilibrium and not at it, so a little is always left to gain. How little it may be
follows from what can be measured at the profile itself. Let A be what the agent would gain as a
price-taker, by the amount that it likes best at the prices that others quote; B what it would gain by the
best prices at its present demand; and theta the largest part that slack terms regain of what concavity
loses on any way from the equilibrium, below 1 where one exists. A message that moves the amount away from
the price-taker's by a loss D gains A - D and slack terms whose roots add up: at most sqrt(B) + sqrt(theta
A) + sqrt(theta D). At the worst D that comes to A + (sqrt(B) + sqrt(theta A))^2 / (1 - theta). This is
proved where theta is one of the bounds on slack and curvature over the whole range, as in
``checks.eta_bound``; where the equilibrium is known from a search only, theta is what is seen at the
equilibrium, and that it serves near it is observed. In chapter 3 slack terms only cost, so what is paid for
them is all that there is to gain beside A, for every eta.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.mechanisms.network import strategic
from node.mechanisms.network.linear import DOWN_LAST, DOWN_NEXT, UP_LAST, UP_NEXT, Linear, P, neighbours
from node.mechanisms.network.multicast import Q1, Q2, Multicast, ring
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from node.mechanisms.network.contract import Contract, Quotes, Share, Tables
    from node.mechanisms.network.optimum import Optimum
    from node.part import AgentId

# Of what is at stake; beyond what the distance explains. The accuracy that is asked of an equilibrium.
NEGLIGIBLE = 1e-9
# An agent with next to nothing at stake is held against this part of the largest stake: the others' rounding.
SMALL = 1e-4
# theta. Slack terms go by eta^2, so this covers weights up to 0.948 of the largest with an equilibrium.
REGAINED = 0.9


@dataclass(frozen=True, slots=True)
class Standing:
    """One agent at a profile; in money.

    Attributes:
        payoff: v_i(x_i) - t_i - v_i(0).
        regret: what the best message found gains; 0 if none was searched.
        explained: what it may gain, or lose against nothing, because the profile is not at rest.
        stake: the larger of |v_i(x_i)| and |t_i|, but at least ``SMALL`` of the largest among all.
    """

    payoff: float
    regret: float
    explained: float
    stake: float

    @property
    def temptation(self) -> float:
        """The unexplained gain, as a part of the stake."""
        return max(0.0, self.regret - self.explained) / self.stake

    @property
    def loss(self) -> float:
        """The unexplained loss by taking part, as a part of the stake."""
        return max(0.0, -self.payoff - self.explained) / self.stake


def standings(
    contracts: Mapping[AgentId, Contract],
    tables: Tables,
    shares: Mapping[AgentId, Share],
    agents: Iterable[AgentId],
    searched: Container[AgentId] | None = None,
) -> dict[AgentId, Standing]:
    """How these agents stand.

    Args:
        contracts: everybody's side.
        tables: the profile; entries may be longer than quotes.
        shares: what everybody gets and pays in it.
        agents: some of them.
        searched: those whose best responses are searched, which takes about a millisecond each; None: all.
    """
    every, at_stake, found = strategic.limits(contracts, tables), stakes(contracts, shares), {}
    for i in agents:
        c = contracts[i]
        own, rest = {name: tables[name] for name in c.channels}, strategic.rest_of(c, every)
        found[i] = Standing(
            c.valuation.value(shares[i].allocation) - shares[i].tax - c.valuation.value(0.0),
            strategic.best_response(c, own, rest).gain if searched is None or i in searched else 0.0,
            explained(c, own, rest, shares[i].allocation),
            at_stake[i],
        )
    return found


def stakes(contracts: Mapping[AgentId, Contract], shares: Mapping[AgentId, Share]) -> dict[AgentId, float]:
    """What gains and losses of each agent are held against: > 0, see ``Standing``."""
    found = {
        i: max(abs(c.valuation.value(shares[i].allocation)), abs(shares[i].tax)) for i, c in contracts.items()
    }
    least = max(SMALL * max(found.values()), sys.float_info.min)
    return {i: max(stake, least) for i, stake in found.items()}


def explained(contract: Contract, tables: Tables, rest: float, amount: float) -> float:
    """What is left to gain because the profile is not at rest, at most.

    Args:
        contract: the agent's side.
        tables: of its channels.
        rest: the factor that other channels allow.
        amount: what it gets.
    """
    v, price = contract.valuation, unit_price(contract, tables)
    ideal = demand(v, price, 0.0, contract.highest)
    taking = max(0.0, v.value(ideal) - price * ideal - v.value(amount) + price * amount)
    if isinstance(contract, Linear):
        share = contract.share(tables, strategic.factor_of(contract, tables, rest))
        on = [name for name, row in contract.rows.items() if contract.me in row.coefficients]
        weak = contract.balance == "weak"
        returned = 0.0 if weak else math.fsum(contract.back(name, tables[name]) for name in on)
        return taking + max(0.0, share.tax + returned - price * share.allocation)
    y = tables[contract.channels[0]][contract.me][0]
    best = strategic.payoff(contract, tables, rest, strategic.with_demand(contract, tables, rest, y))
    prices = max(0.0, best - strategic.payoff(contract, tables, rest))
    return taking + (math.sqrt(prices) + math.sqrt(REGAINED * taking)) ** 2 / (1.0 - REGAINED)


def unit_price(contract: Contract, tables: Tables) -> float:
    """What the agent pays for a unit at the others' quotes."""
    me, terms = contract.me, list[float]()
    match contract:
        case Unicast():
            for name, link in contract.links.items():
                terms.append(link.coefficients[me] * _mean(tables, name, link.members, me))
        case Multicast():
            for name, link in contract.links.items():
                before, _ = ring(contract.groups[name], link, me)
                if before != me:
                    price = tables[name][before][Q2]
                else:  # alone in its group: the mean of what the other groups say
                    others = [j for j in link.members if j != me]
                    price = math.fsum(tables[name][j][Q1] for j in others) / (len(contract.groups[name]) - 1)
                terms.append(link.coefficients[me] * price)
        case Linear():
            for name, row in contract.rows.items():
                if me in row.coefficients:
                    terms.append(row.coefficients[me] * _mean(tables, name, row.coefficients, me))
            if contract.group is not None:
                table = tables[contract.group.name]
                last, after = neighbours(contract.group, me)
                if after is not None:
                    terms += (table[after][UP_LAST], -table[after][DOWN_LAST])
                if last is not None:
                    terms += (-table[last][UP_NEXT], table[last][DOWN_NEXT])
        case _:
            raise TypeError(f"no network mechanism: {type(contract).__name__}")
    return math.fsum(terms)


def _mean(tables: Tables, name: str, members: Iterable[AgentId], me: AgentId) -> float:
    others = [j for j in members if j != me]
    return math.fsum(tables[name][j][P] for j in others) / len(others)


def claimed(contracts: Mapping[AgentId, Contract], optimum: Optimum) -> dict[AgentId, Quotes]:
    """The messages that the mechanism claims to be an equilibrium: y = x*, prices the multipliers, rho = 1.

    Unicast: p = lambda*. Multicast: q1 = mu*, q2 = mu* of the successor. Linear: p = lambda*, and pair prices
    from the offsets v_i'(x*) - (A^T lambda)_i of a group's members (spec, section 5b).
    """
    x, prices = optimum.allocation, optimum.prices
    quotes: dict[AgentId, Quotes] = {}
    for i, c in contracts.items():
        said: dict[str, tuple[float, ...]] = {}
        match c:
            case Unicast():
                said = {name: (x[i], max(0.0, prices[name]), 1.0) for name in c.links}
            case Multicast():
                for name, link in c.links.items():
                    _, after = ring(c.groups[name], link, i)
                    mu = _receivers(c, name, optimum)
                    said[name] = (x[i], mu[i], mu[after] if after != i else 0.0, 1.0)
            case Linear():
                for name, row in c.rows.items():
                    said[name] = (x[i], max(0.0, prices[name]) if i in row.coefficients else 0.0)
                if c.group is not None:
                    said[c.group.name] = (x[i], *_pairs(contracts, c, optimum))
        quotes[i] = said
    return quotes


def _receivers(contract: Multicast, name: str, optimum: Optimum) -> dict[AgentId, float]:
    """mu of the receivers on a link, in every group with the sum lambda.

    A group that gets nothing may have a smaller sum at the planner's optimum, and then a larger one does as
    well: its members want nothing at that price either.
    """
    total, found = max(0.0, optimum.prices[name]), dict["AgentId", float]()
    for members in contract.groups[name].values():
        mu = {j: max(0.0, optimum.receivers[name][j]) for j in members}
        short = (total - math.fsum(mu.values())) / len(members)
        found |= {j: max(0.0, value + short) for j, value in mu.items()}
    return found


def _pairs(
    contracts: Mapping[AgentId, Contract], contract: Linear, optimum: Optimum
) -> tuple[float, float, float, float]:
    """What a member quotes for the pairs with its successor and its predecessor."""
    assert contract.group is not None
    members, sums, passed = contract.group.members, dict["AgentId", float](), 0.0
    for j in members:
        theirs = contracts[j]
        assert isinstance(theirs, Linear)
        slope = theirs.valuation.slope(optimum.allocation[j])
        rows = [(n, row.coefficients[j]) for n, row in theirs.rows.items() if j in row.coefficients]
        passed += slope - math.fsum(a * max(0.0, optimum.prices[n]) for n, a in rows)
        sums[j] = passed
    last, after = neighbours(contract.group, contract.me)
    up = sums[contract.me] if after is not None else 0.0
    down = sums[last] if last is not None else 0.0
    return max(0.0, up), max(0.0, -up), max(0.0, down), max(0.0, -down)
