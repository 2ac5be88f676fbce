"""Laws that hold for every family of utilities, and for users' own classes.

Prices and ridges go from tiny to huge. Promised is |grad v(x) - ridge x - price| <= 1e-12 (1 + |price|)
wherever double precision can give it, and rounding where it cannot.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.testing import check_utility
from node.utilities import Custom, LogCosh, Quadratic, QuadraticForm, build
from tests.node import user_utilities as users

EPS = float(np.finfo(float).eps)
FEW = settings(max_examples=80, deadline=None)


def vectors(k, low, high):
    return st.lists(st.floats(low, high), min_size=k, max_size=k).map(np.array)


def scales(k, low, high):
    """Positive numbers, evenly over the decades."""
    return vectors(k, low, high).map(lambda e: 10.0**e)


@st.composite
def quadratics(draw):
    k = draw(st.integers(1, 4))
    return Quadratic(-draw(scales(k, -2, 2)), draw(vectors(k, -50, 50)))


@st.composite
def forms(draw):
    k = draw(st.integers(1, 4))
    basis, _ = np.linalg.qr(np.array([draw(vectors(k, -1, 1)) for _ in range(k)]) + 3 * np.eye(k))
    hessian = -(basis * draw(scales(k, -2, 2))) @ basis.T
    return QuadraticForm(0.5 * (hessian + hessian.T), draw(vectors(k, -50, 50)))


@st.composite
def log_coshes(draw):
    k = draw(st.integers(1, 3))
    low = draw(scales(k, -2, 1))
    high = low * draw(scales(k, 0, 3))
    return LogCosh(low, high, draw(vectors(k, -50, 50)), draw(vectors(k, -30, 30)), draw(scales(k, -0.5, 1)))


@st.composite
def customs(draw):
    k = draw(st.integers(1, 3))
    kind = draw(st.sampled_from([users.PseudoHuber, users.Hinting]))
    user = kind(
        draw(vectors(k, -50, 50)),
        10 ** draw(st.floats(-1, 1)),
        10 ** draw(st.floats(-1, 1)),
        draw(vectors(k, -9, 9)),
    )
    return Custom(user, k, kind.__name__)


@st.composite
def coupled(draw):
    kind = draw(st.sampled_from([users.Coupled, users.CoupledWithHessian, users.WrongHessian]))
    rows = [draw(vectors(2, -1.5, 1.5)) for _ in range(draw(st.integers(1, 3)))]
    return Custom(kind(draw(vectors(2, -20, 20)), rows), 2, kind.__name__)


families = st.one_of(quadratics(), forms(), log_coshes(), customs(), coupled())


@FEW
@given(families, st.data())
def test_the_gradient_is_the_derivative_of_the_value(utility, data):
    x, way = data.draw(vectors(utility.goods, -20, 20)), data.draw(vectors(utility.goods, -0.3, 0.3))
    nodes, weights = np.polynomial.legendre.leggauss(40)  # exact for these functions over so short a way
    slopes = [utility.gradient(x + 0.5 * (1 + t) * way) @ way for t in nodes]
    rise = utility.value(x + way) - utility.value(x)
    scale = abs(utility.value(x)) + utility.curvature[1].max() * (x @ x) + 1
    assert rise == pytest.approx(0.5 * weights @ slopes, abs=1e-13 * scale, rel=1e-9)


@FEW
@given(families, st.data())
def test_the_curvature_between_any_two_points_is_within_the_bounds(utility, data):
    x, y = data.draw(vectors(utility.goods, -40, 40)), data.draw(vectors(utility.goods, -40, 40))
    lowest, highest = utility.curvature
    assert lowest.shape == highest.shape == (utility.goods,)
    way, drop = y - x, utility.gradient(x) - utility.gradient(y)
    noise = 8 * EPS * (np.abs(utility.gradient(x)) + np.abs(utility.gradient(y)) + highest * 40 + 50)
    if utility.separable:
        assert (drop * np.sign(way) >= lowest * np.abs(way) - noise).all()
        assert (drop * np.sign(way) <= highest * np.abs(way) + noise).all()
    else:
        assert len(set(lowest.tolist())) == len(set(highest.tolist())) == 1
        length = np.linalg.norm(way)
        assert drop @ way >= (lowest[0] * length - np.linalg.norm(noise)) * length
        assert np.linalg.norm(drop) <= highest[0] * length + np.linalg.norm(noise)


@FEW
@given(families, st.data())
def test_separable_is_said_of_those_only_whose_goods_do_not_meet(utility, data):
    x = data.draw(vectors(utility.goods, -20, 20))
    if utility.separable:
        for k in range(utility.goods):
            y = data.draw(vectors(utility.goods, -20, 20))
            y[k] = x[k]
            assert utility.gradient(x)[k] == utility.gradient(y)[k]
    elif isinstance(utility, QuadraticForm):  # a user's class may say less than it could
        assert np.any(utility.hessian != np.diag(np.diag(utility.hessian)))


prices = st.one_of(st.floats(-30, 30), st.floats(-1e-6, 1e-6), st.floats(-1e9, 1e9))
ridges = st.one_of(st.just(0.0), st.floats(-8, 8).map(lambda e: 10.0**e))


@settings(max_examples=250, deadline=None)
@given(families, st.data())
def test_demand_solves_its_equation_as_exactly_as_is_promised(utility, data):
    k = utility.goods
    price = np.array(data.draw(st.lists(prices, min_size=k, max_size=k)))
    ridge = data.draw(st.one_of(ridges, st.lists(ridges, min_size=k, max_size=k).map(np.array)))
    x = utility.demand(price, ridge)
    assert x.shape == (k,)
    residual = np.abs(utility.gradient(x) - ridge * x - price)
    highest = float(utility.curvature[1].max()) + float(np.max(ridge))
    # The numbers that enter the equation, and the offsets of these families: sigma <= 50, centre <= 30.
    size = np.abs(price) + 50 + highest * (np.abs(x).sum() + 30)
    assert (residual <= np.maximum(1e-12 * (1 + np.abs(price)), 8 * EPS * size)).all()
    assert x.tobytes() == utility.demand(price, ridge).tobytes()


@FEW
@given(families, st.data())
def test_demand_is_what_maximises_value_minus_cost(utility, data):
    price = data.draw(vectors(utility.goods, -30, 30))
    ridge = data.draw(st.floats(0, 10))

    def gain(x):
        return utility.value(x) - price @ x - ridge * (x @ x) / 2

    x = utility.demand(price, ridge)
    other = x + data.draw(vectors(utility.goods, -3, 3))
    lowest = float(utility.curvature[0].min()) + ridge
    slack = 1e-13 * (abs(utility.value(x)) + abs(utility.value(other)) + np.abs(price) @ np.abs(other) + 1e3)
    assert gain(x) - gain(other) >= lowest / 2 * float((x - other) @ (x - other)) - slack - ridge * 1e-10


@pytest.mark.parametrize("size", [1.0, 100.0])
@pytest.mark.parametrize(
    "utility",
    [
        Quadratic(np.array([-1.0, -0.2]), np.array([3.0, 4.0])),
        QuadraticForm(np.array([[-2.0, 0.5], [0.5, -1.0]]), np.array([3.0, 4.0])),
        LogCosh(*np.array([[0.5, 1.0], [2.0, 9.0], [3.0, 4.0], [0.0, 5.0], [1.0, 0.3]])),
        Custom(users.PseudoHuber(np.array([3.0, 4.0])), 2, "PseudoHuber"),
        Custom(users.Coupled([3.0, 4.0]), 2, "Coupled"),
        Custom(users.CoupledWithHessian([3.0, 4.0]), 2, "CoupledWithHessian"),
    ],
    ids=lambda utility: getattr(utility, "_name", type(utility).__name__) if utility else "",
)
def test_the_conformance_kit_finds_nothing(utility, size):
    check_utility(utility, size=size).raise_if_broken()


@pytest.mark.parametrize("x", [1e-9, 1e-5, 0.5, 1.0, 40.0, 1e4, 1e150])
def test_log_cosh_neither_overflows_nor_loses_digits(x):
    utility = LogCosh(*(np.array([v]) for v in (1.0, 3.0, 0.0, 0.0, 1.0)))
    # log cosh x in 60 digits, from series and limits that hold to double precision at these points.
    exact = {1e-9: 5e-19, 1e-5: 4.999999999916667e-11, 0.5: 0.12011450695827752, 1.0: 0.4337808304830271}
    log_cosh = exact.get(x, x - math.log(2))
    assert utility.value(np.array([x])) == pytest.approx(-x * x / 2 - 2 * log_cosh, rel=4 * EPS)


def test_log_cosh_of_equal_bounds_is_a_quadratic():
    one, two = np.array([1.3, 0.2]), np.array([5.0, -1.0])
    utility = LogCosh(one, one, two, np.array([3.0, 4.0]), np.array([1.0, 2.0]))
    quadratic = Quadratic(-0.5 * one, two)
    x = np.array([0.7, -11.0])
    assert utility.gradient(x) == pytest.approx(quadratic.gradient(x), rel=1e-15)
    assert utility.value(x) == pytest.approx(quadratic.value(x), rel=1e-15)
    assert utility.demand(x) == pytest.approx(quadratic.demand(x), rel=1e-15)


def test_a_form_asks_for_one_factorisation_as_long_as_the_ridge_is_the_same(monkeypatch):
    utility = QuadraticForm(np.array([[-2.0, 0.5], [0.5, -1.0]]), np.array([3.0, 4.0]))
    calls = []
    inv = np.linalg.inv
    monkeypatch.setattr(np.linalg, "inv", lambda a: calls.append(a) or inv(a))
    for price in range(5):
        utility.demand(np.array([price, 1.0]), 2.0)
    assert len(calls) == 1
    utility.demand(np.zeros(2), 3.0)
    first = utility.demand(np.zeros(2), 2.0)
    assert len(calls) == 3
    assert first.tobytes() == QuadraticForm(utility.hessian, utility.sigma).demand(np.zeros(2), 2.0).tobytes()


def test_a_diagonal_form_is_separable_and_equals_the_separable_quadratic():
    form = QuadraticForm(np.diag([-2.0, -0.5]), np.array([3.0, 4.0]))
    plain = Quadratic(np.array([-1.0, -0.25]), np.array([3.0, 4.0]))
    assert form.separable
    assert [c.tolist() for c in form.curvature] == [c.tolist() for c in plain.curvature]
    price = np.array([1.0, -2.0])
    assert form.demand(price, 0.5) == pytest.approx(plain.demand(price, 0.5), rel=1e-15)


def form(*hessian):
    return {"family": "quadratic-form", "hessian": hessian, "sigma": [1.0] * len(hessian)}


def log_cosh(**changed):
    plain = {"low": [1.0], "high": [2.0], "sigma": [0.0], "centre": [0.0], "width": [1.0]}
    return {"family": "log-cosh", **plain, **changed}


WRONG = [
    ({"family": "cubic"}, "unknown utility 'cubic'.*'log-cosh' with low, high, sigma, centre, width"),
    ({"family": "log-cosh", "low": [1.0]}, "unknown utility 'log-cosh' with low; expected"),
    (form([-1.0, 2.0], [2.0, -1.0]), "negative definite"),
    (form([-1.0, 0.2], [0.1, -1.0]), "symmetric"),
    (form([-1.0, 0.2]), r"shape \(1, 2\)"),
    (form([math.nan]), "finite"),
    (log_cosh(low=[3.0]), "expected 0 < low <= high"),
    (log_cosh(low=[0.0]), "expected 0 < low <= high"),
    (log_cosh(width=[0.0]), "width must be positive"),
    (log_cosh(sigma=[math.inf]), "sigma must be finite"),
    (log_cosh(low=[1.0, 1.0]), "shapes"),
]


@pytest.mark.parametrize(("spec", "text"), WRONG)
def test_parameters_that_make_no_utility_are_refused(spec, text):
    with pytest.raises(ValueError, match=text):
        build(spec)
