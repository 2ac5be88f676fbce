"""The command: what it leaves, what it refuses, and that it draws again without playing."""

from __future__ import annotations

import json
import sys

import pytest

from runner import cli
from runner.reproduce import command, figures, over_broker
from runner.reproduce.cases import Case
from runner.reproduce.play import play
from runner.reproduce.verdicts import same_bits
from tests.reproduce import samples

SMALL = [
    Case("public-goods", "tree", "cournot", 0, agents=7),
    Case("public-goods", "er", "exponential", 0, agents=7),
]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(command, "cases", lambda seeds, quick: SMALL)
    monkeypatch.setattr(command, "table_one", lambda seeds: SMALL[:1])


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.processes)])
def test_what_was_played_is_drawn_again_without_playing(few, tmp_path, monkeypatch, capsys, jobs):
    out = tmp_path / "out"
    arguments = ["reproduce", "chapter4", "--out", str(out), "--jobs", str(jobs), "--json"]
    code = cli.main(arguments)
    first = capsys.readouterr()
    assert "0 runs to go" in first.err
    said = json.loads(first.out)
    # Seven agents agree on other parameters than 31, so Table 1 differs: an exit code that says so.
    assert code == 1
    assert {line["verdict"] for line in said["lines"] if line["where"] == "Table 1"} == {"differs", "open"}
    picture = (out / "figure-15.png").read_bytes()
    (out / "figure-15.png").unlink()

    def never(*arguments, **options):
        raise AssertionError("played again")

    monkeypatch.setattr(command, "play", never)
    monkeypatch.setattr(command, "play_all", never)
    assert cli.main(["reproduce", "chapter4", "--from", str(out), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == said
    assert (out / "figure-15.png").read_bytes() == picture
    assert picture.startswith(b"\x89PNG")


def test_all_figures_are_drawn_light_enough_for_a_page(tmp_path):
    curves = {case: curve for case, curve in samples.curves().items() if case.seed == 0}
    drawn = figures.draw_all(curves, 0, tmp_path)
    assert [path.name for path in drawn] == [f"figure-{k}.png" for k in (12, 13, 14, 15)]
    assert all(10_000 < path.stat().st_size < 150_000 for path in drawn)
    assert sorted(tmp_path.iterdir()) == sorted(drawn)


def test_a_figure_without_curves_is_not_drawn(tmp_path):
    case = Case("public-goods", "tree", "cournot", 0)
    drawn = figures.draw_all({case: samples.curve(case, 150)}, 0, tmp_path)
    assert [path.name for path in drawn] == ["figure-15.png"]


def test_without_matplotlib_there_is_still_a_table(few, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    assert cli.main(["reproduce", "chapter4", "--out", str(out), "--jobs", "1", "--json"]) == 1
    said = capsys.readouterr()
    assert "pip install vicinal[plot]" in said.err
    assert json.loads(said.out)["figures"] == []
    assert len(json.loads((out / "table.json").read_text())) == 33


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "4-0"], "expected A-B"),
        (["--jobs", "0"], "--jobs 0"),
        (["--from", "nowhere"], "nowhere"),
        (["--from", ".", "--quick"], "--from"),
        (["--out", "."], "exists already"),
    ],
)
def test_mistakes_of_the_user_are_named(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["reproduce", "chapter4", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_directory_with_a_broken_record_is_a_failure_that_names_it(few, tmp_path, capsys):
    command.record_agreed(tmp_path, SMALL[:1])
    (tmp_path / "x.parquet").write_text("?")
    assert cli.main(["reproduce", "chapter4", "--from", str(tmp_path)]) == 1
    assert "x.parquet" in capsys.readouterr().err


def test_the_table_says_published_ours_and_verdict(capsys, tmp_path):
    from rich.console import Console

    lines = command.judge(samples.curves().values(), samples.agreed())
    command.show(lines, [], Console(width=110))
    text = capsys.readouterr().out
    assert "31 same, 2 differ, 0 open" in text
    (row,) = [line for line in text.splitlines() if "private, tree: delta" in line]
    assert row.split()[-4:] == ["1005.6", "1005.6", "✓", "same"]


@pytest.mark.broker
@pytest.mark.processes
def test_over_a_real_broker_the_curve_has_the_same_bits(tmp_path):
    lockstep = play(Case("public-goods", "tree", "exponential", 0, agents=7))
    (tmp_path / "run").mkdir()
    curve = over_broker.play_over_broker(lockstep, tmp_path / "run", hosts=2)
    assert same_bits(curve, lockstep).verdict == "same"
    figures.draw_over_broker(curve, lockstep, tmp_path / "panel.png")
    assert (tmp_path / "panel.png").stat().st_size > 10_000
