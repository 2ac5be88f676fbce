"""Extremum flooding, stopping by counters, and the snapshot rule (spec 10: 2.1, 4.1; protocol interface)."""

from __future__ import annotations

import copy
import itertools
import struct

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import learning
from node.consensus.counters import counters
from node.consensus.extremum import maximum, minimum
from node.lockstep import run
from node.mechanisms.contraction import tuned_delta
from node.mechanisms.private_goods import PrivateGoods
from node.protocol import Heard, Say, together
from node.protocols.play import repeated_play
from node.utilities import build
from tests.node.instances import GRAPHS, hears, one_way_ring, random_graph, routes, step, thesis, tree

LAWS = settings(deadline=None, max_examples=60, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(2, 9), seed=st.integers(0, 999), directed=st.booleans())
numbers = st.floats(-1e300, 1e300)


def diameter(graph):
    return max(max(row.values()) for _, row in nx.all_pairs_shortest_path_length(graph))


def bits(values):
    return struct.pack(f"<{len(values)}d", *values)


# Flooding ----------------------------------------------------------------------------------------------


@LAWS
@given(data=st.data(), graph=graphs, spare=st.integers(0, 4), width=st.integers(1, 3))
def test_flooding_gives_everybody_the_extremum_in_the_given_rounds(data, graph, spare, width):
    values = {i: data.draw(st.tuples(*[numbers] * width)) for i in sorted(graph)}
    rounds = diameter(graph) + spare
    for flood, best in ((minimum, min), (maximum, max)):
        log = step({i: flood(values[i], rounds) for i in graph}, hears(graph), sorted(graph))
        assert log.left == dict.fromkeys(graph, rounds)
        expected = tuple(best(column) for column in zip(*values.values(), strict=True))
        assert all(tuple(got) == expected for got in log.results.values())


@LAWS
@given(data=st.data(), graph=graphs)
def test_flooding_gives_everybody_the_same_bits(data, graph):
    """Also where two doubles are equal and their bits are not."""
    one = st.one_of(numbers, st.sampled_from([0.0, -0.0, 5e-324, -5e-324]))
    values = {i: (data.draw(one),) for i in sorted(graph)}
    for flood in (minimum, maximum):
        got = run({i: flood(values[i], diameter(graph)) for i in graph}, hears(graph)).results
        assert len({bits(v) for v in got.values()}) == 1


def test_zero_and_minus_zero_end_up_with_the_same_bits_everywhere():
    graph = tree(3)
    values = {"n00": (0.0,), "n01": (-0.0,), "n02": (0.0,)}
    for flood in (minimum, maximum):
        got = run({i: flood(values[i], 2) for i in graph}, hears(graph)).results
        assert len({bits(v) for v in got.values()}) == 1


def test_flooding_for_fewer_rounds_than_the_diameter_is_not_exact():
    """The bound on the rounds is tight, so the tests above can fail."""
    graph = one_way_ring(6)
    values = {i: (float(k),) for k, i in enumerate(sorted(graph))}
    got = run({i: minimum(values[i], 4) for i in graph}, hears(graph)).results
    assert {tuple(v) for v in got.values()} == {(0.0,), (1.0,)}


def test_flooding_does_not_accept_malformed_bodies():
    say = next(minimum((1.0, 2.0), 3))
    assert say.accepts is not None
    assert say.accepts(say.body, "b")
    for body in (None, "text", 1.0, (1.0,), (1.0, 2.0, 3.0), (1.0, "2"), (None, None)):
        assert not say.accepts(body, "b")


# Counters ----------------------------------------------------------------------------------------------


def scripted(schedule):
    """A main protocol that is satisfied as the schedule says, and for ever after its end."""
    k = 0
    while True:
        heard = yield Say(k, kind="scripted", report=schedule[k] if k < len(schedule) else True, snapshot=k)
        if heard.verdict is not None:
            return k, heard.verdict
        k += 1


def stops(graph, schedules, bound):
    """Run it: (round of the stop, counted from 0; the verdicts), the same at all agents."""
    log = step(
        {
            i: together(lambda r, i=i: scripted(schedules[i]), lambda r: counters(bound, r))
            for i in sorted(graph)
        },
        hears(graph),
        sorted(graph),
    )
    assert len(set(log.left.values())) == 1
    assert len(set(log.results.values())) == 1
    return next(iter(log.results.values()))


def satisfied(schedules, k):
    return all(k >= len(s) or s[k] for s in schedules.values())


def first_detection(graph, schedules, bound):
    """Unrolled definition: count_i >= h+1 in round k iff every r was satisfied in rounds k-h .. k-d(i,r)."""
    d = dict(nx.all_pairs_shortest_path_length(graph))
    k = bound
    while True:
        for i in graph:
            if all(
                t >= len(schedules[r]) or schedules[r][t]
                for r in graph
                for t in range(k - bound, k - d[i][r] + 1)
            ):
                return k
        k += 1


schedule = st.lists(st.booleans(), max_size=12)


@LAWS
@given(data=st.data(), graph=graphs, factor=st.sampled_from([1, 2]))
def test_all_stop_in_the_round_that_the_definition_gives(data, graph, factor):
    bound = factor * diameter(graph)
    # Mostly satisfied, so that early stretches of satisfaction come up, too.
    likely = st.lists(st.integers(0, 5).map(bool), max_size=12)
    schedules = {i: data.draw(st.one_of(schedule, likely)) for i in sorted(graph)}
    k, verdict = stops(graph, schedules, bound)
    assert k == first_detection(graph, schedules, bound) + bound
    assert verdict == k


@LAWS
@given(data=st.data(), graph=graphs, factor=st.sampled_from([1, 2]))
def test_nobody_stops_before_everybody_was_satisfied(data, graph, factor):
    bound = factor * diameter(graph)
    schedules = {i: data.draw(schedule) for i in sorted(graph)}
    k, _ = stops(graph, schedules, bound)
    assert satisfied(schedules, k - 2 * bound)


@LAWS
@given(data=st.data(), graph=graphs, factor=st.sampled_from([1, 2]))
def test_stop_comes_2d_rounds_after_all_stay_satisfied_unless_it_came_earlier(data, graph, factor):
    bound = factor * diameter(graph)
    schedules = {i: data.draw(schedule) for i in sorted(graph)}
    last = max([k for s in schedules.values() for k, happy in enumerate(s) if not happy], default=-1)
    k, _ = stops(graph, schedules, bound)
    assert k <= last + 1 + 2 * bound
    if k < last + 1 + 2 * bound:  # only after another round in which all were satisfied
        assert any(satisfied(schedules, t) for t in range(last + 1))


@LAWS
@given(data=st.data(), graph=graphs, factor=st.sampled_from([1, 2]))
def test_stop_comes_exactly_2d_rounds_after_the_last_is_satisfied(data, graph, factor):
    bound = factor * diameter(graph)
    late = {i: data.draw(st.integers(0, 15)) for i in sorted(graph)}
    k, _ = stops(graph, {i: [False] * n for i, n in late.items()}, bound)
    assert k == max(late.values()) + 2 * bound


def test_satisfaction_lost_after_the_announcement_does_not_reopen_the_run():
    """Spec 4.1: an agent that loses its residual after STOP still stops."""
    graph = tree(7)
    d = diameter(graph)
    # Satisfied up to round d, in which somebody counts to D + 1; then never again.
    schedules = {i: [True] * (d + 1) + [False] * 100 for i in sorted(graph)}
    assert stops(graph, schedules, d) == (2 * d, 2 * d)


def test_a_bound_below_the_diameter_breaks_the_guarantee():
    """So that the tests above can fail: the ends of a one-way ring of six are five apart."""
    graph = one_way_ring(6)
    log = step(
        {
            i: together(lambda r, i=i: scripted([i != "n00"] * 40), lambda r: counters(2, r))
            for i in sorted(graph)
        },
        hears(graph),
        sorted(graph),
        rounds=200,
    )
    assert min(log.left.values()) < 40


# The side protocol by hand -----------------------------------------------------------------------------


def test_counters_report_nothing_until_the_stop_round_and_then_that_round():
    side = counters(1)
    say = next(side)
    reports = [say.report]
    for _ in range(4):
        say = side.send(Heard({"b": say.body}, report=True))
        reports.append(say.report)
    # Satisfied from round 0 on: count 2 in round 1, stop round 2; the report is there after round 2 is heard.
    assert reports == [None, None, None, 2, 2]


def test_together_pairs_public_and_private_parts_and_keeps_the_last_report():
    heard = []

    def main(resume):
        got = yield Say("m0", to={"b": 1}, kind="main", report="first", snapshot=("main", 0))
        heard.append(got)
        got = yield Say("m1", kind="main", snapshot=("main", 1))
        heard.append(got)
        return "result"

    def side(resume):
        got = yield Say("s0", to={"c": 2}, kind="side", snapshot=("side", 0))
        heard.append(got)
        got = yield Say("s1", kind="side", report="stop", snapshot=("side", 1))
        heard.append(got)
        yield Say("s2", kind="side", snapshot=("side", 2))

    both = together(main, side)
    say = next(both)
    assert say.body == ("m0", "s0")
    assert say.to == {"b": (1, None), "c": (None, 2)}
    assert say.kind == "main+side"
    say = both.send(Heard({"b": ("x", "y")}, {"b": ("p", None)}))
    assert say.body == ("m1", "s1")
    with pytest.raises(StopIteration) as stop:
        both.send(Heard({"b": ("x", "y")}))
    assert stop.value.value == "result"
    side_0, main_0, side_1, main_1 = heard
    assert side_0.said == {"b": "y"}
    assert side_0.told == {}
    assert side_0.report == "first"
    assert side_1.report == "first"
    assert main_0.said == {"b": "x"}
    assert main_0.told == {"b": "p"}
    assert (main_0.verdict, main_1.verdict) == ("stop", "stop")


def test_a_side_protocol_that_returns_is_an_error():
    def side(resume):
        yield Say(kind="side")

    both = together(lambda r: scripted([]), lambda r: side(r))
    next(both)
    with pytest.raises(RuntimeError, match="side"):
        both.send(Heard({}))


# Snapshots ---------------------------------------------------------------------------------------------


def playing(graph, threshold=1e-3, capacity=5.0):
    utilities, network, listens = thesis(graph, seed=3), routes(graph), hears(graph)
    delta = tuned_delta(len(graph), float((-1 / (2 * utilities.theta)).max()))
    contracts = {
        i: PrivateGoods(network[i], listens[i], build(utilities.spec(i)), (capacity,), 0.95, delta)
        for i in network
    }

    def play(i, resume=None):
        return repeated_play(contracts[i], learning.build("cournot"), threshold, resume=resume)

    return play


def equal(one, other):
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and one == other


def transcript(factories, graph):
    return step({i: factories[i](None) for i in sorted(graph)}, hears(graph), sorted(graph))


def snapshots(log):
    """(agent, index of the Say) wherever a Say had a snapshot."""
    return [(i, k) for i in log.said for k, say in enumerate(log.said[i]) if say.snapshot is not None]


def check_first_say(factories, log):
    for i, k in snapshots(log):
        say = log.said[i][k]
        first = next(factories[i](copy.deepcopy(say.snapshot)))
        assert equal(first.body, say.body)
        assert dict(first.to) == dict(say.to)
        assert first.kind == say.kind
        assert equal(first.report, say.report)


def check_rest(factories, log):
    """Replay what was heard from a snapshot on: the same to the end, as if it had never been killed."""
    for i, k in snapshots(log):
        says, ears = log.said[i], log.heard[i]
        if k % 7 and k < len(says) - 3:
            continue  # a sample, and the last three
        again = factories[i](copy.deepcopy(says[k].snapshot))
        next(again)
        for later in range(k, len(says) - 1):
            now = again.send(copy.deepcopy(ears[later]))
            assert equal(now.body, says[later + 1].body)
            assert equal(now.report, says[later + 1].report)
        with pytest.raises(StopIteration) as stop:
            again.send(copy.deepcopy(ears[-1]))
        assert repr(stop.value.value) == repr(log.results[i])


@pytest.fixture(scope="module", params=["tree", "one-way ring with chords"])
def played(request):
    graph = GRAPHS[request.param]
    play, d = playing(graph, threshold=0.5), diameter(graph)
    factories = {
        i: lambda s, i=i: together(lambda r: play(i, r), lambda r: counters(d, r), s) for i in sorted(graph)
    }
    return factories, transcript(factories, graph)


def test_play_with_counters_resumes_with_the_same_say_from_every_snapshot(played):
    factories, log = played
    assert all(say.snapshot is not None for says in log.said.values() for say in says)
    check_first_say(factories, log)


def test_play_with_counters_ends_the_same_if_it_was_killed(played):
    """Spec 10, 7: a killed agent must come back with the same answer as one that was never killed."""
    check_rest(*played)


def scripted_main(flags, resume):
    k = resume or 0
    while True:
        heard = yield Say(k, kind="scripted", report=k >= len(flags) or flags[k], snapshot=k)
        if heard.verdict is not None:
            return k
        k += 1


def test_counters_resume_from_every_snapshot_around_the_stop():
    graph = random_graph(6, 2, directed=True)
    d = diameter(graph)
    rng = np.random.default_rng(0)
    flags = {i: [bool(v) for v in rng.random(25) < 0.9] for i in sorted(graph)}
    factories = {
        i: lambda s, i=i: together(lambda r: scripted_main(flags[i], r), lambda r: counters(d, r), s)
        for i in sorted(graph)
    }
    log = transcript(factories, graph)
    assert len(snapshots(log)) >= 6 * 2 * d
    check_first_say(factories, log)
    check_rest(factories, log)


def test_a_latched_report_survives_a_restart():
    """Main reports once; the side must go on hearing it after a restart from the combined snapshot."""
    heard = []

    def main(resume):
        k = resume or 0
        while True:
            yield Say(k, kind="main", report="once" if k == 0 else None, snapshot=k)
            k += 1

    def side(resume):
        k = resume or 0
        while True:
            got = yield Say(k, kind="side", snapshot=k)
            heard.append(got.report)
            k += 1

    both = together(main, side)
    next(both)
    snapshot = both.send(Heard({})).snapshot
    again = together(main, side, snapshot)
    assert next(again).body == (1, 1)
    again.send(Heard({}))
    assert heard == ["once", "once"]


def test_together_has_a_snapshot_only_where_both_have_one():
    def silent(resume):
        while True:
            yield Say(kind="silent")

    assert next(together(silent, lambda r: counters(2, r))).snapshot is None
    assert next(together(lambda r: scripted([]), silent)).snapshot is None
    assert next(together(lambda r: scripted([]), lambda r: counters(2, r))).snapshot is not None


def test_nested_together_resumes_from_every_snapshot():
    graph = tree(3)
    d = diameter(graph)

    def inner(i, resume):
        return together(lambda r: chatter(7, r), lambda r: counters(d, r), resume)

    factories = {
        i: lambda s, i=i: together(lambda r: inner(i, r), lambda r: echo(r), s) for i in sorted(graph)
    }
    log = transcript(factories, graph)
    assert len(snapshots(log)) == 3 * (7 + 2 * d + 1)
    check_first_say(factories, log)
    check_rest(factories, log)


def chatter(quiet_from, resume=None):
    k = resume or 0
    while True:
        heard = yield Say(k, kind="chatter", report=k >= quiet_from, snapshot=k)
        if heard.verdict is not None:
            return k
        k += 1


def echo(resume=None):
    total = resume or 0
    while True:
        heard = yield Say(total, kind="echo", snapshot=total)
        total += sum(heard.said.values()) + 1


# Play --------------------------------------------------------------------------------------------------


def test_play_leaves_after_max_rounds_without_being_satisfied():
    graph = tree(7)
    utilities, network, listens = thesis(graph, seed=3), routes(graph), hears(graph)
    protocols = {}
    for i in network:
        contract = PrivateGoods(network[i], listens[i], build(utilities.spec(i)), (5.0,), 0.99, 500.0)
        play = repeated_play(contract, learning.build("cournot"), 1e-9, max_rounds=12)
        protocols[i] = play
    got = run(protocols, listens)
    assert got.rounds == 12
    assert {(p.rounds, p.satisfied) for p in got.results.values()} == {(12, False)}


def test_play_reports_whether_the_last_step_was_within_the_threshold():
    graph, small = tree(7), 5.0
    play = playing(graph, threshold=small)
    log = step(
        {i: together(lambda r, i=i: play(i, r), lambda r: counters(4, r)) for i in sorted(graph)},
        hears(graph),
        sorted(graph),
    )
    lone = {i: play(i) for i in sorted(graph)}
    for i, g in lone.items():
        halves = [Heard({j: body[0] for j, body in heard.said.items()}) for heard in log.heard[i][:-1]]
        says = [next(g), *(g.send(half) for half in halves)]
        assert not says[0].report  # nothing has been compared yet
        for before, now in itertools.pairwise(says):
            assert now.report is bool(np.abs(now.body - before.body).max() <= small)


def test_unknown_dynamics_are_named():
    with pytest.raises(ValueError, match="clairvoyance"):
        learning.build("clairvoyance")
