"""Judging a profile from outside: what the mechanisms promise, measured. No agent uses this.

All functions take everybody's side of one mechanism, which agents never have together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network import strategic
from node.mechanisms.network.linear import Linear
from node.mechanisms.network.links import Link
from node.mechanisms.network.multicast import Multicast, group_loads
from node.mechanisms.network.unicast import Unicast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Quotes, Share, Tables
    from node.mechanisms.network.optimum import Optimum
    from node.mechanisms.network.rows import Row
    from node.part import AgentId

# |sum of taxes| over the sum of |taxes| with strong balance: rounding, and what ``life.UNSETTLED`` lets pass.
BALANCED = 1e-9
# Taxes that are a smaller part of what is paid for amounts are rounding themselves, as among equal agents.
NOTHING = 1e-5

Sides = "Mapping[AgentId, Unicast] | Mapping[AgentId, Multicast] | Mapping[AgentId, Linear]"


def used(contracts: Mapping[AgentId, Contract], amounts: Mapping[AgentId, float]) -> dict[str, float]:
    """Link or row -> the part of its capacity that the amounts use; above 1 is infeasible."""
    found: dict[str, float] = {}
    for c in contracts.values():
        for name, channel in _capacities(c).items():
            if name in found:
                continue
            found[name] = _load(channel, amounts) / channel.capacity
    return {name: found[name] for name in sorted(found)}


def used_by(contracts: Mapping[AgentId, Contract], amounts: Mapping[AgentId, float]) -> dict[str, float]:
    """As ``used``, with amounts of some agents; the others use nothing.

    Left out is a row in which only some members of a group have an amount: what it takes depends on whether
    the others are still in the group, which amounts do not tell.
    """
    found: dict[str, float] = {}
    for c in contracts.values():
        for name, channel in _capacities(c).items():
            if name not in found and not _torn(channel, amounts):
                members = channel.members if isinstance(channel, Link) else channel.carriers
                load = _load(channel, {j: amounts.get(j, 0.0) for j in members})
                found[name] = load / channel.capacity
    return {name: found[name] for name in sorted(found)}


def _torn(channel: Link | Row, amounts: Mapping[AgentId, float]) -> bool:
    if isinstance(channel, Link):
        return False
    return any(0 < sum(j in amounts for j in group.members) < len(group.members) for group in channel.groups)


def _capacities(contract: Contract) -> Mapping[str, Link | Row]:
    match contract:
        case Unicast() | Multicast():
            return contract.links
        case Linear():
            return contract.rows
    raise TypeError(f"no network mechanism: {type(contract).__name__}")


def _load(channel: Link | Row, amounts: Mapping[AgentId, float]) -> float:
    if isinstance(channel, Link) and channel.groups is not None:
        return math.fsum(group_loads(channel, channel.of_group(), amounts).values())
    return channel.load(amounts)


def overshoot(contracts: Mapping[AgentId, Contract], amounts: Mapping[AgentId, float]) -> float:
    """The largest excess over a capacity, relative to it; 0 if all hold."""
    return max(0.0, *(part - 1.0 for part in used(contracts, amounts).values()))


def unequal(contracts: Mapping[AgentId, Contract], amounts: Mapping[AgentId, float]) -> float:
    """The largest difference of amounts within a group of chapter 3."""
    spans = [
        max(amounts[j] for j in c.group.members) - min(amounts[j] for j in c.group.members)
        for c in contracts.values()
        if isinstance(c, Linear) and c.group is not None
    ]
    return max(spans, default=0.0)


def balance(shares: Mapping[AgentId, Share]) -> tuple[float, float]:
    """(sum of taxes, sum of their sizes), correctly rounded over ids ascending."""
    taxes = [shares[i].tax for i in sorted(shares)]
    return math.fsum(taxes), math.fsum(map(abs, taxes))


def imbalance(shares: Mapping[AgentId, Share], prices: Mapping[AgentId, float]) -> float:
    """|sum of taxes| relative to the sum of |taxes|; where these come to nothing, to a part of the payments.

    Args:
        shares: everybody's.
        prices: agent -> P_i, what a unit costs it before anything is given back.
    """
    total, size = balance(shares)
    paid = math.fsum(abs(prices[i]) * share.allocation for i, share in sorted(shares.items()))
    scale = max(size, NOTHING * paid)
    return abs(total) / scale if scale else abs(total)


def rationality(
    contracts: Mapping[AgentId, Contract], shares: Mapping[AgentId, Share]
) -> dict[AgentId, float]:
    """Agent -> v_i(x_i) - t_i - v_i(0); below 0 it would rather have stayed away."""
    return {
        i: c.valuation.value(shares[i].allocation) - shares[i].tax - c.valuation.value(0.0)
        for i, c in sorted(contracts.items())
    }


def price_spread(tables: Tables, field: int = 1) -> float:
    """The largest difference of prices quoted on one channel; for links of chapters 1 and rows of 3."""
    return max(
        max(quote[field] for quote in table.values()) - min(quote[field] for quote in table.values())
        for table in tables.values()
    )


def lonely(
    contracts: Mapping[AgentId, Contract], demands: Mapping[AgentId, float], least: float = 0.0
) -> list[str]:
    """Links of chapters 1 and 2 with fewer than two agents (groups) that demand more than ``least``.

    Where this holds at rest, assumption (A4) fails: the mechanism cannot reach the optimum exactly.
    """
    found = set()
    for c in contracts.values():
        if not isinstance(c, Unicast | Multicast):
            continue
        for name, link in c.links.items():
            asking = {
                link.groups[j] if link.groups is not None else j for j in link.members if demands[j] > least
            }
            if len(asking) < 2:
                found.add(name)
    return sorted(found)


def equilibrium(
    contracts: Mapping[AgentId, Unicast], optimum: Optimum, scale: float = 1.0
) -> dict[AgentId, Quotes]:
    """The claimed equilibrium of unicast: y = s x*, p = lambda*, rho = 1/s."""
    return {
        i: {name: (scale * optimum.allocation[i], optimum.prices[name], 1.0 / scale) for name in c.channels}
        for i, c in contracts.items()
    }


def deviations(
    contracts: Mapping[AgentId, Contract], tables: Tables, seed: int = 0, tries: int = 40
) -> dict[AgentId, float]:
    """Agent -> the most that a unilateral deviation gains: the structured scan, then random messages.

    Random deviations change demand, prices and guess at once, by factors from 1e-3 to 1e3 and by small steps,
    so that also messages that ``Contract.reply`` would not give are tried.
    """
    every, gains = strategic.limits(contracts, tables), strategic.regrets(contracts, tables)
    for k, i in enumerate(sorted(contracts)):
        c = contracts[i]
        own = {name: tables[name] for name in c.channels}
        rest, rng = strategic.rest_of(c, every), np.random.default_rng([seed, k])
        now = strategic.payoff(c, own, rest)
        for n in range(tries):
            width = 3.0 if n % 2 else 0.02
            said = {name: own[name][i] for name in c.channels}
            y = max(c.lowest, next(iter(said.values()))[0] * 10.0 ** float(rng.uniform(-width, width)))
            tried = {
                name: (y, *(q * 10.0 ** float(rng.uniform(-width, width)) for q in quote[1:]))
                for name, quote in said.items()
            }
            gains[i] = max(gains[i], strategic.payoff(c, own, rest, tried) - now)
    return gains


def eta_bound(contracts: Mapping[AgentId, Unicast], optimum: Optimum) -> float:
    """An eta up to which the equilibrium of unicast exists for sure (spec, section 1); not the largest one.

    From eta^2 sum over own links of (lambda kappa)^2 <= 2 m_i: a lie about prices gains at most
    (eta lambda slack)^2 / 4 a link, a lie about demand loses at least m_i dx^2 / 2.
    """
    x, prices = optimum.allocation, optimum.prices
    bound = math.inf
    for i, c in contracts.items():
        loads = {name: link.load(x) for name, link in c.links.items()}
        ratios = []
        for name, link in c.links.items():
            others = loads[name] - link.coefficients[i] * x[i]
            own = link.coefficients[i]
            if others > 0.0:
                ratios.append(own * max(0.0, link.capacity - own * x[i]) / others)
        kappa = {name: max([link.coefficients[i], *ratios]) for name, link in c.links.items()}
        steep = math.fsum((prices[name] * kappa[name]) ** 2 for name in c.links)
        if steep > 0.0:
            bound = min(bound, math.sqrt(2.0 * c.valuation.curvature(c.highest) / steep))
    return bound
