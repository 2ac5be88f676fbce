"""The driver: rounds whatever the network does, stepped by hand and over the virtual network."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import codec, topics
from broker.virtual import uniform_delay
from node.agent import Agent
from node.errors import AgentError, ContractMismatch, DuplicateAgent, Misaligned
from node.pacing import CEILING, JITTER, START
from node.protocol import Say
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.status import Status
from node.switchboard import Switchboard
from runner.testing import Network, parts_of
from tests.node.instances import both_ways

PATH = both_ways([("a", "b"), ("b", "c")])
RING = both_ways([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")])
CYCLE = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")]  # directed


def mix(part, resume=None, rounds=12):
    """A protocol whose result depends on every message of every round, and on their order of summation."""
    x = np.array([float(ord(part.agent[0])) / 7.0, 1.0 / 3.0])
    for k in range(rounds):
        heard = yield Say(
            x * 1.1 + k, kind="mix", accepts=lambda b, src: type(b) is np.ndarray and b.shape == (2,)
        )
        x = np.sin(sum(heard.said.values(), x))
    return tuple(x.tolist())


def whisper(part, resume=None, rounds=6):
    """Like mix, with something private for every listener."""
    total = 0.0
    for k in range(rounds):
        private = {j: float(ord(j[0]) * (k + 1)) for j in part.heard_by}
        heard = yield Say(total, to=private, kind="whisper")
        total += sum(heard.said.values()) * 1e-3 + sum(heard.told.values())
    return total


def lossy(loss, duplicates=0.2):
    def fate(rng, src, dst, topic, now):
        if rng.random() < loss:
            return ()
        return tuple(rng.uniform(0.0005, 0.05) for _ in range(1 + (rng.random() < duplicates)))

    return fate


class Wire:
    """One agent by hand: what it published, and messages from its neighbours."""

    def __init__(self, name="b", edges=PATH, make=mix, **changes):
        self.now, self.out = 0.0, []
        part = replace(parts_of(edges, directed=True)[name], **changes)
        self.agent = Agent(
            part, lambda part, resume: make(part), self.publish, lambda: self.now, nonce="mine"
        )
        self.digest = part.digest()

    def publish(self, topic, payload, *, retain=False):
        self.out.append((topic, payload, retain))

    def said(self):
        """Rounds of the messages published on `say` so far."""
        return [codec.decode(p).round for t, p, _ in self.out if t.endswith("/say")]

    def status(self, nonce, state="up", digest=None, incarnation=0, epoch=0):
        return Status(state, incarnation, epoch, digest or self.digest, nonce).pack()

    def hello_from(self, *names, state="up", digest=None, nonce="theirs", incarnation=0):
        for name in names:
            payload = self.status(nonce, state=state, digest=digest, incarnation=incarnation)
            self.agent.receive_status(name, payload)

    def start(self):
        self.agent.hello()
        self.agent.receive_status(self.agent.id, self.status("mine"))
        self.hello_from("a", "c")

    def message(self, src, round_, body=None, kind="mix", incarnation=0, epoch=0):
        body = np.zeros(2) if body is None else body
        data = codec.encode(codec.Prefix("test", src, incarnation), epoch, round_, kind, body)
        self.agent.receive(codec.decode(data))

    def again(self, src, *rounds, asks=False):
        """Messages said again by a neighbour, through the switchboard."""
        prefix = codec.Prefix("test", src, 0)
        copies = [codec.encode(prefix, 0, k, "mix", np.zeros(2)) for k in rounds]
        payload = codec.encode_again(asks, copies)
        Switchboard("test", [self.agent]).deliver(topics.to("test", src, self.agent.id), payload)

    def copies(self):
        """What was said again: (to whom, rounds, whether with a question)."""
        found = []
        for topic, payload, _ in self.out:
            if "/to/" in topic:
                messages, asks = codec.decode_all(payload)
                if messages[0].again:
                    found.append((topic.rpartition("/")[2], [m.round for m in messages], asks))
        return found


# -- rounds equal lockstep ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [mix, whisper])
@pytest.mark.parametrize("edges", [PATH, RING, CYCLE], ids=["path", "ring", "directed"])
def test_results_equal_lockstep_bit_for_bit_under_any_delay(virtual_network, edges, make):
    for seed in range(5):
        net = virtual_network(edges, make, seed, directed=True, durable=False, fate=uniform_delay(0.0, 0.3))
        net.run()
        net.assert_equals_lockstep()


@given(seed=st.integers(0, 2**32), loss=st.floats(0.0, 0.6), edges=st.sampled_from([PATH, RING, CYCLE]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_results_equal_lockstep_bit_for_bit_under_loss_duplication_and_reordering(seed, loss, edges):
    net = Network(parts_of(edges, directed=True), mix, seed, durable=False, fate=lossy(loss))
    net.run(limit=3e3)
    net.assert_equals_lockstep()
    assert set(net.rejected) <= {"duplicate"}


@pytest.mark.parametrize(
    ("seed", "loss", "edges"),
    [
        (3529945098, 0.514, CYCLE),
        (3121740851, 0.52, RING),
        (1242292987, 0.528, PATH),
        (56050234, 0.538, CYCLE),
    ],
)
def test_an_agent_that_has_finished_does_not_leave_a_neighbour_behind_that_still_speaks(seed, loss, edges):
    # With these seeds every copy of a last message is lost for ten seconds.
    net = Network(parts_of(edges, directed=True), mix, seed, durable=False, fate=lossy(loss))
    net.run(limit=2e3)
    net.assert_equals_lockstep()


def test_a_slow_start_of_one_agent_holds_messages_rather_than_losing_them(virtual_network):
    net = virtual_network(PATH, mix, directed=True)
    for k, name in enumerate(net.parts):
        net.pause(name, 5.0 * k)
    net.run()
    net.assert_equals_lockstep()


def test_a_clean_network_needs_no_copies_and_one_message_a_link_and_round(virtual_network):
    net = virtual_network(RING, mix, directed=True, fate=uniform_delay(0.001, 0.002))
    net.run()
    assert [a.traffic.resent for a in net.agents.values()] == [0] * 4
    assert not net.rejected
    assert sum(a.traffic.received for a in net.agents.values()) == 12 * len(RING)
    assert sum(a.traffic.sent for a in net.agents.values()) == 12 * 4


def test_on_a_directed_edge_contents_travel_one_way_and_pulses_the_other(virtual_network):
    edges = [("a", "b"), ("b", "c"), ("c", "a")]
    # Copies are private messages, too.
    net = virtual_network(edges, mix, directed=True, fate=uniform_delay(0.001, 0.002))
    seen = []
    spy = net.client("spy", lambda topic, payload: seen.append((topic, codec.decode(payload).body)))
    spy.subscribe(["test/+/to/+"])
    net.run()
    assert {topic for topic, _ in seen} == {"test/a/to/b", "test/b/to/c", "test/c/to/a"}
    assert all(body is None for _, body in seen)


# -- by hand ------------------------------------------------------------------------------------------


def test_nothing_is_said_before_every_neighbour_and_the_own_echo_were_heard():
    wire = Wire()
    wire.agent.hello()
    wire.hello_from("a", "c")
    assert wire.agent.state == JOINING
    assert wire.said() == []
    wire.agent.receive_status("b", wire.status("mine"))
    assert wire.agent.state == PLAYING
    assert wire.said() == [0]


def test_messages_that_arrive_before_the_first_round_are_held():
    wire = Wire()
    wire.message("a", 0)
    wire.message("c", 0)
    wire.start()
    assert wire.said() == [0, 1]


def test_a_neighbour_one_round_ahead_is_stored_and_two_ahead_is_counted():
    wire = Wire()
    wire.start()
    wire.message("a", 1)
    wire.message("a", 2)
    assert wire.agent.rejected == {"ahead": 1}
    wire.message("a", 0)
    wire.message("c", 0)
    wire.message("c", 1)
    assert wire.said() == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("stranger", ("x", 0)),
        ("stale-incarnation", ("a", 0, None, "mix", -1)),
        ("stale-epoch", ("a", 0)),
        ("ahead", ("a", 7)),
    ],
)
def test_what_cannot_belong_here_is_counted_and_dropped(kind, arguments):
    wire = Wire()
    wire.start()
    if kind == "stale-incarnation":
        wire.message("a", 0, incarnation=2)
        arguments = ("a", 1, None, "mix", 1)
    if kind == "stale-epoch":
        wire.message("c", 0, epoch=2)  # everybody starts again in epoch 2
        assert (wire.agent.epoch, wire.said()) == (2, [0, 0])
    wire.message(*arguments)
    assert wire.agent.rejected == {kind: 1}
    assert wire.said()[-1] == 0


def test_a_second_copy_is_dropped_even_with_other_contents():
    wire = Wire()
    wire.start()
    wire.message("a", 0, np.ones(2))
    wire.message("a", 0, np.zeros(2))
    wire.message("c", 0)
    other = Wire()
    other.start()
    other.message("a", 0, np.ones(2))
    other.message("c", 0)
    assert wire.agent.rejected == {"duplicate": 1}
    assert wire.out[-1] == other.out[-1]


@pytest.mark.parametrize("body", [np.zeros(3), np.zeros((2, 1)), "text", 1.0, None, (1, 2)])
def test_a_body_of_the_wrong_form_is_dropped_and_the_right_one_still_counts(body):
    wire = Wire()
    wire.start()
    data = codec.encode(codec.Prefix("test", "a", 0), 0, 0, "mix", body)
    wire.agent.receive(codec.decode(data))
    wire.message("c", 0)
    assert wire.agent.rejected == {"body": 1}
    assert wire.said() == [0]
    wire.message("a", 0)
    assert wire.said() == [0, 1]


def test_a_neighbour_in_another_protocol_ends_the_run_with_both_kinds_and_the_round():
    wire = Wire()
    wire.start()
    wire.message("a", 0, kind="other")
    with pytest.raises(Misaligned, match=r"agent b, round 0: neighbour a speaks 'other', expected 'mix'"):
        wire.message("c", 0)


def test_a_protocol_that_raises_is_reported_with_agent_round_and_cause():
    def broken(part):
        yield Say(1.0, kind="fine")
        raise ZeroDivisionError("no luck")

    wire = Wire(make=broken)
    wire.start()
    wire.message("a", 0, 1.0, kind="fine")
    with pytest.raises(AgentError, match=r"agent b, round 0 \(fine\): ZeroDivisionError: no luck"):
        wire.message("c", 0, 1.0, kind="fine")


def test_who_is_missing_is_asked_with_the_last_two_rounds_and_growing_pauses_until_a_round_completes():
    wire = Wire()
    wire.start()
    wire.message("a", 0)
    wire.message("c", 0)
    wire.message("c", 1)
    assert wire.said() == [0, 1]
    times = []
    while len(times) < 12:
        wire.now += 0.01
        before = len(wire.copies())
        wire.agent.tick(wire.now)
        if len(wire.copies()) > before:
            assert wire.copies()[before:] == [("a", [0, 1], True)]
            times.append(wire.now)
    pauses = np.diff(times)
    assert (pauses[:3] > 1.3 * np.array([times[0], *pauses[:2]])).all()
    assert pauses.max() <= CEILING * (1 + JITTER) + 0.02
    assert wire.agent.traffic.resent == len(times)
    wire.message("a", 1)
    assert wire.said() == [0, 1, 2]


def test_a_neighbour_that_asks_is_answered_at_once_and_again_after_a_pause_only():
    wire = Wire()
    wire.start()
    wire.again("a", 0, asks=True)
    assert wire.copies() == [("a", [0], False)]
    wire.again("a", 0, asks=True)
    assert len(wire.copies()) == 1
    wire.now += START + 0.01
    wire.again("a", 0, asks=True)
    assert wire.copies()[1:] == [("a", [0], False)]
    wire.message("c", 0)
    assert wire.said() == [0, 1]
    wire.again("a", 0, asks=True)  # it lacks what led here, and I lack its next word
    assert wire.copies()[2:] == [("a", [0, 1], True)]


@pytest.mark.parametrize(
    "how", ["a copy that does not ask", "of an older epoch", "of a stranger", "of long ago"]
)
def test_what_is_no_question_of_now_is_not_answered(how):
    wire = Wire()
    wire.start()
    for k in range(3 if how == "of long ago" else 0):
        wire.message("a", k)
        wire.message("c", k)
    match how:
        case "a copy that does not ask":
            wire.again("a", 0, asks=False)
        case "of an older epoch":
            wire.message("a", 0, epoch=1)
            wire.again("a", 0, asks=True)
        case "of a stranger":
            wire.again("x", 0, asks=True)
        case _:
            wire.again("a", 0, 1, asks=True)
    assert wire.copies() == []


def test_a_gap_is_asked_for_at_once_only_where_messages_get_lost_and_keep_their_order():
    wire = Wire()
    wire.start()
    wire.message("a", 1)
    assert wire.copies() == []  # nothing has been lost so far
    wire.again("a", 0)
    wire.message("c", 0)
    assert wire.agent.eager
    wire.message("c", 1)
    wire.message("a", 3)
    assert wire.copies() == [("a", [1, 2], True)]
    wire.message("a", 2)  # it was only late
    assert not wire.agent.eager
    wire.message("c", 2)
    wire.message("a", 5)
    assert len(wire.copies()) == 1


def test_where_messages_overtake_one_another_a_copy_that_comes_first_is_no_loss_but_one_that_comes_alone():
    wire = Wire()
    wire.start()
    wire.message("a", 1)
    wire.message("a", 0)
    wire.message("c", 0)
    wire.message("c", 1)
    wire.again("a", 2)
    assert wire.agent.round == 2
    for k in (2, 3):
        assert not wire.agent.eager
        wire.message("c", k)
        wire.message("a", k + 1)
    wire.message("c", 4)
    assert wire.agent.round == 5
    assert wire.agent.eager


def test_a_question_that_finds_no_answer_is_put_several_times_at_once_where_messages_get_lost():
    wire = Wire()
    wire.start()
    wire.again("a", 0)
    numbers = []
    while len(numbers) < 5:
        before = len(wire.copies())
        wire.now += 0.002
        wire.agent.tick(wire.now)
        if new := wire.copies()[before:]:
            assert set(map(str, new)) == {str(("c", [0], True))}
            numbers.append(len(new))
    assert numbers == [1, 2, 3, 3, 3]


def test_a_message_that_comes_after_its_copy_is_not_lost():
    wire = Wire()
    wire.start()
    for k in range(6):
        wire.again("a", k)
        wire.message("c", k)
        wire.message("a", k)
        assert not wire.agent.eager
    assert wire.agent.round == 6
    assert wire.agent.rejected == {"duplicate": 6}


def test_no_eager_question_is_sooner_than_an_answer_can_be_there_though_rounds_begin_complete():
    wire = Wire(make=lambda part: mix(part, rounds=200))
    wire.start()
    there_and_back = 0.08
    for k in range(70):  # what c says comes together with what it says next, as after every loss
        wire.now += 0.0 if k % 2 else there_and_back
        wire.message("a", k)
        if k % 2 == 0:
            wire.again("c", k)
            wire.again("c", k + 1)
    assert wire.agent.round == 70
    assert wire.agent.eager
    last, gaps, before = wire.now, [], len(wire.copies())
    while len(gaps) < 3:
        wire.now += 0.001
        wire.agent.tick(wire.now)
        if len(wire.copies()) > before:
            before = len(wire.copies())
            gaps.append(wire.now - last)
            last = wire.now
    assert min(gaps) > 0.79 * there_and_back


def test_a_neighbour_that_seems_to_come_and_go_is_not_told_everything_each_time_and_puts_nothing_off():
    wire = Wire()
    wire.start()
    told_c = []
    for k in range(1000):  # milliseconds
        wire.now += 0.001
        wire.hello_from("a", state="down")
        wire.hello_from("a")
        before = len(wire.copies())
        wire.agent.tick(wire.now)
        told_c += [k for to, _, _ in wire.copies()[before:] if to == "c"]
    assert len(told_c) >= 3
    assert told_c[0] <= START * 1000 * (1 + JITTER)
    assert sum(to == "a" for to, _, _ in wire.copies()) <= 2 + len(told_c) + 1.0 / START


def test_a_neighbour_that_left_after_the_end_and_is_back_may_be_the_first_to_tell_of_a_new_epoch():
    wire = Wire(make=lambda part: mix(part, rounds=1))
    wire.start()
    wire.message("a", 0)
    wire.message("c", 0)
    wire.hello_from("a", state="quit")
    assert wire.agent.state == LINGERING
    wire.message("a", 0, incarnation=1, epoch=1)
    assert wire.agent.epoch == 1
    assert wire.agent.peers == ("a", "c")
    wire.message("c", 0, epoch=1)
    assert wire.agent.state == LINGERING


def test_one_that_is_back_with_less_than_it_has_said_finds_out_from_neighbours_that_have_left():
    net = Network(parts_of(PATH, directed=True), mix, durable=True)
    net.run_until(lambda: net.agents["a"].round == 11)
    net.kill("a", down=60.0)
    net.run_until(lambda: net.agents["b"].state == GONE and net.agents["c"].state == GONE)
    saved = net.world.stores["a"].saved
    del saved.log[5:]  # the disk was full from then on
    net.run(limit=200.0)
    net.assert_equals_lockstep()
    assert {agent.epoch for agent in net.agents.values()} == {1}


def test_agents_that_have_finished_stay_until_their_neighbours_have_too():
    wire = Wire(make=lambda part: mix(part, rounds=1))
    wire.start()
    wire.message("a", 0)
    wire.message("c", 0)
    assert wire.agent.result is not None
    assert wire.agent.waiting_for() == ("a", "c")
    wire.hello_from("a", state="done")
    assert wire.agent.state != GONE
    wire.hello_from("c", state="gone")
    assert wire.agent.state == GONE


def test_a_neighbour_that_asks_without_end_does_not_make_an_agent_speak_without_end():
    wire = Wire()
    wire.start()
    for _ in range(1000):  # of a second
        wire.now += 0.001
        wire.hello_from("a", state="join")
    told = [topic for topic, _, _ in wire.out if topic.endswith("/status")]
    assert 10 <= len(told) <= 25


def test_a_neighbour_that_missed_the_goodbye_is_told_again():
    wire = Wire(make=lambda part: mix(part, rounds=1))
    wire.start()
    wire.message("a", 0)
    wire.message("c", 0)
    wire.hello_from("a", "c", state="done")
    assert wire.agent.state == GONE
    wire.now += 1.0
    before = len(wire.out)
    wire.hello_from("c", state="done")
    assert [topic for topic, _, _ in wire.out[before:]] == [topics.status("test", "b")]


def test_the_second_process_of_an_agent_leaves_and_the_first_goes_on():
    wire = Wire()
    wire.agent.hello()
    with pytest.raises(DuplicateAgent, match="agent b: another process already plays this agent in run test"):
        wire.agent.receive_status("b", wire.status("earlier"))
    first = Wire()
    first.start()
    first.agent.receive_status("b", first.status("somebody else"))
    assert first.agent.rejected == {"impostor": 1}
    assert first.agent.state == PLAYING


def test_two_processes_of_one_agent_in_a_network_end_the_later_one_only(virtual_network):
    net = virtual_network(PATH, mix, directed=True)
    net.run_until(lambda: net.agents["b"].round > 2)
    client, part = net.client("b again"), net.parts["b"]
    second = Agent(part, lambda part, resume: mix(part), client.publish, lambda: net.now, nonce="later")
    switchboard = Switchboard(part.run, [second])
    client.on_message = switchboard.deliver
    client.subscribe(switchboard.topics())
    net.call_later(0.01, second.hello)
    with pytest.raises(DuplicateAgent):
        net.run()
    client.close()
    assert second.state == JOINING
    net.run()
    net.assert_equals_lockstep()


def test_a_neighbour_that_plays_by_other_rules_is_named():
    wire = Wire()
    wire.agent.hello()
    with pytest.raises(ContractMismatch, match="agent b: neighbour a plays by other rules"):
        wire.hello_from("a", digest="0" * 16)


@pytest.mark.parametrize(
    "payload", [b"\xc1", codec.pack({"inc": 0}), codec.pack(7), codec.pack({"inc": True})]
)
def test_a_malformed_status_is_counted(payload):
    wire = Wire()
    wire.agent.receive_status("a", payload)
    assert sum(wire.agent.rejected.values()) == 1


def test_a_cleared_status_is_no_status():
    wire = Wire()
    wire.agent.receive_status("a", b"")
    assert not wire.agent.rejected


def test_an_agent_subscribes_to_its_own_neighbours_only():
    wire = Wire("a")
    assert set(wire.agent.subscriptions()) == {
        topics.status("test", "a"),
        topics.status("test", "b"),
        topics.say("test", "b"),
        topics.to("test", "b", "a"),
    }


def test_noise_on_the_wire_changes_nothing(virtual_network):
    net = virtual_network(RING, mix, directed=True)
    rng = random.Random(1)
    vandal = net.client("vandal")

    def disturb():
        src = rng.choice("abcd")
        vandal.publish(topics.say("test", src), rng.randbytes(rng.randrange(60)))
        vandal.publish(topics.say("test", src), codec.encode(codec.Prefix("test", "zz", 0), 0, 0, "mix", 1.0))
        vandal.publish(topics.say("test", src), codec.encode(codec.Prefix("other", src, 0), 0, 0, "mix", 1.0))
        infinite = codec.pack(("test", src, 0, 0, 0, 0, "mix", float("nan"), None))
        vandal.publish(topics.say("test", src), infinite)
        vandal.publish(topics.say("test", src), bytes(codec.SIZE_LIMIT + 1))
        net.call_later(0.003, disturb)

    disturb()
    net.run()
    net.assert_equals_lockstep()
    assert {"forged-sender", "foreign-run", "not-finite", "oversized", "undecodable"} <= set(net.rejected)
