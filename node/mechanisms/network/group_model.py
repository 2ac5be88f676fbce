"""The minimum of the dual function's quadratic model in multicast.

Over prices mu_il >= 0 of receivers on links, all groups of a link with one sum lambda_l:

    min  sum over receivers of -y_i dP_i + s_i dP_i^2 / 2  +  sum over links of c_l lambda_l,
         dP_i = sum over own links of a_il mu_il - P_i

It is the dual of a problem like the planner's: maximise the sum of P_i x_i - (x_i - y_i)^2 / (2 s_i) subject
to a_il x_i <= m_kl and, on every link, sum over k of m_kl at most c_l. An interior-point method
(``interior``) finds both sides, and with them which prices vanish; then the others follow from linear
equations. Where prices are not unique the method ends in the middle of them.

Plain floats in a fixed order, as in ``quadratic``, so that all agents find the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from node.mechanisms.network.interior import Interior
from node.mechanisms.network.quadratic import solve_any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import AgentId

# Steps of the interior-point method; it takes about ten.
ITERATIONS = 60
# The linear equations are believed if they change prices by no more than this part of the largest.
CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Bend:
    """How a receiver's best value bends with its price: value(P + d) = value - y d + s d^2 / 2.

    Attributes:
        price: P.
        demand: y.
        spread: s > 0.
    """

    price: float
    demand: float
    spread: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """A link.

    Attributes:
        amount: c > 0.
        groups: group -> receiver -> a > 0.
    """

    amount: float
    groups: Mapping[str, Mapping[AgentId, float]]


@dataclass(slots=True)
class Pairs:
    """Everything by numbers: receivers, links, groups on links, and pairs of a receiver and a link.

    Attributes:
        agents: the receivers.
        capacities: of the links.
        who, group, a: of every pair the receiver, the group on the link, and the coefficient.
        link: of every group on a link, the link.
        of: of every receiver its pairs; members: of every group its pairs; groups: of every link its groups.
    """

    agents: list[AgentId]
    capacities: list[float]
    who: list[int] = field(default_factory=list)
    group: list[int] = field(default_factory=list)
    a: list[float] = field(default_factory=list)
    link: list[int] = field(default_factory=list)
    of: list[list[int]] = field(default_factory=list)
    members: list[list[int]] = field(default_factory=list)
    groups: list[list[int]] = field(default_factory=list)


def numbered(agents: list[AgentId], links: Mapping[str, Capacity]) -> Pairs:
    """The pairs, in the order of the links, their groups and the groups' members."""
    at = {i: k for k, i in enumerate(agents)}
    pairs = Pairs(agents, [link.amount for link in links.values()], of=[[] for _ in agents])
    for number, link in enumerate(links.values()):
        pairs.groups.append([])
        for members in link.groups.values():
            pairs.groups[-1].append(len(pairs.link))
            pairs.members.append([])
            for i, a in members.items():
                pairs.of[at[i]].append(len(pairs.a))
                pairs.members[-1].append(len(pairs.a))
                pairs.who.append(at[i])
                pairs.group.append(len(pairs.link))
                pairs.a.append(a)
            pairs.link.append(number)
    return pairs


def minimise(bends: Mapping[AgentId, Bend], links: Mapping[str, Capacity]) -> dict[str, dict[AgentId, float]]:
    """Link -> receiver -> mu. Receivers and links ascending; every receiver on a link.

    Prices that vanish are exactly 0, and all groups of a link have one sum but for rounding.
    """
    pairs, receivers = numbered(list(bends), links), list(bends.values())
    found = Interior(receivers, pairs)
    found.solve(ITERATIONS)
    size = max(pairs.capacities)
    used = [p * size >= t * found.scale for p, t in zip(found.price, found.t, strict=True)]
    price = [p if use else 0.0 for p, use in zip(found.price, used, strict=True)]
    mu = [0.0] * len(pairs.a)
    for on, number in zip(pairs.members, pairs.link, strict=True):
        # A price that is smaller than what it leaves, in their units, is 0.
        kept = [q for q in on if found.mu[q] * size >= found.u[q] * found.scale] or on
        total = math.fsum(found.mu[q] for q in kept)
        for q in kept:
            mu[q] = price[number] * found.mu[q] / total
    mu = _polished(receivers, pairs, mu, found.m, price)
    prices: dict[str, dict[AgentId, float]] = {}
    for number, name in enumerate(links):
        own = {pairs.agents[pairs.who[q]]: mu[q] for k in pairs.groups[number] for q in pairs.members[k]}
        prices[name] = dict(sorted(own.items()))
    return prices


def _polished(
    bends: list[Bend], pairs: Pairs, mu: list[float], m: list[float], price: list[float]
) -> list[float]:
    """mu once more, from what holds with equality: a x = m where mu > 0; sum of mu = lambda in every group,
    and sum of m = c, on every link where lambda > 0; x = y + s (P - sum of a mu)."""
    for _ in range(2):
        free = [q for q, value in enumerate(mu) if value > 0.0]
        links = [number for number, value in enumerate(price) if value > 0.0]
        groups = [k for number in links for k in pairs.groups[number]]
        column = {("mu", q): n for n, q in enumerate(free)}
        column |= {("m", k): len(column) + n for n, k in enumerate(groups)}
        column |= {("price", number): len(column) + n for n, number in enumerate(links)}
        matrix = [[0.0] * len(column) for _ in column]
        right: list[float] = []
        for n, q in enumerate(free):
            i = pairs.who[q]
            b, own = bends[i], [p for p in pairs.of[i] if mu[p] > 0.0]
            for p in own:
                matrix[n][column["mu", p]] = pairs.a[q] * pairs.a[p] * b.spread
            matrix[n][column["m", pairs.group[q]]] = 1.0
            x = b.demand + b.spread * math.fsum((b.price, *(-pairs.a[p] * mu[p] for p in own)))
            right.append(pairs.a[q] * x - m[pairs.group[q]])
        for n, k in enumerate(groups, len(free)):
            for q in pairs.members[k]:
                if mu[q] > 0.0:
                    matrix[n][column["mu", q]] = 1.0
            matrix[n][column["price", pairs.link[k]]] = -1.0
            right.append(math.fsum((price[pairs.link[k]], *(-mu[q] for q in pairs.members[k]))))
        for n, number in enumerate(links, len(free) + len(groups)):
            for k in pairs.groups[number]:
                matrix[n][column["m", k]] = 1.0
            right.append(math.fsum((pairs.capacities[number], *(-m[k] for k in pairs.groups[number]))))
        change = solve_any(matrix, right)
        new = list(mu)
        for n, q in enumerate(free):
            new[q] += change[n]
        if max(map(abs, change[: len(free)]), default=0.0) > CLOSE * max(mu) or min(new) < 0.0:
            return mu
        m, price, mu = list(m), list(price), new
        for n, k in enumerate(groups, len(free)):
            m[k] += change[n]
        for n, number in enumerate(links, len(free) + len(groups)):
            price[number] += change[n]
    return mu
