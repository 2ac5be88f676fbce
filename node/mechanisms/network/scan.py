"""Payoffs of many demands at once: how the search for a best response looks around.

The same formulas as the contracts', with what the others say taken out of the loop, so that a demand costs
its links and not everybody on them. Only *where* to look is decided by these numbers; what is found is then
priced by the contract itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network.linear import (
    DOWN_LAST,
    DOWN_NEXT,
    UP_LAST,
    UP_NEXT,
    Linear,
    neighbours,
)
from node.mechanisms.network.links import GUARD
from node.mechanisms.network.multicast import Q1, Q2, Multicast, ring
from node.mechanisms.network.unicast import P, Unicast, Y

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.mechanisms.network.contract import Contract, Tables
    from node.numbers import Vector


def payoffs(contract: Contract, tables: Tables, rest: float) -> Callable[[Vector], Vector] | None:
    """The payoff as a function of own demands > 0, each with its best prices and guess.

    Args:
        contract: the agent's side.
        tables: the profile; own entries do not matter.
        rest: the factor that the channels of others allow.
    Returns:
        A function from shape (n,) to (n,); None for a contract of which this form is not known.
    """
    match contract:
        case Unicast():
            return _unicast(contract, tables, rest)
        case Multicast(printed=False):
            return _multicast(contract, tables, rest)
        case Linear():
            return _linear(contract, tables, rest)
    return None


def _values(contract: Contract, x: Vector) -> Vector:
    return np.array([contract.valuation.value(amount) for amount in x.tolist()])


def _unicast(c: Unicast, tables: Tables, rest: float) -> Callable[[Vector], Vector]:
    # Of every link: capacity, own coefficient, load and mean price of the others, whether any demands, and
    # what comes back to the agent whatever it says.
    links: list[tuple[float, float, float, float, bool]] = []
    back = 0.0
    for name, link in c.links.items():
        table = {j: q for j, q in tables[name].items() if j != c.me}
        load = math.fsum(link.coefficients[j] * q[Y] for j, q in table.items())
        mean = math.fsum(q[P] for q in table.values()) / len(table)
        links.append((link.capacity, link.coefficients[c.me], load, mean, load > 0.0))
        if c.strong:
            back += math.fsum(q[2] for q in table.values()) * mean * load / len(table) ** 2

    def at(y: Vector) -> Vector:
        r = np.full(y.shape, rest)
        for capacity, a, load, _, shared in links:
            r = np.minimum(r, capacity / (load + a * y if shared else a * (y + 1.0)))
        r *= GUARD
        x = r * y
        found = _values(c, x) + back
        for capacity, a, load, mean, _ in links:
            slack = capacity - r * (load + a * y)
            off = np.maximum(0.0, mean * (1.0 - 0.5 * c.eta * slack)) - mean
            found -= a * x * mean + off * off + c.eta * mean * off * slack
        return found

    return at


def _multicast(c: Multicast, tables: Tables, rest: float) -> Callable[[Vector], Vector]:
    links: list[tuple[float, ...]] = []
    back = 0.0
    for name, link in c.links.items():
        assert link.groups is not None
        table, mine = tables[name], link.groups[c.me]
        peers, others, q1, w = 0.0, 0.0, 0.0, 0.0
        for k, members in c.groups[name].items():
            peers_of = [j for j in members if j != c.me]
            largest = max((link.coefficients[j] * table[j][Y] for j in peers_of), default=0.0)
            quoted = math.fsum(table[j][Q1] for j in peers_of)
            if k == mine:
                peers, q1 = largest, quoted
            else:
                others, w = others + largest, w + quoted
        mean = w / (len(c.groups[name]) - 1)
        before, _ = ring(c.groups[name], link, c.me)
        price = table[before][Q2] if before != c.me else mean
        links.append((link.capacity, link.coefficients[c.me], peers, others, q1, mean, price))
        if c.strong:
            rho = math.fsum(q[3] for j, q in table.items() if j != c.me)
            rivals = {j: a for j, a in link.coefficients.items() if j != c.me}
            paid = math.fsum(a * table[j][Q1] * table[j][Y] for j, a in rivals.items())
            back += rho * paid / (len(link.members) - 1) ** 2

    def at(y: Vector) -> Vector:
        r = np.full(y.shape, rest)
        for capacity, a, peers, others, *_ in links:
            r = np.minimum(r, capacity / (np.maximum(peers, a * y) + (others if others > 0.0 else 1.0)))
        r *= GUARD
        x = r * y
        found = _values(c, x) + back
        for capacity, a, peers, others, q1, mean, price in links:
            top = np.maximum(peers, a * y)
            kept, slack = r * (top - a * y), capacity - r * (top + others)
            own = np.maximum(0.0, mean - q1 - 0.5 * (c.eta * price * kept + c.xi * mean * slack))
            off = q1 + own - mean
            found -= a * x * price + off * off
            found -= c.eta * price * (own - price) * kept + c.xi * mean * off * slack
        return found

    return at


def _linear(c: Linear, tables: Tables, rest: float) -> Callable[[Vector], Vector]:
    rows: list[tuple[float, float, float, float, float, float]] = []
    back = 0.0
    for name, row in c.rows.items():
        table = tables[name]
        without = {j: quote[Y] for j, quote in table.items()} | {c.me: 0.0}
        # What a unit more of the own demand adds: the reduced coefficient, shared by the group's mean.
        share = next(a / len(on) for a, on in row.reduced if c.me in on)
        own = row.coefficients.get(c.me, 0.0)
        mean = 0.0
        if own:
            others = [j for j in row.coefficients if j != c.me]
            mean = math.fsum(table[j][P] for j in others) / len(others)
            if c.balance != "weak":
                back += c.back(name, table)
        rows.append((row.capacity, row.base, row.load(without), share, own, mean))
    theta, size, peers, net = 0.5 * c.lowest, 1, 0.0, 0.0
    if c.group is not None:
        table, size = tables[c.group.name], len(c.group.members)
        peers = math.fsum(table[j][Y] for j in c.group.members if j != c.me)
        last, after = neighbours(c.group, c.me)
        # The partners' prices, which the best own ones equal.
        net += table[after][UP_LAST] - table[after][DOWN_LAST] if after is not None else 0.0
        net += table[last][DOWN_NEXT] - table[last][UP_NEXT] if last is not None else 0.0

    def at(y: Vector) -> Vector:
        alpha = np.full(y.shape, min(1.0, rest))
        loads = [(load + share * y, base) for _, base, load, share, _, _ in rows]
        for (load, base), (capacity, *_) in zip(loads, rows, strict=True):
            over = load > capacity
            alpha[over] = np.minimum(alpha[over], (capacity - base) / (load[over] - base))
        alpha = np.where(alpha < 1.0, alpha * GUARD, 1.0)
        x = theta + alpha * ((peers + y) / size - theta)
        found = _values(c, x) + back - x * net
        for (load, base), (capacity, _, _, _, own, mean) in zip(loads, rows, strict=True):
            if not own:
                continue
            slack = capacity - (base + alpha * (load - base))
            price = np.maximum(0.0, mean * (1.0 - 0.5 * c.eta * slack * slack))
            found -= own * x * mean + (price - mean) ** 2 + c.eta * mean * price * slack * slack
        return found

    return at
