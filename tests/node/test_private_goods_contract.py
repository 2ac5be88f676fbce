"""The private-goods contract against spec 04 section 1, re-implemented literally in ``literal``."""

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
from tests.node.literal import EXACT, Literal

# x and p are sums of at most N = 8 terms over xi^e with xi^-e <= 4: rounding is below 100 units in the last
# place of the largest term.
ROUNDING = 1e-13
XI = 0.875
CAPACITIES = {1: [5.0], 2: [5.0, -3.0]}
CASES = list(itertools.product(GRAPHS, (1, 2)))


class Setting:
    """One instance: the contracts under test, and the literal ones in floats and in fractions."""

    def __init__(self, graph, goods, seed=0, xi=XI):
        self.graph = graph
        self.agents = tuple(sorted(graph))
        self.utilities = thesis(graph, seed, goods)
        self.c = CAPACITIES[goods]
        self.xi = xi
        # Beyond N a_hi / 2, where the plain best response contracts.
        self.delta = float(1.02 * len(self.agents) * (-1 / (2 * self.utilities.theta)).max() / 2)
        self.routes = routes(graph)
        self.hears = hears(graph)
        self.contracts = {
            i: PrivateGoods(
                self.routes[i], self.hears[i], build(self.utilities.spec(i)), self.c, xi, self.delta
            )
            for i in self.agents
        }
        self.literal = Literal(graph, self.utilities, self.c, xi, self.delta)
        self.exact = Literal(graph, self.utilities, self.c, xi, self.delta, EXACT)

    def random(self, seed, size=50.0):
        rng = np.random.default_rng([seed, 1])
        shape = (len(self.agents) + 1, len(self.c))
        return {i: rng.normal(0, size, shape) for i in self.agents}

    def view(self, i, messages):
        return self.contracts[i].view({j: messages[j] for j in self.hears[i]})

    def respond(self, i, messages):
        return self.contracts[i].best_response(self.view(i, messages))

    def outcome(self, i, messages):
        return self.contracts[i].outcome(messages[i], self.view(i, messages))

    def nash(self):
        x, multiplier = self.utilities.optimum(self.c)
        return x, multiplier, self.literal.nash(x, multiplier)


@pytest.fixture(scope="module", params=CASES, ids=[f"{g}-K{k}" for g, k in CASES])
def setting(request):
    name, goods = request.param
    return Setting(GRAPHS[name], goods)


def deviations(shape, count=300, seed=0):
    """Random deviations of y, of single proxies and of everything, of sizes 1e-3 to 30."""
    rng = np.random.default_rng([seed, 2])
    for k in range(count):
        step = rng.normal(size=shape) * 10 ** rng.uniform(-3, math.log10(30))
        if k % 3 == 0:
            step[1:] = 0.0
        elif k % 3 == 1:
            keep = int(rng.integers(1, shape[0]))
            step[[row for row in range(shape[0]) if row != keep]] = 0.0
        yield step


def test_some_of_the_graphs_have_echoes_longer_than_one():
    for name in ("one-way ring", "one-way ring with chords", "directed"):
        assert max(r.echo for r in routes(GRAPHS[name]).values()) >= 3


def test_outcome_is_the_formulas_of_the_spec(setting):
    for seed in range(5):
        messages = setting.random(seed)
        profile = setting.literal.read(messages)
        for i in setting.agents:
            got = setting.outcome(i, messages)
            x, p = setting.literal.allocation(i, profile), setting.literal.price(i, profile)
            size = sum(np.abs(m).max() for m in messages.values()) / XI ** len(setting.agents)
            np.testing.assert_allclose(got.allocation, x, rtol=0, atol=ROUNDING * size)
            np.testing.assert_allclose(got.price, p, rtol=0, atol=ROUNDING * size / setting.delta)
            # The tax is a sum of squares of that size and of products p.x.
            assert got.tax == pytest.approx(setting.literal.tax(i, profile), rel=0, abs=ROUNDING * size**2)
            assert got.allocation.shape == got.price.shape == (len(setting.c),)


def test_gradient_of_the_own_utility_vanishes_at_the_best_response(setting):
    messages = setting.random(11)
    profile = setting.exact.read(messages)
    for i in setting.agents:
        reply = setting.respond(i, messages)
        for at in np.ndindex(reply.shape):
            up, down = reply.copy(), reply.copy()
            # u_i has degree two, so a difference over any step gives the gradient; this one keeps sums exact.
            up[at] += 1024.0
            down[at] -= 1024.0
            width = EXACT(up[at]) - EXACT(down[at])
            slope = setting.exact.utility_of(i, up, profile) - setting.exact.utility_of(i, down, profile)
            # Curvature times rounding of the reply, and of the two steps around it (1024 * 1e-16 * eta).
            assert abs(float(slope / width)) <= 1e-9


def test_hessian_of_the_own_utility_is_negative_definite(setting):
    messages = setting.random(12)
    profile = setting.exact.read(messages)
    i = setting.agents[1]
    shape = messages[i].shape
    cells = list(np.ndindex(shape))

    def utility(*moved):
        own = np.zeros(shape)
        for cell in moved:
            own[cell] += 1.0
        return setting.exact.utility_of(i, own, profile)

    origin, single = utility(), {cell: utility(cell) for cell in cells}
    hessian = np.array(
        [[float(utility(a, b) - single[a] - single[b] + origin) for b in cells] for a in cells]
    )
    assert np.linalg.eigvalsh(hessian).max() < 0


def test_best_response_beats_every_random_deviation(setting):
    messages = setting.random(13)
    profile = setting.exact.read(messages)
    i = setting.agents[-1]
    reply = setting.respond(i, messages)
    best = setting.exact.utility_of(i, reply, profile)
    for step in deviations(reply.shape):
        assert setting.exact.utility_of(i, reply + step, profile) < best


def test_best_response_demands_what_the_price_asks_for(setting):
    messages = setting.random(14)
    for i in setting.agents:
        reply = setting.respond(i, messages)
        got = setting.contracts[i].outcome(reply, setting.view(i, messages))
        k = setting.agents.index(i)
        marginal = 2 * setting.utilities.theta[k] * got.allocation + setting.utilities.sigma[k]
        # grad v_i(x_i) = p_i; x is a difference of numbers of size 1e3 and has slope up to eta.
        np.testing.assert_allclose(marginal, got.price, rtol=0, atol=1e-9)


def test_nash_message_is_a_fixed_point_of_the_best_response(setting):
    _, _, nash = setting.nash()
    for i in setting.agents:
        reply = setting.respond(i, nash)
        size = max(np.abs(m).max() for m in nash.values())
        # Decoding divides by xi^e and the inverse demand multiplies by a/delta < 1.
        np.testing.assert_allclose(reply, nash[i], rtol=0, atol=1e-12 * size)


def test_nash_outcome_is_the_optimum_at_the_multiplier(setting):
    x, multiplier, nash = setting.nash()
    size = max(np.abs(m).max() for m in nash.values())
    for k, i in enumerate(setting.agents):
        got = setting.outcome(i, nash)
        np.testing.assert_allclose(got.allocation, x[k], rtol=0, atol=1e-12 * size)
        np.testing.assert_allclose(got.price, multiplier, rtol=0, atol=1e-12 * size)
        share = np.array(setting.c) / len(setting.agents)
        assert got.tax == pytest.approx(float(multiplier @ (x[k] - share)), rel=0, abs=1e-11 * size)


def test_nash_allocation_uses_up_the_capacity_and_taxes_balance(setting):
    _, multiplier, nash = setting.nash()
    got = [setting.outcome(i, nash) for i in setting.agents]
    for k, capacity in enumerate(setting.c):
        assert math.fsum(o.allocation[k] for o in got) == pytest.approx(capacity, rel=0, abs=1e-10)
    size = np.abs(multiplier).sum() * max(np.abs(o.allocation).max() for o in got)
    assert abs(math.fsum(o.tax for o in got)) <= 1e-11 * max(1.0, size) * len(got)


def test_nobody_gains_by_deviating_from_the_nash_message(setting):
    _, _, nash = setting.nash()
    profile = setting.exact.read(nash)
    i = setting.agents[0]
    # The Nash message is rounded: utility can be below its maximum by curvature * (1e-12 |m|)^2.
    slack = EXACT(25 * (1e-12 * max(np.abs(m).max() for m in nash.values())) ** 2 * nash[i].size)
    at_rest = setting.exact.utility(i, profile)
    for step in deviations(nash[i].shape, seed=1):
        assert setting.exact.utility_of(i, nash[i] + step, profile) < at_rest + slack


def test_everybody_prefers_the_equilibrium_to_an_equal_split(setting):
    """x_i* maximises v_i(x) - lambda.x and the tax is lambda.(x_i* - c/N), so u_i >= v_i(c/N)."""
    _, _, nash = setting.nash()
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


def test_price_does_not_depend_on_the_own_message(setting):
    messages = setting.random(16)
    for i in setting.agents:
        prices = [
            setting.contracts[i].outcome(own, setting.view(i, messages)).price.tobytes()
            for own in (messages[i], 0 * messages[i], messages[i] + 1e6)
        ]
        assert len(set(prices)) == 1
        assert setting.contracts[i].price(setting.view(i, messages)).tobytes() == prices[0]


def test_outcome_depends_on_neighbours_messages_only(setting):
    messages, noise = setting.random(17), setting.random(18)
    for i in setting.agents:
        near = {i, *setting.hears[i]}
        scrambled = {j: messages[j] if j in near else noise[j] for j in setting.agents}
        profile = setting.literal.read(scrambled)
        got = setting.outcome(i, messages)
        size = sum(np.abs(m).max() for m in messages.values()) / XI ** len(setting.agents)
        np.testing.assert_allclose(
            got.allocation, setting.literal.allocation(i, profile), rtol=0, atol=ROUNDING * size
        )
        assert got.tax == pytest.approx(setting.literal.tax(i, profile), rel=0, abs=ROUNDING * size**2)


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
    assert not Setting(tree(7), 1).contracts["n00"].accepts(body, "n01")


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
