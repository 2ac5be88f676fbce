"""``vicinal plot`` as it is typed: where figures go, and one clear line for every mistake."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from runner.cli import main
from runner.figures.run import open_runs

if TYPE_CHECKING:
    from pathlib import Path


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a mistake gets."""
    assert main(["plot", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err.count("\n") == 1, said.err
    return said.err


def copied(runs: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(runs["private"], tmp_path / "run")


def test_one_run_is_drawn_into_its_directory(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = copied(runs, tmp_path)
    assert main(["plot", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'convergence.png'}\n"
    assert main(["plot", str(run), "--what", "graph", "--format", "svg"]) == 0
    assert (run / "graph.svg").read_text().startswith("<?xml")


def test_several_runs_are_drawn_here(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["plot", str(runs["private"]), str(runs["free"])]) == 0
    assert (tmp_path / "convergence.png").exists()
    assert main(["plot", str(runs["private"]), "--what", "taxes", "--out", "taxes.SVG"]) == 0
    assert (tmp_path / "taxes.SVG").read_text().startswith("<?xml")


def test_lines_of_some_agents(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "two.png"
    arguments = ["plot", str(runs["private"]), "--what", "allocations", "--out", str(out)]
    assert main([*arguments, "--agents", "a03,a01"]) == 0
    capsys.readouterr()
    assert "agent a3:" in (said := refused(capsys, *arguments[1:], "--agents", "a3"))
    assert "did you mean a03?" in said


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("alocations", "allocations"),
        ("tax", "taxes"),
        ("grph", "graph"),
        ("graph,massages", "messages"),
    ],
)
def test_an_unknown_metric_gets_the_nearest(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str], what: str, meant: str
):
    said = refused(capsys, runs["private"], "--what", what)
    assert "expected one of convergence, prices" in said
    assert f"did you mean {meant}?" in said


def test_what_does_not_go_together_is_refused(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    private = runs["private"]
    assert "no loads to draw; expected one of prices" in refused(capsys, private, "--what", "loads")
    unrecorded = runs["unrecorded"]
    assert "nothing was recorded; expected graph" in refused(capsys, unrecorded, "--what", "estimates")
    assert "expected a run with record.every > 0" in refused(capsys, unrecorded, "--what", "convergence")
    assert "expected runs of one kind" in refused(capsys, private, runs["consensus"])
    assert "number of goods" in refused(capsys, private, runs["two-goods"], "--what", "prices")
    assert "did you mean svg?" in refused(capsys, private, "--format", "sv")
    assert "expected png or svg" in refused(capsys, private, "--out", "figure.pdf")
    assert "ends otherwise" in refused(capsys, private, "--out", "figure.png", "--format", "svg")
    assert "did you mean taxes?" in refused(capsys, private, "--what", "graph", "--nodes", "taxs")
    assert "--nodes taxs: expected" in refused(capsys, private, "--nodes", "taxs")
    assert "cannot be written" in refused(capsys, private, "--out", tmp_path / "no" / "where.png")
    assert "expected at most 28" in refused(capsys, *[private] * 29)
    assert "expected at most 4" in refused(capsys, *[private] * 5, "--what", "graph")


def test_a_directory_that_is_no_finished_run_is_named(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = copied(runs, tmp_path)
    assert f"did you mean {run}?" in refused(capsys, tmp_path / "rum")
    assert "is no directory" in refused(capsys, run / "meta.json")
    (tmp_path / "empty").mkdir()
    assert "it has no meta.json" in refused(capsys, tmp_path / "empty")

    result = (run / "result.json").read_text()
    (run / "result.json").unlink()
    assert "the run goes on or was cut off" in refused(capsys, run)
    (run / "failed.json").write_text('{"error": "a03: killed\\nby whom?"}')
    assert "the run failed (a03: killed); expected" in refused(capsys, run)
    (run / "result.json").write_text(result[: len(result) // 2])
    assert "result.json: not JSON" in refused(capsys, run)
    (run / "result.json").write_text(json.dumps({**json.loads(result), "luck": 1}))
    assert "'luck' is missing or unknown" in refused(capsys, run)
    (run / "result.json").write_text(result)
    (run / "telemetry.parquet").write_bytes(b"PAR1 no more")
    assert "telemetry.parquet: not the Parquet" in refused(capsys, run)

    meta = json.loads((run / "meta.json").read_text())
    meta["format"], meta["versions"]["vicinal"] = 7, "7.1.0"
    (run / "meta.json").write_text(json.dumps(meta))
    assert "format 7, written by vicinal 7.1.0; expected format" in refused(capsys, run)
    (run / "meta.json").write_text("[]")
    assert "meta.json: holds list; expected an object" in refused(capsys, run)


def test_runs_are_called_so_that_they_differ(runs: dict[str, Path], tmp_path: Path):
    one, two = copied(runs, tmp_path / "a"), copied(runs, tmp_path / "b")
    assert [run.label for run in open_runs([one, two])] == ["run", str(two)]
    own = tmp_path / json.loads((one / "meta.json").read_text())["run"]
    shutil.copytree(one, own)
    assert [run.label for run in open_runs([own])] == ["star-9"]  # it got its name by itself
    assert [run.label for run in open_runs([own, one])] == [own.name, "run"]
