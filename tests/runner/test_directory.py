"""The run's directory."""

from __future__ import annotations

import json
import re

import pytest

from broker.topics import LEVEL
from runner import directory
from runner.errors import UserError
from topologies import load_scenario


def test_run_ids_are_levels_of_a_topic_and_differ():
    first, second = directory.new_run_id("x" * 64), directory.new_run_id("x" * 64)
    assert LEVEL.match(first)
    assert first != second
    assert re.match(r"x{32}-\d{8}-\d{6}-[0-9a-f]{4}$", first)


def test_a_password_in_the_scenario_does_not_reach_the_record(tmp_path):
    scenario = tmp_path / "s.toml"
    scenario.write_text(
        '[topology]\ngenerator = "ring"\nagents = 3\n[environment]\ncapacities = [1.0]\n'
        '[broker]\nurl = "mqtt://me:s3cr3t@127.0.0.1:1"\n'
    )
    run_dir = directory.create(tmp_path / "run", "run")
    directory.describe(run_dir, load_scenario(scenario), "run", {})
    assert sorted(path.name for path in run_dir.iterdir()) == ["meta.json", "resolved.json", "scenario.toml"]
    for path in run_dir.iterdir():
        assert "s3cr3t" not in path.read_text()
    assert json.loads((run_dir / "meta.json").read_text())["run"] == "run"


def test_a_directory_that_exists_or_cannot_be_made_is_named(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path} exists"):
        directory.create(tmp_path, "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        directory.create(tmp_path / "file" / "run", "run")
