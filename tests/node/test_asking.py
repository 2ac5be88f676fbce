"""Who lacks a message asks for it: when, whom, how often, and who answers."""

from __future__ import annotations

import numpy as np
import pytest

from node.pacing import CEILING, JITTER, START
from tests.node.wire import Wire, mix


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
