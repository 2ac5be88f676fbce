"""The planner's optimum against an independent convex solver and against its own conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, root

from node.environments import PrivateGoods, PublicGoods
from node.utilities import Custom, LogCosh, Quadratic, QuadraticForm, UtilityError
from tests.node import user_utilities as users

EPS = float(np.finfo(float).eps)


def quadratic(rng, k):
    return Quadratic(-rng.uniform(0.1, 3, k), rng.uniform(5, 20, k))


def form(rng, k):
    basis, _ = np.linalg.qr(rng.normal(size=(k, k)))
    hessian = -(basis * rng.uniform(0.2, 6, k)) @ basis.T
    return QuadraticForm(0.5 * (hessian + hessian.T), rng.uniform(5, 20, k))


def log_cosh(rng, k):
    low = rng.uniform(0.1, 1, k)
    return LogCosh(
        low, low * rng.uniform(1, 20, k), rng.uniform(5, 20, k), rng.normal(0, 3, k), rng.uniform(0.2, 2, k)
    )


def custom(rng, k):
    return Custom(users.PseudoHuber(rng.uniform(5, 20, k), m=rng.normal(0, 3, k)), k, "PseudoHuber")


def coupled(rng, k):
    return Custom(users.Coupled(rng.uniform(5, 20, k), rng.normal(size=(3, k))), k, "Coupled")


MIXES = {
    "quadratics": [quadratic],
    "forms": [form],
    "quadratics and forms": [quadratic, form],
    "log-cosh": [log_cosh],
    "separable ones": [quadratic, log_cosh, custom],
    "coupled": [coupled],
    "all": [quadratic, form, log_cosh, custom, coupled],
}


def drawn(mix, k, seed, agents=9):
    rng = np.random.default_rng(seed)
    makers = MIXES[mix]
    return {f"n{i}": makers[i % len(makers)](rng, k) for i in range(agents)}


def instances():
    return [(mix, k) for mix in MIXES for k in (1, 2) if not (k == 1 and "coupled" in mix)]


@pytest.mark.parametrize(("mix", "k"), [(m, k) for m, k in instances() if m != "all" or k == 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_private_optimum_is_that_of_a_convex_solver(mix, k, seed):
    utilities = drawn(mix, k, seed)
    n, c = len(utilities), np.array([14.0, -3.0])[:k]
    got = PrivateGoods(c.tolist(), utilities).optimum()

    # Agent n8 takes what the others leave, so that there is no constraint.
    def rows(flat):
        x = flat.reshape(n - 1, k)
        return [*x, c - x.sum(axis=0)]

    def cost(flat):
        return -sum(u.value(x) for u, x in zip(utilities.values(), rows(flat), strict=True))

    def slope(flat):
        *others, last = (u.gradient(x) for u, x in zip(utilities.values(), rows(flat), strict=True))
        return -(np.array(others) - last).ravel()

    start = minimize(cost, np.zeros((n - 1) * k), jac=slope, method="L-BFGS-B")
    solved = root(slope, start.x, tol=1e-13)
    assert np.abs(slope(solved.x)).max() <= 1e-10
    expected = np.array(rows(solved.x))
    x = np.array([got.allocation[i] for i in utilities])
    assert np.abs(x - expected).max() <= 1e-8
    assert got.welfare == pytest.approx(-cost(solved.x), rel=1e-12)
    assert got.welfare >= -start.fun - 1e-12 * abs(start.fun)


@pytest.mark.parametrize(("mix", "k"), instances())
@pytest.mark.parametrize("seed", range(5))
def test_the_private_optimum_meets_its_conditions_to_rounding(mix, k, seed):
    utilities = drawn(mix, k, seed)
    c = np.array([14.0, -3.0])[:k]
    got = PrivateGoods(c.tolist(), utilities).optimum()
    x = np.array([got.allocation[i] for i in utilities])
    exact = not any(
        isinstance(u, Custom) for u in utilities.values()
    )  # those promise 1e-12 (1 + |price|) each
    assert np.abs(x.sum(axis=0) - c).max() <= (64 * EPS * np.abs(x).sum() if exact else 1e-10)
    for agent, utility in utilities.items():
        off = np.abs(utility.gradient(got.allocation[agent]) - got.multiplier)
        assert off.max() <= 1e-12 * (1 + np.abs(got.multiplier).max())
        assert got.prices[agent].tolist() == got.multiplier.tolist()
    assert got.multiplier.shape == (k,)


@pytest.mark.parametrize(("mix", "k"), [(m, k) for m, k in instances() if m != "all" or k == 2])
@pytest.mark.parametrize("seed", range(3))
def test_the_public_optimum_is_that_of_a_root_finder_and_of_a_minimiser(mix, k, seed):
    utilities = drawn(mix, k, seed)
    got = PublicGoods(k, utilities).optimum()
    solved = root(lambda x: sum(u.gradient(x) for u in utilities.values()), np.zeros(k), tol=1e-13)
    x = got.allocation["n0"]
    assert np.abs(x - solved.x).max() <= 1e-10 * (1 + np.abs(x).max())
    fun = minimize(lambda x: -sum(u.value(x) for u in utilities.values()), np.zeros(k)).fun
    assert got.welfare == pytest.approx(-fun, rel=1e-6)


@pytest.mark.parametrize(("mix", "k"), instances())
@pytest.mark.parametrize("seed", range(5))
def test_the_public_optimum_meets_its_conditions_to_rounding(mix, k, seed):
    utilities = drawn(mix, k, seed)
    got = PublicGoods(k, utilities).optimum()
    x = got.allocation["n0"]
    assert all(share.tolist() == x.tolist() for share in got.allocation.values())
    prices = np.array([got.prices[i] for i in utilities])
    assert np.abs(prices.sum(axis=0)).max() <= 64 * EPS * (np.abs(prices).sum() + 60 * np.abs(x).sum())
    for i, utility in utilities.items():
        assert got.prices[i].tolist() == utility.gradient(x).tolist()
    assert got.multiplier.shape == (0,)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.sampled_from(["log-cosh", "separable ones"]),
)
def test_the_private_optimum_is_found_for_any_capacity(seed, k, capacities, mix):
    utilities = drawn(mix, k, seed, agents=5)
    c = np.array(capacities[:k])
    got = PrivateGoods(c.tolist(), utilities).optimum()
    x = np.array([got.allocation[i] for i in utilities])
    size = np.abs(x).sum(axis=0) + 1
    assert (np.abs(x.sum(axis=0) - c) <= 1e-10 * size).all()


def test_the_order_of_agents_does_not_change_a_bit():
    utilities = drawn("all", 2, 4)
    turned = dict(reversed(utilities.items()))
    for one, two in (
        (PrivateGoods([5.0, 6.0], utilities), PrivateGoods([5.0, 6.0], turned)),
        (PublicGoods(2, utilities), PublicGoods(2, turned)),
    ):
        a, b = one.optimum(), two.optimum()
        assert a.welfare.hex() == b.welfare.hex()
        assert all(a.allocation[i].tobytes() == b.allocation[i].tobytes() for i in utilities)


def test_a_thousand_agents_take_a_few_evaluations_each(monkeypatch):
    utilities = drawn("log-cosh", 1, 2, agents=1000)
    calls = []
    demand = LogCosh.demand
    monkeypatch.setattr(LogCosh, "demand", lambda self, *a: calls.append(1) or demand(self, *a))
    PrivateGoods([900.0], utilities).optimum()
    assert len(calls) <= 40 * len(utilities)


def test_an_agent_whose_utility_breaks_its_word_is_named():
    utilities = drawn("log-cosh", 1, 2, agents=4) | {"zoe": Custom(users.Broken(30.0), 1, "Broken")}
    with pytest.raises(UtilityError, match=r"agent zoe: good 0: the curvature -v'' is .* between x = "):
        PrivateGoods([60.0], utilities).optimum()
    with pytest.raises(UtilityError, match="agent zoe: NotANumber: good 0: gradient"):
        PublicGoods(1, utilities | {"zoe": Custom(users.NotANumber(30.0), 1, "NotANumber")}).optimum()


def test_what_makes_no_environment_is_refused():
    utilities = drawn("quadratics", 2, 1)
    with pytest.raises(ValueError, match="n0: a utility of 2 goods, expected 3"):
        PublicGoods(3, utilities)
    with pytest.raises(ValueError, match="features = 0; expected at least 1"):
        PublicGoods(0, {})
    with pytest.raises(ValueError, match="capacities must be finite"):
        PrivateGoods([float("nan"), 1.0], utilities)
