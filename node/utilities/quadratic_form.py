"""Quadratics whose goods depend on each other: v(x) = x'Hx/2 + sigma'x, H symmetric and negative definite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.numbers import Matrix, Vector


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """v(x) = x'Hx/2 + sigma'x.

    Attributes:
        hessian: H, shape (K, K), exactly symmetric, all eigenvalues negative.
        sigma: shape (K,); marginal value of the first unit of each good.
    """

    hessian: Matrix
    sigma: Vector
    _eigenvalues: Vector = field(init=False, repr=False, compare=False)
    # The last ridge and the inverse that belongs to it: a contract asks with one and the same.
    _factor: list[tuple[bytes, Matrix, Matrix]] = field(
        init=False, repr=False, compare=False, default_factory=list
    )

    def __post_init__(self) -> None:
        k = self.sigma.size
        if self.sigma.ndim != 1 or not k or self.hessian.shape != (k, k):
            raise ValueError(
                f"the Hessian has shape {self.hessian.shape}, sigma {self.sigma.shape}; expected (K, K), (K,)"
            )
        if not (np.isfinite(self.hessian).all() and np.isfinite(self.sigma).all()):
            raise ValueError(f"the Hessian and sigma must be finite, got {self.hessian} and {self.sigma}")
        if (self.hessian != self.hessian.T).any():
            raise ValueError(f"the Hessian must be symmetric, got {self.hessian.tolist()}")
        eigenvalues = np.linalg.eigvalsh(-self.hessian)
        if not eigenvalues[0] > 0:
            raise ValueError(
                f"the Hessian must be negative definite (a strictly concave utility), got the eigenvalues "
                f"{(-eigenvalues).tolist()}"
            )
        object.__setattr__(self, "_eigenvalues", eigenvalues)

    @property
    def goods(self) -> int:
        """K."""
        return self.sigma.size

    @property
    def separable(self) -> bool:
        """Whether H is diagonal."""
        return not np.any(self.hessian - np.diag(np.diag(self.hessian)))

    @property
    def curvature(self) -> tuple[Vector, Vector]:
        """Smallest and largest eigenvalue of -H, for all goods; if H is diagonal, each good's own."""
        if self.separable:
            own = -np.diag(self.hessian)
            return own, own
        return np.full(self.goods, self._eigenvalues[0]), np.full(self.goods, self._eigenvalues[-1])

    def value(self, x: Vector) -> float:
        """v(x), summed exactly."""
        return math.fsum(
            [*(0.5 * self.hessian * np.outer(x, x)).ravel().tolist(), *(self.sigma * x).tolist()]
        )

    def gradient(self, x: Vector) -> Vector:
        """H x + sigma."""
        return np.asarray(_times(self.hessian, x) + self.sigma)

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """(H - diag(ridge))^{-1} (price - sigma), refined once, so that its residual is rounding."""
        key = np.asarray(ridge, dtype=np.float64).tobytes()
        if not self._factor or self._factor[0][0] != key:
            matrix = self.hessian - np.diag(np.broadcast_to(ridge, self.sigma.shape))
            self._factor[:] = [(key, matrix, np.asarray(np.linalg.inv(matrix)))]
        _, matrix, inverse = self._factor[0]
        wanted = price - self.sigma
        x = _times(inverse, wanted)
        return np.asarray(x + _times(inverse, wanted - _times(matrix, x)))


def _times(matrix: Matrix, x: Vector) -> Vector:
    """The product, summed in an order that no linear algebra library chooses."""
    return np.asarray((matrix * x).sum(axis=1))
