"""What a mechanism is to achieve: which allocations are feasible, and how far one is from the best.

No optimum is computed here. v_i is concave and its curvature is bounded below, so the marginal values at an
allocation bound its distance from the optimum; see the methods.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.numbers import Vector
    from node.part import AgentId
    from node.utilities import Utility


class Problem(Protocol):
    """A planner's problem."""

    def infeasibility(self, allocation: Mapping[AgentId, Vector]) -> float:
        """How far an allocation is from feasible, relative to its size; 0 if it is feasible."""
        ...

    def inefficiency(
        self, allocation: Mapping[AgentId, Vector], utilities: Mapping[AgentId, Utility]
    ) -> float:
        """How far an allocation is from the best one at most, relative to its size.

        What is not feasible is for ``infeasibility`` to find: an allocation of too much is held against the
        best one of as much.
        """
        ...

    def outside(self, agent: AgentId, agents: int) -> Vector:
        """What an agent that takes no part has, out of so many agents, shape (K,)."""
        ...


class Shares:
    """max sum v_i(x_i) subject to sum x_i = c (thesis (4.4)). Who takes no part has c/N.

    Args:
        capacities: c, K numbers.
    """

    def __init__(self, capacities: Sequence[float]) -> None:
        self.capacities = np.asarray(capacities, dtype=np.float64)

    def infeasibility(self, allocation: Mapping[AgentId, Vector]) -> float:
        """The largest of |sum x - c| over goods."""
        rows = np.array([allocation[i] for i in sorted(allocation)])
        total = np.array([math.fsum(column) for column in rows.T.tolist()])
        return float(np.abs(total - self.capacities).max()) / _size(rows)

    def inefficiency(
        self, allocation: Mapping[AgentId, Vector], utilities: Mapping[AgentId, Utility]
    ) -> float:
        """A bound on |x - x*|, from how much marginal values g_i = grad v_i(x_i) differ.

        With h_i the least curvature of v_i and d = x - x*, sum h_i |d_i|^2 <= sum (lambda - g_i).d_i for any
        lambda, since the d_i sum to 0. So |d_i|^2 h_i <= sum |g_i - lambda|^2 / h_i (Cauchy and Schwarz).
        """
        agents = sorted(allocation)
        slopes = np.array([utilities[i].gradient(allocation[i]) for i in agents])
        least = np.array([utilities[i].curvature[0].min() for i in agents])
        middle = (slopes / least[:, None]).sum(axis=0) / (1 / least).sum()
        spread = math.sqrt(float((np.square(slopes - middle).sum(axis=1) / least).sum()))
        return spread / math.sqrt(float(least.min())) / _size(np.array([allocation[i] for i in agents]))

    def outside(self, agent: AgentId, agents: int) -> Vector:
        """An equal share, which nobody pays for."""
        return np.asarray(self.capacities / agents)


class Common:
    """max sum v_i(x), the same x in R^P for all (thesis (4.6)). Who takes no part has 0.

    Args:
        features: P.
    """

    def __init__(self, features: int) -> None:
        self.features = features

    def infeasibility(self, allocation: Mapping[AgentId, Vector]) -> float:
        """The largest difference between two agents."""
        rows = np.array([allocation[i] for i in sorted(allocation)])
        return float(np.ptp(rows, axis=0).max()) / _size(rows)

    def inefficiency(
        self, allocation: Mapping[AgentId, Vector], utilities: Mapping[AgentId, Utility]
    ) -> float:
        """A bound on |x - x*| at the mean x of all agents: |sum grad v_i(x)| over the sum of curvatures."""
        agents = sorted(allocation)
        rows = np.array([allocation[i] for i in agents])
        middle = rows.mean(axis=0)
        slopes = np.array([utilities[i].gradient(middle) for i in agents])
        total = np.array([math.fsum(column) for column in slopes.T.tolist()])
        least = math.fsum(float(utilities[i].curvature[0].min()) for i in agents)
        return float(np.linalg.norm(total)) / least / _size(rows)

    def outside(self, agent: AgentId, agents: int) -> Vector:
        """Nothing."""
        return np.zeros(self.features)


def _size(rows: Vector) -> float:
    return max(1.0, float(np.abs(rows).max()))
