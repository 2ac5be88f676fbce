"""The command line of the page, and the journal that it reads."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from runner import record, run
from runner.cli import main
from runner.errors import UserError
from runner.journal import Journal, read
from runner.page.command import _target, newest
from topologies.faults import Crash, Cut, Leave, Partition

if TYPE_CHECKING:
    from pathlib import Path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    return text


def test_port_in_use_is_one_line_and_code_2(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["page", str(recorded), "--port", str(port)]) == 2
    assert f"port {port} at 127.0.0.1: Address already in use" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such run directory"),
        ([], "expected the directory of one run"),
        (["one", "two"], "expected the directory of one run"),
        (["run", "--port", "70000"], "expected 0 to 65535"),
        (["--live", "no-such-scenario"], "no-such-scenario"),
    ],
)
def test_mistake_is_one_line_and_code_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    port = [] if "--port" in arguments else ["--port", "0"]
    assert main(["page", *arguments, *port]) == 2
    assert words in said(capsys)
    assert list(tmp_path.iterdir()) == []


def test_what_follows_live_belongs_to_the_run(recorded: Path) -> None:
    def target(live: str | None, run: str | None, *options: str) -> tuple[str, list[str] | None]:
        return _target(SimpleNamespace(live=live, run=run, options=list(options)))

    assert target(None, "runs/x") == ("runs/x", None)
    assert target("star-9", None) == ("star-9", [])
    assert target("star-9", "--hosts", "2") == ("star-9", ["--hosts", "2"])
    assert target(str(recorded), None) == (str(recorded), None)
    with pytest.raises(UserError, match="is a run already"):
        target(str(recorded), "--hosts", "2")


def test_of_a_folder_of_runs_the_newest_is_shown(recorded: Path, tmp_path: Path) -> None:
    for age, name in enumerate(("b", "a", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text("{}")
        os.utime(tmp_path / name / "meta.json", (1000.0 - age, 1000.0 - age))
    (tmp_path / "no-run").mkdir()
    assert newest(tmp_path) == tmp_path / "b"
    assert newest(recorded) == recorded
    assert newest(tmp_path / "no-run") == tmp_path / "no-run"


def test_journal_keeps_what_happened_and_reads_what_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path, pytest.fail)
    assert read(tmp_path) == []
    journal.fault(Crash(kind="crash", at=1.0, agents=("a", "b"), down=2.0))
    journal.fault(Cut(kind="cut", at=1.0, links=(("a", "b"),), lasts=0.5))
    journal.fault(Partition(kind="partition", at=1.0, groups=(("a",), ("b", "c")), lasts=3.0))
    journal.fault(Crash(kind="crash", at=1.0, agents=("c",), down="forever"))
    journal.fault(Leave(kind="leave", at=1.0, agents=("d",)))
    journal.note("back", "a started again", ["a"])
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"time": "late"}\n[]\n{"time": 1.0, "kind": "cra')
    assert [(event["kind"], event["text"], event["lasts"]) for event in read(tmp_path)] == [
        ("crash", "crash a, b for 2 s", 2.0),
        ("cut", "cut a to b for 0.5 s", 0.5),
        ("partition", "partition a | b, c for 3 s", 3.0),
        ("crash", "crash c for ever", None),
        ("leave", "leave d", None),
        ("back", "a started again", None),
    ]
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["agents"] == ["a", "b"]


def test_faults_of_virtual_time_stand_between_the_rounds_in_which_they_struck(tmp_path: Path) -> None:
    out = tmp_path / "run"
    crash = 'faults.event=[{kind = "crash", at = 0.3, agents = ["a03"], down = 0.5}]'
    run("star-9", virtual=True, plot=False, out=out, overrides=[crash])
    (event,) = read(out)
    assert (event["kind"], event["agents"], event["lasts"]) == ("crash", ["a03"], 0.0)
    assert event["text"] == "crash a03 for 0.5 s, at 0.3 virtual s"
    times = record.read(out).time
    assert times.min() < event["time"] < times.max()


def test_journal_that_cannot_be_written_warns_once(tmp_path: Path) -> None:
    warnings: list[str] = []
    journal = Journal(tmp_path / "gone", warnings.append)
    journal.note("down", "x")
    journal.note("down", "y")
    assert len(warnings) == 1
    assert "events.jsonl" in warnings[0]
