"""What the runner has heard of a run over a broker, and when that is the end of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner.components import Roll, contradiction, current
from runner.errors import RunFailed
from runner.hosts import Message
from runner.lives import Lives
from runner.storms import Storms

Watch = Callable[[str, Message], None]
Warn = Callable[[str], None]


@dataclass(slots=True)
class Launched:
    """A run under way, as far as the runner has heard of it.

    Attributes:
        shares: host -> its agents.
        roll: who was not there all the time.
        goes_on: whether the others go on without an agent that has been killed.
        reports: agent -> its final account, of its last epoch.
        doomed: hosts that are not to come back when they end.
        outcome: done when every agent that is still there has reported, and the reports fit together; or with
            the error that ended the run.
        revive: called with a host and its exit code; whether it is being started again.
        progress: agent -> where it stood when it was last heard of; moved: when any last moved (monotonic).
            A free-running agent always moves; it does not count while one of them thinks a neighbour away.
        lives: what agents count, over all their lives.
    """

    shares: Sequence[Sequence[str]]
    watch: Watch
    warn: Warn
    roll: Roll = field(default_factory=Roll)
    goes_on: bool = False
    reports: dict[str, Message] = field(default_factory=dict)
    doomed: set[int] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)
    progress: dict[str, Message] = field(default_factory=dict)
    moved: float = field(default_factory=time.monotonic)
    stalled: set[str] = field(default_factory=set)
    failures: dict[int, Message] = field(default_factory=dict)
    farewells: set[int] = field(default_factory=set)
    lives: Lives = field(default_factory=Lives)
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    all_left: asyncio.Event = field(default_factory=asyncio.Event)
    revive: Callable[[int, int], bool] = lambda host, code: False
    storms: Storms = field(init=False)

    def __post_init__(self) -> None:
        self.storms = Storms(self.warn)

    def heard(self, host: int, message: Message) -> None:
        """Take in one line of a host."""
        match message["type"]:
            case "progress":
                for agent, info in message["agents"].items():
                    before = self.progress.get(agent)
                    if info["free"]:
                        (self.stalled.add if info["suspects"] else self.stalled.discard)(agent)
                    moved = before is None or (before["round"], before["state"]) != (
                        info["round"],
                        info["state"],
                    )
                    if moved and not self.stalled:
                        self.moved = time.monotonic()
                    self.storms.heard(agent, info)
                    if info["not_durable"] and not (before and before["not_durable"]):
                        self.warn(info["not_durable"])
                    self.lives.heard(agent, info)
                    self.progress[agent] = info
                    self.watch(agent, info)
                    if agent in self.reports and info["epoch"] > self.reports[agent]["epoch"]:
                        del self.reports[agent]  # it has started again
            case "result":
                self.reports[message["agent"]] = message
                self.lives.heard(message["agent"], message)
                self._settle()
            case "left":
                self.lives.heard(message["agent"], message)
                self.lose(message["agent"], died=False)
            case "failed":
                self.failures[host] = message
                names = ", ".join(message["agents"][:5]) + (" ..." if len(message["agents"]) > 5 else "")
                text = message["error"] if message["named"] else f"agent {names}: {message['error']}"
                self.fail(RunFailed(f"{text} [{message['kind']}]"))
            case "bye":
                self._left(host)

    def ended(self, host: int, code: int) -> None:
        """A host process has ended."""
        gone = self.roll.gone
        missing = [agent for agent in self.shares[host] if agent not in self.reports and agent not in gone]
        final = host in self.doomed or host in self.failures or host in self.farewells
        if not final and self.revive(host, code):
            for agent in self.shares[host]:
                self.lives.restarted(agent)
            return
        self._left(host)
        if host in self.doomed or (self.goes_on and code < 0 and host not in self.failures):
            for agent in self.shares[host]:
                self.lose(agent, died=code != -signal.SIGTERM)
        elif missing and host not in self.failures:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            names = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
            self.fail(RunFailed(f"the process of agent {names} {how}"))

    def lose(self, agent: str, *, died: bool) -> None:
        """An agent is gone for good; nobody waits for it any more."""
        if agent in self.roll.gone:
            return
        where = self.roll.died if died else self.roll.left
        where[agent] = round(time.monotonic() - self.began, 3)
        self.warn(f"agent {agent} {'is dead' if died else 'has left'} for good; the others go on without it")
        self.stalled.discard(agent)
        if agent in self.progress:
            self.watch(agent, {**self.progress[agent], "state": "gone", "suspects": {}, "absent": {}})
            del self.progress[agent]  # who waits for whom does not concern it any more
        self.moved = time.monotonic()
        self._settle()

    def _settle(self) -> None:
        """See whether this was the last thing to be heard."""
        if self.outcome.done():
            return
        there = sum(map(len, self.shares)) - len(self.roll.gone.keys() - self.reports.keys())
        if not there:
            self.fail(RunFailed(f"every agent is gone: {', '.join(sorted(self.roll.gone)[:5])}"))
        elif len(self.reports) == there and contradiction(current(self.reports, self.roll.gone)) is None:
            self.outcome.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the run with an error; the first one counts."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def _left(self, host: int) -> None:
        self.farewells.add(host)
        if len(self.farewells) == len(self.shares):
            self.all_left.set()

    def stuck(self) -> str:
        """Who waits for whom, in words."""
        return who_waits(self.progress)


def who_waits(progress: Mapping[str, Mapping[str, Any]]) -> str:
    """Who waits for whom, in words, from where every agent stands."""
    waiting = {agent: info["waiting_for"] for agent, info in progress.items() if info.get("waiting_for")}
    if not progress:
        return "no agent has been heard of"
    # The agent furthest behind is the likeliest cause; what it waits for is the likeliest place.
    agent = min(waiting or progress, key=lambda a: (progress[a]["round"], a))
    info = progress[agent]
    awaited = ", ".join(waiting.get(agent, ())) or "nobody"
    return f"agent {agent} ({info['state']}, round {info['round']}) waits for {awaited}"
