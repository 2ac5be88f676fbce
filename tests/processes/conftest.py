"""Real processes, and the proof that none of them outlives its test."""

from __future__ import annotations

import os
import secrets
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.processes import table
from tests.processes.commands import Commands
from tests.processes.live import Spy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _leave_none(before: set[int]) -> None:
    try:
        table.until(lambda: not set(table.family()) - before, "all processes have ended")
    except AssertionError:
        left = [process for pid, process in table.family().items() if pid not in before]
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        lines = "\n".join(f"{p.pid} {p.role}: {' '.join(p.command)}" for p in left)
        pytest.fail(f"left behind {table.WAIT:g} s after the test:\n{lines}")
    finally:
        table.reap_orphans()


@pytest.fixture(scope="package", autouse=True)
def _adoption() -> Iterator[None]:
    os.environ[table.MARKER] = secrets.token_hex(8)
    table.adopt_orphans(True)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell that starts its jobs in the background lets them ignore Ctrl-C, and all that they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    table.adopt_orphans(False)
    del os.environ[table.MARKER]


@pytest.fixture(scope="module", autouse=True)
def _no_process_outlives_the_module(_adoption: None) -> Iterator[None]:
    before = set(table.family())
    yield
    _leave_none(before)


@pytest.fixture(autouse=True)
def _no_process_outlives_its_test(_adoption: None) -> Iterator[None]:
    before = set(table.family())
    yield
    _leave_none(before)


@pytest.fixture
def vicinal(tmp_path: Path) -> Iterator[Commands]:
    """Start ``vicinal`` as a user would, in ``tmp_path``."""
    with Commands(tmp_path) as commands:
        yield commands


@pytest.fixture(scope="module")
def vicinal_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """The same for runs that several tests look at."""
    with Commands(tmp_path_factory.mktemp("vicinal")) as commands:
        yield commands


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spy:
    """Look into a run that this process starts."""
    monkeypatch.chdir(tmp_path)
    return Spy(monkeypatch)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is about processes and needs Linux's process table."""
    for item in items:
        if "tests/processes" in item.path.as_posix():
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.broker)
            if not sys.platform.startswith("linux"):
                item.add_marker(pytest.mark.skip(reason="reads /proc"))
