"""``vicinal sweep`` as a user calls it: what is kept, what is played again, what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from runner import cli, run
from runner.sweep import figure, pool
from runner.sweep.cell import COLUMNS, METRICS

SMALL = ["sweep", "summary-tree-31", "--set", "topology.agents=7", "--jobs", "1", "--quiet"]
GRID = ["--grid", "environment.eta=26.0,40.0", "--seeds", "0-2"]
PAGE = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text("utf-8")


@pytest.fixture
def played(monkeypatch):
    """The cells that are played, in this process."""
    seen = []

    def counted(plan, cell, *rest):
        seen.append((cell.values, cell.seed))
        return work(plan, cell, *rest)

    work = pool.work
    monkeypatch.setattr(pool, "work", counted)
    return seen


@pytest.fixture(autouse=True)
def _no_figure(monkeypatch, request):
    """A figure takes a second; one test draws one."""
    if "figure" not in request.node.name:
        monkeypatch.setattr(figure, "draw", lambda *arguments: None)


def called(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_row_a_run_is_what_vicinal_run_says(tmp_path, capsys):
    out = tmp_path / "out"
    code, said, _ = called(capsys, *SMALL, *GRID, "--out", out)
    assert code == 0
    table = pq.read_table(out / "sweep.parquet")
    assert table.column_names == ["cell", "environment.eta", "seed", *METRICS, *COLUMNS]
    rows = table.to_pylist()
    assert [(r["environment.eta"], r["seed"]) for r in rows] == [
        (e, s) for e in (26.0, 40.0) for s in range(3)
    ]
    assert re.search(r"26.0 +3 +\d", said)
    alone = run(
        "summary-tree-31",
        overrides=["topology.agents=7", "environment.eta=40.0"],
        seed=1,
        virtual=True,
        plot=False,
        out=tmp_path / "alone",
    )
    (row,) = [r for r in rows if (r["environment.eta"], r["seed"]) == (40.0, 1)]
    for name in ("rounds", "play_rounds", "messages", "bytes", "published", "welfare", "tax_sum"):
        assert row[name] == getattr(alone, name), name
    assert row["distance"] == alone.allocation_error
    assert (row["kept"], row["error"]) == (True, None)


def test_what_is_there_is_not_played_again_and_more_may_be_asked_for(tmp_path, capsys, played):
    out = tmp_path / "out"
    called(capsys, *SMALL, *GRID, "--out", out)
    assert len(played) == 6
    first = pq.read_table(out / "sweep.parquet")
    code, said, _ = called(capsys, *SMALL, *GRID, "--out", out, "--json")
    assert (code, len(played)) == (0, 6)
    assert pq.read_table(out / "sweep.parquet").equals(first)
    assert json.loads(said)["runs"] == 6
    called(capsys, *SMALL, "--grid", "environment.eta=26.0", "--seeds", "0-4", "--out", out)
    assert [seed for _, seed in played[6:]] == [3, 4]
    assert len(pq.read_table(out / "sweep.parquet")) == 5


def test_the_same_command_finds_its_directory_again(tmp_path, capsys, monkeypatch, played):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        called(capsys, *SMALL, "--seeds", "0-1")
    called(capsys, *SMALL, "--seeds", "0-2")
    assert len(played) == 5
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_a_line_that_was_cut_off_is_played_again(tmp_path, capsys, played):
    out = tmp_path / "out"
    called(capsys, *SMALL, *GRID, "--out", out)
    lines = (out / "cells.jsonl").read_bytes()
    (out / "cells.jsonl").write_bytes(lines[:-40])
    code, _, _ = called(capsys, *SMALL, *GRID, "--out", out)
    assert (code, len(played)) == (0, 7)
    assert played[-1] == played[5]
    assert (out / "cells.jsonl").read_bytes().count(b"\n") == 6
    assert len(pq.read_table(out / "sweep.parquet")) == 6


def test_a_run_that_fails_is_recorded_and_the_others_go_on(tmp_path, capsys, played):
    out = tmp_path / "out"
    grid = ("--grid", "environment.eta=26.0", "--grid", "stopping.max_rounds=3,40", "--seeds", "0-1")
    code, said, _ = called(capsys, *SMALL, *grid, "--out", out)
    assert code == 1
    assert "(2 broken)" in said
    one = ("sweep", "directed-8", "--jobs", "1", "--quiet", "--lockstep", "--seeds", "0-1")
    one = (*one, "--grid", "synchrony.mode=rounds,free", "--out", tmp_path / "two")
    code, _, _ = called(capsys, *one, "--json")
    assert code == 1
    rows = pq.read_table(tmp_path / "two" / "sweep.parquet").to_pylist()
    assert [r["error"] is None for r in rows] == [True, True, False, False]
    assert "no network in lockstep" in rows[2]["error"]
    assert (rows[2]["rounds"], rows[2]["kept"]) == (None, None)
    count = len(played)
    called(capsys, *one)
    assert len(played) == count
    called(capsys, *one, "--again")
    assert len(played) == count + 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--grid", "environment.etta=1,2"), r"environment.etta.*\(did you mean environment.eta\?\)"),
        (("--grid", "environment.eta=1,-2"), r"environment.eta.*from --grid environment.eta"),
        (("--metric", "ronds"), r"--metric ronds: no such metric; .*\(did you mean rounds\?\)"),
        (("--interval", "boostrap"), r"\(did you mean bootstrap\?\)"),
        (("--seeds", "3-1"), "--seeds 3-1"),
        (("--seed", "3"), "expected --seeds"),
        (("--jobs", "0"), "--jobs 0: expected 1 to"),
        (("--seeds", "0-999999", "--grid", "environment.eta=3,4"), "2,000,000 runs; expected 1,000,000"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    arguments, message, tmp_path, capsys, monkeypatch, played
):
    monkeypatch.chdir(tmp_path)
    code, said, errors = called(capsys, *SMALL, *arguments)
    assert (code, said, played) == (2, "", [])
    assert errors.count("\n") == 1
    assert re.search(message, errors)
    assert not list(tmp_path.iterdir())


def test_a_directory_of_something_else_is_not_touched(tmp_path, capsys, played):
    (tmp_path / "mine.txt").write_text("mine")
    code, _, errors = called(capsys, *SMALL, "--seeds", "0", "--out", tmp_path)
    assert (code, played) == (2, [])
    assert "holds no sweep" in errors
    out = tmp_path / "out"
    called(capsys, *SMALL, "--seeds", "0", "--out", out)
    code, _, errors = called(capsys, *SMALL, "--set", "environment.eta=30.0", "--seeds", "0", "--out", out)
    assert (code, len(played)) == (2, 1)
    assert "holds a sweep of another overrides; expected a new --out" in errors


def test_two_sweeps_do_not_work_in_one_directory(tmp_path, capsys, monkeypatch):
    out, inner = tmp_path / "out", []

    def meanwhile(plan, cell, *rest):
        if not inner:
            inner.append(None)
            inner.append(called(capsys, *SMALL, "--seeds", "0", "--out", out))
        return work(plan, cell, *rest)

    work = pool.work
    monkeypatch.setattr(pool, "work", meanwhile)
    code, _, _ = called(capsys, *SMALL, "--seeds", "0", "--out", out)
    assert code == 0
    assert inner[1][0] == 2
    assert "another sweep works there" in inner[1][2]


def test_metrics_that_are_asked_for_are_shown_and_a_figure_is_drawn(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = (*SMALL, *GRID, "--lockstep", "--metric", "play_rounds", "--metric", "bytes", "--out", out)
    code, said, _ = called(capsys, *arguments, "--interval", "bootstrap")
    assert code == 0
    assert "play_rounds" in said
    assert "distance" not in said
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_every_metric_is_on_the_page():
    for name in METRICS:
        assert f"`{name}`" in PAGE, name
