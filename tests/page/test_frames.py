"""Frames: what is kept of a run that is longer than a screen is wide."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import record
from runner.page.frames import CAPACITY, Aim, Frames

if TYPE_CHECKING:
    from pathlib import Path

AGENTS = ("a", "b")


def add(frames: Frames, agent: str, rounds: range | list[int], epoch: int = 0, **columns: object) -> None:
    at = np.array(rounds, np.int64)
    values = np.array([np.broadcast_to(column, at.shape) for column in columns.values()], float).T
    frames.add(agent, epoch, at, 100.0 + at, tuple(columns), values)


def test_frame_holds_the_last_value_and_of_residuals_the_largest() -> None:
    frames = Frames(AGENTS)
    rounds = np.arange(4 * frames.capacity)
    peak = np.where(rounds == 41, 7.0, 1.0)
    add(frames, "a", range(rounds.size), allocation=rounds, residual=peak)
    assert frames.stride == 4
    assert frames.used == frames.capacity
    assert frames.values["allocation"][:, 0].tolist() == list(range(3, rounds.size, 4))
    assert frames.values["residual"][10, 0] == 7.0
    assert (np.delete(frames.values["residual"][:, 0], 10) == 1.0).all()
    assert np.isnan(frames.values["allocation"][:, 1]).all()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.lists(st.integers(0, 11), max_size=6),
)
def test_batches_give_what_the_whole_gives_however_they_are_cut_and_repeated(
    sizes: list[int], repeated: list[int]
) -> None:
    total = sum(sizes)
    rng = np.random.default_rng(total)
    values, residuals = rng.standard_normal(total), rng.random(total)
    whole, cut = Frames(AGENTS), Frames(AGENTS)
    add(whole, "a", range(total), allocation=values, residual=residuals)
    edges = np.concatenate([[0], np.cumsum(sizes)])
    pieces = [(int(b), int(e)) for b, e in itertools.pairwise(edges)]
    for k, (begin, end) in enumerate(pieces):
        add(cut, "a", range(begin, end), allocation=values[begin:end], residual=residuals[begin:end])
        if k in repeated:
            add(cut, "a", range(begin, end), allocation=values[begin:end], residual=residuals[begin:end])
    assert (cut.stride, cut.used) == (whole.stride, whole.used)
    assert cut.pack(0, cut.used) == whole.pack(0, whole.used)


def test_row_that_is_known_changes_nothing() -> None:
    frames = Frames(AGENTS)
    add(frames, "a", [5, 6], allocation=[1.0, 2.0])
    assert frames.changes() == (5, 7)
    add(frames, "a", [5, 6], allocation=[8.0, 9.0])
    assert frames.changes() is None
    assert frames.values["allocation"][5:7, 0].tolist() == [1.0, 2.0]


def test_newer_epoch_starts_anew_and_an_older_one_is_ignored() -> None:
    frames = Frames(AGENTS)
    add(frames, "a", [50], allocation=1.0)
    generation = frames.generation
    add(frames, "b", [3], epoch=1, allocation=2.0)
    assert (frames.used, frames.epoch) == (4, 1)
    assert frames.generation > generation
    add(frames, "a", [60], allocation=3.0)
    assert frames.used == 4


def test_error_is_the_largest_distance_over_goods_relative_to_the_scale() -> None:
    frames = Frames(AGENTS, Aim("allocation", {"a": [4.0, 1.0]}, 4.0))
    add(frames, "a", [0, 1], **{"allocation.0": [6.0, 4.0], "allocation.1": [1.0, 0.0]})
    add(frames, "b", [0, 1], **{"allocation.0": [6.0, 4.0], "allocation.1": [1.0, 0.0]})
    assert frames.values["error"][:2, 0].tolist() == [0.5, 0.25]
    assert np.isnan(frames.values["error"][:, 1]).all(), "nobody says where b is to come to"
    assert frames.names == ["error", "allocation.0", "allocation.1"]


def test_constants_are_no_curves_and_thresholds_are_kept() -> None:
    frames = Frames(AGENTS)
    add(frames, "a", [0], N=2.0, diameter=1.0, threshold=1e-3, largest_weight=0.1, **{"quote.l.0": 1.0})
    add(frames, "a", [1], allocation=1.0, residual=2.0)
    assert frames.names == ["allocation", "residual"]
    assert frames.thresholds == {0: 1e-3}


def test_stranger_is_ignored() -> None:
    frames = Frames(AGENTS)
    add(frames, "zz", [0], allocation=1.0)
    assert frames.used == 0


def test_memory_does_not_grow_with_rounds_or_agents() -> None:
    assert Frames(AGENTS).capacity == CAPACITY
    many = Frames([f"a{k}" for k in range(5000)])
    assert many.capacity * 5000 * 6 <= 6_000_000
    add(many, "a7", [10**7], allocation=1.0)
    assert many.used <= many.capacity


def test_pack_has_times_first_then_series_by_frame_and_agent() -> None:
    frames = Frames(AGENTS, began=90.0)
    add(frames, "a", [0, 1], allocation=[1.0, 2.0], tax=[3.0, 4.0])
    add(frames, "b", [1], allocation=[5.0], tax=[6.0])
    numbers = np.frombuffer(frames.pack(0, 2), "<f4").reshape(3, 2, 2)
    np.testing.assert_array_equal(numbers[0], [[10.0, np.nan], [11.0, 11.0]])
    np.testing.assert_array_equal(numbers[1], [[1.0, np.nan], [2.0, 5.0]])
    np.testing.assert_array_equal(numbers[2], [[3.0, np.nan], [4.0, 6.0]])


def test_record_of_a_run_gives_the_same_as_its_series(recorded: Path) -> None:
    found = record.read(recorded)
    frames = Frames(found.agents)
    frames.load(found)
    rounds, values, _ = found.series("allocation")
    assert frames.stride == 1
    assert (frames.values["allocation"][rounds] == values.astype(np.float32)).all()
    with pytest.raises(KeyError):
        frames.values["xi"]
    # Parts that come one after the other come to the same.
    halves = Frames(found.agents)
    middle = int(np.median(found.round))
    for part in (found.round <= middle, found.round > middle):
        columns = ("agent", "name", "epoch", "round", "time", "value")
        halves.load(replace(found, **{column: getattr(found, column)[part] for column in columns}))
    assert halves.pack(0, halves.used) == frames.pack(0, frames.used)
