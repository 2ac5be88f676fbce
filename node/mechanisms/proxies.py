"""Proxies of everybody's demand: what the contracts of thesis sections 3.3 (private goods) and 4 (public
goods) have in common, for any strongly connected graph.

An agent's message is one array of shape (N+1, K): row 0 is its demand y_i, row 1+r is q_i^r, its proxy of
agent r's demand (r in the order of ``Routes.agents``). Proxies travel one hop a round, damped by xi, so a
message reaches every agent without anybody sending to more than its neighbours. What agent i decodes, from
its neighbours' messages alone:

    Z_i^r = q_{n(i,r)}^r / xi^e(i,r)  (r != i),     Z_i^i = q_{n(i,i)}^i / xi^g_i,    S_i = sum of Z_i^r, r
    != i

with e(i,r) = max(1, d(i,r) - 1) and g_i = d(n(i,i), i): (4.16b), (4.26b) with the exponents corrected.
Both taxes hold proxies to what was heard by the same three sums of squares, corrected likewise,

    |q_i^i - xi y_i|^2 + sum over neighbours r of |q_i^r - xi y_r|^2
                       + sum over the others of |q_i^r - xi q_{n(i,r)}^r|^2,

which a best response makes zero. A contract adds allocation, price, and the demand of a best response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.contract import OWN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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


class Proxies:
    """The message space of one agent, and how it reads and repeats the others' demands.

    Args:
        routes: distances and next hops.
        neighbours: the agents it listens to, ascending.
        utility: its private valuation of K goods, or of a public good with K features.
        xi: damping, in (0, 1), the same at every agent.
        delta: price scale, > 0, the same at every agent.
    Raises:
        ValueError: for fewer than three agents or a parameter out of range.
    """

    def __init__(
        self,
        routes: Routes,
        neighbours: Sequence[AgentId],
        utility: Utility,
        xi: float,
        delta: float,
    ) -> None:
        n = len(routes.agents)
        if n < 3:
            raise ValueError(f"the contract needs at least 3 agents, got {n}")
        if not 0 < xi < 1 or not 0 < delta < float("inf"):
            raise ValueError(f"expected 0 < xi < 1 and 0 < delta < inf, got xi = {xi}, delta = {delta}")
        self.utility = utility
        self.agents, self.xi, self.delta = n, xi, delta
        self.shape = (n + 1, utility.goods)
        self._me = routes.agents.index(routes.me)
        # The rows of a message in which the agent repeats others, for them to hear.
        self.repeated = np.delete(np.arange(1, n + 1), self._me)

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

    def repeating(self, demand: Vector, view: View) -> Matrix:
        """The message with this demand whose proxies make the three sums of squares zero, shape (N+1, K)."""
        message = np.empty(self.shape)
        message[0] = demand
        message[1:] = view.targets
        message[1 + self._me] = self.xi * demand
        return message

    def squares(self, message: Matrix, view: View) -> float:
        """The three sums of squares of the tax, in money."""
        off = message[1:] - view.targets
        off[self._me] = message[1 + self._me] - self.xi * message[0]
        return float(np.square(off).sum())

    def residual(self, reply: Matrix, message: Matrix, view: View) -> float:
        """max |reply - message|, in units of demand."""
        return self.size(reply - message)

    def size(self, message: Matrix) -> float:
        """max |message|."""
        return float(np.abs(message).max())

    def spread(self, remembered: Callable[[AgentId], float]) -> float:
        """How far what is remembered of the own messages is from the newest."""
        return remembered(OWN)


def equilibrium_message(routes: Routes, demands: Matrix, xi: float) -> Matrix:
    """The Nash message of one agent once everybody's Nash demand is known; for tests and for judging a run.

    q_i^r = xi^d(i,r) y_r and q_i^i = xi y_i, (4.44) and (4.55).

    Args:
        routes: of that agent.
        demands: everybody's y, shape (N, K), in the order of ``Routes.agents``.
        xi: damping.
    Returns:
        Shape (N+1, K).
    """
    hops = np.array([max(1, routes.distance[r]) for r in routes.agents], dtype=np.float64)
    return np.vstack([demands[routes.agents.index(routes.me)], xi ** hops[:, None] * demands])
