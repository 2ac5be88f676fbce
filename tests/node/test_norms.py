"""Contraction of public goods, and of both contracts where goods interact, against Jacobians built number by
number and exact arithmetic: spec 04 section 4."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.mechanisms import contraction, public_contraction
from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.utilities import build
from tests.node.instances import ETA, GRAPHS, Forms, forms, hears, random_graph, routes, thesis, tree

LAWS = settings(deadline=None, max_examples=40, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(3, 12), seed=st.integers(0, 10_000), directed=st.booleans())
ranges = st.tuples(st.floats(0.04, 25.0), st.floats(0.04, 25.0)).map(sorted)
XI = 0.95
CONDITIONS = {"private": contraction, "public": public_contraction}


class Joint:
    """The joint best response of a whole network of K goods, as a map of arrays of shape (N, N+1, K)."""

    def __init__(self, kind, graph, utilities, xi, delta):
        self.agents = tuple(sorted(graph))
        self.n, self.goods = utilities.sigma.shape
        self.hears, self.routes = hears(graph), routes(graph)
        make = {
            "private": lambda i, u: PrivateGoods(
                self.routes[i], self.hears[i], u, [5.0] * self.goods, xi, delta
            ),
            "public": lambda i, u: PublicGoods(self.routes[i], self.hears[i], u, self.goods, xi, delta),
        }[kind]
        self.contracts = {i: make(i, build(utilities.spec(i))) for i in self.agents}
        self.shape = (self.n, self.n + 1, self.goods)

    def __call__(self, profile):
        messages = dict(zip(self.agents, profile, strict=True))
        return np.array(
            [
                self.contracts[i].best_response(
                    self.contracts[i].view({j: messages[j] for j in self.hears[i]})
                )
                for i in self.agents
            ]
        )

    def jacobian(self):
        """Shape (N, N+1, K, N, N+1, K): the map is affine."""
        origin = self(np.zeros(self.shape))
        size = origin.size
        columns = [self(column.reshape(self.shape)) - origin for column in np.eye(size)]
        return np.array(columns).reshape(*self.shape, *self.shape).transpose(3, 4, 5, 0, 1, 2)

    def blocks(self):
        """Euclidean operator norms of the K x K blocks, shape (N (N+1), N (N+1))."""
        rows = self.n * (self.n + 1)
        jacobian = self.jacobian().reshape(rows, self.goods, rows, self.goods).transpose(0, 2, 1, 3)
        return np.linalg.norm(jacobian, ord=2, axis=(2, 3))


def literal_row(route, xi, delta, h):
    """Spec section 4: the public row sum, in exact arithmetic."""
    n, g = len(route.agents), route.echo
    s = sum(1 / xi ** max(1, route.distance[r] - 1) for r in route.agents if r != route.me)
    own = xi ** (1 - g) * abs(delta * (n - 1) / (n * xi) - delta * xi)
    return (own + abs(delta / n - h / n**2) * s) / (delta * xi**2 + h / n**2)


# Public goods, maximum norm ------------------------------------------------------------------------------


@pytest.mark.parametrize("goods", [1, 2])
@pytest.mark.parametrize("name", GRAPHS)
def test_rows_of_the_public_jacobian_sum_to_the_formula(name, goods):
    graph = GRAPHS[name]
    utilities = thesis(graph, seed=1, goods=goods)
    delta = public_contraction.tuned_delta(len(graph), float(-2 * utilities.theta.min()))
    beta = Joint("public", graph, utilities, XI, delta)
    sums = np.abs(beta.jacobian()).sum(axis=(3, 4, 5))
    for k, i in enumerate(beta.agents):
        for good in range(goods):
            h = float(-2 * utilities.theta[k, good])
            row = public_contraction.row_sum(beta.routes[i], 1 - XI, delta, h)
            # Entries are differences of replies of size 1e2, rounded to 1e-14 each.
            assert sums[k, 0, good] == pytest.approx(row, rel=0, abs=1e-10)
            for r in range(beta.n):
                expected = XI * (row if r == k else 1.0)
                assert sums[k, 1 + r, good] == pytest.approx(expected, rel=0, abs=1e-10)


@LAWS
@given(graph=graphs, eps=st.floats(1e-6, 0.4), h=st.floats(0.04, 25.0), delta=st.floats(0.01, 50.0))
def test_public_rows_are_the_exact_ones(graph, eps, h, delta):
    for route in routes(graph).values():
        exact = literal_row(route, 1 - Fraction(eps), Fraction(delta), Fraction(h))
        assert public_contraction.row_sum(route, eps, delta, h) == pytest.approx(float(exact), rel=1e-11)


@LAWS
@given(graph=graphs, eps=st.floats(1e-6, 0.4), h=ranges, share=st.floats(0, 1), delta=st.floats(0.01, 50.0))
def test_public_bounds_hold_over_the_whole_range_of_curvature(graph, eps, h, share, delta):
    low, high = h
    inside = min(high, low + share * (high - low))
    for route in routes(graph).values():
        row = public_contraction.row_sum(route, eps, delta, inside)
        bound = public_contraction.row_bound(route, eps, delta, low, high)
        block = public_contraction.row_bound(route, eps, delta, low, high, block=True)
        assert row <= bound * (1 + 1e-12)
        assert bound <= block * (1 + 1e-12)
        if len(route.agents) * delta >= high:
            # Both terms are then largest at the lowest curvature.
            lowest = public_contraction.row_sum(route, eps, delta, low)
            assert block == pytest.approx(lowest, rel=1e-12)


# Both contracts, block norm ------------------------------------------------------------------------------


@pytest.mark.parametrize("goods", [2, 3])
@pytest.mark.parametrize("name", ["er", "directed", "one-way ring with chords"])
@pytest.mark.parametrize("kind", CONDITIONS)
def test_rows_of_block_norms_sum_to_the_formula(kind, name, goods):
    """All agents have the same range of eigenvalues, each its own eigenvectors: the formula is attained."""
    graph = GRAPHS[name]
    n, low, high = len(graph), 0.6, 2.4
    utilities = forms(graph, 3, goods, low, high)
    condition = CONDITIONS[kind]
    span = condition.curvature_range((np.array([low]), np.array([high])))
    # Both sides of where the two maxima part: N delta = h_high, delta = (N-1) a_high.
    for delta in (
        (0.8 * high / n, 1.3 * high / n) if kind == "public" else (0.6 * n * span[1], 1.1 * n * span[1])
    ):
        beta = Joint(kind, graph, utilities, XI, delta)
        sums = beta.blocks().sum(axis=1).reshape(n, n + 1)
        for k, i in enumerate(beta.agents):
            row = condition.row_bound(beta.routes[i], 1 - XI, delta, *span, block=True)
            assert sums[k, 0] == pytest.approx(row, rel=0, abs=1e-9)
            for r in range(n):
                assert sums[k, 1 + r] == pytest.approx(XI * (row if r == k else 1.0), rel=0, abs=1e-9)


def test_sums_over_single_numbers_can_exceed_1_where_the_block_norm_is_below_1():
    """Erratum E9, and the reason for the block norm."""
    graph = GRAPHS["er"]
    n = len(graph)
    utilities = forms(graph, 3, 3, 0.5, 2.0)
    delta, eps = contraction.tuned_delta(n, 2.0), 1e-3
    beta = Joint("private", graph, utilities, 1 - eps, delta)
    block = max(
        contraction.row_bound(route, eps, delta, 0.5, 2.0, block=True) for route in beta.routes.values()
    )
    single = np.abs(beta.jacobian()).sum(axis=(3, 4, 5)).max()
    assert block < 1 < single
    rows = beta.n * (beta.n + 1) * beta.goods
    radius = np.abs(np.linalg.eigvals(beta.jacobian().reshape(rows, rows))).max()
    assert radius < block


def test_the_spec_s_instance_satisfies_4_1_and_has_row_sums_above_1():
    """E9: a = 1, off-diagonal 0.9, K = 2, N = 4: row sums 1.53, 1.16, 1.016 at delta = 3, 10, 100."""
    graph = random_graph(4, 0, directed=False)
    n = len(graph)
    inverse = -np.array([[1.0, 0.9], [0.9, 1.0]])  # H^{-1}
    diagonal, rest = inverse[0, 0], abs(inverse[0, 1])
    assert -25 < diagonal + rest < 0  # (4.1a)
    assert diagonal < -1 / 25  # (4.1b)
    hessian = np.linalg.inv(inverse)
    hessian = (hessian + hessian.T) / 2
    utilities = Forms(tuple(sorted(graph)), np.array([hessian] * n), np.ones((n, 2)))
    for delta, expected in ((3.0, 1.53), (10.0, 1.16), (100.0, 1.016)):
        xi = 1 - 1e-9  # the numbers of the spec are those of xi -> 1
        sums = np.abs(Joint("private", graph, utilities, xi, delta).jacobian()).sum(axis=(3, 4, 5))
        assert sums[:, 0].max() == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("kind", CONDITIONS)
@pytest.mark.parametrize("separable", [True, False])
def test_one_round_never_stretches_a_distance_by_more_than_the_bound(kind, separable):
    """In the norm that the certificate names, for random pairs of profiles of all sizes."""
    graph = GRAPHS["directed"]
    n, goods = len(graph), 2
    low, high = 0.5, 2.0
    utilities = forms(graph, 5, goods, low, high)
    if separable:
        utilities = thesis(graph, 5, goods, eta=3.9)
    condition = CONDITIONS[kind]
    curvature = [build(utilities.spec(i)).curvature for i in sorted(graph)]
    spans = [condition.curvature_range(c) for c in curvature]
    delta = condition.tuned_delta(n, max(span[1] for span in spans))
    network = routes(graph)
    block = not separable
    eps = min(
        condition.best_eps(network[i], delta, *s, block) for i, s in zip(sorted(graph), spans, strict=True)
    )
    bound = max(
        1 - eps,
        *(
            condition.row_bound(network[i], eps, delta, *s, block)
            for i, s in zip(sorted(graph), spans, strict=True)
        ),
    )
    assert bound < 1
    beta = Joint(kind, graph, utilities, 1 - eps, delta)

    def size(profile):
        rows = np.linalg.norm(profile, axis=2) if block else np.abs(profile)
        return float(rows.max())

    rng = np.random.default_rng(6)
    worst = 0.0
    for k in range(200):
        one = rng.normal(0, 10 ** rng.uniform(-1, 3), beta.shape)
        step = rng.normal(size=beta.shape) if k % 2 else rng.choice([-1.0, 1.0], beta.shape)
        other = one + step * 10 ** rng.uniform(-2, 3)
        before, after = size(one - other), size(beta(one) - beta(other))
        # Rounding of the replies, which are of the size of the messages.
        assert after <= bound * before + 1e-12 * (size(one) + size(other) + 1e3)
        worst = max(worst, after / before)
    assert worst > 0.5  # a bound that nothing comes near would say little


# The choice of parameters -------------------------------------------------------------------------------


@LAWS
@given(graph=graphs, h=ranges, block=st.booleans())
def test_tuned_parameters_contract_on_every_graph_in_either_norm(graph, h, block):
    low, high = h
    delta = public_contraction.tuned_delta(len(graph), high)
    network = routes(graph).values()
    eps = min(public_contraction.best_eps(route, delta, low, high, block) for route in network)
    assert 0 < eps < 1
    xi = 1 - Fraction(eps)
    if block:
        rows = [public_contraction.row_bound(route, eps, delta, low, high, True) for route in network]
    else:
        rows = [literal_row(route, xi, Fraction(delta), Fraction(end)) for route in network for end in h]
    assert max(rows) < 1
    bound = max(1 - eps, float(max(rows)))
    assert bound == pytest.approx(1 - eps, rel=0, abs=1e-9 * eps + 1e-15)


@LAWS
@given(graph=graphs, high=st.floats(0.04, 25.0), factor=st.floats(0.05, 0.99))
def test_no_public_guarantee_below_where_contraction_begins(graph, high, factor):
    n = len(graph)
    delta = factor * (n - 2) * high / (2 * n * (n - 1))
    for route in routes(graph).values():
        assert public_contraction.best_eps(route, delta, high, high) == 0.0


@LAWS
@given(graph=graphs, low=st.floats(0.04, 5.0), ratio=st.floats(1.0, 40.0))
def test_private_block_norm_needs_a_condition_number_below_n_minus_1(graph, low, ratio):
    n, high = len(graph), low * ratio
    delta = contraction.tuned_delta(n, high)
    for route in routes(graph).values():
        eps = contraction.best_eps(route, delta, low, high, block=True)
        if ratio < 0.99 * (n - 1):
            assert eps > 0
            assert contraction.row_bound(route, eps, delta, low, high, block=True) < 1
        elif ratio > 1.01 * (n - 1):
            assert eps == 0.0


@LAWS
@given(graph=graphs, a=ranges, eps=st.floats(1e-6, 0.4), factor=st.floats(1.0, 5.0))
def test_private_block_row_is_the_spec_s_for_a_large_delta(graph, a, eps, factor):
    low, high = a
    n = len(graph)
    delta = factor * (n - 1) * high
    for route in routes(graph).values():
        s = contraction.weight_sum(route, eps)
        expected = s * (1 / (n - 1) - low / delta) + (1 - eps) ** -route.echo * high / delta
        got = contraction.row_bound(route, eps, delta, low, high, block=True)
        assert got == pytest.approx(expected, rel=1e-10)


def procedure(graph, eta):
    """Section 4, literally and exactly but for the root: (eps, delta) of public goods."""
    n, network = len(graph), routes(graph)
    eps = Fraction(0.99 * (1 - math.sqrt((n - 1) / n)))
    while True:
        xi = 1 - eps
        ratios = []
        for route in network.values():
            s = sum(1 / xi ** max(1, route.distance[r] - 1) for r in route.agents if r != route.me)
            below = s + n * xi ** (1 - route.echo) * (xi - Fraction(n - 1, n) / xi) - n * xi**2
            ratios.append((1 + s) / below)
        if Fraction(eta) ** 2 < min(ratios) * xi:
            return float(eps), math.sqrt(min(ratios)) / n
        eps /= 2


def proved(graph, eta):
    network, n = routes(graph).values(), len(graph)
    eps = public_contraction.proof_eps(n, max(public_contraction.proof_halvings(r, eta) for r in network))
    ratio = min(public_contraction.proof_ratio(r, eps) for r in network)
    return eps, public_contraction.proof_delta(n, ratio)


def test_proof_gives_table_1_for_the_full_binary_tree():
    eps, delta = proved(tree(31), ETA)
    assert f"{eps:.3e}" == "2.515e-04"
    assert f"{delta:.5f}" == "0.95053"
    assert f"{delta:.4f}" == "0.9505"  # as printed


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    graph=st.builds(random_graph, n=st.integers(3, 9), seed=st.integers(0, 999), directed=st.booleans()),
    eta=st.floats(1.001, 60.0),
)
def test_proof_is_the_procedure_of_the_spec_and_contracts(graph, eta):
    eps, delta = proved(graph, eta)
    expected_eps, expected_delta = procedure(graph, eta)
    assert eps == expected_eps
    assert delta == pytest.approx(expected_delta, rel=1e-9)
    rows = [
        literal_row(route, 1 - Fraction(eps), Fraction(delta), Fraction(end))
        for route in routes(graph).values()
        for end in (1 / eta, eta)
    ]
    assert max(rows) < 1


def test_denominators_of_the_proof_are_right_where_cancellation_would_eat_them():
    """At eps = 1e-12 the terms of D_i, of size N, leave a sum of order 1e-12."""
    route = routes(tree(31))["n30"]
    n, xi = 31, 1 - Fraction(1e-12)
    s = sum(1 / xi ** max(1, route.distance[r] - 1) for r in route.agents if r != route.me)
    below = s + n * (xi - Fraction(n - 1, n) / xi) - n * xi**2
    exact = float((1 + s) / below)
    assert public_contraction.proof_ratio(route, 1e-12) == pytest.approx(exact, rel=1e-9)
