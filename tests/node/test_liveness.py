"""Suspicion and its refutation."""

from __future__ import annotations

import math

import numpy as np

from node.liveness import GRACE, HEARTBEAT, PATIENCE, Liveness

SILENCE = PATIENCE * HEARTBEAT
PATH = [("a", "b"), ("b", "c"), ("c", "d")]


def look_until(liveness, start, end, connected=True):
    for now in np.arange(start, end, HEARTBEAT / 2):
        if connected:
            liveness.myself(float(now))  # its own words come back to it
        liveness.look(float(now))


def test_silence_makes_a_suspect_and_a_long_one_is_down():
    liveness = Liveness("ab", 0.0)
    look_until(liveness, 0.0, SILENCE)
    assert liveness.suspects() == {}
    for now in np.arange(SILENCE, SILENCE + 2.0, 0.1):
        liveness.heard("a", float(now))
        liveness.look(float(now))
    assert liveness.suspects() == {"b": "suspect"}
    look_until(liveness, SILENCE + 2.0, SILENCE + GRACE + 1.0)
    assert liveness.suspects()["b"] == "down"


def test_a_will_makes_a_suspect_at_once_and_any_message_refutes_it():
    liveness = Liveness("ab", 0.0)
    liveness.will("a", 0.1)
    assert liveness.suspects() == {"a": "suspect"}
    liveness.heard("a", 0.2)
    assert liveness.suspects() == {}


def test_an_agent_that_is_cut_off_itself_takes_nobody_for_down():
    liveness = Liveness("ab", 0.0)
    look_until(liveness, 0.0, 10 * GRACE, connected=False)
    assert liveness.suspects() == {"a": "suspect", "b": "suspect"}
    look_until(liveness, 10 * GRACE, 11 * GRACE + 1.0)
    assert liveness.suspects() == {"a": "down", "b": "down"}


def test_an_agent_that_stood_still_itself_suspects_nobody():
    liveness = Liveness("ab", 0.0)
    look_until(liveness, 0.0, 1.0)
    liveness.look(1.0 + 1.5 * SILENCE)  # as after SIGSTOP and SIGCONT
    assert liveness.suspects() == {}


def slow(part, resume=None):
    from node.protocol import Say

    for _ in range(10_000):
        yield Say(None, kind="slow")


def test_neighbours_name_a_killed_agent_at_once_and_a_frozen_one_within_three_seconds(virtual_network):
    net = virtual_network(PATH, slow)
    net.run_until(lambda: net.agents["b"].round > 10)
    net.kill("a", math.inf)
    net.run_until(lambda: "a" in net.agents["b"].suspects(), 0.1)
    net.pause("d", math.inf)  # no will, no word
    net.run_until(lambda: "d" in net.agents["c"].suspects(), 3.0)
    assert set(net.agents["b"].suspects()) == {"a"}  # c is stalled, too, but says that it is there
    assert set(net.agents["c"].suspects()) == {"d"}


def test_nobody_is_suspected_while_all_are_waiting(virtual_network):
    net = virtual_network(PATH, slow)
    net.run_until(lambda: net.agents["b"].round > 10)
    net.kill("a", math.inf)
    net.advance(30.0)
    assert {name: agent.suspects() for name, agent in net.agents.items()} == {
        "b": {"a": "down"},
        "c": {},
        "d": {},
    }


def test_a_healed_partition_is_over_within_two_heartbeats_however_long_it_lasted(virtual_network):
    halves = {"kind": "partition", "at": 1.0, "lasts": 60.0, "groups": [["a", "b"]]}
    net = virtual_network(PATH, slow, faults={"event": [halves]})
    net.advance(60.9)
    before = {name: agent.round for name, agent in net.agents.items()}
    assert net.agents["b"].suspects() == {"c": "down"}
    net.advance(0.1 + 2 * HEARTBEAT)
    assert all(agent.round > before[name] for name, agent in net.agents.items())
