"""The record of a run in virtual time is that of an undisturbed one, whatever befell the agents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from node.consensus.ratio import ratio
from runner import record
from runner.testing import parts_of
from runner.virtual import run_virtual
from topologies.faults import Faults

if TYPE_CHECKING:
    from pathlib import Path

RING = [(f"a{k}", f"a{(k + 1) % 6}") for k in range(6)]
PRIVATE = {f"a{k}": {"x": float(k)} for k in range(6)}


def average(part: Any, resume: Any = None) -> Any:
    """Takes snapshots of its own, unlike what is made of several protocols in a row."""
    return ratio(part.utility["x"], part.hears, max_rounds=200, resume=resume)


def rows(directory: Path, epoch: int) -> dict[tuple[str, int, str], float]:
    got = record.read(directory)
    columns = zip(got.agent, got.round, got.name, got.value, got.epoch, strict=True)
    return {(got.agents[i], int(r), got.names[k]): float(v) for i, r, k, v, e in columns if e == epoch}


def play(directory: Path, every: int, seed: int = 0, faults: Any = None, **how: Any) -> int:
    """Play and record; returns the epoch in which it ended."""
    directory.mkdir()
    parts = {i: replace(part, record_every=every) for i, part in parts_of(RING, private=PRIVATE).items()}
    table = None if faults is None else Faults.model_validate(faults)
    reports, _ = run_virtual(parts, seed, directory, faults=table, protocol=average, **how)
    (epoch,) = {report["epoch"] for report in reports.values()}
    return int(epoch)


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("seed", range(4))
def test_record_is_complete_through_crashes_and_broker_kills(tmp_path: Path, seed, every):
    storm = {"between": [0.0, 4.0], "crash": 12, "broker_kill": 2, "pause": 2, "lasts": [0.05, 1.0]}
    play(tmp_path / "calm", every)
    epoch = play(tmp_path / "storm", every, seed, {"loss": 0.05, "storm": storm})
    assert epoch == 0
    assert rows(tmp_path / "storm", 0) == rows(tmp_path / "calm", 0)


@pytest.mark.parametrize("seed", range(3))
def test_record_of_the_last_epoch_is_complete_where_memory_was_lost(tmp_path: Path, seed):
    storm = {"between": [0.0, 3.0], "amnesia": 3, "crash": 3, "lasts": [0.05, 1.0]}
    play(tmp_path / "calm", 1)
    epoch = play(tmp_path / "storm", 1, seed, {"storm": storm})
    assert epoch > 0
    assert rows(tmp_path / "storm", epoch) == rows(tmp_path / "calm", 0)


def test_without_stores_a_crash_is_an_amnesia_and_the_last_epoch_is_complete(tmp_path: Path):
    crash = {"kind": "crash", "at": 1.5, "agents": ["a2"], "down": 0.5}
    play(tmp_path / "calm", 1)
    epoch = play(tmp_path / "storm", 1, 0, {"event": [crash]}, durable=False)
    assert epoch == 1
    assert rows(tmp_path / "storm", 1) == rows(tmp_path / "calm", 0)
