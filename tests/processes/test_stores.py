"""Stores that cannot be used: the user is told, and the run goes on to the same result."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tests
from benchmarks.jobs import events
from broker import place
from node.store import DiskStore, Saved
from runner import RunFailed, UserError, keeper, launch, run_async
from runner.virtual import run_virtual
from tests.broker.failing import REASON, spoil
from tests.processes.live import Live, outcome
from tests.processes.stage import SLOWLY, strike_in_rounds
from topologies import load_scenario

PLAIN = ("record.every=0",)
BACK = ("recovery.restart=true", "recovery.durable=snapshot")


async def test_store_of_another_run_is_refused_by_name_and_left_as_it_is(spy, tmp_path, monkeypatch):
    strike_in_rounds(monkeypatch)
    made: dict[str, Path] = {}
    before: dict[str, bytes] = {}

    def contents() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in made["a03"].iterdir()}

    def stores(*how: Any) -> dict[str, Path]:
        made.update(real(*how))
        foreign = DiskStore(made["a03"], "another run/a03", sync=False)
        foreign.begin(4)
        foreign.reset(Saved(0, 9, b"snapshot"))
        foreign.close()
        before.update(contents())
        return made

    real = launch._stores
    monkeypatch.setattr(launch, "_stores", stores)
    kill = events({"kind": "crash", "at": 30, "agents": ["a03"], "down": 0.1})
    async with Live("ring-12", *PLAIN, *BACK, SLOWLY, kill, out=tmp_path / "run") as live:
        await live.until(lambda: any("another run" in text for text in live.warnings), "the warning")
        await live.until(lambda: any("killed by signal" in text for text in live.warnings), "the kill")
        assert contents() == before
        result = await live.result()
    expected = await run_async("ring-12", overrides=PLAIN, virtual=True, plot=False, out=tmp_path / "calm")
    assert outcome(result) == outcome(expected)
    (text,) = [text for text in live.warnings if "a03" in text and "killed by signal" not in text]
    assert text.startswith("agent a03 is no longer durable: ")
    assert "holds version 2 of 'another run/a03', expected version 2 of" in text


@pytest.mark.parametrize("room", [0, 4000], ids=["read-only", "full"])
async def test_agents_without_room_on_the_disk_say_so_and_the_result_is_the_same(
    spy, tmp_path, monkeypatch, room
):
    monkeypatch.setenv("PYTHONPATH", str(Path(tests.__file__).parent.parent))
    strike_in_rounds(monkeypatch)
    kill = events({"kind": "crash", "at": 50, "agents": ["a01", "a02"], "down": 0.1})
    loaded = load_scenario("ring-12", [*PLAIN, *BACK, SLOWLY, kill])
    parts = {
        i: replace(part, contract={**part.contract, "room": room}) for i, part in loaded.parts("full").items()
    }
    warnings: list[str] = []
    settings = launch.Settings(
        None,
        None,
        tmp_path,
        lambda agent, info: None,
        warnings.append,
        protocol="tests.processes.broken:little_room",
    )
    reports, _, _ = await launch.run_processes(loaded, parts, "full", settings)
    calm, _ = run_virtual(parts, 0)
    for i, report in calm.items():
        assert reports[i]["result"] == json.loads(json.dumps(report["result"])), i
    said = {text.split(": ")[0] for text in warnings if "durable" in text}
    assert said == {f"agent {i} is no longer durable" for i in ("a01", "a04")}
    assert all("File too large" in text for text in warnings if "durable" in text)


async def test_folder_for_stores_that_cannot_be_written_is_the_users_to_mend(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"recovery\.durable: no store .* agent a00: No such file .*TMPDIR"):
        await run_async("ring-12", overrides=BACK, plot=False, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


async def test_run_whose_directory_is_full_says_so_and_gives_its_result(spy, tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    warnings: list[str] = []
    how: dict[str, Any] = {"virtual": True, "plot": False, "warn": warnings.append}
    calm = await run_async("star-9", out=tmp_path / "calm", **how)
    assert not warnings
    monkeypatch.setattr(pq, "write_table", full)
    monkeypatch.setattr("runner.directory.write_json", full)
    with pytest.raises(UserError, match=r"run directory .*run cannot be written: No space left on device"):
        await run_async("star-9", out=tmp_path / "run", **how)
    monkeypatch.setattr("runner.directory.describe", lambda *_: None)
    result = await run_async("star-9", out=tmp_path / "run", **how)
    assert outcome(result) == outcome(calm)
    assert len(warnings) == 2
    assert "the record is incomplete" in warnings[0]
    assert "the result is not on file" in warnings[1]


@pytest.mark.broker
async def test_broker_that_cannot_write_its_store_moves_and_the_run_goes_on(spy, tmp_path, monkeypatch):
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    monkeypatch.setattr(place, "MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    spoil(monkeypatch, tmp_path)
    async with Live("ring-12", *PLAIN, out=tmp_path / "run") as live:
        result = await live.result()
    (said,) = live.warnings
    assert said == (
        f"the broker cannot write its store in {memory}: {REASON}; "
        f"it was started again with an empty one in {disk}"
    )
    expected = await run_async("ring-12", overrides=PLAIN, virtual=True, plot=False, out=tmp_path / "calm")
    assert outcome(result) == outcome(expected)
    assert list(memory.iterdir()) == []


@pytest.mark.broker
async def test_run_whose_broker_finds_no_place_for_its_store_ends_and_names_all(spy, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "MEMORY", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    spoil(monkeypatch, tmp_path)
    real, made = place.make, []

    def once(*where: Any) -> Path:
        if made:
            monkeypatch.setattr(place, "ROOM", 1e30)
        made.append(real(*where))
        return made[-1]

    monkeypatch.setattr(place, "make", once)
    failed = (
        f"the broker cannot write its store in {tmp_path}: {REASON}; it cannot be started again elsewhere: "
        f"no place for the broker's files: {tmp_path}/absent: No such file .*; {tmp_path}: .* MB free"
    )
    with pytest.raises(RunFailed, match=failed):
        await run_async("ring-12", overrides=PLAIN, plot=False, out=tmp_path / "run")


@pytest.mark.broker
async def test_store_that_fails_everywhere_ends_the_run(spy, tmp_path, monkeypatch):
    spoil(monkeypatch, tmp_path, servers=keeper.MOVES + 1)
    with pytest.raises(RunFailed, match=f"{REASON}; that was the {keeper.MOVES + 1}th time"):
        await run_async("ring-12", overrides=PLAIN, plot=False, out=tmp_path / "run")


async def test_run_without_any_place_for_a_broker_is_refused_at_once(spy, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "MEMORY", tmp_path)
    monkeypatch.setattr(place, "ROOM", 1e30)
    with pytest.raises(
        UserError, match=r"embedded broker \(nats\) cannot be used: no place .* MB free.*TMPDIR"
    ):
        await run_async("ring-12", overrides=PLAIN, plot=False, out=tmp_path / "run")
