"""A public good with P features: the contract of thesis section 4, on any strongly connected graph.

Everybody gets the same x, and each agent pays for it at a price of its own. Messages, proxies, Z_i and S_i
are those of ``node.mechanisms.proxies``. With them

    allocation  x_i = (y_i + S_i) / N                                                      (4.25)
    price       p_i = delta ((N-1) Z_i^i - S_i)        no dependence on the own message    (4.26b), corrected
    tax         t_i = p_i.x_i + the three sums of squares
                      + (delta/2) |xi Z_i^i - xi y_i|^2                                    (4.26a), corrected

The last term adds nothing at the equilibrium; it is what makes the best response a contraction. With q as the
squares ask, the condition for y_i is

    (grad v_i(x_i) - p_i) / N + delta xi^2 (Z_i^i - y_i) = 0,                               (4.74b)

which is that of a strictly concave maximisation over the allocation:

    x_i = argmax v_i(x) - (N^2 delta xi^2 / 2) |x|^2 - b.x,     b = p_i - N delta xi^2 (Z_i^i + S_i)
    y_i = N x_i - S_i

At the Nash equilibrium x_i = x* and p_i = mu_i* = grad v_i(x*), and the taxes sum to zero.
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

__all__ = ["PublicGoods", "View", "equilibrium_demands"]


class PublicGoods(Proxies):
    """One agent's side of the contract.

    Args:
        routes: distances and next hops.
        neighbours: the agents it listens to, ascending.
        utility: its private valuation of the P features.
        features: P.
        xi: damping, in (0, 1), the same at every agent.
        delta: price scale, > 0, the same at every agent.
    Raises:
        ValueError: for fewer than three agents, a parameter out of range, or a utility of other features.
    """

    def __init__(
        self,
        routes: Routes,
        neighbours: Sequence[AgentId],
        utility: Utility,
        features: int,
        xi: float,
        delta: float,
    ) -> None:
        super().__init__(routes, neighbours, utility, xi, delta)
        if utility.goods != features:
            raise ValueError(f"agent {routes.me}: utility of {utility.goods} features, expected {features}")
        self.slope = np.full(features, 1.0 / self.agents)  # of the allocation in the own demand
        # N delta xi^2: what a unit of demand that is not echoed costs, per unit of allocation.
        self._anchor = self.agents * delta * xi**2

    def price(self, view: View) -> Vector:
        """p_i, shape (P,), money per unit: this agent's own price of the common good."""
        return self.delta * ((self.agents - 1) * view.own - view.demands)

    def best_response(self, view: View) -> Matrix:
        """The unique message that maximises v_i(x_i) - t_i against the neighbours', shape (N+1, P)."""
        price = self.price(view) - self._anchor * (view.own + view.demands)
        wanted = self.utility.demand(price, self.agents * self._anchor)
        return self.repeating(self.agents * wanted - view.demands, view)

    def outcome(self, message: Matrix, view: View) -> Outcome:
        """Allocation, price and tax when this agent says ``message`` against the neighbours' messages."""
        price = self.price(view)
        allocation = (message[0] + view.demands) / self.agents
        unechoed = float(np.square(self.xi * (view.own - message[0])).sum())
        tax = float(price @ allocation) + self.squares(message, view) + self.delta / 2.0 * unechoed
        return Outcome(allocation, price, tax)


def equilibrium_demands(allocation: Vector, prices: Matrix, delta: float) -> Matrix:
    """Everybody's demand at the Nash equilibrium, y_i = x* + mu_i*/(delta N), (4.59).

    ``node.mechanisms.proxies.equilibrium_message`` makes messages of them. For tests and for judging a run.

    Args:
        allocation: the optimal x*, shape (P,).
        prices: mu_i* = grad v_i(x*), shape (N, P), agents ascending; they sum to zero.
        delta: price scale.
    Returns:
        Shape (N, P).
    """
    return allocation + prices / (delta * len(prices))
