"""Play in free mode: the stopping promise, under schedules that mean no good; and whole runs."""

from __future__ import annotations

import random
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from benchmarks.lossy import Lossy
from node.combinators import in_rounds, throughout
from node.consensus.counters import counters
from node.mechanisms.contract import Outcome
from node.protocol import Heard, Say, together
from node.protocols.allocate import Game
from node.protocols.free_play import allocate_freely, free_play
from node.protocols.play import Diverged, Played, Rest
from runner.testing import Network
from tests.node.instances import erdos_renyi, hears, named, one_way_ring, parts, random_graph, thesis, tree
from tests.twins import assert_goes_on_from_snapshots

THRESHOLD = 1e-2
TICK = 0.2


class Affine:
    """A contract of one number: beta_i(m) = shift_i + the sum over neighbours of weight_ij m_j."""

    def __init__(self, shift, weights):
        self.shift, self.weights = shift, weights

    def opening(self):
        return np.zeros((1, 1))

    def accepts(self, body, src):
        return type(body) is np.ndarray and body.shape == (1, 1)

    def view(self, said):
        return sum(self.weights[j] * float(said[j][0, 0]) for j in self.weights)

    def best_response(self, view):
        return np.array([[self.shift + view]])

    def outcome(self, message, view):
        return Outcome(message[0], np.zeros(1), 0.0)

    def residual(self, reply, message, view):
        return self.size(reply - message)

    def size(self, message):
        return float(np.abs(message).max())


class Affines:
    """Contracts on a graph, a joint best response that contracts by ``factor`` in the maximum norm.

    ``aligned``: all weights are equal and all shifts 1, so that nothing cancels: the slowest there is.
    """

    def __init__(self, graph, seed, factor, aligned=False):
        rng = random.Random(seed)
        self.hears, self.factor = hears(graph), factor
        self.contracts = {}
        for i, neighbours in self.hears.items():
            raw = {j: 1.0 if aligned else rng.uniform(-1.0, 1.0) for j in neighbours}
            size = sum(map(abs, raw.values())) or 1.0
            weights = {j: factor * w / size for j, w in raw.items()}
            self.contracts[i] = Affine(1.0 if aligned else rng.uniform(-1.0, 1.0), weights)

    def equilibrium(self):
        names = sorted(self.contracts)
        system = np.eye(len(names))
        for k, i in enumerate(names):
            for j, w in self.contracts[i].weights.items():
                system[k, names.index(j)] -= w
        return dict(
            zip(names, np.linalg.solve(system, [self.contracts[i].shift for i in names]), strict=True)
        )

    def play(self, i, extra, make):
        game = Game(self.contracts[i], Rest(THRESHOLD), {})
        return together(
            lambda r: make(game, len(self.hears[i]), None, r),
            lambda r: in_rounds(lambda q: counters(extra, q), self.hears[i], throughout, r),
        )


def worst(affines, seed, extra, slow, make=free_play):
    """Plays until all stop; how far off the worst agent is, and the rounds of the side in which they stop."""
    protocols = {i: affines.play(i, extra, make) for i in affines.hears}
    net = Lossy(protocols, affines.hears, 0.3, seed, delay=6, twice=0.2)
    rng = random.Random(seed)
    sluggish = set(rng.sample(sorted(affines.hears), max(1, len(affines.hears) // 3)))
    tags = {}
    while len(net.results) < len(affines.hears):
        net.down = {i for i in sluggish if rng.random() < slow} - set(net.results)
        for i, say in net.says.items():
            if i not in net.results:
                tags[i] = say.body[1][0]
        net.step()
        assert net.ticks < 60_000
    exact = affines.equilibrium()
    off = max(abs(float(r.outcome.allocation[0]) - exact[i]) for i, r in net.results.items())
    return off, set(tags.values())


def without_anchor(game, neighbours, max_ticks=None, resume=None):
    """Free play that takes a small last step for rest, as in rounds."""
    message, quiet = game.contract.opening(), False
    while True:
        heard = yield Say(message, kind="play", report=quiet, snapshot=())
        if len(heard.said) == neighbours:
            if heard.verdict is not None:
                return Played(Outcome(message[0], np.zeros(1), 0.0), 0, 0.0, True)
            reply = game.contract.best_response(game.contract.view(heard.said))
            quiet = float(np.abs(reply - message).max()) <= game.rest.threshold
            message = reply


def diameter(graph):
    return nx.diameter(nx.Graph(graph))


COMPLETE = named(nx.complete_graph(10))


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.97])
@pytest.mark.parametrize("seed", range(4))
def test_when_all_stop_every_message_is_within_what_the_threshold_promises(seed, factor):
    graph = random_graph(5 + seed, seed, directed=False) if seed else named(nx.complete_graph(6))
    affines = Affines(graph, seed, factor, aligned=seed % 2 == 0)
    off, tags = worst(affines, seed, diameter(graph) + 1, 0.5)
    assert off <= THRESHOLD / (1.0 - factor)
    assert len(tags) == 1


def test_play_without_an_anchor_breaks_the_promise():
    """So that the test above can fail: a small step says little where news trickles in."""
    affines = Affines(COMPLETE, 0, 0.99, aligned=True)
    off, _ = worst(affines, 0, diameter(COMPLETE) + 1, 0.0, without_anchor)
    assert off > THRESHOLD / (1.0 - 0.99)


def test_an_agent_says_its_opening_until_all_neighbours_were_heard_and_is_at_rest_only_near_its_anchor():
    g = free_play(Game(Affine(1.0, {"a": 0.5, "b": 0.0}), Rest(0.2), {"fact": 1.0}), 2)
    said = next(g)
    assert (float(said.body[0, 0]), said.report, said.record) == (0.0, False, {"fact": 1.0})

    def hear(**bodies):
        say = g.send(Heard({j: np.array([[x]]) for j, x in bodies.items()}))
        return round(float(say.body[0, 0]), 6), say.report

    assert hear() == (0.0, False)
    assert hear(a=1.0) == (0.0, False)
    assert hear(a=0.0, b=9.0) == (1.0, False)  # the anchor
    assert hear(a=0.1, b=9.0) == (1.05, True)
    assert hear(a=0.19, b=9.0) == (1.095, True)
    assert hear(a=0.3, b=9.0) == (1.15, False)  # 0.05 from the last message, 0.15 from the anchor
    assert hear(a=0.2, b=9.0) == (1.1, True)


def test_play_that_grows_without_bound_is_named():
    g = free_play(Game(Affine(0.0, {"a": 1e60}), Rest(0.2), {}), 1)
    next(g)
    with pytest.raises(Diverged, match="the largest number to be said is 1e\\+120"):
        g.send(Heard({"a": np.array([[1e60]])}))


# -- whole runs -----------------------------------------------------------------------------------------


def rules(n, tolerance=1e-6):
    stopping = {"rule": "counters", "tolerance": tolerance, "scale": None}
    return {
        "mechanism": "private-goods",
        "capacities": [float(n)],
        "eta": 25.0,
        "parameters": "tuned",
        "learning": "cournot",
        "stopping": stopping,
    }


GRAPHS = {"tree": tree(7), "er": erdos_renyi(8, 0.4, seed=3), "directed": one_way_ring(5, ((0, 2),))}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", GRAPHS)
def test_the_allocation_is_as_exact_as_promised_and_all_stop_in_one_round_of_the_side(name, seed):
    graph = GRAPHS[name]
    utilities = thesis(graph, seed)
    given = parts(graph, utilities, rules(len(graph)))
    slow = sorted(graph)[seed]
    ticking = {i: replace(part, tick=10 * TICK if i == slow else TICK) for i, part in given.items()}
    net = Network(ticking, allocate_freely, seed, durable=False, fate=lossy(0.3, 20 * TICK))
    results = net.run()
    x, _ = utilities.optimum([float(len(graph))])
    off = max(abs(results[i].allocation[0] - x[k, 0]) for k, i in enumerate(sorted(graph)))
    assert off <= 1e-6
    assert len({r.stopped for r in results.values()}) == 1
    assert all(r.satisfied and r.agents == len(graph) for r in results.values())
    assert set(net.rejected) <= {"duplicate", "overtaken"}


def lossy(loss, longest):
    def fate(rng, src, dst, topic, now):
        return () if rng.random() < loss else (rng.uniform(0.0, longest),)

    return fate


def test_a_snapshot_of_a_whole_run_gives_the_same_say_and_the_same_life_after_it():
    graph = GRAPHS["tree"]
    given = parts(graph, thesis(graph, 1), rules(len(graph), 1e-2))
    listens = hears(graph)

    def fresh():
        return Lossy({i: allocate_freely(p) for i, p in given.items()}, listens, 0.2, 5, delay=2)

    def again(i, snapshot):
        return allocate_freely(given[i], snapshot)

    assert assert_goes_on_from_snapshots(fresh, again, every=40) > 10


def test_a_dynamics_that_averages_is_refused():
    graph = GRAPHS["tree"]
    given = parts(graph, thesis(graph, 1), {**rules(7), "learning": "fictitious"})
    with pytest.raises(ValueError, match="free mode plays 'cournot' only"):
        allocate_freely(given["n00"])
