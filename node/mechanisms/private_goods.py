"""Private goods: the contract of thesis section 3.3, K goods, on any strongly connected graph.

Messages, proxies, Z_i and S_i are those of ``node.mechanisms.proxies``. With them

    allocation  x_i = y_i - S_i/(N-1) + c/N                                                (4.15)
    price       p_i = (Z_i^i + S_i) / delta            no dependence on the own message    (4.16b)
    tax         t_i = p_i.(x_i - c/N) + the three sums of squares                          (4.16a)
    best response   q as the squares ask; y_i = S_i/(N-1) - c/N + (grad v_i)^{-1}(p_i)     (4.63), corrected

At the Nash equilibrium p_i = lambda* and x_i = x_i*, and the taxes sum to zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.contract import Outcome
from node.mechanisms.proxies import Proxies, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.numbers import Matrix, Vector
    from node.part import AgentId
    from node.routes import Routes
    from node.utilities import Utility

__all__ = ["PrivateGoods", "View", "equilibrium_demands"]


class PrivateGoods(Proxies):
    """One agent's side of the contract.

    Args:
        routes: distances and next hops.
        neighbours: the agents it listens to, ascending.
        utility: its private valuation of K goods.
        capacities: c, K numbers.
        xi: damping, in (0, 1), the same at every agent.
        delta: price scale, > 0, the same at every agent.
    Raises:
        ValueError: for fewer than three agents, a parameter out of range, or a utility of other goods.
    """

    def __init__(
        self,
        routes: Routes,
        neighbours: Sequence[AgentId],
        utility: Utility,
        capacities: Sequence[float],
        xi: float,
        delta: float,
    ) -> None:
        super().__init__(routes, neighbours, utility, xi, delta)
        if not np.isfinite(capacities).all():
            raise ValueError(f"capacities must be finite, got {list(capacities)}")
        if utility.goods != len(capacities):
            raise ValueError(
                f"agent {routes.me}: utility of {utility.goods} goods, {len(capacities)} capacities"
            )
        self._others = self.agents - 1
        self.slope = np.ones(utility.goods)  # of the allocation in the own demand
        self._share = np.asarray(capacities, dtype=np.float64) / self.agents

    def price(self, view: View) -> Vector:
        """p_i, shape (K,)."""
        return (view.own + view.demands) / self.delta

    def best_response(self, view: View) -> Matrix:
        """The unique message that maximises v_i(x_i) - t_i against the neighbours', shape (N+1, K)."""
        bought = self.utility.demand(self.price(view))
        return self.repeating(view.demands / self._others - self._share + bought, view)

    def outcome(self, message: Matrix, view: View) -> Outcome:
        """Allocation, price and tax when this agent says ``message`` against the neighbours' messages."""
        price = self.price(view)
        allocation = message[0] - view.demands / self._others + self._share
        tax = float(price @ (allocation - self._share)) + self.squares(message, view)
        return Outcome(allocation, price, tax)


def equilibrium_demands(
    allocation: Matrix, multiplier: Vector, capacities: Sequence[float], delta: float
) -> Matrix:
    """Everybody's demand at the Nash equilibrium, y_i = (N-1)/N (x_i* - c/N) + delta lambda*/N, (4.48)
    corrected.

    ``node.mechanisms.proxies.equilibrium_message`` makes messages of them. For tests and for judging a run.

    Args:
        allocation: the optimal x*, shape (N, K), agents ascending.
        multiplier: lambda*, shape (K,).
        capacities: c, K numbers.
        delta: price scale.
    Returns:
        Shape (N, K).
    """
    n = len(allocation)
    share = np.asarray(capacities, dtype=np.float64) / n
    return (n - 1) / n * (allocation - share) + delta * multiplier / n
