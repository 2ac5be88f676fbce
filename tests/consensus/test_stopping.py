"""Max-min windows and rounds inside free mode: together, never early (spec 10, 4.2, 4.4, 5.1)."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.consensus_rounds import inputs, network
from benchmarks.lossy import Lossy
from node import lockstep
from node.combinators import in_rounds, newest, throughout
from node.consensus.averages import VETO
from node.consensus.counters import counters
from node.consensus.extremum import maximum
from node.consensus.flow import flow_updating
from node.consensus.ratio import ratio
from node.consensus.survey import survey
from node.consensus.windows import windows
from node.protocol import Heard, Say, together
from tests.node.instances import hears, random_graph

LAWS = settings(deadline=None, max_examples=30, derandomize=True)
graphs = st.builds(random_graph, n=st.integers(2, 9), seed=st.integers(0, 999), directed=st.booleans())


def diameter(graph):
    return max(max(row.values()) for _, row in nx.all_pairs_shortest_path_length(graph))


def scripted(reports):
    """Reports as the script says, and its last one for ever; returns the round of the verdict, from 0."""
    k = 0
    while True:
        heard = yield Say(k, kind="scripted", report=reports[min(k, len(reports) - 1)], snapshot=k)
        if heard.verdict is not None:
            return k
        k += 1


def at(script, k):
    return script[min(k, len(script) - 1)]


@LAWS
@given(data=st.data(), graph=graphs, factor=st.sampled_from([1, 2]))
def test_windows_stop_all_in_one_round_at_a_boundary_and_never_early(data, graph, factor):
    bound = factor * diameter(graph)
    value = st.sampled_from([0.0, 0.5, 1.0, VETO])
    scripts = {i: [*data.draw(st.lists(value, max_size=8)), 1.0] for i in sorted(graph)}
    ended = lockstep.run(
        {i: together(lambda r, i=i: scripted(scripts[i]), lambda r: windows(bound, 0.5, r)) for i in graph},
        hears(graph),
    )
    (k,) = set(ended.results.values())
    assert (k + 1) % bound == 0

    def fine(t):
        values = [at(script, t) for script in scripts.values()]
        return VETO not in values and max(values) - min(values) <= 0.5

    # The windows' starting values are the reports of the last round before them.
    boundaries = range(bound - 1, k + 1, bound)
    assert fine(k - bound)
    assert not any(fine(t) for t in boundaries if t < k - bound)
    quiet = max((t for t in range(10) if not fine(t)), default=-1) + 1
    assert k <= max(quiet, 1) + 2 * bound - 1


def test_a_window_shorter_than_the_diameter_breaks_the_guarantee():
    """So that the test above can fail."""
    graph = nx.relabel_nodes(nx.path_graph(7).to_directed(), {k: f"n{k}" for k in range(7)})
    scripts = {i: [0.0 if i == "n0" else 1.0] for i in graph}
    net = Lossy(
        {i: together(lambda r, i=i: scripted(scripts[i]), lambda r: windows(2, 0.5, r)) for i in graph},
        hears(graph),
    )
    for _ in range(20):
        net.step()
    assert "n6" in net.left
    assert "n0" not in net.left


@pytest.mark.parametrize("graph", ["tree", "er"])
@pytest.mark.parametrize("primitive", [ratio, flow_updating])
@pytest.mark.parametrize("factor", [1, 2])
def test_averages_stop_within_the_tolerance_in_rounds_mode(graph, primitive, factor):
    listens = network(graph)
    x = inputs(listens, 1)
    mean, d = sum(x.values()) / len(x), factor * {"tree": 8, "er": 3}[graph]
    ended = lockstep.run(
        {
            i: together(lambda r, i=i: primitive(x[i], listens[i], resume=r), lambda r: windows(d, 1e-6, r))
            for i in listens
        },
        listens,
    )
    assert all(r.agreed and abs(r.estimate - mean) <= 1e-6 for r in ended.results.values())


def stopped(primitive, rule, x, neighbours, d, local):
    """An average in free mode beside a stopping rule that keeps rounds."""

    def side(r):
        return windows(d, 1e-7, r) if rule == "windows" else counters(d, r)

    fold = newest if rule == "windows" else throughout
    return together(
        lambda r: primitive(x, neighbours, tolerance=local, resume=r),
        lambda r: in_rounds(side, neighbours, fold, r),
    )


@pytest.mark.parametrize("rule", ["windows", "counters"])
@pytest.mark.parametrize("primitive", [ratio, flow_updating])
def test_free_runs_stop_in_the_same_pulse_with_every_estimate_within_the_tolerance(rule, primitive):
    listens = network("er")
    d, pulses = 3, {}
    for seed in range(1):
        x = inputs(listens, seed)
        mean = sum(x.values()) / len(x)
        local = 1e-7 / d if rule == "counters" else None

        net = Lossy(
            {i: stopped(primitive, rule, x[i], listens[i], d, local) for i in listens},
            listens,
            0.2,
            seed,
            delay=3,
            twice=0.2,
        )
        while len(net.results) < len(listens):
            for i, say in net.says.items():
                pulses[i] = say.body[1][0]
            net.step()
            assert net.ticks < 4000
        assert len(set(pulses.values())) == 1  # all left while saying the same pulse
        assert all(r.agreed and abs(r.estimate - mean) <= 1e-6 for r in net.results.values())
        assert net.rejected == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_protocol_in_rounds_gives_bit_for_bit_what_it_gives_in_lockstep(seed):
    graph = random_graph(8, seed, directed=False)
    listens = hears(graph)

    def protocol(i):
        routes = yield from survey(i)
        return (yield from maximum((float(len(i) + ord(i[-1])),), routes.diameter)), routes

    expected = lockstep.run({i: protocol(i) for i in graph}, listens).results
    net = Lossy(
        {i: in_rounds(lambda r, i=i: protocol(i), listens[i]) for i in graph}, listens, 0.5, seed, 5, 0.3
    )
    while len(net.results) < len(expected):
        net.step()
        assert net.ticks < 1000
    assert net.results == expected


def test_reports_between_two_rounds_are_folded():
    heard_reports = []

    def side():
        while True:
            heard_reports.append((yield Say(0, snapshot=0)).report)

    for fold, expected in ((throughout, False), (newest, True)):
        heard_reports.clear()
        g = in_rounds(lambda r: side(), ["b"], fold)
        next(g)
        for report in (True, False, True):
            g.send(Heard({}, report=report))
        g.send(Heard({"b": (0, 0, None)}, report=True))
        assert heard_reports == [expected]


def test_a_neighbour_declared_gone_is_no_longer_waited_for():
    g = in_rounds(lambda r: counters(1, r), ["b", "c"])
    next(g)
    assert g.send(Heard({"b": (0, (0, 5), None)}, report=True)).body[0] == 0
    assert g.send(Heard({"b": (0, (0, 5), None)}, gone=("c",), report=True)).body[0] == 1


def test_in_rounds_reads_only_what_is_well_formed():
    say = next(in_rounds(lambda r: counters(1, r), ["b"]))
    assert say.accepts((0, (0, 0), None), "b")
    assert say.accepts((1, (1, 1), (0, 0)), "b")
    for body in (
        None,
        (),
        (0, (0, 0)),
        (0, "x", None),
        (1, (0, 0), "x"),
        (2, (0, 0), (0, 0)),
        ("0", (0, 0), None),
    ):
        assert not say.accepts(body, "b")
    # What lay one round ahead when it came is checked again when its own round is read.
    g = in_rounds(lambda r: counters(1, r), ["b"])
    next(g)
    assert g.send(Heard({"b": (1, "nonsense", (0, 5))}, report=True)).body[0] == 1
    assert g.send(Heard({"b": (1, "nonsense", (0, 5))}, report=True)).body[0] == 1


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), float("inf")])
def test_windows_refuse_a_tolerance_that_is_none(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        next(windows(3, tolerance))
