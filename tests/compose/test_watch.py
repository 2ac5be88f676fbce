"""A judge that nobody talks to: what it makes of reports and statuses, and that nothing upsets it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import codec, topics
from broker.codec import Malformed
from node import report
from node.status import DOWN, UP, Status
from runner.watch import Watch
from topologies import load_scenario

RUN = "r1"
PARTS = load_scenario("star-9").parts(RUN)
AGENTS = sorted(PARTS)
HUB, LEAF = AGENTS[0], AGENTS[1]
COUNTS = {
    "incarnation": 0,
    "sent": 1,
    "sent_bytes": 10,
    "received": 1,
    "received_bytes": 10,
    "resent": 0,
    "rejected": {"duplicate": 2},
    "heard_from": {HUB: 1},
    "restarted_by": {},
    "first_round_at": None,
}
PROGRESS = {
    "state": "playing",
    "round": 3,
    "kind": "play",
    "record": {"residual": 0.5},
    "waiting_for": (HUB,),
    "suspects": {},
    "not_durable": None,
    **COUNTS,
}
RESULT = {
    "agent": LEAF,
    "result": {"allocation": (1.0,)},
    "stranded": None,
    "rounds": 7,
    "epoch": 0,
    "neighbours": (HUB,),
    "absent": {},
    **COUNTS,
}


class Heard:
    """A watch and what it told."""

    def __init__(self):
        self.progress, self.warnings, self.ended = {}, [], 0
        self.watch = Watch(PARTS, self.progress.__setitem__, self.warnings.append, self._end)

    def _end(self):
        self.ended += 1

    def report(self, agent, what, **content):
        whole = {"progress": PROGRESS, "result": {**RESULT, "agent": agent}, "failed": {}}[what]
        self.watch.receive(topics.report(RUN, agent), report.pack(what, {**whole, **content}))

    def status(self, agent, state, digest=None):
        heard = Status(state, 0, 0, digest or PARTS[agent].digest(), "n")
        self.watch.receive(topics.status(RUN, agent), heard.pack())


@pytest.fixture
def heard():
    return Heard()


def test_the_run_ends_with_the_last_result_and_once(heard):
    for agent in AGENTS:
        assert not heard.ended
        heard.report(agent, "result")
        heard.report(HUB, "result")  # said again, as agents do
    assert heard.ended == 1 + 1  # the hub's copy comes after the end, too
    assert heard.watch.missing == []
    assert heard.watch.failure is None


def test_a_result_is_what_the_agent_reported(heard):
    heard.report(LEAF, "result", extra=5)
    assert heard.watch.reports == {LEAF: {**RESULT, "extra": 5, "restarts": 0}}
    assert heard.progress[LEAF]["state"] == "lingering"


def test_counters_are_added_up_over_the_lives_of_an_agent(heard):
    heard.report(LEAF, "progress", incarnation=0, sent=5)
    heard.report(LEAF, "progress", incarnation=0, sent=7)
    heard.report(LEAF, "progress", incarnation=9, sent=2)
    heard.report(LEAF, "result", incarnation=9, sent=3)
    found = heard.watch.reports[LEAF]
    assert (found["sent"], found["restarts"]) == (7 + 3, 1)


def test_a_failure_ends_the_run_and_the_first_one_counts(heard):
    heard.report(LEAF, "failed", error="agent a1: no more")
    heard.report(HUB, "failed", error="agent a0: neither")
    assert str(heard.watch.failure) == "agent a1: no more"
    assert heard.ended == 1


def test_an_agent_with_other_rules_than_the_scenario_s_ends_the_run(heard):
    heard.status(LEAF, UP, digest="0" * 16)
    assert f"agent {LEAF} plays by other rules" in str(heard.watch.failure)


def test_new_rounds_are_progress_and_old_ones_are_not(heard):
    heard.report(LEAF, "progress")
    before = heard.watch.moved
    heard.report(LEAF, "progress")
    assert heard.watch.moved == before
    heard.report(LEAF, "progress", round=4)
    assert heard.watch.moved > before
    assert heard.progress[LEAF]["round"] == 4


def test_who_waits_for_whom_is_told(heard):
    for agent in AGENTS:
        heard.report(agent, "progress", round=5)
    heard.report(LEAF, "progress", round=4)
    assert heard.watch.stuck() == f"agent {LEAF} (playing, round 4) waits for {HUB}"


def test_agents_never_heard_of_are_named(heard):
    for agent in AGENTS[:-1]:
        heard.report(agent, "progress")
    assert heard.watch.stuck() == f"nothing was ever heard of agent {AGENTS[-1]}"
    assert Heard().watch.stuck() == "no agent has been heard of"


def test_the_dead_are_those_whose_connection_was_lost_before_a_result(heard):
    heard.status(LEAF, DOWN)
    heard.status(HUB, DOWN)
    assert heard.watch.dead() == f"the connection of agent {HUB}, {LEAF} was lost before it had a result"
    heard.status(HUB, UP)
    heard.report(LEAF, "result")
    assert heard.watch.dead() == ""


def test_a_store_that_fails_is_warned_of_once(heard):
    heard.report(LEAF, "progress", not_durable="agent a1 is no longer durable: disk full")
    heard.report(LEAF, "progress", not_durable="agent a1 is no longer durable: disk full", round=9)
    assert heard.warnings == ["agent a1 is no longer durable: disk full"]


@pytest.mark.parametrize(
    ("topic", "payload", "kind"),
    [
        ("r1/a1/shout", b"x", "topic"),
        (topics.report("r2", LEAF), b"x", "foreign"),
        (topics.report(RUN, "stranger"), b"x", "foreign"),
        (topics.report(RUN, LEAF), b"\xc1", "undecodable"),
        (topics.report(RUN, LEAF), b"0" * (codec.SIZE_LIMIT + 1), "oversized"),
        (topics.report(RUN, LEAF), report.pack("result", {**RESULT, "agent": HUB}), "report"),
        (
            topics.report(RUN, LEAF),
            report.pack("result", {**RESULT, "result": {"x": float("nan")}}),
            "report",
        ),
        (topics.report(RUN, LEAF), report.pack("result", {**RESULT, "rejected": {"x": "y"}}), "report"),
        (topics.report(RUN, LEAF), report.pack("progress", {**PROGRESS, "round": -1}), "report"),
        (topics.report(RUN, LEAF), report.pack("progress", {**PROGRESS, "state": "bored"}), "report"),
        (topics.report(RUN, LEAF), report.pack("progress", {**PROGRESS, "record": {"x": "y"}}), "report"),
        (topics.report(RUN, LEAF), report.pack("failed", {"error": 5}), "report"),
        (topics.report(RUN, LEAF), report.pack("shout", {}), "report"),
        (topics.status(RUN, LEAF), codec.pack({"state": "up"}), "status"),
    ],
)
def test_what_is_malformed_is_counted_by_kind(heard, topic, payload, kind):
    heard.watch.receive(topic, payload)
    assert heard.watch.rejected == {kind: 1}
    assert not heard.ended
    assert heard.progress == {}


@given(st.binary(max_size=200))
def test_nothing_raises_into_the_judge(payload):
    heard = Heard()
    heard.watch.receive(topics.report(RUN, LEAF), payload)
    heard.watch.receive(topics.status(RUN, LEAF), payload)
    assert heard.watch.rejected.total() == (2 if payload else 0)


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["progress", "result", "failed"]), st.data())
def test_what_is_read_can_be_shown(what, data):
    """Whatever replaces one fact of a report: it is refused, or the display can take it."""
    whole = {"progress": PROGRESS, "result": RESULT, "failed": {"error": "x"}}[what]
    name = data.draw(st.sampled_from(sorted(whole)))
    try:
        _, content = report.read(report.pack(what, {**whole, name: data.draw(values)}), LEAF)
    except Malformed:
        return
    if what == "progress":
        from rich.console import Console

        from runner.progress import Progress

        progress = Progress(Console(quiet=True), AGENTS)
        progress.update(LEAF, content)
        progress.facts()
