"""Section 3 of chapter 4, literally: the summary mechanism on a tree, in all its variants.

A profile of messages is a triple (y, n, q): y[i] of shape (N, K); n[e] = n_i^j for the directed edge
e = (i, j) in the order of ``Tree.edges``; q[i] = q_{phi(i)}^i, said by phi(i) about i, shape (N, K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.spec.model import Array, Tree, Utilities

Profile = tuple[Array, Array, Array]
Cell = tuple[int, tuple[int, ...]]  # part of the profile, row in it


@dataclass(frozen=True)
class Summary:
    """The plain mechanism: price scale delta, capacities c of shape (K,).

    Attributes:
        tree, v: the network.
        delta: price scale (thesis: 1).
        c: capacities.
    """

    tree: Tree
    v: Utilities
    delta: float
    c: Array

    @property
    def size(self) -> int:
        return self.tree.size

    def zero(self) -> Profile:
        goods = self.v.s.shape[1]
        return (
            np.zeros((self.size, goods)),
            np.zeros((len(self.tree.edges), goods)),
            np.zeros((self.size, goods)),
        )

    def random(self, rng: np.random.Generator, size: float) -> Profile:
        return tuple(rng.normal(0, size, part.shape) for part in self.zero())  # type: ignore[return-value]

    def said_by(self, i: int) -> list[Cell]:
        """Where the profile holds what agent i says: y_i, n_i^j by j ascending, q_i^j by j ascending."""
        edges = [(1, (self.tree.at[i, j],)) for j in self.tree.near[i]]
        return [(0, (i,)), *edges, *((2, (int(j),)) for j in np.flatnonzero(self.tree.phi == i))]

    def B(self, m: Profile) -> Array:
        """B_i^j = y_j + sum over k in N(j), k != i of n_j^k, for every edge (i, j)."""
        y, n, _ = m
        result = y[self.tree.head].copy()
        np.add.at(result, self.tree.into, n[self.tree.out_of])
        return result

    def A(self, m: Profile) -> Array:
        """A_i = sum over j in N(i) of B_i^j."""
        result = np.zeros_like(m[0])
        np.add.at(result, self.tree.tail, self.B(m))
        return result

    def allocation(self, m: Profile) -> Array:
        return m[0] - self.A(m) / (self.size - 1) + self.c / self.size

    def price(self, m: Profile) -> Array:
        return self.price_at(self.A(m), m[2])

    def price_at(self, A: Array, q: Array) -> Array:
        return (q + A) / self.delta

    def linear(self, m: Profile) -> Array:
        """p_i.(x_i - c/N)."""
        return (self.price(m) * (self.allocation(m) - self.c / self.size)).sum(axis=1)

    def squares(self, m: Profile) -> Array:
        """sum over j in N(i) of |n_i^j - B_i^j|^2 + sum over j in I_i of |q_i^j - y_j|^2."""
        total = np.zeros(self.size)
        np.add.at(total, self.tree.tail, np.square(m[1] - self.B(m)).sum(axis=1))
        np.add.at(total, self.tree.phi, np.square(m[2] - m[0]).sum(axis=1))
        return total

    def tax(self, m: Profile) -> Array:
        return self.linear(m) + self.squares(m)

    def demand(self, A: Array, q: Array) -> Array:
        """y_i of the best response, to A_i and q = q_{phi(i)}^i."""
        return A / (self.size - 1) - self.c / self.size + self.v.demand(self.price_at(A, q))

    def best_response(self, m: Profile) -> Profile:
        return self.demand(self.A(m), m[2]), self.B(m), m[0].copy()

    def nash_of(self, y: Array) -> Profile:
        """n_i^j = sum over k with n(i,k) = j of y_k, q_i^j = y_j."""
        return y, np.array([y[behind].sum(axis=0) for behind in self.tree.behind]), y.copy()

    def nash(self, x: Array, multiplier: Array) -> Profile:
        n = self.size
        return self.nash_of((n - 1) / n * (x - self.c / n) + self.delta * multiplier / n)


@dataclass(frozen=True)
class Weighted(Summary):
    """Weights w of shape (N,), positive, sum 1, each below 1/2."""

    w: Array = None  # type: ignore[assignment]

    @property
    def W(self) -> Array:
        return self.w[:, None]

    def allocation(self, m: Profile) -> Array:
        return (1 - self.W) * m[0] - self.W * self.A(m) + self.c / self.size

    def demand(self, A: Array, q: Array) -> Array:
        return (self.v.demand(self.price_at(A, q)) - self.c / self.size + self.W * A) / (1 - self.W)

    def nash(self, x: Array, multiplier: Array) -> Profile:
        return self.nash_of(x - self.c / self.size + self.W * self.delta * multiplier)


@dataclass(frozen=True)
class AnchoredPrivate(Weighted):
    """Anchored, private goods: one more tax term, (rho_i / 2)|q - y_i|^2 with rho_i = (1 - w_i)/delta."""

    @property
    def rho(self) -> Array:
        return (1 - self.w) / self.delta

    def tax(self, m: Profile) -> Array:
        return self.linear(m) + self.squares(m) + self.rho / 2 * np.square(m[2] - m[0]).sum(axis=1)

    def demand(self, A: Array, q: Array) -> Array:
        share, D = self.c / self.size, self.delta * (1 - self.w)
        x = self.v.demand((A - share) / D[:, None], 1 / D)
        return (x + self.W * A - share) / (1 - self.W)


@dataclass(frozen=True)
class AnchoredPublic(AnchoredPrivate):
    """Anchored, public goods; c is not used (give zeros)."""

    @property
    def rho(self) -> Array:
        return self.delta * (1 - self.w)

    def allocation(self, m: Profile) -> Array:
        return m[0] + self.A(m)

    def price_at(self, A: Array, q: Array) -> Array:
        return self.delta * ((1 - self.W) * q - self.W * A)

    def linear(self, m: Profile) -> Array:
        return (self.price(m) * self.allocation(m)).sum(axis=1)

    def demand(self, A: Array, q: Array) -> Array:
        return self.v.demand(-self.delta * A, self.delta * (1 - self.w)) - A

    def nash(self, x: Array, mu: Array) -> Profile:
        return self.nash_of(self.W * x + mu / self.delta)


def water_filling(a: Array, cap: float) -> Array:
    """w_i = min(cap, s a_i) with s such that they sum to 1."""
    a = np.asarray(a, dtype=float)
    capped = np.zeros(len(a), dtype=bool)
    while True:
        s = (1 - cap * capped.sum()) / a[~capped].sum()
        over = ~capped & (s * a > cap)
        if not over.any():
            return np.where(capped, cap, s * a)
        capped |= over
