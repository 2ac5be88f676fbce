"""The record of a run in which agents, the broker and the recorder are killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.jobs import events
from runner import record, run_async
from tests.processes import table
from tests.processes.live import Live
from tests.processes.stage import SLOWLY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes.live import Spy

RING = "ring-12"
BACK = "recovery.restart=true"


def rows(directory: Path, epoch: int = 0) -> dict[tuple[str, int, str], float]:
    """(agent, round, name) -> value, of one epoch."""
    got = record.read(directory)
    columns = zip(got.agent, got.round, got.name, got.value, got.epoch, strict=True)
    return {(got.agents[i], int(r), got.names[k]): float(v) for i, r, k, v, e in columns if e == epoch}


@pytest.fixture
async def expected(tmp_path: Path) -> dict[tuple[str, int, str], float]:
    await run_async(RING, virtual=True, plot=False, out=tmp_path / "virtual")
    return rows(tmp_path / "virtual")


async def test_record_is_complete_although_agents_and_twice_the_broker_were_killed(
    spy: Spy, tmp_path: Path, expected: Any
):
    kills = events(
        {"kind": "broker-kill", "at": 20, "down": 0.3, "forget": True},
        {"kind": "crash", "at": 20, "agents": ["a01"], "down": 0.1},  # comes back while there is no broker
        {"kind": "crash", "at": 40, "agents": ["a02", "a05"], "down": 0.1},
        {"kind": "broker-kill", "at": 50, "down": 0.1, "forget": False},
    )
    async with Live(RING, BACK, "recovery.durable=snapshot", SLOWLY, kills, out=tmp_path / "run") as live:
        result = await live.result()
    assert result.restarts == 3
    assert rows(tmp_path / "run") == expected
    assert sum("is started again" in text for text in live.warnings) == 5
    assert not [text for text in live.warnings if "record" in text]


async def test_record_of_the_last_epoch_is_complete_if_memory_was_lost(
    spy: Spy, tmp_path: Path, expected: Any
):
    kills = events(
        {"kind": "crash", "at": 30, "agents": ["a03"], "down": 0.1},
        {"kind": "broker-kill", "at": 60, "down": 0.2, "forget": True},
    )
    async with Live(RING, BACK, SLOWLY, kills, out=tmp_path / "run") as live:
        await live.result()
    assert rows(tmp_path / "run", epoch=1) == expected
    before = rows(tmp_path / "run")
    assert before == {key: expected[key] for key in before}


async def test_record_is_complete_although_the_recorder_was_killed(spy: Spy, tmp_path: Path, expected: Any):
    async with Live(RING, BACK, SLOWLY, out=tmp_path / "run") as live:
        await live.until_playing(12, 40)
        (recorder,) = table.by_role()["recorder"]
        os.kill(recorder, signal.SIGKILL)
        await live.result()
    assert rows(tmp_path / "run") == expected
    assert live.warnings == ["the recorder was killed by signal 9 and is started again"]
