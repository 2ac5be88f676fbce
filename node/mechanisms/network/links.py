"""Links: the public facts of one capacity, as all agents on it know them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.part import AgentId

# Rounding can carry r Y an ulp or two over the capacity; so much is left free (spec, section 7, (iv)).
GUARD = 1.0 - 1e-12


@dataclass(frozen=True, slots=True)
class Link:
    """sum over members j of a_j x_j <= c (unicast); with groups, sum over groups of max a_j x_j <= c.

    Attributes:
        name: the link's.
        capacity: c > 0.
        coefficients: member -> a_j > 0; ids ascending, so that sums have one order.
        groups: member -> its multicast group; None for unicast.
        members: the ids, ascending.
    """

    name: str
    capacity: float
    coefficients: Mapping[AgentId, float]
    groups: Mapping[AgentId, str] | None = None
    members: tuple[AgentId, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(sorted(self.coefficients)))
        object.__setattr__(self, "coefficients", {j: float(self.coefficients[j]) for j in self.members})
        if not 0.0 < self.capacity < math.inf:
            raise ValueError(f"link {self.name}: capacity {self.capacity}; expected a finite number > 0")
        for j, a in self.coefficients.items():
            if not 0.0 < a < math.inf:
                raise ValueError(
                    f"link {self.name}, agent {j}: coefficient {a}; expected a finite number > 0"
                )
        if len(self.members) < 2:
            raise ValueError(
                f"link {self.name}: used by {', '.join(self.members) or 'nobody'} alone; expected at least "
                "2 agents, for nobody may set the price that it pays"
            )
        if self.groups is None:
            return
        if set(self.groups) != set(self.members):
            raise ValueError(f"link {self.name}: groups for {sorted(self.groups)}, members {self.members}")
        if len(set(self.groups.values())) < 2:
            raise ValueError(
                f"link {self.name}: used by group {next(iter(self.groups.values()))} alone; "
                "expected at least 2 groups"
            )

    def load(self, amounts: Mapping[AgentId, float]) -> float:
        """sum of a_j amount_j, correctly rounded: the same bits whoever adds it up."""
        return math.fsum(a * amounts[j] for j, a in self.coefficients.items())

    def of_group(self) -> dict[str, tuple[AgentId, ...]]:
        """Group -> its members on this link in ring order (ids ascending); groups ascending.

        Raises:
            ValueError: for a unicast link.
        """
        if self.groups is None:
            raise ValueError(f"link {self.name} has no groups")
        found: dict[str, list[AgentId]] = {k: [] for k in sorted(set(self.groups.values()))}
        for j in self.members:
            found[self.groups[j]].append(j)
        return {k: tuple(members) for k, members in found.items()}


def without(numbers: Mapping[AgentId, float], me: AgentId) -> float:
    """The sum over all others, correctly rounded; not a difference of sums, which would lose digits."""
    return math.fsum(number for j, number in numbers.items() if j != me)
