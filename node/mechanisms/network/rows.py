"""Rows of a general linear problem, and groups whose members must all get the same (thesis chapter 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Group:
    """A (local) public good: x_i is the same for all members.

    Attributes:
        name: the group's.
        members: at least two ids, ascending; consecutive ones are tied by a pair of rows.
    """

    name: str
    members: tuple[AgentId, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(sorted(self.members)))
        if len(set(self.members)) != len(self.members) or len(self.members) < 2:
            raise ValueError(
                f"group {self.name}: members {list(self.members)}; expected at least 2 different agents"
            )

    def level(self, demands: Mapping[AgentId, float]) -> float:
        """The mean demand of the members, correctly rounded sum."""
        return math.fsum(demands[j] for j in self.members) / len(self.members)


@dataclass(frozen=True, slots=True)
class Row:
    """sum over agents j of A_j x_j <= c, in which the members of a group count by their common amount.

    Attributes:
        name: the row's.
        capacity: c > 0.
        coefficients: agent -> A_j, not 0; negative only within a group whose sum is not negative.
        groups: those that have a member in the row; a group's reduced coefficient is the sum of its members'.
        floors: agent -> d_j > 0, below every optimal amount and, all together, below the capacity; for
            everybody in ``carriers``, equal within a group.
        carriers: all agents whose demand the row needs, ascending: those with a coefficient, and the other
            members of their groups.
        reduced: (coefficient, agents that share the amount), by smallest agent.
        paying: agent -> the coefficient with which it counts in redistributions (spec, section 3).
        weights: agent -> what a unit of its demand adds to the load: the reduced coefficient of its group, in
            equal parts; for everybody in ``carriers``.
        base: the load of theta = d/2.
    """

    name: str
    capacity: float
    coefficients: Mapping[AgentId, float]
    floors: Mapping[AgentId, float]
    groups: tuple[Group, ...] = ()
    carriers: tuple[AgentId, ...] = field(init=False)
    reduced: tuple[tuple[float, tuple[AgentId, ...]], ...] = field(init=False)
    paying: Mapping[AgentId, float] = field(init=False)
    weights: Mapping[AgentId, float] = field(init=False)
    base: float = field(init=False)

    def __post_init__(self) -> None:
        coefficients = {j: float(self.coefficients[j]) for j in sorted(self.coefficients)}
        if not 0.0 < self.capacity < math.inf:
            raise ValueError(f"row {self.name}: capacity {self.capacity}; expected a finite number > 0")
        for j, a in coefficients.items():
            if a == 0.0 or not math.isfinite(a):
                raise ValueError(f"row {self.name}, agent {j}: coefficient {a}; expected a finite one, not 0")
        if len(coefficients) < 2:
            raise ValueError(
                f"row {self.name}: concerns {', '.join(coefficients) or 'nobody'} alone; expected 2 agents"
            )
        grouped = {j: group for group in self.groups for j in group.members}
        carriers = tuple(sorted({*coefficients, *grouped}))
        reduced, paying, weights = [], {}, {}
        for j in carriers:
            members = grouped[j].members if j in grouped else (j,)
            if j != members[0]:
                continue
            a = math.fsum(coefficients.get(i, 0.0) for i in members)
            if a < 0.0:
                whose = f"group {grouped[j].name}" if j in grouped else f"agent {j}"
                raise ValueError(
                    f"row {self.name}, {whose}: reduced coefficient {a}; expected >= 0, so that the radial "
                    "allocation can end at this row"
                )
            reduced.append((a, members))
            weights.update(dict.fromkeys(members, a / len(members)))
            on = [i for i in members if i in coefficients]
            paying.update({i: a / len(on) for i in on})
        if sum(a > 0.0 for a, _ in reduced) < 2:
            raise ValueError(
                f"row {self.name}: only one amount counts in it; expected 2 groups or single agents or more, "
                "or equilibria appear that are no optimum"
            )
        for j in carriers:
            if not 0.0 < self.floors.get(j, 0.0) < math.inf:
                raise ValueError(f"row {self.name}, agent {j}: floor {self.floors.get(j)}; expected > 0")
        for name, value in (("coefficients", coefficients), ("carriers", carriers)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "reduced", tuple(reduced))
        object.__setattr__(self, "paying", {i: paying[i] for i in sorted(paying)})
        object.__setattr__(self, "weights", {i: weights[i] for i in carriers})
        object.__setattr__(self, "base", 0.5 * self.load(self.floors))
        if not 2.0 * self.base < self.capacity:
            raise ValueError(
                f"row {self.name}: the floors alone take {2.0 * self.base}; expected less than the capacity "
                f"{self.capacity}"
            )

    def load(self, amounts: Mapping[AgentId, float]) -> float:
        """A_l applied to the amounts, each group at its mean; correctly rounded."""
        return math.fsum(weight * amounts[j] for j, weight in self.weights.items())

    def raw(self, amounts: Mapping[AgentId, float]) -> float:
        """sum of A_j amount_j, each agent at its own amount: the excess that prices answer to."""
        return math.fsum(a * amounts[j] for j, a in self.coefficients.items())
