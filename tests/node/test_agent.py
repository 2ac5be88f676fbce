"""The driver: rounds whatever the network does, stepped by hand and over the virtual network."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import codec, topics
from broker.virtual import uniform_delay
from node.agent import LINGER, Agent
from node.errors import AgentError, ContractMismatch, DuplicateAgent, Misaligned
from node.protocol import Say
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.switchboard import Switchboard
from runner.testing import Network, parts_of
from tests.node.instances import both_ways
from tests.node.wire import PATH, Wire, mix

RING = both_ways([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")])
CYCLE = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")]  # directed


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


def test_who_leaves_a_silent_neighbour_says_its_last_words_once_more():
    wire = Wire(make=lambda part: mix(part, rounds=1))
    wire.start()
    wire.message("a", 0)
    wire.message("c", 0)
    wire.hello_from("c", state="done")
    while wire.agent.state != GONE:
        before = len(wire.copies())
        wire.now += 0.25
        wire.agent.tick(wire.now)
        assert wire.now < 2 * LINGER
    assert wire.copies()[before:] == [("a", [0], False)]


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
