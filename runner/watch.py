"""What a judge hears of a run whose agents nobody launched: who is there, how far, and what came of it.

No I/O: it takes topics and payloads, and says when the run has ended. Whatever is wrong with a message is
counted by kind and dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from node import report, status
from node.status import DOWN
from runner.errors import RunFailed
from runner.launched import who_waits
from runner.lives import Lives
from runner.storms import Storms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.part import Part

_NAMED = 5  # agents in a message


class Watch:
    """Takes messages in; knows what is missing.

    Args:
        parts: agent -> its part, as the scenario says; of the run that is judged.
        progress: called with (agent, where it stands), as ``vicinal run`` shows it.
        warn: called with what the user should know and the run survives.
        changed: called when the run has ended, by the last result or by a failure.

    Attributes:
        failure: why the run cannot be judged; None while it may.
        moved: when anything was last new (monotonic).
        rejected: messages that were dropped, by kind.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        progress: Callable[[str, dict[str, Any]], None],
        warn: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.run = next(iter(parts.values())).run
        self._lives, self._incarnations = Lives(), dict[str, int]()
        self._results: dict[str, dict[str, Any]] = {}
        self.failure: RunFailed | None = None
        self.moved = time.monotonic()
        self.rejected: Counter[str] = Counter()
        self._digests = {agent: part.digest() for agent, part in parts.items()}
        self._standing: dict[str, dict[str, Any]] = {}
        self._down: set[str] = set()
        self._progress, self._warn, self._changed = progress, warn, changed
        self._storms = Storms(warn)

    @property
    def reports(self) -> dict[str, dict[str, Any]]:
        """Agent -> what came of it, its counters added up over all its lives."""
        return {agent: {**found, **self._lives.total(agent)} for agent, found in self._results.items()}

    @property
    def missing(self) -> list[str]:
        """The agents without a result, ascending."""
        return [agent for agent in self._digests if agent not in self._results]

    def receive(self, topic: str, payload: bytes) -> None:
        """Take in one message. Never raises."""
        try:
            source = topics.Topic.parse(topic)
            if source.run != self.run or source.src not in self._digests:
                raise Malformed("foreign", f"{topic!r} is of no agent of this run")
            if not payload:
                return  # something retained was cleared
            if source.channel == topics.REPORT:
                self._report(source.src, *report.read(payload, source.src))
            elif source.channel == topics.STATUS:
                self._status(source.src, status.read(payload))
        except topics.BadTopic:
            self.rejected["topic"] += 1
        except Malformed as error:
            self.rejected[error.kind] += 1

    def stuck(self) -> str:
        """Who keeps the run from ending, in words."""
        unheard = [agent for agent in self.missing if agent not in self._standing]
        if unheard and self._standing:
            return f"nothing was ever heard of agent {_named(unheard)}"
        standing = {agent: info for agent, info in self._standing.items() if agent not in self._results}
        return self.dead() or who_waits(standing)

    def dead(self) -> str:
        """The agents that are down and have given no result, in words; "" if there are none."""
        dead = sorted(self._down - set(self._results))
        return f"the connection of agent {_named(dead)} was lost before it had a result" if dead else ""

    def _report(self, agent: str, what: str, content: dict[str, Any]) -> None:
        match what:
            case report.FAILED:
                self._fail(content["error"])
            case report.RESULT:
                self._count(agent, content)
                if agent not in self._results:
                    self.moved = time.monotonic()
                    last = self._standing.get(agent, {"kind": "", "record": {}})
                    self._progress(agent, {**last, "state": "lingering", "round": content["rounds"] - 1})
                self._results[agent] = content
                if len(self._results) == len(self._digests):
                    self._changed()
            case report.PROGRESS:
                self._count(agent, content)
                before = self._standing.get(agent)
                if before is None or (before["round"], before["state"]) != (
                    content["round"],
                    content["state"],
                ):
                    self.moved = time.monotonic()
                self._storms.heard(agent, content)
                if content["not_durable"] and not (before and before["not_durable"]):
                    self._warn(content["not_durable"])
                self._standing[agent] = content
                self._progress(agent, content)

    def _status(self, agent: str, heard: status.Status) -> None:
        if heard.digest != self._digests[agent]:
            return self._fail(
                f"agent {agent} plays by other rules than the scenario says (digest {heard.digest[:32]}, "
                f"expected {self._digests[agent]})"
            )
        if heard.state == DOWN:
            self._down.add(agent)
        else:
            self._down.discard(agent)

    def _count(self, agent: str, account: dict[str, Any]) -> None:
        """Take in an agent's counters; a life that was not known before is one that was started again."""
        known = self._incarnations.setdefault(agent, account["incarnation"])
        if account["incarnation"] > known:
            self._incarnations[agent] = account["incarnation"]
            self._lives.restarted(agent)
        self._lives.heard(agent, account)

    def _fail(self, text: str) -> None:
        if self.failure is None:
            self.failure = RunFailed(text)
            self._changed()


def _named(agents: list[str]) -> str:
    return ", ".join(agents[:_NAMED]) + (" ..." if len(agents) > _NAMED else "")
