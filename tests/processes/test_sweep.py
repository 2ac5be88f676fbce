"""A sweep over real processes: killed, gone on with, and leaving nobody behind."""

from __future__ import annotations

import os
import signal

import pyarrow.parquet as pq
import pytest

from runner.sweep.cell import Plan, work
from runner.sweep.grid import Cell
from runner.sweep.pool import play_all
from tests.processes import table

# Processes start at once on an idle machine and take a minute on one that others use, too.
PATIENCE = 120.0
pytestmark = [pytest.mark.processes, pytest.mark.timeout(3 * PATIENCE)]

SEEDS = range(3)
RING = (
    '[topology]\ngenerator = "ring"\nagents = 5\n[environment]\ncapacities = [5.0]\neta = 5.0\n'
    "[utilities]\ntheta = -1.0\nsigma = { uniform = [1.0, 2.0] }\n"
)
DEADLY = """
import os

class Deadly:
    def __init__(self): pass
    def update(self, said): os._exit(9)
    def spread(self, agent): return 0.0
    def state(self): return ()
    def restore(self, state): pass
"""
# The rule "cournot", but not before the file beside it is gone, or the sweep is told to stop.
WAITING = """
import os, pathlib, time
from runner.sweep import pool

HERE = pathlib.Path(__file__).parent

class Waiting:
    def update(self, said):
        while (HERE / "closed").exists() and not pool._stop.is_set():
            (HERE / f"waits-{os.getpid()}").touch()
            time.sleep(0.01)
        return said
    def spread(self, agent): return 0.0
    def state(self): return ()
    def restore(self, state): pass
"""


@pytest.fixture
def ring(tmp_path):
    """A scenario with dynamics of its user's beside it; the gate is closed."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "waiting_at_a_gate.py").write_text(WAITING)
    (tmp_path / "closed").touch()
    path = tmp_path / "ring.toml"
    path.write_text(RING)
    return path


@pytest.fixture
def sweep(ring, tmp_path):
    """A sweep whose first runs are played, and whose others wait at the gate."""
    grid = ("--grid", "learning.dynamics=cournot,waiting_at_a_gate:Waiting", "--seeds", f"0-{SEEDS[-1]}")
    return "sweep", ring, *grid, "--set", "record.plot=false", "--jobs", "2", "--out", tmp_path / "out"


def kept(out):
    """The complete lines of the journal."""
    path = out / "cells.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    return [line for line in lines if line.endswith(b"\n")]


def workers():
    """The pids of a sweep's processes."""
    return [pid for pid, p in table.family().items() if any("spawn_main" in word for word in p.command)]


def waiting(folder):
    """The pids of those that have come to the gate."""
    return {int(path.name.partition("-")[2]) for path in folder.glob("waits-*")} & set(workers())


def test_a_sweep_that_is_killed_goes_on_where_it_was_and_survives_the_death_of_a_process(
    vicinal, sweep, ring, tmp_path
):
    out = tmp_path / "out"
    first = vicinal.start(*sweep)
    first.until(lambda: len(kept(out)) == len(SEEDS) and waiting(tmp_path), "the others wait", PATIENCE)
    first.kill()
    table.until(lambda: not workers(), "its processes have ended with it", PATIENCE)
    before = kept(out)
    second = vicinal.start(*sweep)
    second.until(lambda: waiting(tmp_path), "one waits again", PATIENCE)
    os.kill(waiting(tmp_path).pop(), signal.SIGKILL)
    (tmp_path / "closed").unlink()
    ended = second.wait(PATIENCE)
    assert ended.code == 0, ended.err
    assert f"{len(SEEDS)} of {2 * len(SEEDS)} runs are there" in ended.err
    # What was there is there as it was, and every run is there once.
    assert kept(out)[: len(before)] == before
    rows = pq.read_table(out / "sweep.parquet").to_pylist()
    assert [(row["cell"], row["seed"], row["error"]) for row in rows] == [
        (cell, seed, None) for cell, seed in enumerate((*SEEDS, *SEEDS))
    ]
    # Both rules are the same one, and what a run says that no sweep is about is the same.
    for row in rows:
        alone = work(Plan(str(ring), ("record.plot=false",), False), Cell((), row["seed"]))
        own = {name: row[name] for name in ("cpu_seconds", "hash")}
        assert {**alone, **own} == {name: row[name] for name in alone}


def test_ctrl_c_ends_a_sweep_and_keeps_what_is_there(vicinal, sweep, tmp_path):
    out = tmp_path / "out"
    command = vicinal.start(*sweep)
    command.until(
        lambda: len(kept(out)) == len(SEEDS) and len(waiting(tmp_path)) == 2, "the others wait", PATIENCE
    )
    command.press_ctrl_c()
    assert command.wait(PATIENCE).code == 130
    assert len(kept(out)) == len(SEEDS)


def test_a_run_that_kills_its_process_is_recorded_and_the_others_are_played(ring):
    rules = ("cournot", "deadly:Deadly", "exponential")
    cells = [Cell((("learning.dynamics", rule),), 0) for rule in rules]
    found = dict(play_all(Plan(str(ring), (), True), cells, 2))
    errors = {cell.values[0][1]: row["error"] for cell, row in found.items()}
    assert errors == {
        "cournot": None,
        "deadly:Deadly": "the process that played it was killed, twice",
        "exponential": None,
    }
