"""Sections 1 and 2 of chapter 4, literally: private and public goods with full tables of proxies.

A profile of messages is a pair (Y, Q): Y[i] is y_i and Q[i, r] is q_i^r, agent i's proxy of y_r; shapes
(N, K) and (N, N, K). Every method takes the whole profile and gives what all agents get.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tests.spec.model import Array, Net, Utilities

Profile = tuple[Array, Array]
Cell = tuple[int, tuple[int, ...]]  # part of the profile, row in it


@dataclass(frozen=True)
class Table:
    """What both mechanisms share.

    Attributes:
        net: the graph with distances, next hops n(i,r) and echoes g_i.
        v: everybody's utility.
        xi, delta: public constants.
        printed: take (4.16b) and (4.26) as printed, with exponent 1 instead of g_i (erratum E1).
    """

    net: Net
    v: Utilities
    xi: float
    delta: float
    printed: bool = False

    @property
    def goods(self) -> int:
        return self.v.s.shape[1]

    @property
    def echo(self) -> Array:
        """The exponent of Z_i^i, shape (N,)."""
        return np.ones(self.net.size) if self.printed else self.net.g

    @cached_property
    def _powers(self) -> tuple[Array, Array]:
        """xi^e(i,r), shape (N, N, 1), and xi^g_i, shape (N, 1)."""
        return (self.xi**self.net.e)[:, :, None], (self.xi**self.echo)[:, None]

    def zero(self) -> Profile:
        n = self.net.size
        return np.zeros((n, self.goods)), np.zeros((n, n, self.goods))

    def random(self, rng: np.random.Generator, size: float) -> Profile:
        Y, Q = self.zero()
        return rng.normal(0, size, Y.shape), rng.normal(0, size, Q.shape)

    def said_by(self, i: int) -> list[Cell]:
        """Where the profile holds what agent i says: y_i, then q_i^r for r = 0..N-1."""
        return [(0, (i,)), *((1, (i, r)) for r in range(self.net.size))]

    def decoded(self, Q: Array) -> tuple[Array, Array]:
        """(Z_i^i, S_i): Z_i^r = q_{n(i,r)}^r / xi^e(i,r), Z_i^i = q_{n(i,i)}^i / xi^g_i; both (N, K)."""
        n = self.net.size
        Z = Q[self.net.hop, np.arange(n)] / self._powers[0]
        own = Q[self.net.hop.diagonal(), np.arange(n)] / self._powers[1]
        Z[np.arange(n), np.arange(n)] = 0.0
        return own, Z.sum(axis=1)

    def squares(self, i: int, Y: Array, Q: Array) -> float:
        """The three quadratic terms of t_i."""
        total = np.square(Q[i, i] - self.xi * Y[i]).sum()
        for r in range(self.net.size):
            if r in self.net.near[i]:
                total += np.square(Q[i, r] - self.xi * Y[r]).sum()
            elif r != i:
                total += np.square(Q[i, r] - self.xi * Q[self.net.hop[i, r], r]).sum()
        return float(total)

    def demand(self, own: Array, S: Array) -> Array:
        """y_i of the best response, to Z_i^i and S_i."""
        raise NotImplementedError

    def best_response(self, m: Profile) -> Profile:
        new = self.demand(*self.decoded(m[1]))
        return new, self.proxies(*m, new)

    def proxies(self, Y: Array, Q: Array, new: Array) -> Array:
        """The q part of everybody's best response, for new demands ``new``."""
        n = self.net.size
        farther = Q[self.net.hop, np.arange(n)]  # q_{n(i,r)}^r
        R = np.where(self.net.listens[:, :, None], Y[None], farther)
        R[np.arange(n), np.arange(n)] = new
        return self.xi * R

    def nash_of(self, Y: Array) -> Profile:
        """q_i^r = xi^d(i,r) y_r, q_i^i = xi y_i."""
        power = self.xi ** np.where(np.eye(self.net.size, dtype=bool), 1, self.net.d)
        return Y, power[:, :, None] * Y[None]


@dataclass(frozen=True)
class Private(Table):
    """Section 1; ``c`` of shape (K,). ``without_share``: y_i of (4.63) as printed, -c/N missing (E3)."""

    c: Array = None  # type: ignore[assignment]
    without_share: bool = False

    def allocation(self, m: Profile) -> Array:
        Y, Q = m
        n = self.net.size
        _, S = self.decoded(Q)
        return Y - S / (n - 1) + self.c / n

    def price(self, m: Profile) -> Array:
        own, S = self.decoded(m[1])
        return (own + S) / self.delta

    def tax(self, m: Profile) -> Array:
        share = self.c / self.net.size
        linear = (self.price(m) * (self.allocation(m) - share)).sum(axis=1)
        return linear + [self.squares(i, *m) for i in range(self.net.size)]

    def demand(self, own: Array, S: Array) -> Array:
        n = self.net.size
        new = S / (n - 1) + self.v.demand((own + S) / self.delta)
        return new if self.without_share else new - self.c / n

    def nash(self, x: Array, multiplier: Array) -> Profile:
        """y_i = ((N-1)/N)(x_i* - c/N) + delta lambda*/N [E4]."""
        n = self.net.size
        return self.nash_of((n - 1) / n * (x - self.c / n) + self.delta * multiplier / n)


@dataclass(frozen=True)
class Public(Table):
    """Section 2."""

    def allocation(self, m: Profile) -> Array:
        Y, Q = m
        return (Y + self.decoded(Q)[1]) / self.net.size

    def price(self, m: Profile) -> Array:
        own, S = self.decoded(m[1])
        return self.delta * ((self.net.size - 1) * own - S)

    def tax(self, m: Profile) -> Array:
        own, _ = self.decoded(m[1])
        fifth = self.delta / 2 * np.square(self.xi * own - self.xi * m[0]).sum(axis=1)
        linear = (self.price(m) * self.allocation(m)).sum(axis=1)
        return linear + [self.squares(i, *m) for i in range(self.net.size)] + fifth

    def demand(self, own: Array, S: Array) -> Array:
        n, xi, delta = self.net.size, self.xi, self.delta
        b = delta * ((n - 1) * own - S) - n * delta * xi**2 * (own + S)
        return n * self.v.demand(b, n**2 * delta * xi**2) - S

    def nash(self, x: Array, mu: Array) -> Profile:
        """y_i = x* + mu_i*/(delta N)."""
        return self.nash_of(x + mu / (self.delta * self.net.size))
