"""Batches of measurements."""

from __future__ import annotations

import math

import pytest

from broker.codec import Malformed, pack
from node import telemetry as module
from node.telemetry import Telemetry
from runner.record import decode_batch


def batches(telemetry, now=0.0, **how):
    return [decode_batch(payload, "a") for payload in telemetry.take(now, **how)]


def rows(batches):
    """Numbers of all rows in some batches."""
    return [row for batch in batches for row in range(batch.first, batch.end)]


def test_rows_under_the_same_columns_share_a_batch_and_new_columns_open_another():
    telemetry = Telemetry("r", "a", 0, every=1)
    telemetry.add(3, {"xi": 0.5})
    telemetry.add(4, {"x": 1.0, "p": 2.0})
    telemetry.add(5, {"x": 1.5, "p": 2.5})
    first, second = batches(telemetry)
    assert (first.columns, first.rounds.tolist(), first.values.tolist()) == (("xi",), [3], [[0.5]])
    assert (second.columns, second.rounds.tolist()) == (("x", "p"), [4, 5])
    assert second.values.tolist() == [[1.0, 2.0], [1.5, 2.5]]
    assert batches(telemetry) == []


def test_the_last_batch_says_so_even_when_it_is_empty():
    telemetry = Telemetry("r", "a", 0, every=1)
    (end,) = batches(telemetry, last=True)
    assert end.last
    assert end.rows == 0


def test_the_rhythm_thins_rows_but_keeps_facts_said_once():
    telemetry = Telemetry("r", "a", 0, every=10)
    telemetry.add(7, {"N": 31.0})
    for round_ in range(8, 31):
        telemetry.add(round_, {"x": 1.0})
    facts, thinned = batches(telemetry)
    assert facts.rounds.tolist() == [7]
    assert thinned.rounds.tolist() == [8, 10, 20, 30]


def test_nothing_is_recorded_with_a_rhythm_of_zero_but_the_latest_values_are_known():
    telemetry = Telemetry("r", "a", 0, every=0)
    telemetry.add(1, {"x": 1.0})
    assert batches(telemetry) == []
    assert telemetry.latest == {"x": 1.0}


def test_a_row_that_is_not_finite_is_counted_and_left_out():
    telemetry = Telemetry("r", "a", 0, every=1)
    telemetry.add(1, {"x": math.inf})
    telemetry.add(2, {"x": math.nan})
    assert telemetry.skipped == 2
    assert batches(telemetry) == []


# -- until it is on file ------------------------------------------------------------------------------------


def measured(count, epoch=0, life=0, every=1):
    telemetry = Telemetry("r", "a", life, every)
    telemetry.begin(epoch)
    for round_ in range(count):
        telemetry.add(round_, {"x": float(round_)})
    return telemetry


def test_a_batch_is_published_again_after_a_loss_of_the_connection_until_there_is_a_receipt():
    telemetry = measured(3)
    assert rows(batches(telemetry)) == [0, 1, 2]
    assert batches(telemetry, 1.0) == []
    telemetry.again()
    assert rows(batches(telemetry, 1.0)) == [0, 1, 2]
    telemetry.recorded((0, 0), 3)
    assert telemetry.settled
    telemetry.again()
    assert batches(telemetry, 1.0) == []


def test_without_a_receipt_a_batch_is_published_again_after_ever_longer_pauses():
    telemetry = measured(2)
    seen = [tenth / 10 for tenth in range(1000) if batches(telemetry, tenth / 10)]
    assert seen == [0.0, 5.0, 15.0, 35.0, 75.0]


def test_a_receipt_for_some_rows_leaves_the_others():
    telemetry = measured(3)
    batches(telemetry)
    telemetry.add(3, {"x": 3.0})
    batches(telemetry)
    telemetry.recorded((0, 0), 3)
    telemetry.again()
    assert rows(batches(telemetry)) == [3]


def test_what_waits_is_bounded_and_what_is_dropped_is_counted_and_announced(monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 100_000)
    telemetry = Telemetry("r", "a", 0, every=1)
    for round_ in range(50_000):
        telemetry.add(round_, {"x": 1.0})
    kept = batches(telemetry)
    assert sum(batch.values.nbytes for batch in kept) < 100_000
    assert telemetry.dropped == kept[0].first > 40_000
    assert {batch.floor for batch in kept} == {kept[0].first}
    assert rows(kept) == list(range(telemetry.dropped, 50_000))


def test_nothing_is_kept_when_nobody_records():
    telemetry = measured(10)
    telemetry.discard()
    assert telemetry.settled
    assert batches(telemetry, 1e9) == []


def test_a_later_life_goes_on_counting_where_the_snapshot_was_taken_and_brings_what_had_no_receipt():
    before = measured(5, every=2)
    assert rows(batches(before)) == [0, 1, 2]  # of rounds 0, 2, 4
    state = before.state()
    before.add(6, {"x": 6.0})
    after = Telemetry("r", "a", 1, every=2)
    after.restore(state)
    for round_ in (5, 6, 7, 8):
        after.add(round_, {"x": float(round_)})
    kept, new = batches(after)
    assert (kept.stream, rows([kept]), new.stream, rows([new])) == ((0, 0), [0, 1, 2], (0, 0), [3, 4])
    assert new.rounds.tolist() == [6, 8]


def test_what_a_later_life_makes_again_is_not_kept_if_it_is_known_to_be_on_file():
    telemetry = Telemetry("r", "a", 1, every=1)
    telemetry.restore(None)
    telemetry.recorded((0, 0), 4)
    for round_ in range(6):
        telemetry.add(round_, {"x": 1.0})
    assert rows(batches(telemetry)) == [4, 5]


def test_a_new_epoch_is_a_new_count_and_what_was_measured_before_it_is_still_published():
    telemetry = measured(2, life=7)
    telemetry.begin(1)
    telemetry.add(0, {"x": 0.0})
    old, new = batches(telemetry)
    assert (old.stream, rows([old])) == ((0, 7), [0, 1])
    assert (new.stream, rows([new])) == ((1, 7), [0])
    telemetry.recorded((0, 7), 2)
    assert not telemetry.settled


@pytest.mark.parametrize("state", [b"", b"\xc1", pack((1, 2, 3))])
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(Malformed):
        Telemetry("r", "a", 0, every=1).restore(state)
