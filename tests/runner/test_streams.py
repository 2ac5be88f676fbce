"""Standard output and standard error that cannot be written: full, closed, or read by nobody."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import record, streams
from runner.cli import main

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
RUN = ("run", "star-9", "--virtual", "--quiet", "--set", "record.plot=false")


def vicinal(*arguments, out=subprocess.PIPE, err=subprocess.PIPE, unbuffered=False):
    """A command as a user starts it; ``out`` and ``err`` are paths, or what subprocess takes."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    with contextlib.ExitStack() as stack:
        out, err = (stack.enter_context(s.open("w")) if isinstance(s, Path) else s for s in (out, err))
        command = [sys.executable, "-m", "runner.cli", *arguments]
        return subprocess.run(
            command, stdout=out, stderr=err, env=environment, text=True, timeout=60, check=False
        )


@needs_full
@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("command", [("scenarios",), ("show", "star-9", "--json"), ("--help",)])
def test_a_full_standard_output_is_one_line_and_exit_code_2(command, unbuffered):
    ended = vicinal(*command, out=FULL, unbuffered=unbuffered)
    assert ended.stderr == "vicinal: standard output: No space left on device\n"
    assert ended.returncode == 2


@needs_full
def test_the_run_directory_is_complete_when_standard_output_is_full(tmp_path):
    out = tmp_path / "run"
    ended = vicinal(*RUN, "--out", str(out), out=FULL)
    assert ended.stderr == "vicinal: standard output: No space left on device\n"
    assert ended.returncode == 2
    assert json.loads((out / "result.json").read_text())["allocation_error"] < 1e-6
    rounds, _, _ = record.read(out).series("residual")
    assert rounds.size


@needs_full
def test_a_full_standard_error_ends_no_run(tmp_path):
    loud = [word for word in RUN if word != "--quiet"]
    ended = vicinal(*loud, "--json", "--out", str(tmp_path / "run"), err=FULL)
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["agents"] == 9


@needs_full
def test_both_full_leave_the_exit_code():
    assert vicinal("scenarios", out=FULL, err=FULL).returncode == 2
    assert vicinal("show", "no-such-scenario", err=FULL).returncode == 2


@pytest.mark.parametrize(
    ("command", "code"),
    [(("scenarios",), 0), (RUN, 0), (("show", "no-such-scenario"), 2)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_reader_that_has_left_is_nobodys_error(command, code, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    if command[0] == "run":
        command = (*command, "--out", str(tmp_path / "run"))
    try:
        ended = vicinal(*command, out=writer)
    finally:
        os.close(writer)
    assert ended.returncode == code
    assert (ended.stderr == "") == (code == 0)


def test_a_closed_standard_output_is_refused_before_the_work(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["run", "star-9", "--out", "/nonexistent/run"]) == 2
    monkeypatch.undo()
    assert capsys.readouterr().err == "vicinal: standard output: it is closed\n"


class Broken(io.StringIO):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


def test_streams_are_as_before_when_a_command_has_ended(monkeypatch):
    out, err = Broken(OSError(5, "Input/output error")), Broken(OSError(28, "No space left on device"))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with streams.standard():
        sys.stderr.write("lost, and nothing else")
        with pytest.raises(streams.OutputLost, match="Input/output error"):
            sys.stdout.write("an answer")
    assert sys.stdout is out
    assert sys.stderr is err
