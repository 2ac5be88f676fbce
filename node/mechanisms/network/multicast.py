"""Multirate multicast: receivers of a group share what one of them gets (thesis chapter 2; spec, section 2).

On every link, sum over groups k of max_{i in k} a_i x_i <= c. Member i of group k quotes (y, q1, q2, rho):
its demand, the price of its own constraint a_i x_i <= m_k, and a price for its successor on the group's ring
on this link (ids ascending, cyclic). With j its predecessor, e its successor, w_k = sum of q1 over the group,
wbar the mean w of the other groups, n_k = max a y, m_k = r n_k:

    r^l = c / sum n_k if two or more groups demand; c/(n_k + 1) if one does
    allocation  x = r y, r the minimum over links
    tax, weak   sum over own links of a x q2_j + (q2_i - q1_e)^2 + (w_k - wbar)^2
                + eta q2_j (q1_i - q2_j)(m_k - a x) + xi wbar (w_k - wbar)(c - sum m);
                in a group of one no second term, wbar in place of q2_j, and q2 = 0
    tax, strong + zeta (rho_i - r)^2 - sum over own links of rhobar/(N^l - 1) sum over the others of a q1 y

The redistribution uses the payers' own q1, as corrected (erratum 1). As printed it uses the q2 of their
predecessors: an agent's own q2 is then the price of its successor's payment, a part of which it gets. This is
kept as ``printed=True``, to show that it can be gamed; do not use it for anything else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.contract import FREE, Quotes, Share, Table, Tables
from node.mechanisms.network.links import GUARD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.mechanisms.network.links import Link
    from node.mechanisms.network.valuations import Valuation
    from node.part import AgentId

# Fields of a quote.
Y, Q1, Q2, RHO = 0, 1, 2, 3


def group_loads(
    link: Link, groups: Mapping[str, Sequence[AgentId]], demands: Mapping[AgentId, float]
) -> dict[str, float]:
    """n_k = max over the group of a y."""
    return {k: max(link.coefficients[j] * demands[j] for j in members) for k, members in groups.items()}


def limit(link: Link, loads: Mapping[str, float]) -> float:
    """r^l; ``FREE`` if nobody demands. Zero is tested exactly."""
    asking = [load for load in loads.values() if load > 0.0]
    if not asking:
        return FREE
    return min(FREE, link.capacity / (math.fsum(asking) if len(asking) > 1 else asking[0] + 1.0))


class Multicast:
    """One receiver's side of the contract.

    Args:
        me: the agent.
        valuation: its private v, strictly increasing.
        links: those on its branch of the tree, with groups, at least one.
        strong: strong budget balance at the equilibrium, else weak.
        eta, xi: > 0 and small; weights of the two slack terms.
        zeta: > 0; weight of the guess of r.
        printed: the redistribution as printed, which can be gamed.
    Raises:
        ValueError: naming the agent and the link, for what section 0 rejects.
    """

    def __init__(
        self,
        me: AgentId,
        valuation: Valuation,
        links: Sequence[Link],
        *,
        strong: bool = True,
        eta: float = 0.02,
        xi: float = 0.02,
        zeta: float = 1.0,
        printed: bool = False,
    ) -> None:
        if not links:
            raise ValueError(f"agent {me}: on no link; expected at least one")
        if not valuation.increasing:
            raise ValueError(
                f"agent {me}: utility {type(valuation).__name__} is not strictly increasing; this mechanism "
                "uses up capacities and needs one that is"
            )
        for name, number in (("eta", eta), ("xi", xi), ("zeta", zeta)):
            if not 0.0 < number < math.inf:
                raise ValueError(f"expected {name} > 0 and finite, got {number}")
        for link in links:
            if me not in link.coefficients:
                raise ValueError(f"agent {me}: not on link {link.name}")
        self.me, self.valuation = me, valuation
        self.links = {link.name: link for link in sorted(links, key=lambda link: link.name)}
        self.channels = tuple(self.links)
        self.lowest = 0.0
        self.highest = min(link.capacity / link.coefficients[me] for link in links)
        self.groups = {name: link.of_group() for name, link in self.links.items()}
        self.strong, self.printed = strong, printed
        self.eta, self.xi, self.zeta = eta, xi, zeta

    def limits(self, tables: Tables) -> dict[str, float]:
        """r^l of every own link."""
        return {name: limit(link, self._loads(name, tables[name])) for name, link in self.links.items()}

    def factor(self, least: float) -> float:
        """r, a hair below the exact one so that rounding cannot exceed a capacity; 0 if nobody demands."""
        return least * GUARD if least < FREE else 0.0

    def exact(self, least: float) -> float:
        """r itself."""
        return least if least < FREE else 0.0

    def allocation(self, tables: Tables, factor: float) -> float:
        """x = r y."""
        return factor * tables[self.channels[0]][self.me][Y]

    def share(self, tables: Tables, factor: float) -> Share:
        """Allocation and tax."""
        own = tables[self.channels[0]][self.me]
        x = self.allocation(tables, factor)
        terms: list[float] = []
        for name, link in self.links.items():
            table, coefficient = tables[name], link.coefficients[self.me]
            loads, rest, wbar = self._loads(name, table), *self._sums(name, table)
            before, after = ring(self.groups[name], link, self.me)
            quote = table[self.me]
            price = table[before][Q2] if before != self.me else wbar
            off = rest + quote[Q1] - wbar
            kept = factor * loads[self._group(link)] - coefficient * x
            slack = link.capacity - factor * math.fsum(loads.values())
            terms += (
                coefficient * x * price,
                (quote[Q2] - table[after][Q1]) ** 2 if after != self.me else 0.0,
                off**2,
                self.eta * price * (quote[Q1] - price) * kept,
                self.xi * wbar * off * slack,
            )
            if self.strong:
                others = len(link.members) - 1
                rho = math.fsum(q[RHO] for j, q in table.items() if j != self.me) / others
                terms.append(-rho * self._paid(name, table) / others)
        if self.strong:
            terms.append(self.zeta * (own[RHO] - factor) ** 2)
        return Share(x, math.fsum(terms))

    def reply(self, y: float, tables: Tables, factor: float) -> Quotes:
        """Best prices at demand y: q2 = q1 of the successor, rho = r, q1 where its quadratic is lowest."""
        quotes: dict[str, tuple[float, ...]] = {}
        for name, link in self.links.items():
            table = {**tables[name], self.me: (y, *tables[name][self.me][1:])}
            loads, rest, wbar = self._loads(name, table), *self._sums(name, table)
            before, after = ring(self.groups[name], link, self.me)
            price = table[before][Q2] if before != self.me else wbar
            kept = factor * (loads[self._group(link)] - link.coefficients[self.me] * y)
            slack = link.capacity - factor * math.fsum(loads.values())
            q1 = wbar - rest - 0.5 * (self.eta * price * kept + self.xi * wbar * slack)
            quotes[name] = (y, max(0.0, q1), table[after][Q1] if after != self.me else 0.0, factor)
        return quotes

    def unsettled(self, tables: Tables, factor: float) -> float:
        """0: see ``settled``."""
        return 0.0

    def settled(self, quotes: Quotes, allocation: float, factor: float) -> Quotes:
        """The same demand and prices, rho = r, which is best for who says it: only (rho - r)^2 concerns it.

        If every q2 is the successor's q1 and all groups have one sum of q1, taxes add up to zero, whatever
        the demands: both payments and redistributions come to the sum of q1 a r y.
        """
        rho = factor if self.strong else 0.0
        return {name: (quote[Y], quote[Q1], quote[Q2], rho) for name, quote in quotes.items()}

    def closing(self, factor: float) -> float:
        """The same: demands are."""
        return factor

    def _group(self, link: Link) -> str:
        assert link.groups is not None
        return link.groups[self.me]

    def _loads(self, name: str, table: Table) -> dict[str, float]:
        return group_loads(self.links[name], self.groups[name], {j: quote[Y] for j, quote in table.items()})

    def _sums(self, name: str, table: Table) -> tuple[float, float]:
        """(the q1 of the own group without the own one, the mean w of the other groups)."""
        mine, groups = self._group(self.links[name]), self.groups[name]
        rest = math.fsum(table[j][Q1] for j in groups[mine] if j != self.me)
        others = math.fsum(table[j][Q1] for k, members in groups.items() if k != mine for j in members)
        return rest, others / (len(groups) - 1)

    def _paid(self, name: str, table: Table) -> float:
        """What all others on the link demand, at prices: the base of the redistribution."""
        link = self.links[name]
        return math.fsum(
            a * (self._printed_price(name, table, j) if self.printed else table[j][Q1]) * table[j][Y]
            for j, a in link.coefficients.items()
            if j != self.me
        )

    def _printed_price(self, name: str, table: Table, payer: AgentId) -> float:
        link, groups = self.links[name], self.groups[name]
        assert link.groups is not None
        before, _ = ring(groups, link, payer)
        if before != payer:
            return table[before][Q2]
        sums = [
            math.fsum(table[j][Q1] for j in members) for k, members in groups.items() if payer not in members
        ]
        return math.fsum(sums) / len(sums)


def ring(groups: Mapping[str, Sequence[AgentId]], link: Link, agent: AgentId) -> tuple[AgentId, AgentId]:
    """(predecessor, successor) of an agent on its group's ring; itself twice in a group of one."""
    assert link.groups is not None
    members = groups[link.groups[agent]]
    k = members.index(agent)
    return members[k - 1], members[(k + 1) % len(members)]
