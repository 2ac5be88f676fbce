"""What an agent has to know of everybody in a row of linear constraints: sums.

Section 7 of the spec of chapters 1-3. As ``sums`` for unicast: from a table of all quotes or from a
convergecast of partial sums that lose nothing, with the same bits. Within a group single quotes are needed;
its members flood a table of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.mechanisms.network.contract import Quote, Table
    from node.mechanisms.network.rows import Row
    from node.part import AgentId

# Terms of an agent: its part of A y with groups at their means; A y at its own demand; p, z, p z for what is
# given back, z the demand at the coefficient that pays; |A| s / |v''| and A^2 / |v''| for the step.
LOAD, RAW, PRICE, PAID, WORTH, SHARED, ALONE = range(7)
TERMS = 7
# With balance "everywhere" also p^2, z^2, p^2 z, p z^2 and (p z)^2.
PRICE2, PAID2, PRICE2_PAID, PRICE_PAID2, WORTH2 = range(7, 12)
MORE_TERMS = 12


def terms(row: Row, agent: AgentId, entry: Quote, more: bool) -> tuple[float, ...]:
    """An agent's part of the sums.

    Args:
        row: public facts.
        agent: one of its carriers. Without a coefficient only its demand counts, by its group's mean.
        entry: (y, p), and, where prices move, s and 1/|v''|.
        more: whether the last five terms are wanted.
    """
    y, p = entry[:2]
    load = row.weights[agent] * y
    a = row.coefficients.get(agent)
    if a is None:
        return (load, *(0.0,) * ((MORE_TERMS if more else TERMS) - 1))
    s, spread = entry[2:4] if len(entry) > 2 else (0.0, 0.0)
    z = row.paying[agent] * y
    found = (load, a * y, p, z, z * p, abs(a) * s * spread, a * a * spread)
    return (*found, p * p, z * z, p * p * z, p * z * z, (p * z) ** 2) if more else found


@dataclass(frozen=True, slots=True)
class RowSums:
    """A row as one of its agents sees it; ``mine`` and ``parts`` are indexed by the terms above.

    Attributes:
        own: the agent's own entry.
        mine: its terms.
        parts: of every term numbers with the exact sum over all carriers.
    """

    own: Quote
    mine: Sequence[float]
    parts: Sequence[Sequence[float]]

    def total(self, term: int) -> float:
        """The sum over all, correctly rounded."""
        return math.fsum(self.parts[term])

    def others(self, term: int) -> float:
        """The sum over all but the agent, correctly rounded: not a difference of sums, which loses digits."""
        return math.fsum((*self.parts[term], -self.mine[term]))


def of_table(row: Row, me: AgentId, table: Table, more: bool) -> RowSums:
    """From everybody's entries."""
    columns = list(zip(*(terms(row, j, table[j], more) for j in row.carriers), strict=True))
    return RowSums(table[me], terms(row, me, table[me], more), columns)
