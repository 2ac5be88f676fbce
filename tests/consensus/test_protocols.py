"""What holds for every consensus protocol: snapshots, the wire, bodies; and runs of a scenario."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.lossy import Lossy
from broker import codec
from node import lockstep
from node.combinators import in_rounds
from node.consensus.extremum import minimum
from node.consensus.flooding import set_flooding
from node.consensus.flow import flow_updating
from node.consensus.metropolis import metropolis
from node.consensus.ratio import ratio
from node.consensus.tree import tree_sum
from node.consensus.trimmed import NotRobust, trimmed
from node.consensus.truth import ConsensusEnvironment
from node.consensus.windows import windows
from node.part import Part
from node.protocol import Heard, together
from node.protocols.consensus import EXACT, FREE, consensus, extremum_so_far, recording
from node.protocols.free_consensus import consensus_freely
from runner.testing import Network
from tests.consensus.test_exact import lossy
from tests.node.instances import hears, random_graph
from tests.twins import assert_goes_on_from_snapshots
from topologies import ScenarioError, load_scenario

GRAPH = random_graph(7, 3, directed=False)
HEARS = hears(GRAPH)
X = {i: 0.1 * k - 0.2 for k, i in enumerate(sorted(GRAPH))}

# name -> agent -> factory
PROTOCOLS = {
    "ratio": lambda i: lambda r: ratio(X[i], HEARS[i], max_rounds=12, resume=r),
    "ratio under counters": lambda i: lambda r: ratio(X[i], HEARS[i], 1.0, 1e-3, max_rounds=12, resume=r),
    "metropolis": lambda i: lambda r: metropolis(X[i], HEARS[i], max_rounds=12, resume=r),
    "chebyshev": lambda i: lambda r: metropolis(X[i], HEARS[i], 0.9, 1e-3, max_rounds=12, resume=r),
    "flow": lambda i: lambda r: flow_updating(X[i], HEARS[i], max_rounds=12, resume=r),
    "trimmed": lambda i: lambda r: trimmed(X[i], 1, max_rounds=12, resume=r),
    "tree": lambda i: lambda r: tree_sum(i, (X[i], 1e30, -0.0), r),
    "set": lambda i: lambda r: set_flooding(i, (X[i], 0.0), HEARS[i], 12, resume=r),
    "with windows": lambda i: (
        lambda r: together(
            lambda a: flow_updating(X[i], HEARS[i], resume=a), lambda b: windows(5, 1e-3, b), r
        )
    ),
    "with windows in rounds": lambda i: (
        lambda r: together(
            lambda a: ratio(X[i], HEARS[i], resume=a),
            lambda b: in_rounds(lambda c: windows(5, 1e-3, c), HEARS[i], resume=b),
            r,
        )
    ),
}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_snapshot_gives_the_very_say_again_and_the_same_life_after_it(name, loss):
    if loss and name in ("metropolis", "chebyshev", "tree", "with windows"):
        pytest.skip("rounds mode only")
    make = {i: PROTOCOLS[name](i) for i in GRAPH}
    for cut in (0, 1, 2, 5, 8):
        net = Lossy({i: make[i](None) for i in GRAPH}, HEARS, loss, 1)
        twin = Lossy({i: make[i](None) for i in GRAPH}, HEARS, loss, 1)
        for k in range(200):
            if k == cut:
                for i, say in net.says.items():
                    if i in net.results:
                        continue
                    stored = codec.unpack(codec.pack(copy.deepcopy(say.snapshot)))
                    again = make[i](stored)
                    first = next(again)
                    assert (first.body, dict(first.to), first.kind) == (say.body, dict(say.to), say.kind)
                    assert first.report == say.report
                    assert first.snapshot == say.snapshot
                    net.protocols[i], net.says[i] = again, first
            net.step()
            twin.step()
            if k > cut and len(net.results) == len(twin.results) == len(GRAPH):
                break
        assert net.results == twin.results
        assert len(net.results) == len(GRAPH)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_all_that_is_said_goes_over_the_wire_and_nothing_else_is_accepted(name):
    net = Lossy({i: PROTOCOLS[name](i)(None) for i in GRAPH}, HEARS)
    for _ in range(12):
        for i, say in net.says.items():
            body, told = codec.unpack(codec.pack((say.body, say.to.get(HEARS[i][0]))))
            assert codec.finite((body, told))
            assert say.accepts(body, "b")
            assert (body, told) == (say.body, say.to.get(HEARS[i][0]))
            for wrong in ("x", b"", 7.5j, [1.0], {"a": 1}, True, (1,), ("a",), (None,) * 6, ((),) * 3):
                assert not say.accepts(wrong, "b")
        if net.results:
            break
        net.step()
    assert net.rejected == 0


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("primitive", ["ratio", "flow", "metropolis", "trimmed", *EXACT])
def test_a_run_over_a_network_with_loss_equals_lockstep_bit_for_bit(primitive, seed):
    rules = {"primitive": primitive, "f": 0, "stopping": {"tolerance": 1e-6}}
    if primitive == "trimmed":
        rules["stopping"] = {"max_rounds": 20}
    parts = {i: part(i, rules) for i in GRAPH}
    expected = lockstep.run({i: consensus(p) for i, p in parts.items()}, HEARS)
    net = Network(parts, lambda part, resume: consensus(part), seed, fate=lossy)
    assert net.run() == expected.results
    truth = ConsensusEnvironment({i: (x,) for i, x in X.items()})
    for result in expected.results.values():
        assert result.satisfied
        assert result.agents == len(GRAPH)
        error = truth.error(primitive, result.value, result.diameter)
        assert error == 0.0 if result.exact else error <= 1e-6


def part(i, rules, values=None, tick=None):
    utility = {"family": "value", "value": [X[i]] if values is None else values}
    return Part(i, "test", HEARS[i], HEARS[i], utility, {"mechanism": "consensus", **rules}, tick=tick)


@pytest.mark.parametrize("primitive", FREE)
@pytest.mark.parametrize("rule", ["windows", "counters"])
def test_a_run_in_free_mode_surveys_works_and_stops_with_no_barrier(primitive, rule):
    rules = {"primitive": primitive, "stopping": {"rule": rule, "tolerance": 1e-6}}
    protocols = {i: consensus_freely(part(i, rules)) for i in GRAPH}
    net = Lossy(protocols, HEARS, 0.3, 1, delay=3, twice=0.2)
    while len(net.results) < len(GRAPH):
        net.step()
        assert net.ticks < 3000
    truth = ConsensusEnvironment({i: (x,) for i, x in X.items()})
    assert max(truth.error(primitive, r.value) for r in net.results.values()) <= 1e-6
    assert {r.agents for r in net.results.values()} == {len(GRAPH)}
    assert len({r.stopped for r in net.results.values()}) == 1
    assert net.rejected == 0


@pytest.mark.parametrize("primitive", FREE)
def test_a_free_run_goes_on_from_any_snapshot(primitive):
    rules = {"primitive": primitive, "stopping": {"rule": "windows", "tolerance": 1e-6}}

    def fresh():
        return Lossy({i: consensus_freely(part(i, rules)) for i in GRAPH}, HEARS, 0.2, 3, delay=2)

    def again(i, snapshot):
        return consensus_freely(part(i, rules), snapshot)

    assert assert_goes_on_from_snapshots(fresh, again, every=7)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("primitive", FREE)
def test_a_free_run_over_a_network_with_loss_ends_with_the_right_result(primitive, seed):
    rules = {"primitive": primitive, "stopping": {"tolerance": 1e-6}}
    parts = {i: part(i, rules, tick=0.05) for i in GRAPH}
    net = Network(parts, consensus_freely, seed, durable=False, fate=lossy)
    results = net.run()
    truth = ConsensusEnvironment({i: (x,) for i, x in X.items()})
    for result in results.values():
        assert result.satisfied
        error = truth.error(primitive, result.value)
        assert error == 0.0 if result.exact else error <= 1e-6
    assert len({r.stopped for r in results.values()}) == 1


def test_a_primitive_that_needs_rounds_is_refused_in_free_mode():
    with pytest.raises(ValueError, match="tree is right in rounds mode only"):
        consensus_freely(part("n00", {"primitive": "tree"}))


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ({"primitive": "median"}, "unknown primitive 'median'"),
        ({"primitive": "ratio", "stopping": {"rule": "never", "tolerance": 1e-6}}, "unknown stopping rule"),
        ({"primitive": "trimmed", "f": 1, "diameter": 3}, "max_rounds, which is missing"),
    ],
)
def test_rules_that_cannot_be_played_are_refused(rules, text):
    with pytest.raises(ValueError, match=text):
        lockstep.run({i: consensus(part(i, rules)) for i in GRAPH}, HEARS)


def test_trimmed_runs_refuse_too_small_a_degree():
    rules = {"primitive": "trimmed", "f": 3, "stopping": {"max_rounds": 5}}
    with pytest.raises(NotRobust, match="7-robust"):
        lockstep.run({i: consensus(part(i, rules)) for i in GRAPH}, HEARS)


# Scenarios ---------------------------------------------------------------------------------------------


def test_drawn_values_come_from_the_seed_and_load_again(tmp_path):
    loaded = load_scenario("consensus-ratio-er-31", seed=5)
    expected = np.random.default_rng(5).uniform(0, 1, 31).tolist()
    assert [u["value"] for u in loaded.utilities.values()] == [[v] for v in expected]
    path = Path(tmp_path / "again.json")
    path.write_text(json.dumps(loaded.resolved()))
    again = load_scenario(path)
    assert (again.hash, again.utilities) == (loaded.hash, loaded.utilities)


@pytest.mark.parametrize(
    ("name", "override", "text"),
    [
        (
            "consensus-trimmed-12",
            'topology={generator="ring", agents=12}',
            "not 5-robust: nobody in {a00} hears 5",
        ),
        ("consensus-trimmed-12", "mechanism.f=-1", "mechanism.f: got -1; expected a whole number"),
        ("consensus-trimmed-12", "stopping={}", "stopping.max_rounds: missing"),
        ("consensus-ratio-er-31", "mechanism.primitive=median", 'mechanism.primitive: got "median"'),
        ("consensus-ratio-er-31", "mechanism.rho=0.5", "mechanism.rho: got 0.5; expected no such key"),
        (
            "consensus-chebyshev-tree-31",
            "mechanism.rho=1",
            "mechanism.rho: got 1; expected a number in [0, 1)",
        ),
        (
            "consensus-ratio-er-31",
            'mechanism={primitive="trimmed", name="consensus"}',
            "mechanism.f: missing",
        ),
        ("consensus-ratio-er-31", "mechanism={}", "mechanism.primitive: missing"),
        (
            "consensus-ratio-er-31",
            "mechanism.name=magic",
            'mechanism.name: got "magic"; expected one of private',
        ),
        ("consensus-ratio-er-31", "environment.kind=magic", 'environment.kind: got "magic"; expected one of'),
        (
            "ring-12",
            "mechanism={name='consensus', primitive='ratio'}",
            'environment.kind: got "private-goods"',
        ),
        ("ring-12", "stopping.rule=windows", 'stopping.rule: got "windows"; expected "counters"'),
        ("consensus-ratio-er-31", "environment.values={a00=1}", "environment.values: nothing for a01"),
        (
            "consensus-ratio-er-31",
            "environment.values={uniform=[1, 0]}",
            "environment.values.uniform: got [1, 0]",
        ),
        ("consensus-ratio-er-31", "environment.values={a00=nan}", "environment.values.a00: got nan"),
        ("consensus-ratio-er-31", "environment.valus=3", "did you mean values?"),
        ("consensus-ratio-er-31", "utilities.theta=-1", "utilities: got"),
        ("consensus-ratio-er-31", 'topology={generator="directed-ring", agents=5}', "an undirected graph"),
        ("consensus-ratio-er-31", "stopping.scale=2", "stopping.scale: got 2"),
    ],
)
def test_mistakes_in_consensus_scenarios_are_named(name, override, text):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name, [override])
    assert text in re.sub(r" \(from --set [^)]*\)", "", str(caught.value))


def test_the_yardstick_is_exact_and_refuses_nonsense():
    truth = ConsensusEnvironment({"b": (1e100, 1.0), "a": (1.0, 2.0), "c": (-1e100, 3.0)})
    assert (truth.sum, truth.mean, truth.minimum, truth.maximum) == (
        (1.0, 6.0), (1.0 / 3, 2.0), (-1e100, 1.0), (1e100, 3.0)
    )  # fmt: skip
    assert truth.error("ratio", ()) == math.inf
    for wrong in ({}, {"a": (1.0,), "b": (1.0, 2.0)}, {"a": (math.nan,)}):
        with pytest.raises(ValueError, match="expected"):
            ConsensusEnvironment(wrong)


def test_lost_rounds_are_not_counted_by_max_rounds_alone():
    """A run that leaves at ``max_rounds`` says that nobody agreed."""
    rules = {"primitive": "ratio", "stopping": {"tolerance": 1e-9, "max_rounds": 4}}
    ended = lockstep.run({i: consensus(part(i, rules)) for i in GRAPH}, HEARS)
    assert not any(r.satisfied for r in ended.results.values())
    g = ratio(1.0, ["b"], max_rounds=1)
    next(g)
    with pytest.raises(StopIteration) as stop:
        g.send(Heard({}))
    assert not stop.value.value.agreed


def test_an_agent_that_is_alone_has_its_own_value_at_once():
    with pytest.raises(StopIteration) as ended:
        next(recording(minimum((0.5,), 0), extremum_so_far))
    assert ended.value.value == (0.5,)
