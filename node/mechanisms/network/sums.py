"""What an agent has to know of everybody on a unicast link: sums, and its own part taken out of them.

Section 7 of the spec of chapters 1-3. The sums may come from a table of all quotes or from a convergecast of
partial sums that lose nothing; either way they are correctly rounded, so both give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.mechanisms.network.contract import FREE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.mechanisms.network.contract import Quote, Table
    from node.mechanisms.network.links import Link
    from node.part import AgentId

# How many numbers of an agent are added up on a link.
TERMS = 8


def terms(link: Link, agent: AgentId, entry: Quote) -> tuple[float, ...]:
    """An agent's part of the sums: a y, p, rho, a s / |v''|, a^2 / |v''|, and 1, a, y if y > 0.

    Args:
        entry: (y, p, rho), and, where prices move, s and 1/|v''|.
    """
    a, y = link.coefficients[agent], entry[0]
    s, spread = entry[3:5] if len(entry) > 3 else (0.0, 0.0)
    asking = (1.0, a, y) if y > 0.0 else (0.0, 0.0, 0.0)
    return (a * y, entry[1], entry[2], a * s * spread, a * a * spread, *asking)


@dataclass(frozen=True, slots=True)
class LinkSums:
    """A link as one of its agents sees it. All are sums over members, correctly rounded.

    Attributes:
        own: the agent's own entry.
        load: Y, sum of a y.
        theirs, prices, guesses: sums of a y, p and rho over the others.
        shared, alone: sums of a s / |v''| and a^2 / |v''|.
        limit: r^l of (1.8); ``FREE`` if nobody demands.
        price: sum of p over all.
    """

    own: Quote
    load: float
    theirs: float
    prices: float
    guesses: float
    shared: float
    alone: float
    limit: float
    price: float


def of_table(link: Link, me: AgentId, table: Table) -> LinkSums:
    """From everybody's entries."""
    parts = {j: terms(link, j, table[j]) for j in link.members}
    columns = [[part[k] for part in parts.values()] for k in range(TERMS)]
    return of_parts(link, table[me], parts[me], columns)


def of_parts(link: Link, own: Quote, mine: Sequence[float], parts: Sequence[Sequence[float]]) -> LinkSums:
    """From numbers whose exact sums are meant, term by term.

    Args:
        link: public facts.
        own: the agent's entry.
        mine: its terms.
        parts: of every term numbers with the exact sum of all members.
    """
    load, price, _, shared, alone, asking, a, y = map(math.fsum, parts)
    theirs, prices, guesses = (math.fsum((*parts[k], -mine[k])) for k in range(3))
    if asking == 0.0:
        limit = FREE
    elif asking == 1.0:
        # Strictly inside the capacity, so the allocation jumps when a second agent joins: erratum 5. The
        # sums over those that demand are this one's.
        limit = min(FREE, link.capacity / (a * (y + 1.0)))
    else:
        limit = min(FREE, link.capacity / load) if load > 0.0 else FREE
    return LinkSums(own, load, theirs, prices, guesses, shared, alone, limit, price)
