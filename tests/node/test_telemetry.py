"""Batches of measurements."""

from __future__ import annotations

import math

from node.telemetry import Telemetry
from runner.record import decode_batch


def batches(telemetry, **how):
    return [decode_batch(payload, "a") for payload in telemetry.take(**how)]


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
    facts, rows = batches(telemetry)
    assert facts.rounds.tolist() == [7]
    assert rows.rounds.tolist() == [8, 10, 20, 30]


def test_nothing_is_recorded_with_a_rhythm_of_zero_but_the_latest_values_are_known():
    telemetry = Telemetry("r", "a", 0, every=0)
    telemetry.add(1, {"x": 1.0})
    assert telemetry.take() == []
    assert telemetry.latest == {"x": 1.0}


def test_a_row_that_is_not_finite_is_counted_and_left_out():
    telemetry = Telemetry("r", "a", 0, every=1)
    telemetry.add(1, {"x": math.inf})
    telemetry.add(2, {"x": math.nan})
    assert telemetry.skipped == 2
    assert telemetry.take() == []
