"""What an agent wants: valuations v_i, strictly concave, with known bounds on their curvature.

A valuation never leaves its agent. Shapes are (K,) throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@dataclass(frozen=True, slots=True)
class Quadratic:
    """v(x) = sum_k theta_k x_k^2 + sigma_k x_k (thesis section 5.2).

    Attributes:
        theta: shape (K,), < 0; half the second derivative.
        sigma: shape (K,); marginal value of the first unit.
    """

    theta: Vector
    sigma: Vector

    def __post_init__(self) -> None:
        if self.theta.shape != self.sigma.shape or self.theta.ndim != 1 or not self.theta.size:
            raise ValueError(
                f"theta has shape {self.theta.shape}, sigma {self.sigma.shape}; expected both (K,)"
            )
        if not (np.isfinite(self.theta).all() and np.isfinite(self.sigma).all()):
            raise ValueError(f"theta and sigma must be finite, got {self.theta} and {self.sigma}")
        if (self.theta >= 0).any():
            raise ValueError(f"theta must be negative (a strictly concave utility), got {self.theta}")

    @property
    def goods(self) -> int:
        """K."""
        return self.theta.size

    @property
    def separable(self) -> bool:
        """It is."""
        return True

    @property
    def curvature(self) -> tuple[Vector, Vector]:
        """-v'' = -2 theta exactly, so both bounds are equal."""
        return -2.0 * self.theta, -2.0 * self.theta

    def value(self, x: Vector) -> float:
        """v(x), summed exactly over goods."""
        return math.fsum(((self.theta * x + self.sigma) * x).tolist())

    def gradient(self, x: Vector) -> Vector:
        """2 theta x + sigma."""
        return 2.0 * self.theta * x + self.sigma

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """(price - sigma) / (2 theta - ridge)."""
        return (price - self.sigma) / (2.0 * self.theta - ridge)


def build(spec: Mapping[str, Any]) -> Utility:
    """Make the utility that an agent's part describes.

    Raises:
        ValueError: for an unknown family or parameters out of range.
    """
    match spec:
        case {"family": "quadratic", "theta": theta, "sigma": sigma}:
            return Quadratic(np.asarray(theta, dtype=np.float64), np.asarray(sigma, dtype=np.float64))
        case _:
            raise ValueError(
                f"unknown utility {spec.get('family')!r}; expected 'quadratic' with theta and sigma"
            )
