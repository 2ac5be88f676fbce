"""The record of a network run cut at its outcome, on records made by hand."""

from __future__ import annotations

import numpy as np

from runner.ending import last_step, last_step_of, to_outcome
from runner.record import Batch, PartWriter, read


def recorded(tmp_path, *rows):
    """Rows of (agent, epoch, round, step); allocations are 10 times the step."""
    writer = PartWriter(tmp_path, "r")
    for agent, epoch, at, step in rows:
        values = np.array([[float(step), 10.0 * step]])
        rounds = np.array([at])
        writer.append(Batch(agent, ("step", "allocation"), rounds, 1e9 + rounds, values, epoch=epoch))
    writer.flush()
    return read(tmp_path)


def test_what_was_measured_after_the_step_is_left_out_of_the_last_epoch_only(tmp_path):
    rows = [("a", 0, 3 + k, k) for k in range(5)] + [("a", 1, 9 + k, k) for k in range(4)]
    record = to_outcome(recorded(tmp_path, *rows), 2)
    assert record.series("allocation")[0].tolist() == [9, 10, 11]
    assert record.series("allocation")[1][:, 0].tolist() == [0.0, 10.0, 20.0]
    assert len(record) == 2 * (5 + 3)


def test_a_record_of_every_third_round_ends_before_the_step_not_after_it(tmp_path):
    record = recorded(tmp_path, *(("a", 0, k, k) for k in range(0, 12, 3)))
    assert to_outcome(record, 8).series("step")[1][:, 0].tolist() == [0.0, 3.0, 6.0]
    assert len(to_outcome(record, 9)) == len(record)


def test_other_runs_keep_all_of_their_record(tmp_path):
    assert last_step_of({"rounds": 9}) is None
    assert last_step_of(None) is None
    record = recorded(tmp_path, ("a", 0, 1, 0))
    assert to_outcome(record, None) is record


def test_who_is_satisfied_goes_back_two_steps_and_who_is_not_one():
    assert (last_step(7, 0), last_step(7, 5), last_step(1, 5)) == (4, 5, 0)
    result = {"link_prices": {}, "steps": 7, "stopped_unsatisfied": 0}
    assert last_step_of(result) == 4
