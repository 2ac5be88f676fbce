"""``check_utility``: a utility of one's own, put through the laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from node.testing.instance import same_bits
from node.testing.report import Finding, Report, Worst
from node.utilities import UtilityError
from node.utilities.custom import Custom

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from node.numbers import Vector
    from node.utilities import Utility
    from node.utilities.custom import UserUtility

# Integrals are taken to 1e-12 on each piece, and values are rounded to 1e-16; this leaves room for valuations
# whose third derivative jumps.
_INTEGRAL = 1e-8
# The accuracy to which ``demand`` is to solve its equation (spec of chapter 4, section 1).
_DEMAND = 1e-12
# Curvature is measured as differences of gradients over finite steps; relative to the highest.
_CURVATURE = 1e-7


@dataclass(frozen=True)
class Domain:
    """Where a utility is tried.

    Attributes:
        utility: the utility.
        around: middle of the allocations tried, shape (K,).
        size: their distance from it, up to three times this.
        seed: of the draws.
    """

    utility: Utility
    around: Vector
    size: float
    seed: int

    def points(self, count: int, salt: int) -> Vector:
        """Allocations, shape (count, K)."""
        rng = np.random.default_rng([self.seed, 7, salt])
        reach = self.size * 10 ** rng.uniform(-2, 0.5, (count, 1))
        return self.around + reach * rng.uniform(-1, 1, (count, self.utility.goods))

    def pairs(self, count: int, salt: int) -> list[tuple[Vector, Vector]]:
        """Pairs of allocations, near and far, some of which differ in one good only."""
        rng = np.random.default_rng([self.seed, 8, salt])
        result = []
        for k, x in enumerate(self.points(count, salt)):
            step = rng.normal(size=x.shape) * self.size * 10 ** rng.uniform(-3, 0)
            if k % 2 and x.size > 1:
                step *= np.eye(x.size)[k % x.size]
            result.append((x, x + step))
        return result


def well_formed(domain: Domain) -> Finding:
    """K >= 1; curvature is two positive arrays (K,), the lower first; values are floats, gradients (K,)."""
    worst, u = Worst(), domain.utility
    if not (isinstance(u.goods, int) and u.goods >= 1):
        worst.count(f"goods is {u.goods!r}, expected an int of at least 1")
        return worst.finding("well formed", 0)
    if not isinstance(u.separable, bool):
        worst.count(f"separable is {u.separable!r}, expected a bool")
    low, high = u.curvature
    for name, bound in (("lowest", low), ("highest", high)):
        if not _is_vector(bound, u.goods) or not (bound > 0).all():
            worst.count(f"the {name} curvature is {bound!r}, expected {u.goods} positive numbers")
    if not worst.number and not (low <= high).all():
        worst.count(f"the lowest curvature {low} is above the highest {high}")
    for x in domain.points(5, 0):
        if not isinstance(u.value(x), float) or not np.isfinite(u.value(x)):
            worst.count(f"value is {u.value(x)!r} at {x}, expected a finite float")
        if not _is_vector(u.gradient(x), u.goods):
            worst.count(f"gradient is {u.gradient(x)!r}, expected {u.goods} finite numbers")
    return worst.finding("well formed", 0)


def _is_vector(value: object, goods: int) -> bool:
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.shape == (goods,)
        and bool(np.isfinite(value).all())
    )


def deterministic(domain: Domain) -> Finding:
    """The same question gives the same bits, and arguments are left as they were."""
    worst, u, points = Worst(), domain.utility, domain.points(6, 1)

    def answers(x: Vector) -> Vector:
        try:
            demand = u.demand(x)
        except UtilityError:  # for the law "demand"
            demand = x
        return np.concatenate([[u.value(x)], u.gradient(x), demand])

    first = [answers(x.copy()) for x in points]
    for x, before in zip(points, first, strict=True):
        argument = x.copy()
        if not same_bits(before, answers(argument)):
            worst.count(f"other answers at {x} when asked again")
        if not same_bits(argument, x):
            worst.count(f"the argument {x} was changed to {argument}")
    return worst.finding("deterministic", 0)


def gradient(domain: Domain) -> Finding:
    """``gradient`` is the derivative of ``value``: its integral along a line is the difference of values."""
    worst, u = Worst(), domain.utility
    for x, y in domain.pairs(20, 2):
        step = y - x

        def slope(t: float, x: Vector = x, step: Vector = step) -> float:
            return float(u.gradient(x + t * step) @ step)

        integral, size = _integral(slope)
        rise = u.value(y) - u.value(x)
        worst.see(
            abs(integral - rise) / max(1.0, abs(u.value(x)), abs(u.value(y)), size),
            f"from {x} to {y} the value rises by {rise:.6g}, and the gradient integrates to {integral:.6g}",
        )
    return worst.finding("gradient", _INTEGRAL)


def _integral(function: Callable[[float], float]) -> tuple[float, float]:
    """Over [0, 1], and of the magnitude: by Gauss and Legendre on pieces halved until the halves agree."""
    nodes, weights = np.polynomial.legendre.leggauss(12)

    def piece(a: float, b: float) -> tuple[float, float]:
        values = np.array([function(a + (b - a) * (node + 1) / 2) for node in nodes])
        return (b - a) / 2 * float(weights @ values), (b - a) / 2 * float(weights @ np.abs(values))

    total, size, open_ = 0.0, 0.0, [(0.0, 1.0, *piece(0.0, 1.0))]
    while open_:
        a, b, whole, magnitude = open_.pop()
        middle = 0.5 * (a + b)
        left, right = piece(a, middle), piece(middle, b)
        if abs(left[0] + right[0] - whole) <= 1e-12 * (1.0 + magnitude) or b - a < 2.0**-14:
            total, size = total + left[0] + right[0], size + left[1] + right[1]
        else:
            open_ += [(a, middle, *left), (middle, b, *right)]
    return total, size


def curvature(domain: Domain) -> Finding:
    """-Hess v lies between the declared bounds: measured as slopes of the gradient, by good if separable."""
    worst, u = Worst(), domain.utility
    low, high = u.curvature
    for x, y in domain.pairs(200, 3):
        d, fall = y - x, u.gradient(x) - u.gradient(y)
        # Rounding of x + step and of the gradients, over the step.
        noise = 1e-14 * (float(np.abs(u.gradient(x)).max()) + float(high.max() * np.abs(x).max()))
        if u.separable:
            moved = np.abs(d) > 1e-6 * domain.size
            slopes, steps = fall[moved] / d[moved], np.abs(d[moved])
            outside = np.maximum(low[moved] - slopes, slopes - high[moved]) - noise / steps
        else:
            length = float(np.linalg.norm(d))
            slopes = np.array([fall @ d / length**2])
            outside = np.maximum(low.min() - slopes, slopes - high.max()) - noise / length
        for excess, slope in zip(outside, slopes, strict=True):
            worst.see(float(excess / high.max()), f"curvature {slope:.6g} near {x}, declared [{low}, {high}]")
    return worst.finding("curvature", _CURVATURE)


def concave(domain: Domain) -> Finding:
    """v is strictly concave: half way between two allocations above the chord, by half of what the lowest
    curvature asks for at least."""
    worst, u = Worst(), domain.utility
    for x, y in domain.pairs(100, 4):
        middle, chord = u.value(0.5 * (x + y)), 0.5 * (u.value(x) + u.value(y))
        scale = max(1.0, abs(u.value(x)), abs(u.value(y)))
        chord += float(u.curvature[0].min() * np.square(x - y).sum()) / 16
        worst.see(
            (chord - middle) / scale, f"half way from {x} to {y} the value is {middle:.6g}, below {chord:.6g}"
        )
    return worst.finding("concave", 1e-12)


def separable(domain: Domain) -> Finding:
    """Where a utility says that it is a sum over goods, each marginal value depends on its own good only."""
    worst, u = Worst(), domain.utility
    if not u.separable or u.goods == 1:
        return Finding("separable", None, 0, "it is not claimed" if not u.separable else "there is one good")
    for x in domain.points(20, 5):
        for k in range(u.goods):
            other = domain.points(1, 6)[0]
            other[k] = x[k]
            here, there = float(u.gradient(x)[k]), float(u.gradient(other)[k])
            worst.see(
                abs(here - there) / max(1.0, abs(here)),
                f"the marginal value of good {k} moves from {here:.6g} to {there:.6g} with the other goods",
            )
    return worst.finding("separable", 1e-13)


def demand(domain: Domain) -> Finding:
    """``demand`` solves grad v(x) - ridge x = price to 1e-12, at prices of both signs, for any ridge."""
    worst, u = Worst(), domain.utility
    high = float(u.curvature[1].max())
    rng = np.random.default_rng([domain.seed, 9])
    for k, x in enumerate(domain.points(60, 7)):
        ridge = (0.0, 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-3, 3, u.goods))[k % 3]
        price = u.gradient(x) - ridge * x
        try:
            got = u.demand(price, ridge)
        except UtilityError as error:
            worst.see(float("inf"), f"at price {price} and ridge {ridge}: {error}")
            continue
        if not _is_vector(got, u.goods):
            worst.see(float("inf"), f"at price {price} it is {got!r}, expected {u.goods} finite numbers")
            continue
        off = u.gradient(got) - ridge * got - price
        size = (
            1.0
            + np.abs(price).max()
            + np.abs(u.gradient(got)).max()
            + (high + np.max(ridge)) * np.abs(got).max()
        )
        worst.see(
            float(np.abs(off).max() / size),
            f"at price {price} and ridge {ridge} it is {got}, where the marginal value is off by {off}",
        )
    return worst.finding("demand", _DEMAND)


LAWS: Mapping[str, Callable[[Domain], Finding]] = {
    "well formed": well_formed,
    "deterministic": deterministic,
    "gradient": gradient,
    "curvature": curvature,
    "concave": concave,
    "separable": separable,
    "demand": demand,
}


def check_utility(
    utility: Utility | UserUtility,
    *,
    goods: int | None = None,
    around: Vector | None = None,
    size: float = 10.0,
    without: Collection[str] = (),
    seed: int = 0,
) -> Report:
    """Put a utility through the laws.

    Args:
        utility: the utility; or an instance of a class as scenario files name them, with value, gradient and
            curvature.
        goods: K, for such a class.
        around: middle of the allocations at which it is tried, shape (K,); by default 0.
        size: how far from there, in units of the good: up to three times this.
        without: laws that are not claimed and not checked.
        seed: the report is a function of it and of the other arguments.
    Returns:
        One finding a law; if it is not even well formed, the others are not checked.
    Raises:
        ValueError: for an unknown law in ``without``, or a class that lacks what it needs.
    """
    if unknown := set(without) - set(LAWS):
        raise ValueError(f"unknown laws {sorted(unknown)}; expected some of {list(LAWS)}")
    name = type(utility).__name__
    checked = cast("Utility", utility) if goods is None else Custom(cast("UserUtility", utility), goods, name)
    middle = np.zeros(checked.goods) if around is None else np.asarray(around, dtype=np.float64)
    domain = Domain(checked, middle, size, seed)
    findings: list[Finding] = []
    for law, check in LAWS.items():
        malformed = bool(findings) and findings[0].broken
        if law in without or malformed:
            findings.append(Finding(law, None, 0, "it is not well formed" if malformed else "not claimed"))
        else:
            findings.append(check(domain))
    return Report(f"{name}, K = {checked.goods}, seed {seed}", tuple(findings))
