"""What an agent of a network mechanism wants: a strictly concave v(x) of one amount x >= 0 (spec, section 0).

In contrast to ``node.utilities`` the curvature may fall towards zero as x grows, and demand is clipped to a
range: chapters 1 and 2 allow every increasing strictly concave v with finite slope at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Valuation(Protocol):
    """v, twice differentiable and strictly concave on x >= 0, with a finite slope at 0."""

    @property
    def increasing(self) -> bool:
        """Whether v is strictly increasing for every x >= 0."""

    def value(self, x: float) -> float:
        """v(x) in money; v(0) = 0."""
        ...

    def slope(self, x: float) -> float:
        """v'(x), money per unit."""
        ...

    def curvature(self, x: float) -> float:
        """-v''(x) > 0; in every family here it does not grow with x."""
        ...

    def wanted(self, price: float) -> float:
        """The x at which v'(x) = price, unclipped; inf if there is none because v rises faster for ever."""
        ...


def demand(valuation: Valuation, price: float, low: float, high: float) -> float:
    """D(P), the x in [low, high] that maximises v(x) - P x."""
    return min(max(valuation.wanted(price), low), high)


def _positive(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0.0 < number < math.inf:
            raise ValueError(f"expected {name} > 0 and finite, got {number}")


@dataclass(frozen=True, slots=True)
class Log:
    """v(x) = w log(1 + x/s); w, s > 0."""

    w: float
    s: float = 1.0
    increasing = True

    def __post_init__(self) -> None:
        _positive(w=self.w, s=self.s)

    def value(self, x: float) -> float:
        """w log(1 + x/s)."""
        return self.w * math.log1p(x / self.s)

    def slope(self, x: float) -> float:
        """w / (s + x)."""
        return self.w / (self.s + x)

    def curvature(self, x: float) -> float:
        """w / (s + x)^2."""
        return self.w / (self.s + x) ** 2

    def wanted(self, price: float) -> float:
        """w/P - s."""
        return self.w / price - self.s if price > 0.0 else math.inf


@dataclass(frozen=True, slots=True)
class Exponential:
    """v(x) = w (1 - exp(-x/s)); w, s > 0."""

    w: float
    s: float = 1.0
    increasing = True

    def __post_init__(self) -> None:
        _positive(w=self.w, s=self.s)

    def value(self, x: float) -> float:
        """w (1 - exp(-x/s))."""
        return -self.w * math.expm1(-x / self.s)

    def slope(self, x: float) -> float:
        """(w/s) exp(-x/s)."""
        return self.w / self.s * math.exp(-x / self.s)

    def curvature(self, x: float) -> float:
        """(w/s^2) exp(-x/s)."""
        return self.w / self.s**2 * math.exp(-x / self.s)

    def wanted(self, price: float) -> float:
        """-s log(P s / w)."""
        return -self.s * math.log(price * self.s / self.w) if price > 0.0 else math.inf


@dataclass(frozen=True, slots=True)
class SquareRoot:
    """v(x) = w (sqrt(x + s) - sqrt(s)); w, s > 0."""

    w: float
    s: float = 1.0
    increasing = True

    def __post_init__(self) -> None:
        _positive(w=self.w, s=self.s)

    def value(self, x: float) -> float:
        """w (sqrt(x + s) - sqrt(s)), written without the cancellation."""
        return self.w * x / (math.sqrt(x + self.s) + math.sqrt(self.s))

    def slope(self, x: float) -> float:
        """w / (2 sqrt(x + s))."""
        return 0.5 * self.w / math.sqrt(x + self.s)

    def curvature(self, x: float) -> float:
        """(w/4) (x + s)^(-3/2)."""
        return float(0.25 * self.w * (x + self.s) ** -1.5)

    def wanted(self, price: float) -> float:
        """(w / (2P))^2 - s."""
        return (0.5 * self.w / price) ** 2 - self.s if price > 0.0 else math.inf


@dataclass(frozen=True, slots=True)
class AlphaFair:
    """v(x) = w ((x + s)^(1-alpha) - s^(1-alpha)) / (1 - alpha), for alpha = 1 its limit w log(1 + x/s).

    The alpha-fair utility of network congestion control, shifted by s > 0 so that its slope at 0 is finite.
    """

    w: float
    alpha: float
    s: float = 1.0
    increasing = True

    def __post_init__(self) -> None:
        _positive(w=self.w, alpha=self.alpha, s=self.s)

    def value(self, x: float) -> float:
        """s^(1-alpha) w times ((1 + x/s)^(1-alpha) - 1)/(1 - alpha), stable for alpha near 1."""
        log, power = math.log1p(x / self.s), 1.0 - self.alpha
        gained = math.expm1(power * log) / power if power else log
        return float(self.w * self.s**power * gained)

    def slope(self, x: float) -> float:
        """w (x + s)^-alpha."""
        return float(self.w * (x + self.s) ** -self.alpha)

    def curvature(self, x: float) -> float:
        """alpha w (x + s)^(-alpha-1)."""
        return float(self.alpha * self.w * (x + self.s) ** (-self.alpha - 1.0))

    def wanted(self, price: float) -> float:
        """(w/P)^(1/alpha) - s."""
        if not price > 0.0:
            return math.inf
        exponent = math.log(self.w / price) / self.alpha
        return math.exp(exponent) - self.s if exponent < 700.0 else math.inf


@dataclass(frozen=True, slots=True)
class Quadratic:
    """v(x) = theta x^2 + sigma x, theta < 0. Falls for large x, so chapter 3 only."""

    theta: float
    sigma: float
    increasing = False

    def __post_init__(self) -> None:
        if not -math.inf < self.theta < 0.0:
            raise ValueError(f"expected theta < 0 (a strictly concave utility) and finite, got {self.theta}")
        if not math.isfinite(self.sigma):
            raise ValueError(f"expected a finite sigma, got {self.sigma}")

    def value(self, x: float) -> float:
        """theta x^2 + sigma x."""
        return (self.theta * x + self.sigma) * x

    def slope(self, x: float) -> float:
        """2 theta x + sigma."""
        return 2.0 * self.theta * x + self.sigma

    def curvature(self, x: float) -> float:
        """-2 theta."""
        return -2.0 * self.theta

    def wanted(self, price: float) -> float:
        """(P - sigma) / (2 theta)."""
        return (price - self.sigma) / (2.0 * self.theta)


# family -> what its spec has beside the name of the family.
FAMILIES: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "log": (Log, ("w", "s")),
    "exponential": (Exponential, ("w", "s")),
    "square-root": (SquareRoot, ("w", "s")),
    "alpha-fair": (AlphaFair, ("w", "alpha", "s")),
    "quadratic": (Quadratic, ("theta", "sigma")),
}


def build(spec: Mapping[str, Any]) -> Valuation:
    """Make the valuation that an agent's part describes.

    Args:
        spec: ``family`` and its parameters, one number each (``FAMILIES``).
    Raises:
        ValueError: for an unknown family, and parameters that are missing, unknown or out of range.
    """
    family = spec.get("family")
    if family not in FAMILIES:
        raise ValueError(f"unknown utility {family!r}; expected one of {', '.join(FAMILIES)}")
    kind, keys = FAMILIES[family]
    given = {key: value for key, value in spec.items() if key != "family"}
    if set(given) != set(keys):
        raise ValueError(
            f"utility {family!r} with {', '.join(sorted(given)) or 'nothing'}; expected {', '.join(keys)}"
        )
    made: Valuation = kind(**{key: float(value) for key, value in given.items()})
    return made
