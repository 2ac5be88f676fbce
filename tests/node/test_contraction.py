"""Contraction of joint best response: spec 04 section 4, against a Jacobian built number by number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.lockstep import run
from node.mechanisms.contraction import (
    NoGuarantee,
    best_eps,
    curvature_range,
    excess,
    proof_delta,
    proof_eps,
    proof_halvings,
    proof_ratio,
    row_bound,
    row_sum,
    tuned_delta,
    weight_sum,
)
from node.mechanisms.private_goods import PrivateGoods
from node.protocols.parameters import agree
from node.protocols.play import threshold
from node.utilities import build
from tests.node.instances import ETA, GRAPHS, hears, random_graph, routes, step, thesis, tree

LAWS = settings(deadline=None, max_examples=40, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(3, 12), seed=st.integers(0, 10_000), directed=st.booleans())
ranges = st.tuples(st.floats(0.04, 25.0), st.floats(0.04, 25.0)).map(sorted)


class Joint:
    """The joint best response of a whole network, as a map of flat vectors."""

    def __init__(self, graph, utilities, xi, delta, capacity=5.0):
        self.graph, self.agents = graph, tuple(sorted(graph))
        self.n = len(self.agents)
        self.hears = hears(graph)
        self.routes = routes(graph)
        self.contracts = {
            i: PrivateGoods(self.routes[i], self.hears[i], build(utilities.spec(i)), (capacity,), xi, delta)
            for i in self.agents
        }
        self.size = self.n * (self.n + 1)

    def __call__(self, flat):
        messages = dict(zip(self.agents, flat.reshape(self.n, self.n + 1, 1), strict=True))
        replies = []
        for i in self.agents:
            contract = self.contracts[i]
            view = contract.view({j: messages[j] for j in self.hears[i]})
            replies.append(contract.best_response(view))
        return np.concatenate([reply.ravel() for reply in replies])

    def jacobian(self):
        origin = self(np.zeros(self.size))
        return np.array([self(column) - origin for column in np.eye(self.size)]).T


def literal_rows(graph, xi, delta, a):
    """S_i and L_i(a) of the spec with exact arithmetic, agent by agent."""
    xi, delta, a = Fraction(xi), Fraction(delta), Fraction(a)
    n, result = len(graph), {}
    for i, route in routes(graph).items():
        s = sum(1 / xi ** max(1, route.distance[r] - 1) for r in route.agents if r != i)
        row = s * abs(Fraction(1, n - 1) - a / delta) + a / delta / xi**route.echo
        result[i] = (s, row)
    return result


@pytest.fixture(scope="module", params=GRAPHS)
def joint(request):
    graph = GRAPHS[request.param]
    utilities = thesis(graph, seed=1)
    # Two thirds of the way from where contraction begins to the proof's delta.
    delta = float(1.4 * len(graph) * (-1 / (2 * utilities.theta)).max() / 2)
    return Joint(graph, utilities, 0.9, delta), utilities, delta


def test_rows_of_the_jacobian_sum_to_the_formula(joint):
    beta, utilities, delta = joint
    eps = 1 - 0.9
    # Entries are differences of replies of size up to 1e2 (inverse demands), rounded to 1e-14 each.
    sums = np.abs(beta.jacobian()).sum(axis=1).reshape(beta.n, beta.n + 1)
    for k, i in enumerate(beta.agents):
        a = float(-1 / (2 * utilities.theta[k, 0]))
        y_row = row_sum(beta.routes[i], eps, delta, a)
        assert sums[k, 0] == pytest.approx(y_row, rel=0, abs=1e-10)
        own = 1 + k
        for r in range(1, beta.n + 1):
            assert sums[k, r] == pytest.approx(0.9 * (y_row if r == own else 1.0), rel=0, abs=1e-10)


def test_no_row_of_the_jacobian_exceeds_the_bound(joint):
    beta, utilities, delta = joint
    a = -1 / (2 * utilities.theta[:, 0])
    bound = max(0.9, *(row_bound(r, 0.1, delta, a.min(), a.max()) for r in beta.routes.values()))
    assert np.abs(beta.jacobian()).sum(axis=1).max() <= bound + 1e-10


def test_one_round_never_stretches_a_distance_by_more_than_the_bound(joint):
    beta, utilities, _ = joint
    a = -1 / (2 * utilities.theta[:, 0])
    delta = tuned_delta(beta.n, a.max())
    # Each agent's row over its own range, as the tuned mode does.
    own = {i: (a[k], a[k]) for k, i in enumerate(beta.agents)}
    eps = min(best_eps(beta.routes[i], delta, *own[i]) for i in beta.agents)
    bound = max(1 - eps, *(row_bound(beta.routes[i], eps, delta, *own[i]) for i in beta.agents))
    assert bound < 1
    tuned = Joint(beta.graph, utilities, 1 - eps, delta)
    rng = np.random.default_rng(5)
    for _ in range(100):
        one = rng.normal(0, 10 ** rng.uniform(-1, 3), tuned.size)
        other = one + rng.choice([-1.0, 1.0], tuned.size) * 10 ** rng.uniform(-2, 3)
        before, after = np.abs(one - other).max(), np.abs(tuned(one) - tuned(other)).max()
        # Rounding of the replies, which are of the size of the messages.
        assert after <= bound * before + 1e-13 * (np.abs(one).max() + np.abs(other).max() + 1e3)


def test_spectral_radius_is_below_the_bound(joint):
    beta, utilities, _ = joint
    a = -1 / (2 * utilities.theta[:, 0])
    delta = tuned_delta(beta.n, a.max())
    jacobian = Joint(beta.graph, utilities, 0.999, delta).jacobian()
    assert np.abs(np.linalg.eigvals(jacobian)).max() < 1


@pytest.mark.parametrize("name", GRAPHS)
def test_in_the_variables_q_over_xi_to_the_d_trajectories_do_not_depend_on_xi(name):
    graph = GRAPHS[name]
    utilities = thesis(graph, seed=2)
    delta = tuned_delta(len(graph), float((-1 / (2 * utilities.theta)).max()))
    trajectories = []
    for xi in (0.9, 0.99, 0.9998):
        beta = Joint(graph, utilities, xi, delta)
        scale = np.ones((beta.n, beta.n + 1))
        for k, i in enumerate(beta.agents):
            for r, other in enumerate(beta.agents):
                scale[k, 1 + r] = xi ** (1 if r == k else beta.routes[i].distance[other])
        flat, trajectory = np.zeros(beta.size), []
        for _ in range(40):
            flat = beta(flat)
            trajectory.append(flat / scale.ravel())
        trajectories.append(np.array(trajectory))
    size = np.abs(trajectories[0]).max()
    for other in trajectories[1:]:
        # Forty rounds of rounding, each divided by xi^-d <= 2.
        np.testing.assert_allclose(other, trajectories[0], rtol=0, atol=1e-12 * size)


@LAWS
@given(graph=graphs, eps=st.floats(1e-6, 0.75), a=st.floats(0.04, 25.0), delta=st.floats(1.0, 2000.0))
def test_weights_and_rows_are_the_exact_ones(graph, eps, a, delta):
    exact = literal_rows(graph, 1 - Fraction(eps), delta, a)
    n = len(graph)
    for i, route in routes(graph).items():
        s, row = exact[i]
        assert weight_sum(route, eps) == pytest.approx(float(s), rel=1e-12)
        # Without cancellation: relative accuracy though S_i - (N-1) is of order eps.
        assert excess(route, eps) == pytest.approx(float(s - (n - 1)), rel=1e-10)
        assert row_sum(route, eps, delta, a) == pytest.approx(float(row), rel=1e-12)


@LAWS
@given(graph=graphs, eps=st.floats(1e-6, 0.5), a=ranges, share=st.floats(0, 1), delta=st.floats(1.0, 2000.0))
def test_row_bound_holds_over_the_whole_range_and_is_reached(graph, eps, a, share, delta):
    low, high = a
    for route in routes(graph).values():
        bound = row_bound(route, eps, delta, low, high)
        inside = min(high, low + share * (high - low))
        assert row_sum(route, eps, delta, inside) <= bound * (1 + 1e-12)
        ends = [row_sum(route, eps, delta, end) for end in (low, high)]
        assert bound == pytest.approx(max(ends), rel=1e-12)


@LAWS
@given(graph=graphs, a=ranges)
def test_tuned_parameters_contract_on_every_graph(graph, a):
    low, high = a
    n = len(graph)
    delta = tuned_delta(n, high)
    assert delta > n * high / 2
    network = routes(graph)
    eps = min(best_eps(route, delta, low, high) for route in network.values())
    assert 0 < eps < 1
    exact = {end: literal_rows(graph, 1 - Fraction(eps), delta, end) for end in (low, high)}
    bound = max(max(row for _, row in rows.values()) for rows in exact.values())
    assert bound < 1
    assert max(1 - Fraction(eps), bound) < 1


@LAWS
@given(graph=graphs, a=ranges)
def test_at_the_best_eps_the_bound_is_xi_and_no_other_eps_gives_less(graph, a):
    low, high = a
    delta = tuned_delta(len(graph), high)
    network = routes(graph).values()
    eps = min(best_eps(route, delta, low, high) for route in network)

    def bound(e):
        return max(1 - e, *(row_bound(route, e, delta, low, high) for route in network))

    # The crossing is found to rounding; the bound's distance from 1 is what counts, hence relative to eps.
    assert bound(eps) == pytest.approx(1 - eps, rel=0, abs=1e-9 * eps + 1e-15)
    for factor in (0.5, 0.9, 0.999, 1.001, 1.1, 2.0):
        if eps * factor < 1:
            assert bound(eps * factor) >= bound(eps)


@LAWS
@given(graph=graphs, a=ranges, factor=st.floats(0.05, 0.999))
def test_no_guarantee_below_half_n_times_the_largest_curvature(graph, a, factor):
    low, high = a
    delta = factor * len(graph) * high / 2
    for route in routes(graph).values():
        # At eps = 0 the row is (N-1)|1/(N-1) - a/delta| + a/delta = N a/delta - 1 > 1.
        assert best_eps(route, delta, low, high) == 0.0


@LAWS
@given(graph=graphs, a=ranges)
def test_a_guarantee_just_above_half_n_times_the_largest_curvature(graph, a):
    low, high = a
    delta = 1.001 * len(graph) * high / 2
    for route in routes(graph).values():
        assert 0 < best_eps(route, delta, low, high) < 1


def test_no_guarantee_is_a_value_error():
    assert issubclass(NoGuarantee, ValueError)


def test_range_of_inverse_curvature_covers_all_goods():
    low, high = curvature_range((np.array([0.5, 2.0]), np.array([4.0, 5.0])))
    assert (low, high) == (1 / 5.0, 1 / 0.5)


# The procedure of the proof ----------------------------------------------------------------------------


def procedure(graph, eta):
    """Section 4, literally and exactly: (eps, delta)."""
    eps, n = Fraction(3, 4), len(graph)
    while True:
        xi = 1 - eps
        ratios = []
        for i, (s, _) in literal_rows(graph, xi, 1, 1).items():
            ratios.append(abs(xi ** -routes(graph)[i].echo - s) / abs(n - 1 - s))
        if Fraction(eta) ** 2 < min(ratios) * xi:
            return eps, (n - 1) * math.sqrt(min(ratios))
        eps /= 2


def proved(graph, eta):
    network = routes(graph).values()
    eps = proof_eps(len(graph), max(proof_halvings(route, eta) for route in network))
    return eps, proof_delta(len(graph), min(proof_ratio(route, eps) for route in network))


def test_proof_gives_table_1_for_the_full_binary_tree():
    eps, delta = proved(tree(31), ETA)
    assert eps == 0.75 / 4096
    assert eps == pytest.approx(1.831e-4, abs=5e-8)
    assert delta == pytest.approx(1005.59, abs=5e-3)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    graph=st.builds(random_graph, n=st.integers(3, 8), seed=st.integers(0, 999), directed=st.booleans()),
    eta=st.floats(1.001, 60.0),
)
def test_proof_is_the_procedure_of_the_spec(graph, eta):
    eps, delta = proved(graph, eta)
    expected_eps, expected_delta = procedure(graph, eta)
    assert Fraction(eps) == expected_eps
    assert delta == pytest.approx(expected_delta, rel=1e-10)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    graph=st.builds(random_graph, n=st.integers(3, 12), seed=st.integers(0, 999), directed=st.booleans()),
    eta=st.floats(1.5, 40.0),
)
def test_proof_parameters_contract(graph, eta):
    eps, delta = proved(graph, eta)
    exact = [literal_rows(graph, 1 - Fraction(eps), delta, a) for a in (1 / eta, eta)]
    assert max(row for rows in exact for _, row in rows.values()) < 1


# Agreement over the network ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Curved:
    """All that the agreement looks at in a utility: bounds on a = -1/v'' of one good."""

    a: tuple[float, float]
    goods: int = 1
    separable: bool = True

    @property
    def curvature(self):
        low, high = self.a
        return np.array([1.0 / high]), np.array([1.0 / low])


def agreeing(graph, contract, own):
    network, rules = routes(graph), {"mechanism": "private-goods", **contract}
    return {i: agree(network[i], rules, Curved(own[i])) for i in network}


def certificates(graph, contract, own):
    return run(agreeing(graph, contract, own), hears(graph)).results


def own_ranges(graph, seed=0):
    a = -1 / (2 * thesis(graph, seed).theta[:, 0])
    return {i: (float(a[k]), float(a[k])) for k, i in enumerate(sorted(graph))}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("mode", ["tuned", "eta", "proof", "explicit"])
def test_everybody_agrees_on_the_same_bits_and_on_the_true_bound(name, mode):
    graph = GRAPHS[name]
    own, n, network = own_ranges(graph), len(graph), routes(graph)
    contract = {"parameters": mode, "eta": ETA}
    if mode == "explicit":
        contract |= {"xi": 0.99995, "delta": 0.55 * n * ETA}
    got = certificates(graph, contract, own)
    first = next(iter(got.values()))
    assert all(c == first for c in got.values())
    assert 0 < first.bound < 1
    s = {i: row for i, (row, _) in literal_rows(graph, first.xi, 1, 1).items()}
    assert first.weight_sum == pytest.approx(float(max(s.values())), rel=1e-12)
    # What it certifies is true of the utilities there are.
    rows = [float(literal_rows(graph, first.xi, first.delta, own[i][0])[i][1]) for i in network]
    assert max(first.xi, *rows) <= first.bound * (1 + 1e-12)
    if mode == "tuned":
        # 1 / (1 / a) need not be a to the last bit.
        highest = max(high for _, high in own.values())
        assert first.delta == pytest.approx(tuned_delta(n, highest), rel=1e-15)
        assert first.bound == pytest.approx(max(first.xi, *rows), rel=1e-12)
    else:
        ends = [literal_rows(graph, first.xi, first.delta, a) for a in (1 / ETA, ETA)]
        public = max(first.xi, *(float(row) for rows in ends for _, row in rows.values()))
        assert first.bound <= public * (1 + 1e-12)
    if mode == "eta":
        assert first.delta == tuned_delta(n, ETA)
    if mode == "proof":
        eps, delta = proved(graph, ETA)
        assert (first.xi, first.delta) == (1 - eps, pytest.approx(delta, rel=1e-12))
    if mode == "explicit":
        assert (first.xi, first.delta) == (contract["xi"], contract["delta"])


@pytest.mark.parametrize("mode", ["eta", "proof", "explicit"])
def test_public_modes_do_not_depend_on_private_curvature(mode):
    """In these modes xi and delta are functions of the graph and eta alone."""
    graph = GRAPHS["er"]
    contract = {"parameters": mode, "eta": ETA}
    if mode == "explicit":
        contract |= {"xi": 0.99995, "delta": 0.55 * len(graph) * ETA}
    got = [certificates(graph, contract, own_ranges(graph, seed))["n00"] for seed in (0, 1)]
    assert (got[0].xi, got[0].delta) == (got[1].xi, got[1].delta)


@pytest.mark.parametrize("name", ["tree", "one-way ring with chords"])
def test_all_refuse_in_the_same_round_if_there_is_no_guarantee(name):
    graph = GRAPHS[name]
    own = own_ranges(graph)
    # Too small for the least curved agent only: the others learn of it by flooding.
    delta = 0.45 * len(graph) * max(high for _, high in own.values())
    contract = {"parameters": "explicit", "eta": ETA, "xi": 0.9999, "delta": delta}
    log = step(agreeing(graph, contract, own), hears(graph), sorted(graph))
    assert not log.results
    assert {type(error) for _, error in log.failed.values()} == {NoGuarantee}
    assert sorted(log.failed) == sorted(graph)
    assert len({k for k, _ in log.failed.values()}) == 1


def test_xi_too_far_from_one_has_no_guarantee():
    graph = tree(31)
    contract = {"parameters": "explicit", "eta": ETA, "xi": 0.9, "delta": 1005.59}
    with pytest.raises(NoGuarantee):
        certificates(graph, contract, own_ranges(graph))


def refused(contract, own=(0.5, 0.5), text=""):
    graph = tree(7)
    with pytest.raises(ValueError, match=text):
        certificates(graph, contract, dict.fromkeys(sorted(graph), own))


def test_unknown_mode_is_named():
    refused({"parameters": "lucky", "eta": ETA}, text="lucky")


@pytest.mark.parametrize("own", [(0.01, 0.5), (0.5, 30.0)])
def test_curvature_outside_the_public_range_is_named(own):
    # It is refused as a curvature, so either a or 1/a may be what the text shows.
    outside = next(a for a in own if not 1 / ETA < a < ETA)
    refused({"parameters": "tuned", "eta": ETA}, own, text=f"{outside:.3g}|{1 / outside:.3g}")


@pytest.mark.parametrize("xi", [0.0, 1.0, -0.5, 1.25, math.nan])
def test_explicit_xi_out_of_range_is_named(xi):
    refused({"parameters": "explicit", "eta": ETA, "xi": xi, "delta": 200.0}, text=rf"(?<![\d-]){xi!r}")


@pytest.mark.parametrize("delta", [0.0, -7.5, math.nan, math.inf])
def test_explicit_delta_out_of_range_is_named(delta):
    refused(
        {"parameters": "explicit", "eta": ETA, "xi": 0.9999, "delta": delta}, text=rf"(?<![\d-]){delta!r}"
    )


@LAWS
@given(
    tolerance=st.floats(1e-9, 0.1),
    scale=st.floats(0.01, 100.0),
    bound=st.floats(0.1, 0.99999),
    amplification=st.floats(1.0, 10.0),
)
def test_threshold_keeps_its_promise_and_asks_for_no_more(tolerance, scale, bound, amplification):
    r = threshold(tolerance, scale, bound, amplification)
    promised = amplification * r / (1 - bound)
    assert promised == pytest.approx(tolerance * scale, rel=1e-9)
