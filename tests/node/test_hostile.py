"""A neighbour that keeps to the form of every message and to nothing else: what it can do, and what not."""

from __future__ import annotations

import numpy as np
import pytest

from broker import codec, topics
from node import lockstep, status
from node.agent import Agent
from node.consensus.averages import PLAUSIBLE
from node.consensus.flow import flow_updating
from node.consensus.metropolis import metropolis
from node.consensus.ratio import ratio
from node.consensus.survey import survey
from node.errors import AgentError
from node.protocol import Heard, Say
from node.restarts import BURST, EVERY, FAR, Restarts
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.status import Status
from runner.testing import Network, parts_of
from tests.node.wire import Wire, mix

END = codec.COUNT_LIMIT - 1
WORDS = 300  # of a storm in the network


def playing(**changes):
    wire = Wire(**changes)
    wire.start()
    assert wire.agent.state is PLAYING
    return wire


def say(wire, src, state="up", incarnation=0, epoch=0, **more):
    """A status of a neighbour."""
    said = Status(state, incarnation, epoch, wire.digest, "theirs", **more)
    wire.agent.receive_status(src, said.pack())


# -- epochs far ahead ---------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [FAR + 1, 2**61, END])
@pytest.mark.parametrize("state", ["join", "up", "done", "gone", "down", "quit"])
def test_a_status_of_an_epoch_far_ahead_is_counted_and_leaves_no_trace(state, far):
    wire = playing()
    say(wire, "a", state, incarnation=5, epoch=far)
    assert wire.agent.rejected == {"far-epoch": 1}
    known = wire.agent.neighbours
    assert (known.lives["a"], known.epochs["a"], known.absent, known.suspects()) == (0, 0, {}, {})
    assert (wire.agent.epoch, wire.agent.state) == (0, PLAYING)
    wire.agent.open_epoch()
    assert wire.agent.epoch == 1


@pytest.mark.parametrize("far", [FAR + 1, END])
def test_a_message_of_an_epoch_far_ahead_is_counted_and_leaves_no_trace(far):
    wire = playing()
    wire.message("a", 0, incarnation=5, epoch=far)
    assert wire.agent.rejected == {"far-epoch": 1}
    assert (wire.agent.neighbours.lives["a"], wire.agent.epoch) == (0, 0)
    wire.message("a", 0)
    wire.message("c", 0)
    assert wire.said() == [0, 1]


def test_an_agent_that_begins_at_epoch_0_catches_up_with_a_network_that_is_further():
    wire = Wire()
    wire.agent.hello()
    wire.agent.receive_status("b", wire.status("mine"))
    say(wire, "a", epoch=FAR)
    say(wire, "c", epoch=FAR)
    assert (wire.agent.epoch, wire.agent.state) == (FAR, PLAYING)
    assert not wire.agent.rejected


def test_an_absent_neighbour_that_comes_back_far_ahead_stays_absent():
    wire = playing()
    say(wire, "a", "quit")
    assert (wire.agent.epoch, list(wire.agent.neighbours.absent)) == (1, ["a"])
    say(wire, "a", incarnation=1, epoch=END)
    wire.message("a", 0, incarnation=1, epoch=END)
    assert wire.agent.rejected == {"far-epoch": 2}
    assert (wire.agent.epoch, list(wire.agent.neighbours.absent)) == (1, ["a"])


@pytest.mark.parametrize("field", ["epoch", "incarnation"])
def test_true_is_no_number(field):
    wire = playing()
    said = Status("up", 0, 0, wire.digest, "theirs")
    plain = {name: getattr(said, name) for name in Status.__slots__} | {field: True}
    wire.agent.receive_status("a", codec.pack(plain))
    assert wire.agent.rejected == {"status": 1}
    assert type(wire.agent.epoch) is int


# -- storms -------------------------------------------------------------------------------------------


def newer_statuses(wire, k):
    say(wire, "a", epoch=k + 1)


def newer_messages(wire, k):
    wire.message("a", 0, epoch=k + 1)


def leaving_and_coming_back(wire, k):
    say(wire, "a", "quit", incarnation=k)
    say(wire, "a", "up", incarnation=k + 1)


def leaving_and_speaking_again(wire, k):
    say(wire, "a", "quit", incarnation=k, epoch=2 * k)
    wire.message("a", 0, incarnation=k + 1, epoch=2 * k)


STORMS = [newer_statuses, newer_messages, leaving_and_coming_back, leaving_and_speaking_again]


@pytest.mark.parametrize("storm", STORMS)
def test_a_storm_of_restarts_is_bounded_counted_and_named(storm):
    wire = playing()
    for k in range(1000):
        storm(wire, k)
    agent = wire.agent
    assert agent.restarts.by == {"a": BURST}
    assert agent.rejected["epoch-storm"] >= 1000 - BURST
    # Twice, where it leaves and comes back: once without it, once with it.
    assert agent.epoch <= 2 * BURST + 2
    # A start is told to two neighbours, and its first word.
    assert len(wire.out) <= 8 * (2 * BURST + 2)
    # It may go on as fast as honest neighbours say again what was dropped, and no faster.
    before = agent.restarts.by["a"]
    for k in range(1000, 2000):
        wire.now += EVERY / 100
        storm(wire, k)
    assert 9 <= agent.restarts.by["a"] - before <= 11


def test_incarnations_that_grow_without_end_cost_nothing():
    wire = playing()
    said = len(wire.out)
    for k in range(1000):
        say(wire, "a", incarnation=k, epoch=0)
        wire.message("a", 1, incarnation=k)
    say(wire, "a", incarnation=END)
    say(wire, "a", "quit", incarnation=END)
    assert wire.agent.epoch == 1  # it has left for good, once
    say(wire, "a", incarnation=END)
    assert list(wire.agent.neighbours.absent) == ["a"]
    assert wire.agent.restarts.by == {}
    assert len(wire.out) - said < 10


def test_whoever_was_started_again_is_not_made_to_forget_for_ever():
    """Words of two rounds on tell it that it has forgotten what it said."""
    wire = Wire()
    wire.agent = Agent(
        parts_of([("a", "b"), ("b", "c")])["b"],
        lambda part, resume: mix(part),
        wire.publish,
        lambda: wire.now,
        nonce="mine",
        incarnation=1,
    )
    wire.digest = parts_of([("a", "b"), ("b", "c")])["b"].digest()
    wire.agent.hello()
    wire.agent.receive_status("b", wire.status("mine", incarnation=1))
    wire.hello_from("a", "c")
    assert wire.agent.epoch == 1
    for _ in range(1000):
        wire.message("a", 2, epoch=wire.agent.epoch)
    assert wire.agent.epoch == 1 + BURST
    assert wire.agent.restarts.by == {"a": BURST}


def test_in_free_mode_a_neighbour_that_forgets_in_each_life_is_bounded_too():
    wire = playing(tick=0.05)
    for k in range(0, 1000, 2):
        epoch = wire.agent.epoch
        wire.message("a", 5, incarnation=k, epoch=epoch)
        wire.message("a", 6, incarnation=k + 1, epoch=epoch)  # since round 0
    assert wire.agent.restarts.by == {"a": BURST}
    assert wire.agent.epoch == BURST


def test_a_crowded_process_lets_itself_be_restarted_less_often():
    alone, crowded = Restarts(0.0), Restarts(0.0, pace=4.0)
    for restarts in (alone, crowded):
        assert [restarts.allows("a", 0.0) for _ in range(BURST + 1)] == [True] * BURST + [False]
        assert restarts.allows("a", 1.01 * EVERY) is (restarts is alone)
    assert crowded.allows("a", 4.01 * EVERY)


@pytest.mark.parametrize("storm", ["newer epochs", "leaving and coming back"])
def test_a_network_outlives_a_storm_and_ends_without_the_hostile_agent(storm):
    edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "a")]
    parts = parts_of(edges, on_down="continue", grace=2.0)
    net = Network(parts, lambda part, resume: mix(part), seed=3, durable=False)
    net.call_later(0.001, lambda: net.kill("d", float("inf")))
    hostile = net.client("hostile")
    digest, sent = parts["a"].digest(), [0]

    def speak():
        k = sent[0] = sent[0] + 1
        epoch = k if storm == "newer epochs" else 0
        for state, life in (("up", k - 1), *([("quit", k - 1)] if epoch == 0 else [])):
            hostile.publish(topics.status("test", "d"), Status(state, life, epoch, digest, "d").pack())
        word = codec.encode(codec.Prefix("test", "d", k), epoch, 0, "mix", np.zeros(2))
        hostile.publish(topics.say("test", "d"), word)
        if k < WORDS:
            net.call_later(0.01, speak)

    net.call_later(0.002, speak)
    net.run_until(lambda: sent[0] == WORDS)
    honest = [net.agents[name] for name in ("a", "b", "c")]
    most = BURST + net.now / EVERY + 1
    for agent in honest:
        assert BURST < agent.restarts.by.total() <= most, agent.id
        # Where it leaves and comes back, a start without it and one with it; and those that others open.
        assert agent.epoch <= (sent[0] if storm == "newer epochs" else 4 * most)
    for agent in (net.agents["a"], net.agents["c"]):
        assert agent.rejected["epoch-storm"] > WORDS // 2
        assert agent.restarts.by["d"] > 0
    assert "d" not in net.agents["b"].restarts.by  # no neighbour of it
    net.run_until(lambda: all(agent.state in (LINGERING, GONE) for agent in honest), limit=60.0)
    rest = parts_of([("a", "b"), ("b", "c"), ("c", "a")])
    expected = lockstep.run(
        {name: mix(part) for name, part in rest.items()}, {name: part.hears for name, part in rest.items()}
    )
    assert {agent.id: agent.result for agent in honest} == expected.results


# -- words said early ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["done", "gone"])
def test_goodbyes_said_early_end_nothing(state):
    wire = playing()
    for name in ("a", "c"):
        say(wire, name, state)
    assert wire.agent.state is PLAYING
    for k in range(12):
        wire.message("a", k)
        wire.message("c", k)
    alone = mix(wire.agent.neighbours.part)
    next(alone)
    zeros = Heard({"a": np.zeros(2), "c": np.zeros(2)})
    for _ in range(11):
        alone.send(zeros)
    with pytest.raises(StopIteration) as stop:
        alone.send(zeros)
    assert wire.agent.result == stop.value.value


@pytest.mark.parametrize("state", ["done", "gone", "up"])
def test_a_goodbye_instead_of_a_hello_lets_nobody_begin_without_the_others(state):
    wire = Wire()
    wire.agent.hello()
    wire.agent.receive_status("b", wire.status("mine"))
    say(wire, "a", state)
    assert wire.agent.state is JOINING


# -- memory -------------------------------------------------------------------------------------------


def test_long_statuses_are_read_and_not_kept():
    wire = playing()
    before = status._known.cache_info().currsize
    for k in range(3):
        say(wire, "a", without=tuple(f"n{k}-{i}" for i in range(20_000)))
    assert wire.agent.neighbours.liveness.heard_at("a") == wire.now
    assert not wire.agent.rejected
    assert status._known.cache_info().currsize == before


def test_rounds_far_ahead_are_counted_and_not_kept():
    wire = playing()
    for k in range(2, 1000):
        wire.message("a", k, body=np.zeros(1000))
    wire.message("a", END)
    assert wire.agent.rejected == {"ahead": 999}
    keeper = wire.agent.keeper
    assert not keeper._now
    assert not keeper._next
    assert not keeper._copied


# -- huge numbers -------------------------------------------------------------------------------------


def squares(part):
    total = 0.0
    while True:
        heard = yield Say(total, kind="mix", accepts=lambda body, src: type(body) is float)
        total = sum(float(np.multiply(x, x)) for x in heard.said.values())


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_failure_after_a_huge_number_names_who_said_it():
    wire = playing(make=squares)
    wire.message("a", 0, body=3.0)
    with pytest.raises(AgentError, match=r"agent b, round 1 \(mix\): ValueError: .*; c said 1e\+200$"):
        wire.message("c", 0, body=1e200)


def test_a_failure_after_ordinary_numbers_names_nobody_else():
    def failing(part):
        yield Say(0.0, kind="mix")
        raise KeyError("x")

    wire = playing(make=failing)
    wire.message("a", 0, body=(1.0, -(2**60), "text", None, {"k": np.zeros(0)}))
    with pytest.raises(AgentError, match=r"KeyError: 'x'$"):
        wire.message("c", 0, body=1e99)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ratio(1.0, ["a"]), lambda size: (size, 1.0)),
        (lambda: ratio(1.0, ["a"]), lambda size: (0.5, -size)),
        (lambda: flow_updating(1.0, ["a"]), lambda size: (0, size)),
    ],
)
def test_averages_take_no_number_that_no_average_leads_to(make, word):
    """A sum of such a number with others would overflow, and end the honest agent."""
    accepts = next(make()).accepts
    assert accepts(word(PLAUSIBLE), "a")
    assert not accepts(word(np.nextafter(PLAUSIBLE, np.inf).item()), "a")
    assert not accepts(word(1.7976931348623157e308), "a")


def test_metropolis_averaging_takes_no_such_number_either():
    protocol = metropolis(1.0, ["a"])
    next(protocol)
    accepts = protocol.send(Heard({"a": 1})).accepts
    assert accepts(-PLAUSIBLE, "a")
    assert not accepts(-1e308, "a")
    with pytest.raises(ValueError, match="up to 2\\^960 can be averaged"):
        next(metropolis(1e300, ["a"]))


def test_a_neighbour_that_invents_agents_ends_the_survey_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("node.consensus.survey.MOST_AGENTS", 1000)
    protocol = survey("b")
    next(protocol)
    protocol.send(Heard({"a": (("a",), 0), "c": (("c",), 0)}))

    def invented(k):
        return Heard({"a": ((), 0), "c": (tuple(f"{k}-{i}" for i in range(100)), 0)})

    for k in range(9):
        protocol.send(invented(k))
    with pytest.raises(ValueError, match=r"neighbour c tells of 100 more agents in round 11: .* than 1000"):
        protocol.send(invented(9))


def test_whoever_says_so_much_that_passing_it_on_is_too_long_is_named():
    def gathering(part):
        heard = yield Say((), kind="mix")
        yield Say((part.agent, *heard.said.values()), kind="mix")

    wire = playing(make=gathering)
    wire.message("a", 0, body=("x" * 300,))
    body = np.zeros(codec.SIZE_LIMIT // 8 - 10)
    with pytest.raises(AgentError, match=r"at most 1048576 are read; c said 10485\d\d bytes$"):
        wire.message("c", 0, body=body)
