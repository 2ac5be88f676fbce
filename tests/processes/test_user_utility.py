"""A user's own utility over real processes: the class is found by the agents, and watched."""

from __future__ import annotations

import json
import re

import numpy as np

from runner import record
from tests.runner.user_run import write


def test_agents_find_the_class_beside_the_scenario_and_play_as_in_virtual_time(vicinal, tmp_path):
    path = write(tmp_path)
    tuned = "--set=mechanism.parameters=tuned"
    runs = [
        vicinal("run", path, "--quiet", "--json", "--out", tmp_path / f"run-{k}", tuned, *options)
        for k, options in enumerate(([], ["--virtual"]))
    ]
    assert [finished.code for finished in runs] == [0, 0], runs[0].err
    over_processes, virtual = (finished.json() for finished in runs)
    for same in ("allocation", "prices", "taxes", "rounds"):
        assert over_processes[same] == virtual[same]
    # The record has the class beside it, and can be run without what it was made from.
    path.unlink()
    for module in tmp_path.glob("fragile_*.py"):
        module.unlink()
    again = vicinal("run", tmp_path / "run-0" / "resolved.json", "--virtual", "--quiet", "--json")
    assert again.code == 0, again.err
    assert again.json()["allocation"] == virtual["allocation"]


def test_a_utility_that_breaks_its_word_ends_a_run_of_processes_with_its_record(vicinal, tmp_path):
    out = tmp_path / "run"
    finished = vicinal("run", write(tmp_path, "edge = -1.0, press = 4.0"), "--quiet", "--out", out)
    assert finished.code == 1
    (line,) = finished.err.splitlines()
    found = re.match(
        r"vicinal: agent a1, round (\d+) \(play\S*\): CurvatureLeft: good 0: the curvature -v'' is \S+ "
        r"between x = \S+ and \S+; expected within the declared bounds \[0\.5, 2\] \[AgentError\]$",
        line,
    )
    assert found, line
    assert json.loads((out / "failed.json").read_text())["error"] in line
    rounds, values, agents = record.read(out).series("allocation")
    own = values[:, agents.index("a1")]
    assert max(rounds[np.isfinite(own)]) == int(found[1]) - 1


def test_a_class_that_cannot_be_found_is_the_users_mistake_and_leaves_nothing_behind(vicinal, tmp_path):
    path = write(tmp_path)
    for module in tmp_path.glob("fragile_*.py"):
        module.unlink()
    finished = vicinal("run", path, "--quiet", "--out", tmp_path / "run")
    assert finished.code == 2
    assert re.match(
        r"vicinal: \S+fragile\.toml: utilities\.class: .*No module named 'fragile_\d+'", finished.err
    )
    assert not (tmp_path / "run").exists()
