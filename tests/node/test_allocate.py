"""The whole life of agents in lockstep, against a planner and against a simulation in a few array lines."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from node.errors import TooFew
from node.lockstep import run
from node.mechanisms.contraction import (
    BLOCK_NORM,
    NoGuarantee,
    best_eps,
    proof_delta,
    proof_eps,
    proof_halvings,
    proof_ratio,
    tuned_delta,
)
from node.protocol import Heard
from node.protocols.allocate import Allocated, allocate
from tests.node.instances import (
    DIRECTED,
    ETA,
    erdos_renyi,
    forms,
    hears,
    one_way_ring,
    parts,
    random_graph,
    ring,
    routes,
    step,
    thesis,
    tree,
)


def rules(capacities=(40.0,), parameters="tuned", tolerance=1e-3, scale=None, eta=ETA, **more):
    stopping = {"rule": "counters", "tolerance": tolerance, "scale": scale}
    if "max_rounds" in more:
        stopping["max_rounds"] = more.pop("max_rounds")
    return {
        "mechanism": "private-goods",
        "capacities": list(capacities),
        "eta": eta,
        "parameters": parameters,
        "learning": "cournot",
        "stopping": stopping,
        **more,
    }


def allocated(graph, utilities, contract, order=None):
    agents = sorted(graph) if order is None else order
    all_parts, listens = parts(graph, utilities, contract), hears(graph)
    return run({i: allocate(all_parts[i]) for i in agents}, {i: listens[i] for i in agents})


class Simulation:
    """Spec 04 section 1, Cournot from 0: best response of all agents at once, K goods, as array lines."""

    def __init__(self, graph, utilities, capacities, xi, delta):
        network = routes(graph)
        agents = sorted(graph)
        index = {i: k for k, i in enumerate(agents)}
        n = len(agents)
        self.n, self.xi, self.delta, self.c = n, xi, delta, np.array(capacities)
        self.theta, self.sigma = utilities.theta, utilities.sigma
        self.hop = np.array([[index[network[i].hop[r]] for r in agents] for i in agents])
        d = np.array([[network[i].distance[r] for r in agents] for i in agents])
        exponent = np.maximum(1, d - 1)
        np.fill_diagonal(exponent, [network[i].echo for i in agents])
        self.decode = xi ** -exponent.astype(float)
        self.near = d == 1
        self.itself = np.arange(n)
        self.diameter = int(d.max())
        self.weight_sum = (self.decode.sum(axis=1) - np.diag(self.decode)).max()
        self.y, self.q = np.zeros((n, len(capacities))), np.zeros((n, n, len(capacities)))

    def read(self):
        """What is said of whom, S_i and Z_i^i from the messages as they are."""
        said = self.q[self.hop, self.itself[None, :]]
        z = said * self.decode[:, :, None]
        own = z[self.itself, self.itself]
        return said, z.sum(axis=1) - own, own

    def demands(self, others, own):
        price = (own + others) / self.delta
        return others / (self.n - 1) - self.c / self.n + (price - self.sigma) / (2 * self.theta)

    def step(self):
        """Everybody responds; the largest |beta(m) - m| over all agents."""
        said, others, own = self.read()
        y = self.demands(others, own)
        q = self.xi * np.where(self.near[:, :, None], self.y[None, :, :], said)
        q[self.itself, self.itself] = self.xi * y
        moved = max(np.abs(y - self.y).max(), np.abs(q - self.q).max())
        self.y, self.q = y, q
        return moved

    def allocation(self):
        _, others, _ = self.read()
        return self.y - others / (self.n - 1) + self.c / self.n

    def amplification(self):
        return 1 + self.weight_sum / (self.n - 1)

    def rounds_to(self, threshold, limit=40_000):
        """The first round, counted from 1, in which all say something within the threshold of the last."""
        for k in range(2, limit):
            if self.step() <= threshold:
                return k
        raise AssertionError(f"not within {threshold} after {limit} rounds")


class PublicSimulation(Simulation):
    """Spec 04 section 2: (grad v_i(x_i) - p_i)/N + delta xi^2 (Z_i^i - y_i) = 0, solved for y_i."""

    def demands(self, others, own):
        n, anchor = self.n, self.delta * self.xi**2
        price = self.delta * ((n - 1) * own - others)
        # grad v_i at x_i = (y_i + S_i)/N is 2 theta (y_i + S_i)/N + sigma.
        slope = 2 * self.theta / n**2 - anchor
        return -((2 * self.theta * others / n + self.sigma - price) / n + anchor * own) / slope

    def allocation(self):
        _, others, _ = self.read()
        return (self.y + others) / self.n

    def amplification(self):
        return (1 + self.weight_sum) / self.n


def optimum(utilities, contract):
    """x_i* of all agents, shape (N, K)."""
    if contract["mechanism"] == "private-goods":
        return utilities.optimum(list(contract["capacities"]))[0]
    x, prices = utilities.public_optimum()
    return np.broadcast_to(x, prices.shape)


def largest_error(results, utilities, contract):
    x = optimum(utilities, contract)
    return max(
        float(np.abs(np.array(results[i].allocation) - x[k]).max()) for k, i in enumerate(sorted(results))
    )


def check(graph, utilities, contract):
    """Accuracy, agreement, stopping: all that a run promises."""
    stopping, private = contract["stopping"], contract["mechanism"] == "private-goods"
    n = len(graph)
    got = allocated(graph, utilities, contract)
    results = got.results
    scale = stopping["scale"] or (max(map(abs, contract["capacities"])) / n if private else 1.0)
    assert largest_error(results, utilities, contract) <= stopping["tolerance"] * scale
    one = next(iter(results.values()))
    for key in ("agents", "diameter", "parameters", "bound", "play_rounds"):
        assert all(getattr(r, key) == getattr(one, key) for r in results.values())
    assert one.agents == n
    assert 0 < one.parameters["xi"] <= one.bound < 1
    assert all(r.satisfied for r in results.values())
    simulation = (Simulation if private else PublicSimulation)(
        graph,
        utilities,
        contract["capacities"] if private else np.zeros(contract["features"]),
        one.parameters["xi"],
        one.parameters["delta"],
    )
    assert one.diameter == simulation.diameter
    # Threshold: a residual r anywhere means a message within r / (1 - bound), and an allocation is y less the
    # mean of the decoded others, or the mean of all.
    threshold = stopping["tolerance"] * scale * (1 - one.bound) / simulation.amplification()
    assert max(r.residual for r in results.values()) <= threshold * (1 + 1e-9)
    first = simulation.rounds_to(threshold)
    # Counters end 2 D rounds after the first round whose messages all come from satisfied agents. Thresholds
    # here are at least 1e-10, a thousand times the rounding of a residual, and no instance sits on the edge.
    assert one.play_rounds == first + 2 * one.diameter
    x = simulation.allocation()
    for k, i in enumerate(sorted(results)):
        np.testing.assert_allclose(results[i].allocation, x[k], rtol=0, atol=stopping["tolerance"] * scale)
    return got


SMALL = tree(7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_binary_tree_of_31_reaches_the_promised_accuracy(seed):
    graph = tree(31)
    check(graph, thesis(graph, seed), rules())


def test_erdos_renyi_graph_of_31_reaches_the_promised_accuracy():
    graph = erdos_renyi(31, 0.3, seed=0)
    check(graph, thesis(graph, 0), rules(tolerance=1e-6))


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
@pytest.mark.parametrize("name", ["one-way ring with chords", "random directed"])
def test_directed_graphs_reach_the_promised_accuracy(name, tolerance):
    graph = DIRECTED if name == "one-way ring with chords" else random_graph(9, 5, directed=True)
    check(graph, thesis(graph, 1), rules(tolerance=tolerance))


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
@pytest.mark.parametrize("mode", ["tuned", "eta", "proof", "explicit"])
def test_every_mode_keeps_its_promise(mode, tolerance):
    more = {"xi": 0.9999, "delta": 0.55 * 7 * ETA} if mode == "explicit" else {}
    check(SMALL, thesis(SMALL, 4), rules(parameters=mode, tolerance=tolerance, capacities=(10.0,), **more))


def test_two_goods_reach_the_promised_accuracy():
    graph = ring(6)
    check(graph, thesis(graph, 2, goods=2), rules(capacities=(10.0, -4.0), tolerance=1e-5))


def public(features=1, **more):
    contract = {**rules(**more), "mechanism": "public-goods", "features": features}
    del contract["capacities"]
    return contract


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_public_goods_on_a_binary_tree_of_31_reach_the_promised_accuracy(seed):
    graph = tree(31)
    check(graph, thesis(graph, seed), public(tolerance=1e-6))


@pytest.mark.parametrize("mode", ["tuned", "eta", "proof", "explicit"])
@pytest.mark.parametrize(
    "graph", [SMALL, DIRECTED, random_graph(9, 5, directed=True)], ids=["tree", "ring", "directed"]
)
def test_public_goods_keep_their_promise_in_every_mode(graph, mode):
    more = {"xi": 0.9999, "delta": 0.55 * ETA / len(graph)} if mode == "explicit" else {}
    check(graph, thesis(graph, 4), public(parameters=mode, tolerance=1e-5, **more))


def test_two_public_features_reach_the_promised_accuracy():
    graph = ring(6)
    check(graph, thesis(graph, 2, goods=2), public(2, tolerance=1e-5))


@pytest.mark.parametrize("goods", [2, 3])
@pytest.mark.parametrize("mechanism", ["private-goods", "public-goods"])
def test_goods_that_interact_reach_the_promised_accuracy_in_the_block_norm(mechanism, goods):
    graph = random_graph(9, 5, directed=True)
    utilities = forms(graph, 2, goods, 0.5, 3.0)
    contract = rules((10.0, -4.0, 5.0)[:goods], tolerance=1e-5)
    if mechanism == "public-goods":
        contract = public(goods, tolerance=1e-5)
    results = allocated(graph, utilities, contract).results
    scale = 10.0 / len(graph) if mechanism == "private-goods" else 1.0
    assert largest_error(results, utilities, contract) <= 1e-5 * scale
    assert {r.norm for r in results.values()} == {BLOCK_NORM}
    assert all(r.guaranteed and r.satisfied and r.bound < 1 for r in results.values())


def test_public_prices_and_taxes_are_those_of_the_optimum():
    utilities = thesis(DIRECTED, 5)
    got = allocated(DIRECTED, utilities, public(tolerance=1e-8)).results
    x, prices = utilities.public_optimum()
    for k, i in enumerate(sorted(DIRECTED)):
        # grad v = p at rest: the price is within delta N times the accuracy of a demand.
        assert got[i].price[0] == pytest.approx(float(prices[k, 0]), rel=0, abs=1e-5)
        assert got[i].tax == pytest.approx(float(prices[k, 0] * x[0]), rel=0, abs=1e-4)
    assert abs(math.fsum(r.tax for r in got.values())) <= 1e-5


def rounds_of_the_thesis(seed, name, parameters):
    """Rounds until |m - m~|_2 <= 1e-3 for 31 agents and c = 0, by the independent simulation."""
    graph = tree(31) if name == "tree" else erdos_renyi(31, 0.3, seed)
    utilities, network = thesis(graph, seed), list(routes(graph).values())
    if parameters == "proof":
        eps = proof_eps(31, max(proof_halvings(r, ETA) for r in network))
        delta = proof_delta(31, min(proof_ratio(r, eps) for r in network))
    else:
        a = -0.5 / utilities.theta[:, 0]
        delta = tuned_delta(31, float(a.max()))
        eps = min(best_eps(r, delta, float(own), float(own)) for r, own in zip(network, a, strict=True))
    simulation = Simulation(graph, utilities, [0.0], 1 - eps, delta)
    x, multiplier = utilities.optimum([0.0])
    y = 30 / 31 * x + delta * multiplier / 31
    hops = np.array([[max(1, route.distance[r]) for r in route.agents] for route in network], dtype=float)
    q = (1 - eps) ** hops[:, :, None] * y[None, :, :]
    for k in range(1, 30_000):
        simulation.step()
        off = float(np.square(simulation.y - y).sum() + np.square(simulation.q - q).sum())
        if off <= 1e-6:
            return k
    raise AssertionError("not in 30,000 rounds")


def test_median_rounds_of_private_goods_are_those_of_the_spec():
    proof = {
        name: sorted(rounds_of_the_thesis(seed, name, "proof") for seed in range(5))
        for name in ("tree", "er")
    }
    assert {name: counts[2] for name, counts in proof.items()} == {"tree": 10269, "er": 3650}
    tuned = sorted(rounds_of_the_thesis(seed, "tree", "tuned") for seed in range(5))
    assert tuned[2] <= proof["tree"][2] / 7


def test_an_explicit_scale_sets_the_accuracy():
    graph = ring(5)
    loose = check(graph, thesis(graph, 2), rules(scale=100.0))
    tight = check(graph, thesis(graph, 2), rules(scale=0.01))
    some = next(iter(loose.results)), next(iter(tight.results))
    assert loose.results[some[0]].play_rounds < tight.results[some[1]].play_rounds


def test_prices_and_taxes_are_those_of_the_optimum():
    utilities = thesis(SMALL, 5)
    got = allocated(SMALL, utilities, rules(tolerance=1e-8, capacities=(10.0,))).results
    x, multiplier = utilities.optimum([10.0])
    for k, i in enumerate(sorted(SMALL)):
        # grad v = p at a best response, so the price is within eta of the allocation's error, 1e-8 * 10/7.
        assert got[i].price[0] == pytest.approx(float(multiplier[0]), rel=0, abs=1e-6)
        # t = p (x - c/N) + squares of residuals.
        tax = float(multiplier[0] * (x[k, 0] - 10.0 / 7))
        assert got[i].tax == pytest.approx(tax, rel=0, abs=1e-5)
    assert abs(math.fsum(r.tax for r in got.values())) <= 1e-5
    assert math.fsum(r.allocation[0] for r in got.values()) == pytest.approx(
        10.0, rel=0, abs=7 * 1e-8 * 10 / 7
    )


def test_all_agents_leave_in_the_same_round():
    graph = random_graph(8, 3, directed=True)
    all_parts = parts(graph, thesis(graph, 1), rules())
    log = step({i: allocate(all_parts[i]) for i in graph}, hears(graph), sorted(graph), rounds=5000)
    assert len(set(log.left.values())) == 1
    assert len(log.left) == len(graph)
    assert len({say.kind for says in log.said.values() for say in says[-1:]}) == 1


@pytest.mark.parametrize("graph", [SMALL, DIRECTED], ids=["tree", "directed"])
def test_order_of_stepping_changes_no_bit(graph):
    utilities, contract = thesis(graph, 1), rules()
    agents = sorted(graph)
    one = allocated(graph, utilities, contract)
    for seed in range(3):
        order = [agents[k] for k in np.random.default_rng(seed).permutation(len(agents))]
        other = allocated(graph, utilities, contract, order)
        assert other.rounds == one.rounds
        # repr of a double is exact, and unlike == it tells 0.0 from -0.0.
        assert {i: repr(r) for i, r in other.results.items()} == {i: repr(r) for i, r in one.results.items()}
    all_parts = parts(graph, utilities, contract)
    by_hand = step({i: allocate(all_parts[i]) for i in agents}, hears(graph), agents[::-1], rounds=5000)
    assert by_hand.results == dict(one.results)
    assert set(by_hand.left.values()) == {one.rounds}


def test_relabelling_the_agents_changes_nothing_but_the_labels():
    """On an odd ring no two routes tie, so ids can matter by rounding only."""
    graph = ring(5)
    utilities = thesis(graph, 1)
    one = allocated(graph, utilities, rules()).results
    turned = type(utilities)(utilities.agents, np.roll(utilities.theta, 2, 0), np.roll(utilities.sigma, 2, 0))
    other = allocated(graph, turned, rules()).results
    agents = sorted(graph)
    for k, i in enumerate(agents):
        j = agents[(k + 2) % 5]
        assert other[j].allocation == pytest.approx(one[i].allocation, rel=0, abs=1e-8)
        assert other[j].play_rounds == pytest.approx(one[i].play_rounds, abs=1)


def test_result_survives_a_trip_through_plain_data():
    got = allocated(SMALL, thesis(SMALL, 1), rules()).results["n00"]
    plain = asdict(got)
    assert Allocated(**plain) == got
    assert all(type(v) in (tuple, dict, str, int, float, bool, type(None)) for v in plain.values())
    assert all(type(v) is float for v in (*got.allocation, *got.price, got.tax))


def test_max_rounds_ends_play_unsatisfied_everywhere():
    got = allocated(SMALL, thesis(SMALL, 1), rules(max_rounds=9))
    assert {(r.play_rounds, r.satisfied) for r in got.results.values()} == {(9, False)}


def test_messages_of_play_have_the_size_of_the_spec():
    """(N+1) K numbers per round and agent (section 1), never more whatever the round."""
    graph, goods = ring(5), 2
    all_parts = parts(graph, thesis(graph, 1, goods), rules(capacities=(5.0, 6.0)))
    log = step({i: allocate(all_parts[i]) for i in graph}, hears(graph), sorted(graph), rounds=5000)
    for says in log.said.values():
        arrays = [a for say in says for a in arrays_in(say.body)]
        assert {a.shape for a in arrays} == {(6, 2)}
        assert all(not say.to for say in says)


def arrays_in(body):
    if isinstance(body, np.ndarray):
        return [body]
    return [a for item in body for a in arrays_in(item)] if isinstance(body, tuple) else []


def test_utilities_are_not_in_any_message():
    """Neither sigma nor theta of anybody is said, in any round, as such."""
    graph = ring(5)
    utilities = thesis(graph, 1)
    private = {float(v) for v in np.concatenate([utilities.theta.ravel(), utilities.sigma.ravel()])}
    all_parts = parts(graph, utilities, rules())
    log = step({i: allocate(all_parts[i]) for i in graph}, hears(graph), sorted(graph), rounds=5000)
    said = {v for says in log.said.values() for say in says for v in floats_in(say.body)}
    assert said
    assert not said & private


def floats_in(body):
    if isinstance(body, np.ndarray):
        return [float(v) for v in body.ravel()]
    if isinstance(body, tuple):
        return [v for item in body for v in floats_in(item)]
    return [body] if isinstance(body, float) else []


def test_accepts_is_set_in_every_round_and_accepts_what_is_said():
    graph = ring(5)
    all_parts, listens = parts(graph, thesis(graph, 1), rules()), hears(graph)
    protocols = {i: allocate(all_parts[i]) for i in graph}
    now = {i: next(g) for i, g in protocols.items()}
    kinds = set()
    while now:
        for i in now:
            assert now[i].accepts is not None
            assert all(now[i].accepts(now[j].body, j) for j in listens[i])
            assert not now[i].accepts("nonsense", listens[i][0])
            assert not now[i].accepts(None, listens[i][0])
            kinds.add(now[i].kind)
        later = {}
        for i in now:
            try:
                later[i] = protocols[i].send(Heard({j: now[j].body for j in listens[i]}))
            except StopIteration:
                continue
        now = later
    assert len(kinds) >= 3  # the survey, the agreement and the play at least


# Bad values ---------------------------------------------------------------------------------------------


def refused(contract, text, graph=SMALL, utilities=None, error=ValueError):
    with pytest.raises(error, match=text):
        allocated(graph, utilities or thesis(graph, 0), contract)


def test_explicit_parameters_without_guarantee_are_refused():
    refused(rules(parameters="explicit", xi=0.9999, delta=1.0), None, error=NoGuarantee)


@pytest.mark.parametrize(("key", "value"), [("mechanism", "lottery"), ("learning", "clairvoyance")])
def test_unknown_rule_is_named(key, value):
    refused({**rules(), key: value}, value)


def test_unknown_parameters_are_named():
    refused(rules(parameters="lucky"), "lucky")


def test_unknown_utility_is_named():
    contract = rules()
    all_parts = parts(SMALL, thesis(SMALL, 0), contract)
    strange = type(all_parts["n00"])(**{**all_parts["n00"].as_dict(), "utility": {"family": "cubist"}})
    with pytest.raises(ValueError, match="cubist"):
        next(allocate(strange))


def test_curvature_outside_the_public_range_is_refused():
    refused(rules(eta=1.5), None, utilities=thesis(SMALL, 0))


def test_two_agents_are_refused():
    pair = random_graph(2, 0, directed=False)
    refused(rules(), "2", graph=pair, error=TooFew)


def test_one_way_ring_of_three_is_the_smallest_directed_graph_there_is():
    graph = one_way_ring(3)
    check(graph, thesis(graph, 0, eta=4.0), rules(eta=4.0, capacities=(3.0,), tolerance=1e-6))
