"""A false utility made of a true one: scale v(x) + shift.x, wherever a mechanism asks for a utility."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.mechanisms.network.valuations import Valuation
    from node.numbers import Vector
    from node.strategies.strategy import Lie
    from node.utilities import Utility


@dataclass(frozen=True, slots=True)
class Claimed:
    """A ``node.utilities.Utility`` that is not the agent's own.

    Attributes:
        true: what it is made of.
        lie: how.
    """

    true: Utility
    lie: Lie

    @property
    def goods(self) -> int:
        """K."""
        return self.true.goods

    @property
    def separable(self) -> bool:
        """As the true one."""
        return self.true.separable

    @property
    def curvature(self) -> tuple[Vector, Vector]:
        """Scaled."""
        lowest, highest = self.true.curvature
        return self.lie.scale * lowest, self.lie.scale * highest

    def value(self, x: Vector) -> float:
        """scale v(x) + shift times the sum of x."""
        return self.lie.scale * self.true.value(x) + self.lie.shift * math.fsum(x.tolist())

    def gradient(self, x: Vector) -> Vector:
        """scale grad v(x) + shift."""
        return self.lie.scale * self.true.gradient(x) + self.lie.shift

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """argmax of scale v(x) + shift.x - p.x - ridge x^2/2: that of v at (p - shift)/scale and ridge/scale.

        Raises:
            ValueError: if neither the utility nor the ridge bends.
        """
        net, scale = price - self.lie.shift, self.lie.scale
        if scale > 0.0:
            return self.true.demand(net / scale, ridge / scale)
        if not np.all(np.asarray(ridge) > 0.0):
            raise ValueError("a utility of scale 0 demands without bound; expected a scale > 0")
        return np.asarray(-net / ridge)


@dataclass(frozen=True, slots=True)
class ClaimedValuation:
    """A ``node.mechanisms.network.valuations.Valuation`` that is not the agent's own.

    Raises:
        ValueError: for a scale of 0.
    """

    true: Valuation
    lie: Lie

    def __post_init__(self) -> None:
        if not self.lie.scale > 0.0:
            raise ValueError("a utility of scale 0 has no demand on a network; expected a scale > 0")

    @property
    def increasing(self) -> bool:
        """As the true one, unless the lie turns it down."""
        return self.true.increasing and self.lie.shift >= 0.0

    def value(self, x: float) -> float:
        """scale v(x) + shift x."""
        return self.lie.scale * self.true.value(x) + self.lie.shift * x

    def slope(self, x: float) -> float:
        """scale v'(x) + shift."""
        return self.lie.scale * self.true.slope(x) + self.lie.shift

    def curvature(self, x: float) -> float:
        """-scale v''(x)."""
        return self.lie.scale * self.true.curvature(x)

    def wanted(self, price: float) -> float:
        """The x at which scale v'(x) + shift = price."""
        return self.true.wanted((price - self.lie.shift) / self.lie.scale)
