"""The private-goods contract against spec 04 section 1, re-implemented literally in ``literal``.

Here is what only private goods promise; the laws of both contracts are in ``test_contract_laws``.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from node import environments
from node.mechanisms.private_goods import PrivateGoods
from node.routes import Routes
from node.utilities import Quadratic, build
from tests.node.instances import GRAPHS, hears, routes, thesis, tree
from tests.node.literal import EXACT
from tests.node.setting import Setting, deviations

CASES = list(itertools.product(GRAPHS, (1, 2)))


@pytest.fixture(scope="module", params=CASES, ids=[f"{g}-K{k}" for g, k in CASES])
def setting(request):
    name, goods = request.param
    return Setting("private", GRAPHS[name], goods, True)


def test_some_of_the_graphs_have_echoes_longer_than_one():
    for name in ("one-way ring", "one-way ring with chords", "directed"):
        assert max(r.echo for r in routes(GRAPHS[name]).values()) >= 3


def test_best_response_demands_what_the_price_asks_for(setting):
    messages = setting.random(14)
    for i in setting.agents:
        reply = setting.respond(i, messages)
        got = setting.contracts[i].outcome(reply, setting.view(i, messages))
        k = setting.agents.index(i)
        marginal = 2 * setting.utilities.theta[k] * got.allocation + setting.utilities.sigma[k]
        # grad v_i(x_i) = p_i; x is a difference of numbers of size 1e3 and has slope up to eta.
        np.testing.assert_allclose(marginal, got.price, rtol=0, atol=1e-9)


def test_nash_outcome_is_the_optimum_at_the_multiplier(setting):
    (x, prices), nash = setting.optimum(), setting.nash()
    size = max(np.abs(m).max() for m in nash.values())
    for k, i in enumerate(setting.agents):
        got = setting.outcome(i, nash)
        np.testing.assert_allclose(got.allocation, x[k], rtol=0, atol=1e-12 * size)
        np.testing.assert_allclose(got.price, prices[k], rtol=0, atol=1e-12 * size)
        share = np.array(setting.c) / len(setting.agents)
        assert got.tax == pytest.approx(float(prices[k] @ (x[k] - share)), rel=0, abs=1e-11 * size)


def test_nash_allocation_uses_up_the_capacity_and_taxes_balance(setting):
    (_, prices), nash = setting.optimum(), setting.nash()
    got = [setting.outcome(i, nash) for i in setting.agents]
    for k, capacity in enumerate(setting.c):
        assert math.fsum(o.allocation[k] for o in got) == pytest.approx(capacity, rel=0, abs=1e-10)
    size = np.abs(prices[0]).sum() * max(np.abs(o.allocation).max() for o in got)
    assert abs(math.fsum(o.tax for o in got)) <= 1e-11 * max(1.0, size) * len(got)


def test_nobody_gains_by_deviating_from_the_nash_message(setting):
    nash = setting.nash()
    profile = setting.exact.read(nash)
    i = setting.agents[0]
    # The Nash message is rounded: utility can be below its maximum by curvature * (1e-12 |m|)^2.
    slack = EXACT(25 * (1e-12 * max(np.abs(m).max() for m in nash.values())) ** 2 * nash[i].size)
    at_rest = setting.exact.utility(i, profile)
    for step in deviations(nash[i].shape, 300, seed=1):
        assert setting.exact.utility_of(i, nash[i] + step, profile) < at_rest + slack


def test_everybody_prefers_the_equilibrium_to_an_equal_split(setting):
    """x_i* maximises v_i(x) - lambda.x and the tax is lambda.(x_i* - c/N), so u_i >= v_i(c/N)."""
    nash = setting.nash()
    profile = setting.literal.read(nash)
    for i in setting.agents:
        share = [c / len(setting.agents) for c in setting.c]
        assert setting.literal.utility(i, profile) >= setting.literal.value(i, share) - 1e-9


def test_off_equilibrium_neither_feasible_nor_balanced(setting):
    """So that a test which only ever sees zeros does not pass for balance."""
    messages = setting.random(15)
    got = [setting.outcome(i, messages) for i in setting.agents]
    assert abs(math.fsum(o.allocation[0] for o in got) - setting.c[0]) > 1e-3
    assert abs(math.fsum(o.tax for o in got)) > 1e-3


def test_price_alone_is_that_of_the_outcome(setting):
    messages = setting.random(16)
    for i in setting.agents:
        price = setting.contracts[i].price(setting.view(i, messages))
        assert price.tobytes() == setting.outcome(i, messages).price.tobytes()


def test_best_response_leaves_what_it_was_given_untouched(setting):
    messages = setting.random(19)
    before = {i: m.copy() for i, m in messages.items()}
    for i in setting.agents:
        setting.outcome(i, messages)
        setting.respond(i, messages)
    assert all(np.array_equal(messages[i], before[i]) for i in setting.agents)


def test_opening_demands_nothing_and_is_accepted(setting):
    for contract in setting.contracts.values():
        opening = contract.opening()
        assert opening.shape == (len(setting.agents) + 1, len(setting.c))
        assert opening.dtype == np.float64
        assert not opening.any()
        assert contract.accepts(opening, "n01")


@pytest.mark.parametrize(
    "body",
    [
        None,
        3.0,
        "text",
        (1.0, 2.0),
        [[0.0]] * 8,
        np.zeros((8,)),
        np.zeros((7, 1)),
        np.zeros((9, 1)),
        np.zeros((8, 2)),
        np.zeros((8, 1, 1)),
        np.zeros((8, 1), dtype=np.float32),
        np.zeros((8, 1), dtype=np.int64),
    ],
    ids=lambda b: f"{type(b).__name__}{getattr(b, 'shape', '')}{getattr(b, 'dtype', '')}",
)
def test_only_arrays_of_the_right_shape_are_messages(body):
    assert not Setting("private", tree(7), 1, True).contracts["n00"].accepts(body, "n01")


def test_optimum_solves_the_kkt_system(setting):
    utilities = {i: build(setting.utilities.spec(i)) for i in setting.agents}
    got = environments.PrivateGoods(setting.c, utilities).optimum()
    x, multiplier = setting.utilities.optimum(setting.c)
    for k, i in enumerate(setting.agents):
        np.testing.assert_allclose(got.allocation[i], x[k], rtol=0, atol=1e-10)
    np.testing.assert_allclose(got.multiplier, multiplier, rtol=0, atol=1e-10)
    welfare = math.fsum(
        float(v) for v in (setting.utilities.theta * x**2 + setting.utilities.sigma * x).ravel()
    )
    assert got.welfare == pytest.approx(welfare, rel=1e-12)


def test_optimum_is_what_a_numerical_solver_finds():
    graph = GRAPHS["er"]
    utilities = thesis(graph, seed=6, goods=2, eta=5.0)
    capacities = [4.0, 9.0]
    n = len(utilities.agents)

    def loss(flat):
        x = flat.reshape(n, 2)
        return -(utilities.theta * x**2 + utilities.sigma * x).sum()

    def slope(flat):
        return -(2 * utilities.theta * flat.reshape(n, 2) + utilities.sigma).ravel()

    limits = {"type": "eq", "fun": lambda flat: flat.reshape(n, 2).sum(axis=0) - capacities}
    found = minimize(
        loss,
        np.zeros(2 * n),
        jac=slope,
        method="SLSQP",
        constraints=limits,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert found.success
    got = environments.PrivateGoods(
        capacities, {i: build(utilities.spec(i)) for i in utilities.agents}
    ).optimum()
    x = np.array([got.allocation[i] for i in utilities.agents])
    # The solver stops when the loss changes by less than 1e-14 relative: x is good to its square root.
    np.testing.assert_allclose(x.ravel(), found.x, rtol=0, atol=1e-5)
    assert got.welfare == pytest.approx(-found.fun, rel=1e-10)


def test_welfare_of_an_allocation_is_the_sum_of_values():
    environment = environments.PrivateGoods(
        [3.0], {a: Quadratic(np.array([-1.0]), np.array([4.0])) for a in ("a", "b", "c")}
    )
    allocation = {"a": np.array([0.0]), "b": np.array([1.0]), "c": np.array([2.0])}
    assert environment.welfare(allocation) == 0.0 + 3.0 + 4.0


def test_quadratic_is_the_valuation_of_the_thesis():
    v = build({"family": "quadratic", "theta": [-0.5, -2.0], "sigma": [10.0, 12.0]})
    x = np.array([3.0, -1.0])
    assert v.goods == 2
    assert v.value(x) == -0.5 * 9 + 30.0 + (-2.0 - 12.0)
    assert v.gradient(x).tolist() == [7.0, 16.0]
    assert v.demand(np.array([7.0, 16.0])).tolist() == [3.0, -1.0]
    assert [bound.tolist() for bound in v.curvature] == [[1.0, 4.0], [1.0, 4.0]]


# Bad values ---------------------------------------------------------------------------------------------


def contract(graph=None, spec=None, capacities=(5.0,), xi=0.9, delta=100.0):
    graph = tree(7) if graph is None else graph
    spec = spec or {"family": "quadratic", "theta": [-1.0], "sigma": [10.0]}
    return PrivateGoods(routes(graph)["n00"], hears(graph)["n00"], build(spec), capacities, xi, delta)


@pytest.mark.parametrize("xi", [0.0, 1.0, -0.25, 1.5, math.nan, math.inf])
def test_xi_outside_zero_to_one_is_refused(xi):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){xi!r}"):
        contract(xi=xi)


@pytest.mark.parametrize("delta", [0.0, -3.5, math.nan, math.inf])
def test_delta_that_is_not_positive_and_finite_is_refused(delta):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){delta!r}"):
        contract(delta=delta)


def test_two_agents_are_too_few():
    pair = Routes("a", ("a", "b"), {"a": 0, "b": 1}, {"a": "b", "b": "b"}, 1, 1)
    with pytest.raises(ValueError, match="2"):
        PrivateGoods(pair, ("b",), Quadratic(np.array([-1.0]), np.array([10.0])), (5.0,), 0.9, 100.0)


@pytest.mark.parametrize("capacity", [math.nan, math.inf, -math.inf])
def test_capacity_that_is_not_finite_is_refused(capacity):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){capacity!r}"):
        contract(capacities=(capacity,))


@pytest.mark.parametrize("capacity", [math.nan, math.inf, -math.inf])
def test_environment_with_a_capacity_that_is_not_finite_is_refused(capacity):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){capacity!r}"):
        environments.PrivateGoods(
            (capacity,), {a: Quadratic(np.array([-1.0]), np.array([10.0])) for a in ("a", "b", "c")}
        )


def test_utility_of_other_goods_is_refused():
    with pytest.raises(ValueError, match=r"2.*1|1.*2"):
        contract(capacities=(5.0, 6.0))


def test_environment_with_a_utility_of_other_goods_is_refused():
    with pytest.raises(ValueError, match=r"2.*1|1.*2"):
        environments.PrivateGoods(
            (5.0, 6.0), {a: Quadratic(np.array([-1.0]), np.array([10.0])) for a in ("a", "b", "c")}
        )


@pytest.mark.parametrize("theta", [0.0, 1.5, math.nan, -math.inf, math.inf])
def test_theta_that_is_not_finite_and_negative_is_refused(theta):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){theta:g}"):
        build({"family": "quadratic", "theta": [-1.0, theta], "sigma": [10.0, 10.0]})


@pytest.mark.parametrize("sigma", [math.nan, math.inf, -math.inf])
def test_sigma_that_is_not_finite_is_refused(sigma):
    with pytest.raises(ValueError, match=rf"(?<![\d-]){sigma!r}"):
        build({"family": "quadratic", "theta": [-1.0], "sigma": [sigma]})


@pytest.mark.parametrize(
    ("theta", "sigma", "shape"),
    [([-1.0, -2.0], [10.0], "2"), ([], [], "0"), ([[-1.0, -2.0]], [[10.0, 11.0]], r"\(1, 2\)|1x2|2-d")],
)
def test_parameters_of_wrong_shape_are_refused(theta, sigma, shape):
    with pytest.raises(ValueError, match=shape):
        build({"family": "quadratic", "theta": theta, "sigma": sigma})


def test_parameter_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="steep"):
        build({"family": "quadratic", "theta": ["steep"], "sigma": [1.0]})


def test_missing_parameter_is_named():
    with pytest.raises(ValueError, match="sigma"):
        build({"family": "quadratic", "theta": [-1.0]})


def test_unknown_family_is_named():
    with pytest.raises(ValueError, match="cubist"):
        build({"family": "cubist", "theta": [-1.0], "sigma": [1.0]})
