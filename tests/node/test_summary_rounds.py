"""How many rounds the summary mechanism takes: the claims of spec 04, sections 3 and 7, on whole networks."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from node.utilities import LogCosh, Quadratic
from tests.node.instances import erdos_renyi, named, tree
from tests.node.test_summary_contract import Network, jacobian, quadratics, random_tree

THESIS = (0.02 * 2, 12.5 * 2)  # the curvatures of thesis section 5.2


def thesis(graph, seed):
    rng = np.random.default_rng(seed)
    n = len(graph)
    theta, sigma = rng.uniform(-12.5, -0.02, n), rng.uniform(10, 20, n)
    return {i: Quadratic(theta[k : k + 1], sigma[k : k + 1]) for k, i in enumerate(sorted(graph))}


def dominated(graph, seed, share, public=False):
    """One agent holds a share of the sum of all k, others hold about as much as one another."""
    rng = np.random.default_rng(seed)
    agents = sorted(graph)
    k = dict(zip(agents, rng.uniform(0.5, 1.5, len(agents)), strict=True))
    one = agents[int(rng.integers(len(agents)))]
    k[one] = share / (1 - share) * (sum(k.values()) - k[one])
    return {
        i: Quadratic(np.array([-(k[i] if public else 1 / k[i]) / 2]), rng.uniform(10, 20, 1)) for i in agents
    }


def dominated_log_coshes(graph, seed, share, public):
    """The same with k_high / k_low up to 4."""
    rng = np.random.default_rng(seed)
    made = {}
    for i, u in dominated(graph, seed, share, public).items():
        ratio = np.sqrt(rng.uniform(1.0, 4.0))
        h = -2 * u.theta
        made[i] = LogCosh(h / ratio, h * ratio, u.sigma, rng.uniform(-3, 3, 1), rng.uniform(0.3, 2.0, 1))
    return made


def relative(m, other):
    """2-norm of the difference of two profiles relative to the second one."""
    off = sum(float(np.sum((m[i] - other[i]) ** 2)) for i in other)
    return (off / sum(float(np.sum(rows**2)) for rows in other.values())) ** 0.5


def rounds_to(net, target, tolerance=1e-6, limit=1000):
    m = net.opening()
    for k in range(limit):
        if relative(m, target) <= tolerance:
            return k
        m = net.beta(m)
    raise AssertionError(f"not within {tolerance} after {limit} rounds")


def settled(net, rounds):
    m = net.opening()
    for _ in range(rounds):
        m = net.beta(m)
    return m


EXACT = {
    "tree 31": (tree(31), thesis),
    "path 100": (named(nx.path_graph(100)), thesis),
    "star 60": (named(nx.star_graph(59)), thesis),
    "ER 31": (erdos_renyi(31, 0.3, 0), thesis),
    "random 60": (random_tree(60, 2), thesis),
    "two agents": (named(nx.path_graph(2)), thesis),
    "tree 31, one agent with 95 %": (tree(31), lambda g, s: dominated(g, s, 0.95)),
    "path 100, one agent with 95 %": (named(nx.path_graph(100)), lambda g, s: dominated(g, s, 0.95)),
    "star 60, one agent with 60 %": (named(nx.star_graph(59)), lambda g, s: dominated(g, s, 0.6)),
}


@pytest.mark.parametrize("variant", ["anchored", "public"])
@pytest.mark.parametrize("name", EXACT)
def test_quadratics_are_exact_after_diameter_plus_one_rounds_and_not_before(name, variant):
    graph, family = EXACT[name]
    for seed in range(3 if len(graph) < 100 else 1):
        net = Network(graph, family(graph, seed), variant, (float(len(graph)),))
        assert net.limit == 0.0
        nash, optimum = net.nash(), net.optimum()
        size = max(float(np.abs(rows).max()) for rows in nash.values())
        shares = max(float(np.abs(x).max()) for x in optimum.allocation.values())
        m = net.opening()
        for k in range(net.diameter + 3):
            off = max(float(np.abs(m[i] - nash[i]).max()) for i in nash)
            allocation = net.allocations(m)
            gap = max(float(np.abs(allocation[i] - optimum.allocation[i]).max()) for i in nash)
            # Rounding: a message is a sum of up to N demands.
            assert (off <= 1e-13 * size * len(graph)) == (k > net.diameter)
            assert (gap <= 1e-12 * max(shares, size)) == (k >= net.diameter)
            m = net.beta(m)


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_utilities_beyond_quadratics_with_a_dominant_agent_take_at_most_110_rounds(seed, public):
    graph = named(nx.from_prufer_sequence(np.random.default_rng(11).integers(0, 60, 58).tolist()))
    net = Network(
        graph,
        dominated_log_coshes(graph, seed, 0.88, public),
        "public" if public else "anchored",
        (60.0,),
    )
    assert 20 <= net.diameter <= 30
    assert 0.5 < net.limit <= 0.6 + 1e-9
    target = settled(net, 200)
    assert rounds_to(net, target) <= 110


@pytest.mark.parametrize(
    ("graph", "most"), [(tree(1023), 30), (erdos_renyi(1023, 0.008, 0), 20)], ids=["tree 1023", "ER 1023"]
)
def test_weighted_takes_about_the_diameter_where_no_agent_dominates(graph, most):
    net = Network(graph, thesis(graph, 0), "weighted", (1023.0,))
    assert net.terms["n00"].largest < 0.45
    target = net.nash()
    assert rounds_to(net, target, limit=100) <= most


def test_curvature_estimates_that_are_off_cost_rounds_and_no_accuracy():
    """0.7 to 1.4 of the true curvature: L <= (1.4 - 0.7) / (1.4 + 0.7)."""
    graph = random_tree(60, 2)

    class Rough(Quadratic):
        @property
        def curvature(self):
            exact = -2.0 * self.theta
            return exact / 1.4, exact / 0.7

    rough = {i: Rough(u.theta, u.sigma) for i, u in quadratics(graph, 1, low=0.5, high=2.0).items()}
    net = Network(graph, rough, "anchored", (60.0,))
    assert net.limit == pytest.approx(1 / 3)
    assert net.diameter + 1 < rounds_to(net, net.nash()) <= 130


@pytest.mark.parametrize("graph", [tree(31), named(nx.path_graph(31)), named(nx.star_graph(30))])
def test_the_plain_contract_of_the_thesis_diverges_under_best_response(graph):
    """delta = 1: the spectral radius is above 1, so almost every start leads away."""
    net = Network(graph, thesis(graph, 0), "plain", (31.0,), delta=1.0)
    assert net.limit > 1
    index = {}
    for i in net.agents:
        for r in range(net.contracts[i].shape[0]):
            index[i, r] = len(index)
    matrix = np.zeros((len(index), len(index)))
    for row, entries in jacobian(net).items():
        for column, entry in entries.items():
            matrix[index[row], index[column]] = entry
    assert np.abs(np.linalg.eigvals(matrix)).max() > 1.2
    m = settled(net, 400)
    assert max(float(np.abs(rows).max()) for rows in m.values()) > 1e12
    tuned = Network(graph, thesis(graph, 0), "plain", (31.0,))
    assert tuned.limit < 1
