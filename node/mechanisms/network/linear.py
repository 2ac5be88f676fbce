"""Any linear constraints, with local and global public goods (thesis chapter 3; spec, section 3).

max sum v_i(x_i) subject to x >= 0 and A_l x <= c_l; the members of a group get the same amount. v need not be
monotone. Agent i quotes (y_i, p_i) on every row, y_i > d_i, and four prices in its group: the pair of rows
x_m <= x_{m+1} and x_m >= x_{m+1} towards its successor and its predecessor.

    allocation  x = theta + alpha (y - theta) with alpha = min(1, min over rows with A_l (y - theta) > 0 of
                (c_l - A_l theta) / A_l (y - theta)), theta = d/2, in a group with its mean y: demands that
                are feasible together are met as they are
    tax         sum over rows with A_li != 0 of A_li x_i pbar + (p_i - pbar)^2 + eta pbar p_i (c_l - A_l x)^2;
                rows that tie a group have slack 0
    balance     "weak": as it is; "equilibrium": minus ``balance.at_equilibrium`` on every row; "everywhere":
                minus ``balance.everywhere``, which needs five agents a row, A >= 0, and no groups

At the equilibrium p = lambda* and y = x*. Balance holds where y is feasible: agents must quote feasible
demands at rest; at an equilibrium outside, on the ray from theta, there is a deficit (spec, section 3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network import balance, row_sums
from node.mechanisms.network.contract import Quote, Quotes, SeenRows, Share, Table, Tables
from node.mechanisms.network.links import GUARD
from node.mechanisms.network.row_sums import RowSums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.mechanisms.network.rows import Group, Row
    from node.mechanisms.network.valuations import Valuation
    from node.part import AgentId

# Fields of a quote on a row, and of one in a group: prices of the rows towards the successor (mine <= its,
# mine >= its) and the predecessor (its <= mine, its >= mine).
Y, P = 0, 1
UP_NEXT, DOWN_NEXT, UP_LAST, DOWN_LAST = 1, 2, 3, 4
ROOM = 1.0 - 1e-13
# What ``balance.everywhere`` asks for.
POWER_SUMS = (
    row_sums.PRICE,
    row_sums.PRICE2,
    row_sums.PAID,
    row_sums.PAID2,
    row_sums.WORTH,
    row_sums.PRICE2_PAID,
    row_sums.PRICE_PAID2,
    row_sums.WORTH2,
)
BELOW_ONE = math.nextafter(1.0, 0.0)


def scaled(row: Row, load: float) -> float:
    """The alpha that a row allows at a load A_l y; 1 if it holds as it is.

    Demands that are scaled leave room for rounding, ``GUARD``. Those that are met as they are need some, too:
    a load nearer to the capacity than a tenth of that counts as one beyond it.
    """
    if load <= row.capacity * ROOM:
        return 1.0
    return min(BELOW_ONE, (row.capacity - row.base) / (load - row.base))


class Linear:
    """One agent's side of the contract.

    Args:
        me: the agent.
        valuation: its private v.
        rows: those that its demand counts in.
        group: its group, if any.
        floor: d > 0, below its optimal amount.
        ceiling: the largest demand; needed if no row limits it.
        balance: "weak", "equilibrium" or "everywhere".
        eta: > 0; equilibria exist for every one. With "everywhere" individual rationality needs it small.
    Raises:
        ValueError: naming the agent and the row, for what section 0 rejects.
    """

    def __init__(
        self,
        me: AgentId,
        valuation: Valuation,
        rows: Sequence[Row],
        group: Group | None = None,
        *,
        floor: float,
        ceiling: float | None = None,
        balance: str = "equilibrium",
        eta: float = 0.05,
    ) -> None:
        if not rows and group is None:
            raise ValueError(f"agent {me}: in no row and no group; expected at least one")
        if balance not in ("weak", "equilibrium", "everywhere"):
            raise ValueError(f"unknown balance {balance!r}; expected 'weak', 'equilibrium' or 'everywhere'")
        if not 0.0 < eta < math.inf:
            raise ValueError(f"expected eta > 0 and finite, got {eta}")
        for row in rows:
            if me not in row.carriers:
                raise ValueError(f"agent {me}: not in row {row.name}")
            if balance != "everywhere":
                continue
            if len(row.coefficients) < 5:
                raise ValueError(
                    f"row {row.name}: concerns {len(row.coefficients)} agents; balance off the equilibrium "
                    "needs at least 5"
                )
            if row.groups or min(row.coefficients.values()) < 0.0:
                raise ValueError(
                    f"row {row.name}: balance off the equilibrium is established for coefficients >= 0 and "
                    "without groups only"
                )
        if balance == "everywhere" and group is not None:
            raise ValueError(f"agent {me}: balance off the equilibrium is not established with groups")
        limits = [row.capacity / a for row in rows for a, on in row.reduced if me in on and a > 0.0]
        if ceiling is not None:
            limits.append(ceiling)
        if not limits:
            raise ValueError(f"agent {me}: no row limits its amount; expected a ceiling")
        self.me, self.valuation, self.group = me, valuation, group
        self.rows = {row.name: row for row in sorted(rows, key=lambda row: row.name)}
        self.channels = tuple(sorted([*self.rows, *([group.name] if group is not None else [])]))
        self.lowest, self.highest = floor, min(limits)
        if not 0.0 < self.lowest < self.highest:
            raise ValueError(f"agent {me}: floor {floor}; expected between 0 and {self.highest}")
        self.balance, self.eta = balance, eta

    def read(self, tables: Tables) -> SeenRows:
        """What the agent needs of its tables: sums of rows, and the group's table; the methods below take
        either."""
        return {
            name: self.sums(name, tables) if name in self.rows else table for name, table in tables.items()
        }

    def limits(self, tables: SeenRows) -> dict[str, float]:
        """alpha of every own row."""
        return {
            name: scaled(row, self.sums(name, tables).total(row_sums.LOAD)) for name, row in self.rows.items()
        }

    def factor(self, least: float) -> float:
        """alpha: 1, or a hair below the exact one so that rounding cannot exceed a capacity."""
        return least * GUARD if least < 1.0 else 1.0

    def exact(self, least: float) -> float:
        """alpha itself."""
        return min(1.0, least)

    def allocation(self, tables: SeenRows, factor: float) -> float:
        """x = theta + alpha (y - theta), y the mean of the group."""
        if self.group is not None:
            y = self.group.level({j: quote[Y] for j, quote in self.peers(tables).items()})
        else:
            y = self.sums(self.channels[0], tables).own[Y]
        theta = 0.5 * self.lowest
        return theta + factor * (y - theta) if factor < 1.0 else y

    def share(self, tables: SeenRows, factor: float) -> Share:
        """Allocation and tax."""
        x = self.allocation(tables, factor)
        terms: list[float] = []
        for name, row in self.rows.items():
            coefficient = row.coefficients.get(self.me)
            if coefficient is None:
                continue  # its demand counts by its group, but it neither pays nor quotes
            sums = self.sums(name, tables)
            own, mean = sums.own[P], sums.others(row_sums.PRICE) / (len(row.coefficients) - 1)
            slack = self.slack(row, sums, factor)
            terms += (coefficient * x * mean, (own - mean) ** 2, self.eta * mean * own * slack**2)
            if self.balance != "weak":
                terms.append(-self.back(name, sums))
        if self.group is not None:
            terms += _ties(self.group, self.peers(tables), self.me, x)
        return Share(x, math.fsum(terms))

    def reply(self, y: float, tables: Tables, factor: float) -> Quotes:
        """Best prices at demand y: pbar (1 - eta slack^2 / 2) on rows, the partner's price in the group."""
        quotes: dict[str, tuple[float, ...]] = {}
        for name, row in self.rows.items():
            changed = {**tables[name], self.me: (y, *tables[name][self.me][1:])}
            if self.me not in row.coefficients:
                quotes[name] = (y, 0.0)
                continue
            sums = self.sums(name, {name: changed})
            mean = sums.others(row_sums.PRICE) / (len(row.coefficients) - 1)
            slack = self.slack(row, sums, factor)
            quotes[name] = (y, max(0.0, mean * (1.0 - 0.5 * self.eta * slack**2)))
        if self.group is not None:
            table = tables[self.group.name]
            last, after = neighbours(self.group, self.me)
            towards = (table[after][UP_LAST], table[after][DOWN_LAST]) if after is not None else (0.0, 0.0)
            back = (table[last][UP_NEXT], table[last][DOWN_NEXT]) if last is not None else (0.0, 0.0)
            quotes[self.group.name] = (y, *towards, *back)
        return quotes

    def unsettled(self, tables: SeenRows, factor: float) -> float:
        """The slack terms eta p^2 (c - A x)^2, which "equilibrium" gives back to nobody. They vanish with the
        square of the distance to the equilibrium."""
        if self.balance != "equilibrium":
            return 0.0
        x, left, paid = self.allocation(tables, factor), list[float](), list[float]()
        for name, row in self.rows.items():
            if self.me in row.coefficients:
                sums = self.sums(name, tables)
                mean = sums.others(row_sums.PRICE) / (len(row.coefficients) - 1)
                left.append(self.eta * (mean * self.slack(row, sums, factor)) ** 2)
                paid.append(abs(row.coefficients[self.me]) * x * mean)
        return math.fsum(left) / math.fsum(paid) if any(left) else 0.0

    def settled(self, quotes: Quotes, allocation: float, factor: float) -> Quotes:
        """The same prices; the demand is what is allocated, which is feasible and so allocated as it is.

        Payments and redistributions balance at feasible demands only. What the agent demands here changes its
        own tax in nothing, as the redistribution to it is of others' demands. It may lie below the floor, if
        the optimum does; nothing depends on that any more.
        """
        widths = dict.fromkeys(self.rows, 2)
        if self.group is not None:
            widths[self.group.name] = 5
        return {name: (allocation, *quote[1 : widths[name]]) for name, quote in quotes.items()}

    def closing(self, factor: float) -> float:
        """1: demands are feasible."""
        return 1.0

    def slack(self, row: Row, sums: RowSums, factor: float) -> float:
        """c - A x of one of the rows."""
        load = sums.total(row_sums.LOAD)
        if factor < 1.0:
            load = row.base + factor * (load - row.base)
        return row.capacity - load

    def back(self, name: str, seen: Table | RowSums) -> float:
        """f of a row: what the agent gets back of the others' payments there, whatever it says itself."""
        row, sums = self.rows[name], self.sums(name, {name: seen})
        if self.balance == "everywhere":
            power = [sums.others(k) for k in POWER_SUMS]
            return balance.everywhere(len(row.coefficients), power, row.capacity, self.eta)
        prices, loads, worth = (sums.others(k) for k in (row_sums.PRICE, row_sums.PAID, row_sums.WORTH))
        return balance.at_equilibrium(len(row.coefficients) - 1, prices, loads, worth)

    @property
    def summed(self) -> tuple[str, ...]:
        """The rows; the members of a group need single quotes of one another."""
        return tuple(self.rows)

    @property
    def terms(self) -> int:
        """How many numbers of an agent are added up in a row; the same at every agent."""
        return row_sums.MORE_TERMS if self.balance == "everywhere" else row_sums.TERMS

    def parts(self, name: str, quote: Quote) -> tuple[float, ...]:
        """The agent's own part of the sums of a row."""
        return row_sums.terms(self.rows[name], self.me, quote, self.balance == "everywhere")

    def of_parts(self, name: str, quote: Quote, whole: Sequence[Sequence[float]]) -> RowSums:
        """A row from numbers whose exact sums are meant, term by term."""
        return RowSums(quote, self.parts(name, quote), whole)

    def sums(self, name: str, tables: SeenRows) -> RowSums:
        """What the agent needs of one row."""
        seen = tables[name]
        if isinstance(seen, RowSums):
            return seen
        return row_sums.of_table(self.rows[name], self.me, seen, self.balance == "everywhere")

    def peers(self, tables: SeenRows) -> Table:
        """The table of the own group."""
        assert self.group is not None
        table = tables[self.group.name]
        assert not isinstance(table, RowSums)
        return table


def neighbours(group: Group, me: AgentId) -> tuple[AgentId | None, AgentId | None]:
    """(the member before, the member after); None at the ends."""
    k = group.members.index(me)
    return (
        group.members[k - 1] if k else None,
        group.members[k + 1] if k + 1 < len(group.members) else None,
    )


def _ties(group: Group, table: Table, me: AgentId, x: float) -> list[float]:
    """The tax terms of the rows between a member and its neighbours: A x p_partner + (p - p_partner)^2."""
    own, terms = table[me], list[float]()
    last, after = neighbours(group, me)
    if after is not None:
        theirs = table[after]
        terms += (x * theirs[UP_LAST], -x * theirs[DOWN_LAST])
        terms += ((own[UP_NEXT] - theirs[UP_LAST]) ** 2, (own[DOWN_NEXT] - theirs[DOWN_LAST]) ** 2)
    if last is not None:
        theirs = table[last]
        terms += (-x * theirs[UP_NEXT], x * theirs[DOWN_NEXT])
        terms += ((own[UP_LAST] - theirs[UP_NEXT]) ** 2, (own[DOWN_LAST] - theirs[DOWN_NEXT]) ** 2)
    return terms
