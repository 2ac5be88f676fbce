"""Unicast: flows share the links of their routes (thesis chapter 1; spec of chapters 1-3, section 1).

max sum v_i(x_i) subject to x >= 0 and, on every link l, sum of a_j x_j <= c. Agent i quotes (y_i, p_i, rho_i)
on each of its links: its demand, the price that it proposes there, and with strong balance its guess of r.

    r^l = c/Y^l if two or more demand on l, Y^l = sum a_j y_j;   c/(a_i (y_i + 1)) if i alone does     (1.8)
    allocation  x_i = r y_i with r = min over all links: feasible for every message
    tax, weak   sum over own links of a_i x_i pbar + (p_i - pbar)^2 + eta pbar (p_i - pbar)(c - sum a_j x_j)
    tax, strong the same + zeta (rho_i - r)^2 - sum over own links of rhobar pbar (Y^l - a_i y_i) / (N^l - 1)

pbar is the mean price of the others on the link, so nobody sets the price that it pays. rhobar is taken over
the others on the same link, not over the whole network: this keeps all properties (spec, section 1) and
needs no further sum. At the equilibrium y = s x*, p = lambda*, rho = 1/s for any s > 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network import sums as link_sums
from node.mechanisms.network.contract import FREE, Quote, Quotes, Seen, Share, Tables
from node.mechanisms.network.links import GUARD
from node.mechanisms.network.sums import LinkSums

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.mechanisms.network.links import Link
    from node.mechanisms.network.valuations import Valuation
    from node.part import AgentId

# Fields of a quote.
Y, P, RHO = 0, 1, 2


def limit(link: Link, demands: Mapping[AgentId, float]) -> float:
    """r^l of (1.8); ``FREE`` if nobody demands. Zero is tested exactly."""
    asking = [j for j in link.members if demands[j] > 0.0]
    if not asking:
        return FREE
    if len(asking) == 1:
        # Strictly inside the capacity, so the allocation jumps when a second agent joins: erratum 5.
        (i,) = asking
        return min(FREE, link.capacity / (link.coefficients[i] * (demands[i] + 1.0)))
    load = link.load(demands)
    return min(FREE, link.capacity / load) if load > 0.0 else FREE


class Unicast:
    """One agent's side of the contract.

    Args:
        me: the agent.
        valuation: its private v, strictly increasing.
        links: those of its route, at least one.
        strong: strong budget balance at the equilibrium, else weak.
        eta: > 0; weight of the slack term. No equilibrium exists if it is too large (erratum 2).
        zeta: > 0; weight of the guess of r.
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
        zeta: float = 1.0,
    ) -> None:
        if not links:
            raise ValueError(f"agent {me}: on no link; expected at least one")
        if not valuation.increasing:
            raise ValueError(
                f"agent {me}: utility {type(valuation).__name__} is not strictly increasing; this mechanism "
                "uses up capacities and needs one that is"
            )
        for name, number in (("eta", eta), ("zeta", zeta)):
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
        self.strong, self.eta, self.zeta = strong, eta, zeta

    def read(self, tables: Tables) -> dict[str, LinkSums]:
        """What the agent needs of its links' tables; the methods below take either."""
        return {name: link_sums.of_table(link, self.me, tables[name]) for name, link in self.links.items()}

    def limits(self, tables: Seen) -> dict[str, float]:
        """r^l of every own link."""
        return {name: self.sums(name, tables).limit for name in self.links}

    def factor(self, least: float) -> float:
        """r, a hair below the exact one so that rounding cannot exceed a capacity; 0 if nobody demands."""
        return least * GUARD if least < FREE else 0.0

    def exact(self, least: float) -> float:
        """r itself."""
        return least if least < FREE else 0.0

    def allocation(self, tables: Seen, factor: float) -> float:
        """x = r y."""
        seen = tables[self.channels[0]]
        return factor * (seen.own if isinstance(seen, LinkSums) else seen[self.me])[Y]

    def share(self, tables: Seen, factor: float) -> Share:
        """Allocation and tax."""
        x, rho = self.allocation(tables, factor), 0.0
        terms: list[float] = []
        for name, link in self.links.items():
            sums, others = self.sums(name, tables), len(link.members) - 1
            mean, rho = sums.prices / others, sums.own[RHO]
            off = sums.own[P] - mean
            terms += (
                link.coefficients[self.me] * x * mean,
                off**2,
                self.eta * mean * off * (link.capacity - factor * sums.load),
            )
            if self.strong:
                terms.append(-(sums.guesses / others) * mean * sums.theirs / others)
        if self.strong:
            terms.append(self.zeta * (rho - factor) ** 2)
        return Share(x, math.fsum(terms))

    def reply(self, y: float, tables: Seen, factor: float) -> Quotes:
        """Best prices at demand y: the tax is quadratic in them, so p = pbar (1 - eta slack / 2), rho = r."""
        quotes: dict[str, tuple[float, float, float]] = {}
        for name, link in self.links.items():
            sums = self.sums(name, tables)
            mean = sums.prices / (len(link.members) - 1)
            slack = link.capacity - factor * (sums.theirs + link.coefficients[self.me] * y)
            quotes[name] = (y, max(0.0, mean * (1.0 - 0.5 * self.eta * slack)), factor)
        return quotes

    def unsettled(self, tables: Seen, factor: float) -> float:
        """0: see ``settled``."""
        return 0.0

    def settled(self, quotes: Quotes, allocation: float, factor: float) -> Quotes:
        """The same demand and prices, rho = r, which is best for who says it: only (rho - r)^2 concerns it.

        With one price p on a link its payments a p r y and redistributions r p (Y - a y) / (N - 1) both add
        up to p r Y, so taxes add up to zero, whatever the demands.
        """
        rho = factor if self.strong else 0.0
        return {name: (quote[Y], quote[P], rho) for name, quote in quotes.items()}

    def closing(self, factor: float) -> float:
        """The same: demands are."""
        return factor

    @property
    def summed(self) -> tuple[str, ...]:
        """Sums are all that is needed of any link."""
        return self.channels

    @property
    def terms(self) -> int:
        """How many numbers of an agent are added up on a link; the same at every agent."""
        return link_sums.TERMS

    def parts(self, name: str, quote: Quote) -> tuple[float, ...]:
        """The agent's own part of the sums of a link."""
        return link_sums.terms(self.links[name], self.me, quote)

    def of_parts(self, name: str, quote: Quote, whole: Sequence[Sequence[float]]) -> LinkSums:
        """A link from numbers whose exact sums are meant, term by term."""
        return link_sums.of_parts(self.links[name], quote, self.parts(name, quote), whole)

    def sums(self, name: str, tables: Seen) -> LinkSums:
        """What the agent needs of one link."""
        seen = tables[name]
        return seen if isinstance(seen, LinkSums) else link_sums.of_table(self.links[name], self.me, seen)
