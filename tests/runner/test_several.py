"""Several scenarios in one `vicinal run`."""

from __future__ import annotations

import json

from runner import cli

OPTIONS = ["--lockstep", "--quiet", "--set", "topology.agents=4"]


def test_scenarios_run_one_after_another_and_the_worst_exit_code_counts(tmp_path, capsys):
    out = tmp_path / "runs"
    names = ["consensus-set-er-31", "no-such-scenario", "consensus-minimum-ring-100"]
    assert cli.main(["run", *names, *OPTIONS, "--out", str(out), "--json"]) == 2
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["scenario"] for row in rows] == [names[0], names[2]]
    assert sorted(path.name for path in out.iterdir()) == [names[2], names[0]]
    assert "no-such-scenario" in said.err


def test_a_line_at_the_end_says_how_each_ended(tmp_path, capsys):
    names = ["consensus-set-er-31", "consensus-minimum-ring-100"]
    assert cli.main(["run", *names, *OPTIONS, "--out", str(tmp_path / "runs")]) == 0
    end = capsys.readouterr().out.splitlines()[-3:]
    assert end[0] == "2 scenarios"
    assert [line.split()[0] for line in end[1:]] == names
    assert all("kept its promise" in line for line in end[1:])


def test_two_scenarios_of_one_name_cannot_share_a_directory(tmp_path, capsys):
    assert cli.main(["run", "star-9", "star-9", *OPTIONS, "--out", str(tmp_path / "runs")]) == 2
    assert "two scenarios are called star-9" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
