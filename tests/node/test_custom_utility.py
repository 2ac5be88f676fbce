"""A user's class under the wrapper: what is solved, what is noticed, and what the error says."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.utilities import CurvatureLeft, Custom, NotFinite, NotInverted, UtilityError, build
from node.utilities.inversion import invert, invert_separable
from tests.node import user_utilities as users

HERE = "tests.node.user_utilities"


def spec(name, goods=1, **parameters):
    return {"family": "custom", "class": f"{HERE}:{name}", "goods": goods, "parameters": parameters}


def test_lists_of_numbers_reach_the_class_as_arrays_and_the_rest_as_it_is():
    utility = build(spec("PseudoHuber", 2, sigma=[5.0, 6.0], low=0.25, gap=1))
    assert utility._user.sigma.tolist() == [5.0, 6.0]
    assert utility._user.sigma.dtype == np.float64
    assert (utility._user.low, utility._user.gap) == (0.25, 1)
    rows = [[1.0, 0.5], [-0.5]]
    with pytest.raises(ValueError, match="inhomogeneous"):  # what the class itself makes of such a list
        build(spec("Coupled", 2, sigma=[1.0, 2.0], rows=rows))
    assert [bound.tolist() for bound in utility.curvature] == [[0.25, 0.25], [1.25, 1.25]]


@pytest.mark.parametrize(
    ("name", "goods", "parameters", "text"),
    [
        ("Absent", 1, {}, r"'tests\.node\.user_utilities:Absent': not in the module .*user_utilities\.py\)"),
        ("Clumsy", 1, {"weight": 3.0}, r"Clumsy: RuntimeError: a weight of 3\.0 .*arguments weight"),
        ("PseudoHuber", 1, {}, "missing 1 required positional argument: 'sigma'.*expected .*none"),
        ("PseudoHuber", 1, {"colour": 1}, "unexpected keyword argument 'colour'"),
        ("BrokenPair", 3, {}, "BrokenPair: is a utility of 2 goods, expected 3"),
        ("NoBounds", 1, {}, r"NoBounds: curvature is None; expected a pair \(lowest, highest\)"),
        ("Upside", 1, {}, r"curvature is \(2\.0, 1\.0\); expected 0 < lowest <= highest < inf"),
        ("np", 1, {}, "np: is module; expected a class"),
    ],
)
def test_a_class_that_cannot_be_had_or_made_is_named_with_the_reason(name, goods, parameters, text):
    with pytest.raises(ValueError, match=text):
        build(spec(name, goods, **parameters))


@pytest.mark.parametrize("name", ["PseudoHuber", "no.such.module:X", ":", "tests.node.user_utilities:"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match=f"{re.escape(repr(name))}: .*; expected"):
        build({"family": "custom", "class": name, "goods": 1, "parameters": {}})


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("WrongSign", {"sigma": 5.0}, r"good 0: the curvature -v'' is -2\.[45]\d* between x = 0 and"),
        (
            "HalfGradient",
            {"sigma": 5.0},
            "value and gradient disagree: from 0 to 0.015625 the value rises by",
        ),
        ("WrongShape", {"sigma": 5.0}, r"gradient\(0\) has shape \(2, 2\); expected \(1,\)"),
        ("NotANumber", {"edge": -1.0}, r"good 0: gradient\(0\) is nan; expected a finite number"),
        ("Broken", {"edge": -1.0}, r"good 0: the curvature -v'' is 5 .*\[0\.5, 2\]"),
        ("Kinked", {"edge": 1e-5}, r"good 0: the curvature -v'' is \d+ .*\[0\.5, 2\]"),
    ],
)
def test_trying_a_class_out_finds_what_is_plainly_wrong(name, parameters, text):
    with pytest.raises(UtilityError, match=text):
        build(spec(name, **parameters)).probe()


@pytest.mark.parametrize(
    ("name", "goods"), [("PseudoHuber", 1), ("PseudoHuber", 3), ("CoupledWithHessian", 2)]
)
def test_trying_a_good_class_out_finds_nothing(name, goods):
    build(spec(name, goods, sigma=[4.0] * goods)).probe()


def test_a_class_that_scribbles_on_its_argument_and_reuses_its_result_is_borne():
    utility, plain = build(spec("Reusing", sigma=5.0)), build(spec("PseudoHuber", sigma=5.0))
    assert utility.demand(np.array([1.5])).tobytes() == plain.demand(np.array([1.5])).tobytes()
    x = np.array([2.0])
    first, _ = utility.gradient(x), utility.gradient(np.array([3.0]))
    assert x.tolist() == [2.0]
    assert first.tolist() == plain.gradient(x).tolist()


def test_a_proposal_saves_evaluations_and_changes_the_answer_by_rounding_only():
    counts, answers = [], []
    for kind in (users.PseudoHuber, users.Hinting):
        utility = Custom(kind(40.0, gap=0.01), 1, "counted")
        gradient, calls = utility._user.gradient, []
        utility._user.gradient = lambda x, gradient=gradient, calls=calls: calls.append(x) or gradient(x)
        answers.append(utility.demand(np.array([-7.0]))[0])
        counts.append(len(calls))
    assert counts[1] < counts[0]
    assert answers[0] == pytest.approx(answers[1], rel=1e-12)


# -- the curvature is watched -------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.floats(2.05, 50.0), st.floats(3.1, 40.0), st.sampled_from([0.0, 0.3, 10.0]))
def test_a_curvature_above_its_bound_is_noticed_wherever_the_demand_is_beyond_the_edge(beyond, x, ridge):
    utility = build(spec("Broken", beyond=beyond))
    price = utility.gradient(np.array([x])) - ridge * x
    with pytest.raises(CurvatureLeft) as caught:
        utility.demand(price, ridge)
    assert caught.value.declared == (0.5, 2.0)
    assert 2.0 < caught.value.seen <= beyond * (1 + 1e-6)
    assert caught.value.good == 0


@settings(max_examples=60, deadline=None)
@given(st.floats(0.01, 0.499), st.floats(3.1, 40.0))
def test_a_curvature_below_its_bound_is_noticed(beyond, x):
    utility = build(spec("Broken", beyond=beyond))
    with pytest.raises(CurvatureLeft) as caught:
        utility.demand(utility.gradient(np.array([x])))
    assert beyond * (1 - 1e-6) <= caught.value.seen < 0.5


@settings(max_examples=60, deadline=None)
@given(st.floats(-1e6, 2.9), st.sampled_from([0.5, 1.0, 2.0]))
def test_bounds_that_just_hold_are_not_complained_of(x, beyond):
    utility = build(spec("Broken", beyond=beyond, edge=-1e3))
    assert utility.demand(utility.gradient(np.array([x]))) == pytest.approx([x], rel=1e-9, abs=1e-9)


def test_what_is_found_names_good_amount_curvature_and_bounds():
    utility = build(spec("Broken", 2, sigma=[6.0, 0.0]))
    utility.separable = True
    with pytest.raises(CurvatureLeft) as caught:
        utility.demand(np.array([5.0, -1.0]))
    assert caught.value.good == 1
    assert caught.value.x[1] > 3.0
    text = (
        r"good 1: the curvature -v'' is \S+ between x = \[\S+ \S+\] and \[\S+ \S+\]; expected .*\[0\.5, 2\]"
    )
    assert re.search(text, str(caught.value))


def test_a_curvature_that_leaves_its_bounds_along_a_diagonal_only_is_noticed():
    utility = build(spec("BrokenPair", 2, sigma=6.0))
    inside = utility.demand(np.array([4.0, 4.0]))
    assert inside == pytest.approx([2.0, 2.0])
    with pytest.raises(CurvatureLeft) as caught:
        utility.demand(utility.gradient(np.array([3.5, 4.0])))
    assert 2.0 < caught.value.seen <= 2.6 * (1 + 1e-6)


@pytest.mark.parametrize(("press", "seen"), [(0.8, 2.6), (-0.3, 0.4)])
def test_a_curvature_is_looked_at_from_all_sides_even_if_the_search_takes_no_step(press, seen):
    # Along both axes the curvature is 1 + press, within the bounds; along the diagonal it is 1 + 2 press.
    utility = build(spec("BrokenPairKnown", 2, sigma=6.0, press=press))
    with pytest.raises(CurvatureLeft) as caught:
        utility.demand(utility.gradient(np.array([4.0, 4.0])))
    assert caught.value.seen == pytest.approx(seen, rel=1e-6)
    assert caught.value.x == pytest.approx([4.0, 4.0], abs=1e-3)


def test_a_kink_and_a_missing_value_end_the_search_with_their_names():
    with pytest.raises(CurvatureLeft, match="the curvature -v'' is"):
        build(spec("Kinked", beyond=1.0)).demand(np.array([2.5]))
    with pytest.raises(NotFinite, match=r"NotANumber: good 0: gradient\(\S+\) is nan; expected a finite"):
        build(spec("NotANumber")).demand(np.array([2.0]))
    with pytest.raises(NotFinite, match=r"value\(2e\+200\) is nan; expected a finite number"):
        build(spec("PseudoHuber", sigma=1.0)).value(np.array([2e200]))


def test_a_gradient_of_seven_digits_is_refused_and_not_taken_for_twelve():
    with pytest.raises((NotInverted, CurvatureLeft)):
        build(spec("Noisy")).demand(np.array([2.0]))


def test_goods_that_are_said_to_be_separable_and_are_not_are_never_solved_wrongly():
    utility = build(spec("FalselySeparable", 2, sigma=[5.0, -3.0]))
    with pytest.raises(UtilityError):
        utility.demand(np.array([1.0, 1.0]))


# -- the inversion itself -----------------------------------------------------------------------------


def test_an_unsolved_equation_is_an_error_that_says_price_and_residual():
    def jump(x):
        return np.where(x < 1.0, 1.0 - x, -1.0 - x)

    one = np.ones(1)
    text = r"at price -0\.5 the best x found, \S+, leaves 0\.5; expected at most"
    with pytest.raises(NotInverted, match=text) as c:
        invert_separable(jump, -0.5 * one, 0 * one, (one, 9 * one), 0 * one, 1e-12 * one)
    assert c.value.residual == pytest.approx(0.5)
    with pytest.raises(NotInverted, match="leaves"):
        invert(jump, -0.5 * one, 0 * one, (1.0, 9.0), 0 * one, 1e-12 * one)


@pytest.mark.parametrize("solve", ["separable", "joint"])
@pytest.mark.parametrize("size", [1e3, 1e8, 1e15, 1e150])
def test_numbers_too_large_for_the_promise_are_solved_to_rounding(solve, size):
    # v' = size - 3x - tanh x: the root is size / 3 to within 1; its residual cannot be below its rounding.
    calls = []

    def gradient(x):
        calls.append(x)
        return size - 3 * x - np.tanh(x)

    one = np.ones(1)
    bounds = (3 * one, 4 * one) if solve == "separable" else (3.0, 4.0)
    x = (invert_separable if solve == "separable" else invert)(
        gradient, one, 0 * one, bounds, 0 * one, 1e-12 * one
    )
    assert abs(gradient(x)[0] - 1.0) <= 16 * np.finfo(float).eps * 3 * size
    assert len(calls) < 130


def test_an_overflow_is_an_error_and_no_endless_loop():
    one = np.ones(1)
    for solve, bounds in ((invert_separable, (one, 2 * one)), (invert, (1.0, 2.0))):
        with pytest.raises(NotInverted):
            solve(lambda x: 1e308 - 1.5 * x, -1e308 * one, 0 * one, bounds, 0 * one, one)


def test_the_solver_takes_few_evaluations_over_a_wide_range():
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(300):
        low, ratio, width = 10.0 ** rng.uniform((-2, 0, -2), (1, 3, 2))
        calls = []

        def gradient(x, low=low, ratio=ratio, width=width, calls=calls):
            calls.append(x)
            return 9.0 - low * x - low * (ratio - 1) * width * np.tanh((x - 1.0) / width)

        price = rng.normal(0, 30, 1)
        bounds = np.array([low]), np.array([low * ratio])
        x = invert_separable(gradient, price, np.zeros(1), bounds, np.zeros(1), 1e-12 * (1 + np.abs(price)))
        assert abs(gradient(x) - price)[0] <= 1e-12 * (1 + abs(price[0])) + 1e-15 * low * ratio
        counts.append(len(calls))
    assert np.median(counts) <= 6
    assert max(counts) <= 25


def test_goods_that_depend_on_each_other_are_solved_for_curvatures_of_any_width():
    """v = s.x - low |x|^2/2 - sum of w log cosh(r.x - c) over rows r: kinks of any width, anywhere."""
    rng = np.random.default_rng(5)
    solved = 0
    while solved < 150:
        k, m = rng.integers(1, 6), rng.integers(1, 7)
        rows = rng.normal(size=(m, k)) * 10 ** rng.uniform(-2, 1.5)
        w, low, s, c = (
            10 ** rng.uniform(-2, 2, m),
            10 ** rng.uniform(-3, 1),
            rng.normal(0, 20, k),
            rng.normal(0, 3, m),
        )

        def gradient(x, rows=rows, w=w, low=low, s=s, c=c):
            return s - low * x - rows.T @ (w * np.tanh(rows @ x - c))

        high = low + np.linalg.eigvalsh(rows.T @ (w[:, None] * rows))[-1]
        if high / low > 1e6:
            continue  # wider than (1/eta, eta) for eta = 1000
        price, ridge = rng.normal(0, 10 ** rng.uniform(-3, 4), k), np.full(k, rng.choice([0.0, 3.0]))
        x = invert(gradient, price, ridge, (low, high), np.zeros(k), 1e-12 * (1 + np.abs(price)))
        size = np.abs(price) + np.abs(gradient(x)) + (high + ridge) * np.abs(x).sum()
        residual = np.abs(gradient(x) - ridge * x - price)
        assert (residual <= np.maximum(1e-12 * (1 + np.abs(price)), 16 * np.finfo(float).eps * size)).all()
        solved += 1
