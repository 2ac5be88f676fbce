"""What the benchmarks of faults share: the jobs, what must not change in them, and how to watch one."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import run_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

SCENARIO = "binary-tree-31"
AGENTS = [f"a{k:02}" for k in range(31)]
# Played to a far tighter tolerance the main job takes some four times as many rounds: time for faults.
LONGER = ("stopping.tolerance=1e-12",)
# With these parameters it takes 6953: time for a broker to die three times.
LONGEST = ("mechanism.parameters=eta", "stopping.tolerance=1e-9")
# Nothing is judged by eye, so nothing is recorded.
PLAIN = ("record.every=0",)
BACK = ("recovery.restart=true",)


def facts(result: Any) -> dict[str, Any]:
    """What must not depend on anything that happens to messages and processes, to the last bit."""
    plain = result.as_dict()
    if "values" in plain:
        return {"values": {i: [x.hex() for x in row] for i, row in plain["values"].items()}}
    return {
        "allocation": {i: [x.hex() for x in row] for i, row in plain["allocation"].items()},
        "prices": {i: [x.hex() for x in row] for i, row in plain["prices"].items()},
        "taxes": {i: tax.hex() for i, tax in plain["taxes"].items()},
        "rounds": plain["rounds"],
    }


class Observer:
    """Watches one run: who is where, when the broker came back, when everybody played again."""

    def __init__(self) -> None:
        self.rounds: dict[str, int] = {}
        self.warnings: list[str] = []
        self.killed = 0
        self.back: list[float] = []  # when a broker was there again
        self.again: list[float] = []  # seconds from there until every agent had gone on
        self._pending: tuple[float, dict[str, int]] | None = None

    def watch(self, agent: str, info: Mapping[str, Any]) -> None:
        """Take in progress."""
        self.rounds[agent] = info["round"]
        if self._pending is not None:
            at, rounds = self._pending
            if all(self.rounds[i] > r for i, r in rounds.items()) or info["state"] == "lingering":
                self.again.append(time.monotonic() - at)
                self._pending = None

    def warn(self, text: str) -> None:
        """Take in a warning."""
        self.warnings.append(text)
        self.killed += "was killed by signal" in text

    def broker_is_back(self) -> None:
        """A broker has been started again."""
        self.back.append(time.monotonic())
        self._pending = (self.back[-1], dict(self.rounds))


async def play(
    watch: Callable[[str, dict[str, Any]], None],
    warn: Callable[[str], None],
    *overrides: str,
    scenario: str = SCENARIO,
    virtual: bool = False,
) -> Any:
    """One run, over processes unless virtual; its result."""
    with tempfile.TemporaryDirectory() as directory:
        return await run_async(
            scenario,
            overrides=(*PLAIN, *overrides),
            plot=False,
            out=Path(directory) / "run",
            virtual=virtual,
            watch=watch,
            warn=warn,
        )


async def struck(
    attempt: Callable[[Observer, float], Awaitable[dict[str, Any]]], *overrides: str, scenario: str = SCENARIO
) -> dict[str, Any]:
    """One run in which all faults happened before it ended.

    On a machine whose speed changes a run may end before its faults: that shows nothing, so it is played
    again with faults earlier. If the third one is too short as well, it counts as wrong.

    Args:
        attempt: called with a fresh observer and the time, in seconds, by which all faults are to have
            happened; returns the figures of the run.
        overrides, scenario: the job, for ``calm``.
    """
    first, seconds = await calm(*overrides, scenario=scenario)
    for attempts, share in enumerate((0.8, 0.5, 0.2), 1):
        observer = Observer()
        found = await attempt(observer, first + share * (seconds - first))
        if not any("the run ended before" in text for text in observer.warnings):
            return {**found, "calm_seconds": seconds, "attempts": attempts}
    return {**found, "same": False, "error": "the run was too short for its faults", "attempts": attempts}


_references: dict[tuple[str, ...], dict[str, Any]] = {}
_calm: dict[tuple[str, ...], tuple[float, float]] = {}


async def reference(*overrides: str, scenario: str = SCENARIO) -> dict[str, Any]:
    """The facts of the same job in virtual time, where nothing goes wrong; played once."""
    key = (scenario, *overrides)
    if key not in _references:
        result = await play(ignore, ignore, *overrides, scenario=scenario, virtual=True)
        _references[key] = facts(result)
    return _references[key]


async def calm(*overrides: str, scenario: str = SCENARIO) -> tuple[float, float]:
    """Seconds to the first round and to the end, over processes and with nothing going wrong; played once.

    Faults are spread over this time, so that on any machine they strike while the agents play.
    """
    key = (scenario, *overrides)
    if key not in _calm:
        result = await play(ignore, ignore, *overrides, scenario=scenario)
        _calm[key] = (result.first_round_seconds or 0.0, result.seconds)
    return _calm[key]


def ignore(*_: Any) -> None:
    """Whatever it is."""


def events(*tables: Mapping[str, Any]) -> str:
    """Events as an override of ``faults.event``."""
    return "faults.event=[" + ",".join(_inline(table) for table in tables) + "]"


def _inline(table: Mapping[str, Any]) -> str:
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in table.items()) + "}"
