"""The economic environment of a run and its centralised optimum: the yardstick, never used by agents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.utilities import Quadratic, Utility

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.numbers import Vector
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Optimum:
    """What a planner who knows every utility would choose.

    Attributes:
        allocation: agent -> x_i*, shape (K,).
        multiplier: lambda*, shape (K,): the price of each good at which all demand meets the capacity.
        welfare: sum of v_i(x_i*), in money.
    """

    allocation: Mapping[AgentId, Vector]
    multiplier: Vector
    welfare: float


class PrivateGoods:
    """K divisible private goods: max sum v_i(x_i) subject to sum x_i = c (thesis 4.2, problem (4.2)).

    Neither x nor the multiplier is sign-constrained.

    Args:
        capacities: c, shape (K,), finite.
        utilities: agent -> its valuation of K goods.
    Raises:
        ValueError: for a capacity that is not finite or a utility of other goods.
    """

    def __init__(self, capacities: Sequence[float], utilities: Mapping[AgentId, Utility]) -> None:
        self.capacities = np.asarray(capacities, dtype=np.float64)
        if not np.isfinite(self.capacities).all():
            raise ValueError(f"capacities must be finite, got {list(capacities)}")
        for agent, utility in utilities.items():
            if utility.goods != self.capacities.size:
                raise ValueError(
                    f"{agent}: a utility of {utility.goods} goods, expected {self.capacities.size}"
                )
        self.utilities = {agent: utilities[agent] for agent in sorted(utilities)}

    def optimum(self) -> Optimum:
        """Solve grad v_i(x_i) = lambda for all i, sum x_i = c, in closed form.

        Raises:
            TypeError: for a family whose demand is not affine in the price.
        """
        weights, intercepts = [], []  # demand is x_i = a_i (sigma_i - lambda) with a_i = -1/v_i''
        for agent, utility in self.utilities.items():
            if not isinstance(utility, Quadratic):
                raise TypeError(f"{agent}: no closed form for {type(utility).__name__}")
            weights.append(-0.5 / utility.theta)
            intercepts.append(weights[-1] * utility.sigma)
        multiplier = (_exact_sum(intercepts) - self.capacities) / _exact_sum(weights)
        allocation = {agent: utility.demand(multiplier) for agent, utility in self.utilities.items()}
        return Optimum(allocation, multiplier, self.welfare(allocation))

    def welfare(self, allocation: Mapping[AgentId, Vector]) -> float:
        """Sum of v_i(x_i), exactly rounded over agents."""
        return math.fsum(u.value(allocation[agent]) for agent, u in self.utilities.items())


def _exact_sum(rows: Sequence[Vector]) -> Vector:
    """Column sums, each correctly rounded whatever the order of the agents."""
    return np.array([math.fsum(column) for column in np.asarray(rows).T.tolist()])
