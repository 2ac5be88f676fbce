"""The command line, run as a user runs it: in a process group of its own, output in files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.processes import table

if TYPE_CHECKING:
    from pathlib import Path

FEW_SECONDS = 6.0
# A run that would take hours: the proof's parameters for curvatures between 1/1000 and 1000.
ENDLESS = (
    "--set=mechanism.parameters=proof",
    "--set=environment.eta=1000.0",
    "--set=stopping.tolerance=1e-9",
)


@dataclass(frozen=True)
class Finished:
    """How a command ended: exit code (negative: by a signal), and what it printed where."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """The one JSON object that it printed."""
        found: dict[str, Any] = json.loads(self.out)
        return found


class Command:
    """A ``vicinal`` under way."""

    def __init__(self, folder: Path, arguments: tuple[object, ...], options: dict[str, Any]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "runner.cli", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder.parent,
                # As a shell does for each of its jobs.
                process_group=0,
                **options,
            )
        self.pid = self._process.pid
        self._began = time.monotonic()

    @property
    def few_seconds(self) -> float:
        """What its end may take: an idle machine takes half a second, and one that is so loaded that it has
        taken long until now takes longer."""
        return max(FEW_SECONDS, 2.0 * (time.monotonic() - self._began))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, condition: Any, what: str, within: float = table.WAIT) -> None:
        """Wait until the condition holds while the command goes on."""
        table.until(lambda: self.ended or condition(), what, within)
        assert not self.ended, f"ended before: {what}\n{self._out.read_text()}\n{self.err}"

    def until_roles(self, **counts: int) -> dict[str, list[int]]:
        """Wait until exactly so many processes of these roles run; ``_`` in a role's name is ``-``."""
        wanted = {role.replace("_", "-"): count for role, count in counts.items()}
        self.until(
            lambda: all(len(table.by_role().get(role, ())) == count for role, count in wanted.items()),
            f"running processes: {wanted}",
        )
        return table.by_role()

    def press_ctrl_c(self) -> None:
        """What a terminal does: SIGINT to every process of the foreground group."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, within: float = table.WAIT) -> Finished:
        """Wait for the end."""
        code = self._process.wait(within)
        return Finished(code, self._out.read_text(), self.err)

    def kill(self) -> None:
        """End it, however it stands."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


class Commands:
    """Starts commands and ends those that a failed test left running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Command] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for command in self._started:
            command.kill()

    def start(self, *arguments: object, **options: Any) -> Command:
        """Start ``vicinal ARGUMENTS...``; options are those of ``subprocess.Popen``."""
        folder = self.folder / f"command-{len(self._started)}"
        folder.mkdir()
        self._started.append(Command(folder, arguments, options))
        return self._started[-1]

    def __call__(self, *arguments: object, **options: Any) -> Finished:
        """Run it to its end."""
        return self.start(*arguments, **options).wait(100.0)
