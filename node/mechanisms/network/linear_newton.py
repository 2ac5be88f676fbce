"""Newton's prices of linear constraints: those of rows, and of the pairs of neighbours in a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.mechanisms.network import linear_taker
from node.mechanisms.network.linear import DOWN_LAST, DOWN_NEXT, UP_LAST, UP_NEXT, Linear, neighbours
from node.mechanisms.network.newton_taker import NewtonTaker, Priced

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, Quotes, Tables
    from node.mechanisms.network.prices import Dynamics
    from node.part import AgentId


def pair(group: str, position: int) -> str:
    """The name of the constraint that two neighbours of a group demand the same; no id has a bar in it."""
    return f"{group}|{position}"


class LinearNewton(NewtonTaker):
    """An agent under linear constraints, with or without a group.

    The price of a pair, of x_m <= x_{m+1} less that of the reverse, is one that may be negative.

    Args: as ``NewtonTaker``; routes: own row or group -> member -> that member's rows and its coefficients
        there. The pairs that it is in follow from the groups.
    """

    contract: Linear

    def __init__(
        self,
        contract: Linear,
        dynamics: Dynamics,
        routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]],
    ) -> None:
        priced = {
            name: Priced(name, row.coefficients, row.capacity, 2.0 * row.base)
            for name, row in contract.rows.items()
        }
        groups = {group.name: group for row in contract.rows.values() for group in row.groups}
        if contract.group is not None:
            groups[contract.group.name] = contract.group
        ties: dict[AgentId, dict[str, float]] = {}
        for group in groups.values():
            for k, (one, two) in enumerate(zip(group.members, group.members[1:], strict=False)):
                name = pair(group.name, k)
                ties.setdefault(one, {})[name], ties.setdefault(two, {})[name] = 1.0, -1.0
                if group == contract.group:
                    priced[name] = Priced(group.name, {one: 1.0, two: -1.0}, 0.0, 0.0, True)
        whole = {
            name: {j: {**own, **ties.get(j, {})} for j, own in members.items()}
            for name, members in routes.items()
        }
        super().__init__(contract, dynamics, {name: priced[name] for name in sorted(priced)}, whole)

    def _quotes(self, guess: float) -> Quotes:
        c = self.contract
        quotes: dict[str, Quote] = {}
        for name, row in c.rows.items():
            quotes[name] = (self.demand, self._prices[name] if c.me in row.coefficients else 0.0)
        if c.group is not None:
            prices, k = (
                dict.fromkeys((UP_NEXT, DOWN_NEXT, UP_LAST, DOWN_LAST), 0.0),
                c.group.members.index(c.me),
            )
            last, after = neighbours(c.group, c.me)
            if after is not None:
                q = self._prices[pair(c.group.name, k)]
                prices[UP_NEXT], prices[DOWN_NEXT] = max(q, 0.0), max(-q, 0.0)
            if last is not None:
                q = self._prices[pair(c.group.name, k - 1)]
                prices[UP_LAST], prices[DOWN_LAST] = max(q, 0.0), max(-q, 0.0)
            quotes[c.group.name] = (self.demand, *prices.values())
        return {name: quotes[name] for name in c.channels}

    def idle_value(self, tables: Tables, factor: float) -> float:
        """z (c - A x) of the rows that this agent leads."""
        return linear_taker.left_idle(self.contract, self._prices, tables, factor)
