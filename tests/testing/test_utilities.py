"""The laws of utilities: two families keep all, and each mutant breaks its own."""

from __future__ import annotations

import numpy as np
import pytest

from node.testing import check_utility, samples
from node.utilities import Quadratic


class Bent:
    """v = s x - low x^2/2 - (high - low) log cosh x for each good; -v'' runs through (low, high]."""

    separable = True

    def __init__(self, low=(0.5, 1.0), high=(2.0, 4.0), s=(3.0, -2.0)):
        self.low, self.high, self.s = np.array(low), np.array(high), np.array(s)

    @property
    def goods(self):
        return self.s.size

    @property
    def curvature(self):
        return self.low, self.high

    def value(self, x):
        log_cosh = np.logaddexp(x, -x) - np.log(2)
        return float((self.s * x - self.low * x**2 / 2 - (self.high - self.low) * log_cosh).sum())

    def gradient(self, x):
        return self.s - self.low * x - (self.high - self.low) * np.tanh(x)

    def demand(self, price, ridge=0.0):
        slope, bend, target = self.low + ridge, self.high - self.low, self.s - price
        left, right = (target - bend) / slope, (target + bend) / slope
        for _ in range(200):
            x = 0.5 * (left + right)
            off = slope * x + bend * np.tanh(x) - target
            left, right = np.where(off <= 0, x, left), np.where(off >= 0, x, right)
        return 0.5 * (left + right)


class Woven:
    """v = s.x - x'Mx/2 with goods that do not separate."""

    separable = False
    M = np.array([[2.0, 0.9], [0.9, 1.0]])
    s = np.array([3.0, -2.0])
    goods = 2

    @property
    def curvature(self):
        low, high = np.linalg.eigvalsh(self.M)
        return np.full(2, low), np.full(2, high)

    def value(self, x):
        return float(self.s @ x - x @ self.M @ x / 2)

    def gradient(self, x):
        return self.s - self.M @ x

    def demand(self, price, ridge=0.0):
        return np.linalg.solve(self.M + np.diag(np.broadcast_to(ridge, 2)), self.s - price)


@pytest.mark.parametrize(
    "utility",
    [
        Quadratic(np.array([-1.0]), np.array([10.0])),
        Quadratic(np.array([-12.0, -0.03, -1.0]), np.array([10.0, 0.0, -5.0])),
        Bent(),
        Bent((0.01,), (20.0,), (1.0,)),
        Woven(),
        *(draw(["a"], goods, seed=4)["a"] for draw in (samples.bent, samples.woven) for goods in (2, 3)),
    ],
    ids=["one good", "three goods", "bent", "very bent", "woven", "cosh 2", "cosh 3", "form 2", "form 3"],
)
@pytest.mark.parametrize("size", [0.1, 10.0, 1000.0])
def test_utilities_that_are_right_keep_all_laws(utility, size):
    report = check_utility(utility, size=size)
    report.raise_if_broken()
    assert set(report.unchecked) <= {"separable"}


class NoGoods(Bent):
    goods = 0


class CurvatureIsANumber(Bent):
    curvature = (0.5, 4.0)


class BoundsSwapped(Bent):
    @property
    def curvature(self):
        return self.high, self.low


class ValueIsAnArray(Bent):
    def value(self, x):
        return np.array([super().value(x)])


class Dice(Bent):
    rng = np.random.default_rng()

    def demand(self, price, ridge=0.0):
        return super().demand(price, ridge) * (1 + 1e-15 * self.rng.random())


class WritesIntoItsArgument(Bent):
    def value(self, x):
        result = super().value(x)
        x[0] += 1.0
        return result


class GradientOfAnother(Bent):
    """A value whose derivative it is not, though as concave."""

    def value(self, x):
        return super().value(x) + 0.01 * float(x.sum())


class TooNarrow(Bent):
    """The highest curvature, 4 at x = 0, is declared too low."""

    @property
    def curvature(self):
        return self.low, np.array([2.0, 3.9])


class TooHigh(Bent):
    """The lowest curvature is declared too high."""

    @property
    def curvature(self):
        return np.array([0.5, 1.1]), self.high


class Convex(Bent):
    """Value and gradient of -v: everything fits but the sign."""

    def value(self, x):
        return -super().value(x)

    def gradient(self, x):
        return -super().gradient(x)

    def demand(self, price, ridge=0.0):
        # Solves its equation all the same where there is no ridge; where there is, it may not.
        return super().demand(-price, -np.asarray(ridge))


class Clipped(Bent):
    def demand(self, price, ridge=0.0):
        return np.maximum(super().demand(price, ridge), 0.0)


class Rough(Bent):
    """Solved to 1e-6 only."""

    def demand(self, price, ridge=0.0):
        return np.round(super().demand(price, ridge), 6)


class IgnoresTheRidge(Bent):
    def demand(self, price, ridge=0.0):
        return super().demand(price)


class SaysThatItSeparates(Woven):
    separable = True

    @property
    def curvature(self):
        return np.diag(self.M), np.diag(self.M)


BROKEN = {
    NoGoods: {"well formed"},
    BoundsSwapped: {"well formed"},
    ValueIsAnArray: {"well formed"},
    CurvatureIsANumber: {"well formed"},
    Dice: {"deterministic"},
    WritesIntoItsArgument: {"deterministic"},
    GradientOfAnother: {"gradient"},
    TooNarrow: {"curvature"},
    TooHigh: {"curvature"},
    Clipped: {"demand"},
    Rough: {"demand"},
    IgnoresTheRidge: {"demand"},
    Convex: {"curvature", "concave"},
    SaysThatItSeparates: {"separable", "curvature"},
}


@pytest.mark.parametrize("utility", BROKEN, ids=lambda utility: utility.__name__)
def test_a_mutant_breaks_its_law(utility):
    broken = set(check_utility(utility()).broken)
    if utility is Convex:
        broken.discard("demand")
    assert broken == BROKEN[utility]


class Comfort:
    """A class as scenario files name them: see docs/utilities.md."""

    separable = True

    def __init__(self, highest=2.3):
        self.curvature = (0.3, highest)

    def value(self, x):
        return float(np.sum(-0.15 * x**2 - 0.5 * (np.sqrt(1 + 4 * x**2) - 1)))

    def gradient(self, x):
        return -0.3 * x - 2 * x / np.sqrt(1 + 4 * x**2)


@pytest.mark.parametrize("goods", [1, 2])
def test_a_class_as_scenarios_name_them_is_checked_with_the_demand_that_it_gets(goods):
    check_utility(Comfort(), goods=goods).raise_if_broken()
    report = check_utility(Comfort(2.2), goods=goods, size=1.0)
    assert set(report.broken) == {"curvature", "demand"}
    assert "CurvatureLeft" in report["demand"].reason or "curvature" in report["demand"].reason
    with pytest.raises(ValueError, match="gradient"):
        check_utility(object(), goods=goods)


def test_what_is_not_well_formed_is_asked_no_more():
    report = check_utility(BoundsSwapped())
    assert len(report.unchecked) == 6


def test_laws_hold_where_they_are_asked_for():
    """A valuation that is only right for amounts of 50 and more."""

    class OnlyLarge(Bent):
        def gradient(self, x):
            return super().gradient(x) * np.where(x < 50, 2.0, 1.0)

    assert "gradient" in check_utility(OnlyLarge()).broken
    check_utility(OnlyLarge(), around=np.array([100.0, 100.0]), size=5.0).raise_if_broken()


def test_a_law_that_is_not_claimed_is_not_checked():
    check_utility(Clipped(), without=["demand"]).raise_if_broken()
    with pytest.raises(ValueError, match="honesty"):
        check_utility(Clipped(), without=["honesty"])
