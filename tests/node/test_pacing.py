"""When to send again: the fastest rounds, and the patience of agents that share a process with many."""

from __future__ import annotations

import random

import pytest

from node.liveness import HEARTBEAT, PATIENCE, Liveness
from node.pacing import CEILING, FLOOR, PATIENT, PATIENT_GROWTH, RANK, SOME, START, WINDOW, Pacer, pace_of


def play(pacer, durations):
    """Rounds of these durations; the pauses after each."""
    now, pauses = 0.0, []
    for duration in durations:
        now += duration
        pacer.round_complete(now)
        pauses.append(pacer.pause)
        assert pacer.deadline == now + pacer.pause
    return pauses


def test_the_pause_follows_the_third_fastest_of_the_last_rounds_whatever_leaves_the_window():
    rng = random.Random(1)
    durations = [rng.uniform(0.02, 0.5) for _ in range(5 * WINDOW)]
    pauses = play(Pacer("x", 0.0), durations)
    for k, pause in enumerate(pauses):
        last = sorted(durations[max(0, k + 1 - WINDOW) : k + 1])
        fast = last[RANK - 1] if len(last) >= SOME else last[0]
        ceiling = CEILING if len(last) >= SOME else START
        assert pause == pytest.approx(min(max(FLOOR, PATIENT * fast), ceiling))


def test_a_crowd_is_patient_by_its_size_and_by_what_most_rounds_take():
    alone, crowd = Pacer("x", 0.0), Pacer("x", 0.0, 5000)
    assert alone.pause == START
    assert crowd.pause == 10.0  # 2 ms an agent
    # One round in ten is complete at once, as its messages were there before; a crowd does not go by these.
    durations = [0.001 if k % 10 == 0 else 2.0 for k in range(100)]
    assert play(alone, durations)[-1] == FLOOR
    assert play(crowd, durations)[-1] == PATIENT * 2.0


def test_copies_are_spread_and_the_pause_grows():
    one, other = Pacer("x/a", 0.0), Pacer("x/b", 0.0)
    for pacer in (one, other):
        pacer.back_off(pacer.deadline)
    assert one.pause == other.pause == PATIENT_GROWTH * START
    assert one.deadline != other.deadline
    again = Pacer("x/a", 0.0)
    again.back_off(again.deadline)
    assert again.deadline == one.deadline


def test_heartbeats_and_suspicion_keep_the_same_pace():
    assert pace_of(1) == pace_of(500) == 1.0
    assert pace_of(5000) == 10.0
    patient = Liveness("ab", 0.0, pace_of(5000))
    for k in range(1, 8):
        patient.look(k * 10 * HEARTBEAT / 2)
    assert patient.suspects() == {}
    for k in range(8, 12):
        patient.look(k * 10 * HEARTBEAT / 2)
    assert patient.suspects() == {"a": "suspect", "b": "suspect"}
    assert 10 * PATIENCE * HEARTBEAT == 8 * 10 * HEARTBEAT / 2
