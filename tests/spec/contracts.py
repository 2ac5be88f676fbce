"""The project's contracts held against the literal ones: same messages in, same numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.spec import game
from tests.spec.model import Array, Quadratics, Utilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.spec.game import Literal

# Formulas are sums of a few terms; the two accounts add them up in different orders.
NEAR = 1e-12


def name(i: int) -> str:
    return f"n{i:03d}"


class One:
    """Agent i's utility out of everybody's, as the project's contracts ask for it."""

    def __init__(self, v: Utilities, i: int) -> None:
        self.v, self.i = v, i
        self.goods = v.s.shape[1]
        self.separable = not isinstance(v, Quadratics) or not np.triu(v.H[i], 1).any()

    @property
    def curvature(self) -> tuple[Array, Array]:
        if isinstance(self.v, Quadratics):
            if self.separable:
                return -self.v.H[self.i].diagonal().copy(), -self.v.H[self.i].diagonal().copy()
            low, high = (end[self.i] for end in self.v.curvature)
            return np.full(self.goods, low), np.full(self.goods, high)
        return self.v.low[self.i].copy(), self.v.high[self.i].copy()

    def _all(self, x: Array) -> Array:
        return np.tile(x, (len(self.v.s), 1))

    def value(self, x: Array) -> float:
        return float(self.v.value(self._all(x))[self.i])

    def gradient(self, x: Array) -> Array:
        return self.v.gradient(self._all(x))[self.i].copy()

    def demand(self, price: Array, ridge: Array | float = 0.0) -> Array:
        strength = float(np.max(ridge))
        assert np.all(np.asarray(ridge) == strength), "one ridge for all goods is all that chapter 4 needs"
        return self.v.demand(self._all(price), strength)[self.i].copy()


def messages(literal: Literal, m: tuple[Array, ...]) -> dict[str, Array]:
    """What everybody says in a profile, in the layout of the project: it is that of ``said_by``."""
    return {name(i): game.message(literal, m, i) for i in range(len(m[0]))}


def compare(
    literal: Literal, contracts: Mapping[str, Any], hears: Mapping[str, Sequence[str]], m: tuple[Array, ...]
) -> None:
    """Everybody's best response and outcome at a profile, to ``NEAR`` relative to the numbers involved."""
    said = messages(literal, m)
    reply = literal.best_response(m)  # type: ignore[arg-type]
    x, p, t = literal.allocation(m), literal.price(m), literal.tax(m)  # type: ignore[arg-type]
    # What an agent decodes: S_i or A_i, and Z or q, are of this size.
    size = max(1.0, game.largest(m), game.largest(reply), float(np.abs(x).max()))
    for i, me in enumerate(sorted(contracts)):
        contract = contracts[me]
        view = contract.view({j: said[j] for j in hears[me]})
        got, outcome = contract.best_response(view), contract.outcome(said[me], view)
        expected = game.message(literal, reply, i)
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=NEAR * size, err_msg=f"best response of {i}")
        np.testing.assert_allclose(outcome.allocation, x[i], rtol=0, atol=NEAR * size, err_msg=f"x_{i}")
        atol = NEAR * max(1.0, float(np.abs(p).max()))
        np.testing.assert_allclose(outcome.price, p[i], rtol=0, atol=atol, err_msg=f"p_{i}")
        np.testing.assert_allclose(
            outcome.tax, t[i], rtol=0, atol=NEAR * max(1.0, abs(t[i])), err_msg=f"t_{i}"
        )
