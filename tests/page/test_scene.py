"""A run's directory as the page reads it, and all that can be wrong with one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import directory, record, run
from runner.errors import UserError
from runner.figures.measures import allocation_errors
from runner.page import scene
from runner.page.follow import Follower

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_scene_of_a_run_says_what_is_public_apart_from_what_is_not(recorded: Path) -> None:
    found = scene.read(recorded)
    assert found.agents == tuple(f"a{k:02}" for k in range(9))
    assert sorted(map(sorted, found.edges)) == [[0, k] for k in range(1, 9)]
    assert found.facts["mechanism"] == "private-goods"
    assert found.private is not None
    assert (
        found.private["a03"]["theta"]
        == json.loads((recorded / "resolved.json").read_text())["utilities"]["agents"]["a03"]["theta"]
    )
    assert "theta" not in json.dumps(found.facts)
    assert "theta" not in repr(found)


def test_distance_of_every_round_is_that_from_the_optimum_of_the_result(recorded: Path) -> None:
    follower = Follower(scene.read(recorded))
    follower.open()
    result = json.loads((recorded / "result.json").read_text())
    errors = allocation_errors(record.read(recorded), result["optimal_allocation"])
    found = follower.frames.values["error"][errors.rounds].max(axis=1)
    assert len(found) > 30
    assert found == pytest.approx(errors.values, rel=1e-6, abs=1e-13)
    assert follower.sketch()["outcome"]["rounds"] == result["rounds"]
    assert not follower.live


@pytest.mark.parametrize("name", ["consensus-ratio-tree-31", "network-corn-5", "directed-8"])
def test_other_mechanisms_are_shown_with_their_distance(name: str, tmp_path: Path) -> None:
    run(name, lockstep=True, out=tmp_path / "run", plot=False)
    follower = Follower(scene.read(tmp_path / "run"))
    follower.open()
    frames = follower.frames
    assert "error" in frames.names
    assert float(frames.values["error"][frames.used - 1].max()) < 1e-3


def test_network_run_is_shown_to_the_step_that_came_out(tmp_path: Path) -> None:
    result = run("network-microgrid-7", lockstep=True, out=tmp_path / "run", plot=False)
    follower = Follower(scene.read(tmp_path / "run"))
    follower.open()
    frames = follower.frames
    last = float(np.nanmax(frames.values["error"][frames.used - 1]))
    assert last == pytest.approx(result.allocation_error, rel=1e-6)


def _remove(name: str) -> Callable[[Path], None]:
    return lambda run_dir: (run_dir / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], object]:
    return lambda run_dir: (run_dir / name).write_text(text)


def _other_format(run_dir: Path) -> None:
    changed(run_dir / "meta.json", lambda meta: meta.update(format=99))


def _other_columns(run_dir: Path) -> None:
    pq.write_table(pa.table({"agent": ["a00"], "iteration": [1]}), run_dir / "telemetry.parquet")


def _other_run(run_dir: Path) -> None:
    changed(run_dir / "meta.json", lambda meta: meta.update(run="another"))


def _other_scenario(run_dir: Path) -> None:
    changed(run_dir / "resolved.json", lambda resolved: resolved["environment"].update(eta=26.0))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_remove("meta.json"), "it has no meta.json"),
        (_remove("resolved.json"), "resolved.json: No such file"),
        (_remove("telemetry.parquet"), "no rounds are on file"),
        (_write("meta.json", "{"), "meta.json: not JSON"),
        (_write("meta.json", "[]"), "meta.json: holds list; expected an object"),
        (_write("resolved.json", "{}"), "resolved.json"),
        (_write("telemetry.parquet", "PAR1"), "not a record of this version"),
        (_other_format, "meta.json: format 99, written by vicinal"),
        (_other_columns, "not a record of this version; expected Parquet with the columns run, agent"),
        (_other_run, "the record is of run"),
        (_other_scenario, "not of one run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_directory_that_cannot_be_shown_is_refused_in_one_line_that_names_it(
    recorded: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(recorded, run_dir)
    spoil(run_dir)
    with pytest.raises(UserError) as caught:
        Follower(scene.read(run_dir)).open()
    text = str(caught.value)
    assert words in text
    assert str(run_dir) in text
    assert "\n" not in text


def test_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run directory"):
        scene.read(tmp_path / "nothing")


def test_run_that_was_killed_is_shown_as_far_as_it_went(recorded: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(recorded, run_dir)
    (run_dir / "result.json").unlink()
    follower = Follower(scene.read(run_dir))
    follower.open()
    assert follower.frames.used
    assert (follower.live, follower.outcome) == (False, None)
    # Its runner died without a word: a process of that number is not there any more.
    (run_dir / "live.json").write_text(json.dumps({"pid": _ended_process(), "host": os.uname().nodename}))
    assert scene.alive(run_dir) is None


def test_run_goes_on_as_long_as_its_runner_does(tmp_path: Path) -> None:
    assert scene.alive(tmp_path) is None
    directory.announce(tmp_path, client="gmqtt")
    live = scene.alive(tmp_path)
    assert live is not None
    assert live["client"] == "gmqtt"
    assert (tmp_path / "live.json").stat().st_mode & 0o777 == 0o600
    directory.conclude(tmp_path)
    assert scene.alive(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def _ended_process() -> int:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        pass
    return process.pid
