"""The process table as a test sees it: everything that this process started, orphans included."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Inherited by every process of the tests, however many parents it has lost since.
MARKER = "VICINAL_TESTS"
_PR_SET_CHILD_SUBREAPER = 36
# After so long a condition of a test never comes true: ten times what it takes on a loaded machine.
WAIT = 60.0


@dataclass(frozen=True)
class Process:
    """One line of the process table.

    Attributes:
        pid, parent: process ids.
        command: its arguments.
    """

    pid: int
    parent: int
    command: tuple[str, ...]

    @property
    def role(self) -> str:
        """Its part in a run: runner, node (fork server or host), recorder, guard, broker."""
        program = os.path.basename(self.command[0]) if self.command else ""
        if program in ("nats-server", "mosquitto"):
            return "broker"
        if any(word.endswith("broker/guard.py") for word in self.command):
            return "guard"
        module = self.command[self.command.index("-m") + 1] if "-m" in self.command else ""
        return {"node": "node", "runner.recorder": "recorder", "runner.cli": "runner"}.get(module, "other")


def adopt_orphans(yes: bool) -> None:
    """Whether processes whose parent dies become children of this one instead of pid 1's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)


def family() -> dict[int, Process]:
    """Every living process that descends from this one or carries the tests' marker, itself excepted."""
    table: dict[int, Process] = {}
    marked: set[int] = set()
    marker = f"{MARKER}={os.environ[MARKER]}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # The name in brackets may hold blanks and brackets of its own.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state in "ZX":
                continue
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if any("multiprocessing.resource_tracker" in word for word in words):
                continue  # of this process, since some test had a pool; it ends with it
            pid = int(folder.name)
            table[pid] = Process(pid, int(parent), tuple(words))
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                marked.add(pid)
    wanted = set(marked)
    grown = {os.getpid()}
    while grown:
        wanted |= grown
        grown = {p.pid for p in table.values() if p.parent in wanted} - wanted
    wanted.discard(os.getpid())
    return {pid: table[pid] for pid in sorted(wanted) if pid in table}


def by_role() -> dict[str, list[int]]:
    """The pids of a run by role, ascending; ``node`` is split into ``fork-server`` and ``host``."""
    every = family()
    roles: dict[str, list[int]] = {}
    for process in every.values():
        role = process.role
        if role == "node":
            parent = every.get(process.parent)
            role = "host" if parent is not None and parent.role == "node" else "fork-server"
        roles.setdefault(role, []).append(process.pid)
    return roles


def stopped(pids: Iterable[int]) -> list[int]:
    """Those of these processes that a signal has stopped."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                found.append(pid)
    return found


def until(condition: Callable[[], object], what: str, within: float = WAIT) -> None:
    """Wait until the condition holds; fail naming ``what`` if it does not within so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what}")
        time.sleep(0.02)


def reap_orphans() -> None:
    """Take the exit codes of adopted children, which nobody else waits for."""
    for folder in Path("/proc/self/task").iterdir():
        try:
            children = (folder / "children").read_text()
        except FileNotFoundError:  # a thread that has ended meanwhile
            continue
        for pid in map(int, children.split()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
