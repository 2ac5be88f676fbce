"""A utility that is steep around a target and flatter away from it, separable over goods.

    v(x) = sum_k sigma x - low x^2/2 - (high - low) w^2 log cosh((x - m) / w)
    v'   = sigma - low x - (high - low) w tanh((x - m) / w)
    -v'' = low + (high - low) / cosh((x - m) / w)^2          in (low, high], = high at x = m

With m the amount that is best if it costs sigma - low m, w the width of the region in which leaving m hurts
most. For low = high it is a quadratic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.utilities.errors import NotInverted
from node.utilities.inversion import ROUNDING, goal

if TYPE_CHECKING:
    from node.numbers import Vector

# Newton's steps go up to the solution from one side and double their digits; a dozen at most were seen.
_STEPS = 100


@dataclass(frozen=True, slots=True)
class LogCosh:
    """The utility of the module's first lines; all attributes have shape (K,).

    Attributes:
        low, high: bounds of -v'', 0 < low <= high.
        sigma: marginal value where the other two terms vanish.
        centre: m.
        width: w > 0.
    """

    low: Vector
    high: Vector
    sigma: Vector
    centre: Vector
    width: Vector

    def __post_init__(self) -> None:
        parameters = {name: getattr(self, name) for name in ("low", "high", "sigma", "centre", "width")}
        shapes = {name: value.shape for name, value in parameters.items()}
        if len(set(shapes.values())) > 1 or self.low.ndim != 1 or not self.low.size:
            raise ValueError(f"the parameters have shapes {shapes}; expected all (K,)")
        for name, value in parameters.items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite, got {value}")
        if not ((self.low > 0) & (self.low <= self.high)).all():
            raise ValueError(f"low = {self.low}, high = {self.high}; expected 0 < low <= high")
        if not (self.width > 0).all():
            raise ValueError(f"width must be positive, got {self.width}")

    @property
    def goods(self) -> int:
        """K."""
        return self.low.size

    @property
    def separable(self) -> bool:
        """It is."""
        return True

    @property
    def curvature(self) -> tuple[Vector, Vector]:
        """(low, high); both are attained, low in the limit."""
        return self.low, self.high

    def value(self, x: Vector) -> float:
        """v(x), summed exactly over goods. log cosh neither overflows nor loses digits near 0."""
        u = np.abs((x - self.centre) / self.width)
        near = np.log1p(2.0 * np.square(np.sinh(0.5 * np.minimum(u, 1.0))))  # cosh u = 1 + 2 sinh(u/2)^2
        log_cosh = np.where(u < 1.0, near, u + np.log1p(np.exp(-2.0 * u)) - math.log(2.0))
        bend = (self.high - self.low) * np.square(self.width) * log_cosh
        return math.fsum(((self.sigma - 0.5 * self.low * x) * x - bend).tolist())

    def gradient(self, x: Vector) -> Vector:
        """sigma - low x - (high - low) w tanh((x - m) / w)."""
        bend = (self.high - self.low) * self.width * np.tanh((x - self.centre) / self.width)
        return np.asarray(self.sigma - self.low * x - bend)

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """The x with v'(x) - ridge x = price for every good, to 1e-12 (1 + |price|) or to rounding.

        Raises:
            NotInverted: if it cannot be found, because a number overflows.
        """
        ridges = np.broadcast_to(np.asarray(ridge, dtype=np.float64), price.shape)
        # K is small as a rule, and then Python's numbers are twenty times as fast as arrays.
        x = np.array(
            [
                _solve(*numbers)
                for numbers in zip(
                    price.tolist(),
                    ridges.tolist(),
                    self.low.tolist(),
                    self.high.tolist(),
                    self.sigma.tolist(),
                    self.centre.tolist(),
                    self.width.tolist(),
                    strict=True,
                )
            ]
        )
        residual = np.abs(self.gradient(x) - ridges * x - price)
        allowed = goal(price)
        if not (residual <= allowed).all():
            sizes = (self.low + ridges) * np.abs(x) + self.high * (np.abs(x) + np.abs(self.centre))
            allowed = np.maximum(allowed, ROUNDING * (np.abs(price) + np.abs(self.sigma) + sizes))
            if not (residual <= allowed).all():
                raise NotInverted(price, x, residual, allowed)
        return x


def _solve(
    price: float, ridge: float, low: float, high: float, sigma: float, centre: float, width: float
) -> float:
    """x for one good.

    With u = (x - m)/w the equation is alpha u + tanh u = beta; odd, so beta >= 0 will do. Its left side is
    concave for u >= 0 and at most (1 + alpha) u and alpha u + 1, which bounds u from below. From below,
    Newton's steps on a concave increasing function rise and never pass the root.
    """
    slope, gap = low + ridge, high - low
    if gap == 0.0:
        return (sigma - price) / slope
    alpha, beta = slope / gap, (sigma - price - slope * centre) / (gap * width)
    target = abs(beta)
    u = max(target / (1.0 + alpha), (target - 1.0) / alpha)
    for _ in range(_STEPS):
        t = math.tanh(u)
        rise = (target - alpha * u - t) / (alpha + 1.0 - t * t)
        if not u + rise > u:
            break
        u += rise
    x = centre + width * math.copysign(u, beta)
    # One more step in x itself: where |m| is large beside x, the line above has cost digits.
    t = math.tanh((x - centre) / width)
    return x + (sigma - price - slope * x - gap * width * t) / (slope + gap * (1.0 - t * t))
