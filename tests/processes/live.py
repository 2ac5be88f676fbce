"""A run started by the test's own event loop, with all that the runner knows in the test's hands."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tests
from runner import launch, run_async
from tests.processes.held import GATE
from tests.processes.table import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

    from broker.access import Grant
    from broker.embedded import EmbeddedBroker
    from broker.transport import Address
    from runner import RunResult
    from runner.hosts import Hosts

ENDLESS = ("mechanism.parameters=proof", "environment.eta=1000.0", "stopping.tolerance=1e-9")


class Spy:
    """What the runner makes for a run, noted as it makes it.

    Attributes:
        hosts: the processes of the agents.
        starts: host -> the start message it was sent.
        grants: user -> all that it may do at the embedded broker.
        brokers: the embedded brokers started.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: list[Hosts] = []
        self.starts: dict[int, dict[str, Any]] = {}
        self.grants: dict[str, Grant] = {}
        self.brokers: list[EmbeddedBroker] = []
        self.scribes: list[Any] = []
        self._held: str | None = None
        self._gate = Path()
        self._monkeypatch = monkeypatch
        spy = self

        class SpiedHosts(launch.Hosts):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                spy.hosts.append(self)

            def send(self, host: int, message: dict[str, Any], **how: Any) -> None:
                if message["type"] == "start":
                    if any(entry["part"]["agent"] == spy._held for entry in message["agents"]):
                        message = {**message, "protocol": "tests.processes.held:held"}
                    spy.starts[host] = message
                super().send(host, message, **how)

        class SpiedBroker(launch.EmbeddedBroker):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                spy.brokers.append(self)

        class SpiedScribe(launch.Scribe):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                spy.scribes.append(self)

        def grants(*args: Any) -> dict[str, Grant]:
            made = real_grants(*args)
            spy.grants.update(made)
            return made

        real_grants = launch._grants
        monkeypatch.setattr(launch, "Hosts", SpiedHosts)
        monkeypatch.setattr(launch, "EmbeddedBroker", SpiedBroker)
        monkeypatch.setattr(launch, "Scribe", SpiedScribe)
        monkeypatch.setattr(launch, "_grants", grants)

    @property
    def address(self) -> Address:
        """Where the embedded broker listens; no user, no password."""
        return self.brokers[-1].address

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.starts[0]["run"])

    def hold(self, agent: str, round_: float, folder: Path) -> None:
        """Have an agent of the run that is about to be started stay in this round, and so all others soon
        after it, until it is held in a later one or let go. A new life of it counts its rounds anew.

        Args:
            agent: which one; alone in its process.
            round_: from 0, of all protocols that it goes through.
            folder: for the file that tells it.
        """
        self._held, self._gate = agent, folder / "gate"
        self._monkeypatch.setenv(GATE, str(self._gate))
        self._monkeypatch.setenv("PYTHONPATH", str(Path(tests.__file__).parent.parent))
        self.hold_in(round_)

    def hold_in(self, round_: float) -> None:
        """Let the agent that is held go on to this round."""
        written = self._gate.with_suffix(".new")
        written.write_text(str(round_))
        os.replace(written, self._gate)

    def let_go(self) -> None:
        """Let the agent that was held go on to the end."""
        self.hold_in(math.inf)

    def start_of(self, agent: str) -> tuple[int, dict[str, Any]]:
        """The host of an agent, and the start message that it was sent."""
        for host, message in self.starts.items():
            if any(entry["part"]["agent"] == agent for entry in message["agents"]):
                return host, message
        raise KeyError(agent)

    def pid_of(self, agent: str) -> int:
        """The process that carries an agent."""
        return self.hosts[-1].pids[self.start_of(agent)[0]]


class Live:
    """A run under way; ends with the ``async with`` whatever happens.

    Attributes:
        progress: agent -> its newest progress.
        warnings: what the runner warned of.
        task: the run.
    """

    def __init__(self, source: str | Path, *overrides: str, **options: Any) -> None:
        self.progress: dict[str, dict[str, Any]] = {}
        self.warnings: list[str] = []
        self._arguments = {"overrides": overrides, "plot": False, **options}
        self._source = source

    async def __aenter__(self) -> Self:
        self.task: asyncio.Task[RunResult] = asyncio.create_task(
            run_async(
                self._source,
                watch=self.progress.__setitem__,
                warn=self.warnings.append,
                **self._arguments,
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self.task

    async def until(self, condition: Callable[[], object], what: str, within: float = WAIT) -> None:
        """Wait until the condition holds while the run goes on."""
        deadline = time.monotonic() + within
        while not condition():
            if self.task.done():
                raise AssertionError(f"the run ended before: {what}") from self.task.exception()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within:g} s: {what}; {self.progress}")
            await asyncio.sleep(0.01)

    async def until_playing(self, agents: int, beyond: int = 0) -> None:
        """Wait until so many agents are in a round of play beyond this one."""
        await self.until(
            lambda: (
                len(self.progress) == agents
                and all(p["kind"].startswith("play") and p["round"] > beyond for p in self.progress.values())
            ),
            f"{agents} agents play beyond round {beyond}",
        )

    async def result(self, within: float = 100.0) -> RunResult:
        """How it ended."""
        return await asyncio.wait_for(asyncio.shield(self.task), within)


def outcome(result: Any) -> Mapping[str, Any]:
    """What must be equal, to the last bit, in every run of a scenario."""
    facts = result if isinstance(result, dict) else result.as_dict()
    return {
        "allocation": {i: [x.hex() for x in row] for i, row in facts["allocation"].items()},
        "prices": {i: [p.hex() for p in row] for i, row in facts["prices"].items()},
        "taxes": {i: tax.hex() for i, tax in facts["taxes"].items()},
        "rounds": facts["rounds"],
        "play_rounds": facts["play_rounds"],
        **{key: facts["parameters"][key].hex() for key in ("xi", "delta")},
        "contraction_bound": facts["contraction_bound"].hex(),
    }
