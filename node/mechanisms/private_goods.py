"""Private goods: the contract of thesis section 4.3, K goods, on any strongly connected graph.

An agent's message is one array of shape (N+1, K): row 0 is its demand y_i, row 1+r is q_i^r, its proxy of
agent r's demand (r in the order of ``Routes.agents``). Proxies travel one hop a round, damped by xi, so a
message reaches every agent without anybody sending to more than its neighbours. With Z_i^r the proxies as
i decodes them from its neighbours alone and S_i = sum over r != i of Z_i^r:

    Z_i^r = q_{n(i,r)}^r / xi^e(i,r)  (r != i),     Z_i^i = q_{n(i,i)}^i / xi^g_i         (4.16b), corrected
    allocation  x_i = y_i - S_i/(N-1) + c/N                                                (4.15)
    price       p_i = (Z_i^i + S_i) / delta            no dependence on the own message
    tax         t_i = p_i.(x_i - c/N) + |q_i^i - xi y_i|^2 + sum over neighbours r of |q_i^r - xi y_r|^2
                      + sum over the others of |q_i^r - xi q_{n(i,r)}^r|^2                 (4.16a), corrected
    best response   q as the squares ask; y_i = S_i/(N-1) - c/N + (grad v_i)^{-1}(p_i)     (4.63), corrected
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.contract import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.numbers import Matrix, Vector
    from node.part import AgentId
    from node.routes import Routes
    from node.utilities import Utility


@dataclass(frozen=True, slots=True)
class View:
    """What an agent reads out of its neighbours' messages.

    Attributes:
        demands: S_i, the decoded demands of all others summed, shape (K,).
        own: Z_i^i, the own demand as it comes back from the neighbours, shape (K,).
        targets: xi times what each q_i^r is to repeat, shape (N, K); the row of the agent itself is unused.
    """

    demands: Vector
    own: Vector
    targets: Matrix


class PrivateGoods:
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
        n = len(routes.agents)
        if n < 3:
            raise ValueError(f"the contract needs at least 3 agents, got {n}")
        if not 0 < xi < 1 or not 0 < delta < float("inf"):
            raise ValueError(f"expected 0 < xi < 1 and 0 < delta < inf, got xi = {xi}, delta = {delta}")
        if not np.isfinite(capacities).all():
            raise ValueError(f"capacities must be finite, got {list(capacities)}")
        if utility.goods != len(capacities):
            raise ValueError(
                f"agent {routes.me}: utility of {utility.goods} goods, {len(capacities)} capacities"
            )
        self.utility = utility
        self.xi, self.delta = xi, delta
        self.shape = (n + 1, utility.goods)
        self._others = n - 1
        self._share = np.asarray(capacities, dtype=np.float64) / n
        self._me = routes.agents.index(routes.me)

        # The neighbours' messages are read as one stacked array; these are the rows to take from it.
        start = {j: k * (n + 1) for k, j in enumerate(neighbours)}
        self._neighbours = tuple(neighbours)
        self._proxies = np.array([start[routes.hop[r]] + 1 + k for k, r in enumerate(routes.agents)])
        self._repeated = self._proxies.copy()
        for k, r in enumerate(routes.agents):
            if r in start:
                self._repeated[k] = start[r]  # a neighbour's demand itself rather than a proxy of it
        scale = np.insert(xi ** -routes.exponents(), self._me, 0.0)  # 0: the own demand is no part of S_i
        self._scale: Matrix = scale[:, None]
        self._echo = xi**-routes.echo

    def opening(self) -> Matrix:
        """The first message, the same for all: nothing is demanded. Shape (N+1, K)."""
        return np.zeros(self.shape)

    def accepts(self, body: Any, src: AgentId) -> bool:
        """Whether a neighbour's body is a message of this contract: a float64 array of shape (N+1, K)."""
        return type(body) is np.ndarray and body.shape == self.shape and body.dtype == np.float64

    def view(self, said: Mapping[AgentId, Matrix]) -> View:
        """Decode the messages of all neighbours; nothing of the own message enters."""
        stacked = np.concatenate([said[j] for j in self._neighbours])
        proxies = stacked[self._proxies]
        return View(
            demands=(proxies * self._scale).sum(axis=0),
            own=proxies[self._me] * self._echo,
            targets=self.xi * stacked[self._repeated],
        )

    def price(self, view: View) -> Vector:
        """p_i, shape (K,)."""
        return (view.own + view.demands) / self.delta

    def best_response(self, view: View) -> Matrix:
        """The unique message that maximises v_i(x_i) - t_i against the neighbours', shape (N+1, K)."""
        reply = np.empty(self.shape)
        reply[0] = view.demands / self._others - self._share + self.utility.demand(self.price(view))
        reply[1:] = view.targets
        reply[1 + self._me] = self.xi * reply[0]
        return reply

    def outcome(self, message: Matrix, view: View) -> Outcome:
        """Allocation, price and tax when this agent says ``message`` against the neighbours' messages."""
        price = self.price(view)
        allocation = message[0] - view.demands / self._others + self._share
        off = message[1:] - view.targets
        off[self._me] = message[1 + self._me] - self.xi * message[0]
        tax = float(price @ (allocation - self._share)) + float(np.square(off).sum())
        return Outcome(allocation, price, tax)

    def residual(self, reply: Matrix, message: Matrix, view: View) -> float:
        """max |reply - message|, in units of demand."""
        return self.size(reply - message)

    def size(self, message: Matrix) -> float:
        """max |message|."""
        return float(np.abs(message).max())
