"""Spec 04 sections 1 and 2, formula by formula: plain loops over agents, any number type.

With ``fractions.Fraction`` the utility u_i(m) is exact, so that its differences are exact derivatives (u_i is
a polynomial of degree two in the own message when v_i is).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from tests.node.instances import Quadratics

if TYPE_CHECKING:
    from tests.node.instances import Forms

Profile = dict[str, "Message"]


@dataclass
class Message:
    """y_i in R^K and q_i: agent -> R^K."""

    y: list[Any]
    q: dict[str, list[Any]]

    @classmethod
    def read(cls, array: np.ndarray, agents: tuple[str, ...], number: type = float) -> Message:
        """From the layout of the code: row 0 is y, row 1 + r is q^r."""
        return cls(
            [number(float(v)) for v in array[0]],
            {r: [number(float(v)) for v in array[1 + k]] for k, r in enumerate(agents)},
        )

    def array(self, agents: tuple[str, ...]) -> np.ndarray:
        return np.array([self.y, *(self.q[r] for r in agents)], dtype=np.float64)


class Proxied:
    """What both contracts share, at the whole network, from the graph and the utilities.

    ``printed``: with the exponents as the thesis prints them, that is 1 instead of g_i (erratum E1).
    """

    def __init__(
        self,
        graph: nx.DiGraph,
        utilities: Quadratics | Forms,
        xi: float,
        delta: float,
        number: type = float,
        printed: bool = False,
    ) -> None:
        self.agents = tuple(sorted(graph))
        self.neighbours = {i: set(graph.successors(i)) for i in self.agents}
        self.d = dict(nx.all_pairs_shortest_path_length(graph))
        self.xi, self.delta = number(xi), number(delta)
        self.number = number
        hessian = (
            [np.diag(2 * own) for own in utilities.theta]
            if isinstance(utilities, Quadratics)
            else utilities.hessian
        )
        self.hessian = {
            i: [[number(float(v)) for v in row] for row in hessian[k]] for k, i in enumerate(self.agents)
        }
        self.sigma = {i: [number(float(v)) for v in utilities.sigma[k]] for k, i in enumerate(self.agents)}
        self.goods = range(utilities.sigma.shape[1])
        self.n = {
            i: {
                r: min(j for j in self.neighbours[i] if self.d[j][r] == self.d[i][r] - 1)
                for r in self.agents
                if r != i
            }
            for i in self.agents
        }
        for i in self.agents:
            self.n[i][i] = min(self.neighbours[i], key=lambda j, i=i: (self.d[j][i], j))
        self.g = {i: 1 if printed else self.d[self.n[i][i]][i] for i in self.agents}

    def decoded(self, i: str, r: str, m: Profile) -> list[Any]:
        exponent = self.g[i] if r == i else max(1, self.d[i][r] - 1)
        return [v / self.xi**exponent for v in m[self.n[i][r]].q[r]]

    def others(self, i: str, m: Profile) -> list[Any]:
        total = [self.number(0)] * len(self.goods)
        for r in self.agents:
            if r != i:
                z = self.decoded(i, r, m)
                total = [total[k] + z[k] for k in self.goods]
        return total

    def squares(self, i: str, m: Profile) -> Any:
        total = self.square(m[i].q[i], m[i].y)
        for r in self.agents:
            if r in self.neighbours[i]:
                total += self.square(m[i].q[r], m[r].y)
            elif r != i:
                total += self.square(m[i].q[r], m[self.n[i][r]].q[r])
        return total

    def square(self, q: list[Any], target: list[Any]) -> Any:
        return sum(((q[k] - self.xi * target[k]) ** 2 for k in self.goods), self.number(0))

    def value(self, i: str, x: list[Any]) -> Any:
        curved = sum(
            (self.hessian[i][k][j] * x[k] * x[j] for k in self.goods for j in self.goods), self.number(0)
        )
        return curved / 2 + sum((self.sigma[i][k] * x[k] for k in self.goods), self.number(0))

    def allocation(self, i: str, m: Profile) -> list[Any]:
        raise NotImplementedError

    def tax(self, i: str, m: Profile) -> Any:
        raise NotImplementedError

    def utility(self, i: str, m: Profile) -> Any:
        return self.value(i, self.allocation(i, m)) - self.tax(i, m)

    def utility_of(self, i: str, own: np.ndarray, m: Profile) -> Any:
        """u_i when i says ``own`` (in the code's layout) and the others say what is in m."""
        return self.utility(i, {**m, i: Message.read(own, self.agents, self.number)})

    def read(self, messages: dict[str, np.ndarray]) -> Profile:
        return {i: Message.read(messages[i], self.agents, self.number) for i in self.agents}

    def spread(self, y: np.ndarray) -> dict[str, np.ndarray]:
        """The messages with these demands whose proxies are faithful; in the code's layout."""
        xi = float(self.xi)
        result = {}
        for k, i in enumerate(self.agents):
            power = [xi ** (1 if r == i else self.d[i][r]) for r in self.agents]
            result[i] = np.vstack([y[k], np.array(power)[:, None] * y])
        return result


class Literal(Proxied):
    """Private goods."""

    def __init__(
        self,
        graph: nx.DiGraph,
        utilities: Quadratics | Forms,
        capacities: list[float],
        xi: float,
        delta: float,
        number: type = float,
        printed: bool = False,
    ) -> None:
        super().__init__(graph, utilities, xi, delta, number, printed)
        self.c = [number(float(v)) for v in capacities]

    def allocation(self, i: str, m: Profile) -> list[Any]:
        count, s = len(self.agents), self.others(i, m)
        return [m[i].y[k] - s[k] / (count - 1) + self.c[k] / count for k in self.goods]

    def price(self, i: str, m: Profile) -> list[Any]:
        s, z = self.others(i, m), self.decoded(i, i, m)
        return [(z[k] + s[k]) / self.delta for k in self.goods]

    def tax(self, i: str, m: Profile) -> Any:
        x, p, count = self.allocation(i, m), self.price(i, m), len(self.agents)
        bought = sum((p[k] * (x[k] - self.c[k] / count) for k in self.goods), self.number(0))
        return bought + self.squares(i, m)

    def nash(self, x: np.ndarray, multiplier: np.ndarray) -> dict[str, np.ndarray]:
        """The equilibrium of the spec in closed form [E4], from x* and lambda*; in the code's layout."""
        count, c = len(self.agents), np.array([float(v) for v in self.c])
        return self.spread((count - 1) / count * (x - c / count) + float(self.delta) * multiplier / count)


class LiteralPublic(Proxied):
    """Public goods."""

    def allocation(self, i: str, m: Profile) -> list[Any]:
        s = self.others(i, m)
        return [(m[i].y[k] + s[k]) / len(self.agents) for k in self.goods]

    def price(self, i: str, m: Profile) -> list[Any]:
        s, z = self.others(i, m), self.decoded(i, i, m)
        return [self.delta * ((len(self.agents) - 1) * z[k] - s[k]) for k in self.goods]

    def tax(self, i: str, m: Profile) -> Any:
        x, p, z = self.allocation(i, m), self.price(i, m), self.decoded(i, i, m)
        paid = sum((p[k] * x[k] for k in self.goods), self.number(0))
        fifth = sum(((self.xi * z[k] - self.xi * m[i].y[k]) ** 2 for k in self.goods), self.number(0))
        return paid + self.squares(i, m) + self.delta / 2 * fifth

    def nash(self, x: np.ndarray, prices: np.ndarray) -> dict[str, np.ndarray]:
        """The equilibrium of the spec in closed form, from x* and mu*; in the code's layout."""
        return self.spread(x + prices / (float(self.delta) * len(self.agents)))


EXACT = Fraction
