"""The interface of a valuation: what a mechanism may ask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from node.numbers import Vector


class Utility(Protocol):
    """A valuation v of K goods: twice differentiable and strictly concave."""

    @property
    def goods(self) -> int:
        """K, the number of goods, at least 1."""

    @property
    def separable(self) -> bool:
        """Whether v is a sum of functions of one good each."""

    @property
    def curvature(self) -> tuple[Vector, Vector]:
        """Bounds (lowest, highest) on the eigenvalues of -Hess v, both positive, shape (K,): for each good
        on its own if v is separable, else the same for all goods."""

    def value(self, x: Vector) -> float:
        """v(x) in money, for an allocation x of shape (K,)."""
        ...

    def gradient(self, x: Vector) -> Vector:
        """grad v(x), money per unit, shape (K,)."""
        ...

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """The x that maximises v(x) - price.x - sum_k ridge_k x_k^2 / 2, shape (K,). Not clipped.

        With ridge = 0 it is (grad v)^{-1}(price).

        Args:
            price: shape (K,), any sign.
            ridge: >= 0, a number or one per good.
        """
        ...
