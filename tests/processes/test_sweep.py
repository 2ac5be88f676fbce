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

SETTING = "topology.agents=31"
SEEDS = range(10)
SWEEP = (
    "sweep",
    "summary-tree-31",
    "--set",
    SETTING,
    "--set",
    "record.plot=false",
    "--seeds",
    f"0-{SEEDS[-1]}",
    "--jobs",
    "2",
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


def kept(out):
    """The complete lines of the journal."""
    path = out / "cells.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.is_file() else []


def workers():
    """The pids of a sweep's processes."""
    return [pid for pid, p in table.family().items() if any("spawn_main" in word for word in p.command)]


def expected(seed):
    """What a run says that no sweep is about."""
    plan = Plan("summary-tree-31", (SETTING, "record.plot=false"), False)
    return {**work(plan, Cell((), seed)), "cpu_seconds": None, "cell": seed, "seed": seed}


def test_a_sweep_that_is_killed_goes_on_where_it_was_and_survives_the_death_of_a_process(vicinal, tmp_path):
    out = tmp_path / "out"
    first = vicinal.start(*SWEEP, "--out", out)
    first.until(lambda: len(kept(out)) >= 2, "two runs are there", PATIENCE)
    first.kill()
    table.until(lambda: not workers(), "its processes have ended with it", PATIENCE)
    before = [line for line in kept(out) if line.endswith(b"\n")]
    assert 2 <= len(before) < len(SEEDS)
    second = vicinal.start(*SWEEP, "--out", out)
    second.until(lambda: len(kept(out)) > len(before), "another run is there", PATIENCE)
    os.kill(workers()[0], signal.SIGKILL)
    ended = second.wait(PATIENCE)
    assert ended.code == 0, ended.err
    assert f"{len(before)} of {len(SEEDS)} runs are there" in ended.err
    # What was there is there as it was, and every run is there once.
    assert kept(out)[: len(before)] == before
    rows = pq.read_table(out / "sweep.parquet").to_pylist()
    assert [(row["seed"], row["error"]) for row in rows] == [(seed, None) for seed in SEEDS]
    for seed in (0, SEEDS[-1]):
        assert {**rows[seed], "cpu_seconds": None} == expected(seed)


def test_ctrl_c_ends_a_sweep_and_keeps_what_is_there(vicinal, tmp_path):
    out = tmp_path / "out"
    sweep = vicinal.start(*SWEEP, "--out", out)
    sweep.until(lambda: len(kept(out)) >= 1, "a run is there", PATIENCE)
    sweep.press_ctrl_c()
    assert sweep.wait(PATIENCE).code == 130
    assert 1 <= len(kept(out)) < len(SEEDS)


def test_a_run_that_kills_its_process_is_recorded_and_the_others_are_played(tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    path = tmp_path / "ring.toml"
    path.write_text(
        '[topology]\ngenerator = "ring"\nagents = 5\n[environment]\ncapacities = [5.0]\neta = 5.0\n'
        "[utilities]\ntheta = -1.0\nsigma = { uniform = [1.0, 2.0] }\n"
    )
    rules = ("cournot", "deadly:Deadly", "exponential")
    cells = [Cell((("learning.dynamics", rule),), 0) for rule in rules]
    found = dict(play_all(Plan(str(path), (), True), cells, 2))
    errors = {cell.values[0][1]: row["error"] for cell, row in found.items()}
    assert errors == {
        "cournot": None,
        "deadly:Deadly": "the process that played it was killed, twice",
        "exponential": None,
    }
