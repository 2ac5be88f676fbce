"""Quadratics that are separable over goods: the utilities of the thesis' simulations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.numbers import Vector


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
