"""What a judge hears of a run whose agents nobody launched: who is there, how far, and what came of it.

No I/O: it takes topics and payloads, and says when something has changed. Whatever is wrong with a message
is counted by kind and dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from node import report, status
from node.report import AgentFailed
from node.status import DONE, DOWN, JOIN, LEFT
from runner.errors import RunFailed
from runner.record import decode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.part import Part

# A status in the words of `node.host.progress`.
_STATES = {JOIN: "joining", DONE: "lingering", LEFT: "gone"}
_NAMED = 5  # agents in a message


class Watch:
    """Takes messages in; knows what is missing.

    Args:
        parts: agent -> its part, as the scenario says; of the run that is judged.
        progress: called with (agent, where it stands), as ``vicinal run`` shows it.
        changed: called when the run has ended, by the last result or by a failure.

    Attributes:
        reports: agent -> its report.
        down: agents whose connection was lost, and who have not come back.
        failure: why the run cannot be judged; None while it may.
        moved: when anything was last new (monotonic).
        rejected: messages that were dropped, by kind.
    """

    def __init__(
        self,
        parts: Mapping[str, Part],
        progress: Callable[[str, dict[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        self.run = next(iter(parts.values())).run
        self.reports: dict[str, dict[str, Any]] = {}
        self.down: set[str] = set()
        self.failure: RunFailed | None = None
        self.moved = time.monotonic()
        self.rejected: Counter[str] = Counter()
        self._digests = {agent: part.digest() for agent, part in parts.items()}
        self._states: dict[str, str] = {}
        self._rounds: dict[str, int] = {}
        self._progress, self._changed = progress, changed

    @property
    def missing(self) -> list[str]:
        """The agents without a result, ascending."""
        return [agent for agent in self._digests if agent not in self.reports]

    def receive(self, topic: str, payload: bytes) -> None:
        """Take in one message. Never raises."""
        try:
            source = topics.Topic.parse(topic)
            if source.run != self.run or source.src not in self._digests:
                raise Malformed("foreign", topic)
            match source.channel:
                case topics.RESULT if payload:
                    self._result(source.src, payload)
                case topics.STATUS if payload:
                    self._status(source.src, payload)
                case topics.TELEMETRY:
                    self._telemetry(source.src, payload)
        except topics.BadTopic:
            self.rejected["topic"] += 1
        except Malformed as error:
            self.rejected[error.kind] += 1

    def missing_words(self) -> str:
        """Who has given no result, in words."""
        missing = self.missing
        first = missing[0]
        state = self._states.get(first, "never heard of")
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        heard = f", last recorded in round {self._rounds[first]}" if first in self._rounds else ""
        return f"agent {first} ({state}{heard}){more} has given no result"

    def dead(self) -> str:
        """The agents that are down and have given no result, in words; "" if there are none."""
        dead = sorted(self.down - set(self.reports))
        if not dead:
            return ""
        names = ", ".join(dead[:_NAMED]) + (" ..." if len(dead) > _NAMED else "")
        return f"the connection of agent {names} was lost, and no result had come"

    def _result(self, agent: str, payload: bytes) -> None:
        try:
            found = report.read(payload, agent)
        except AgentFailed as error:
            return self._fail(str(error))
        if agent not in self.reports:
            self.moved = time.monotonic()
            self._states[agent] = "lingering"
            self._tell(agent, {})
        self.reports[agent] = found
        if len(self.reports) == len(self._digests):
            self._changed()

    def _status(self, agent: str, payload: bytes) -> None:
        heard = status.read(payload)
        if heard.digest != self._digests[agent]:
            return self._fail(
                f"agent {agent} plays by other rules than the scenario says (digest {heard.digest[:32]}, "
                f"expected {self._digests[agent]})"
            )
        if heard.state == DOWN:
            self.down.add(agent)
        else:
            self.down.discard(agent)
        state = "down" if heard.state == DOWN else _STATES.get(heard.state, "playing")
        if state != self._states.get(agent):
            self._states[agent] = state
            self.moved = time.monotonic()
            self._tell(agent, {})

    def _telemetry(self, agent: str, payload: bytes) -> None:
        batch = decode_batch(payload, agent)
        if not batch.rounds.size:
            return
        newest = int(batch.rounds[-1])
        if newest > self._rounds.get(agent, -1):
            self._rounds[agent] = newest
            self.moved = time.monotonic()
            self._tell(agent, dict(zip(batch.columns, batch.values[-1].tolist(), strict=True)))

    def _tell(self, agent: str, record: dict[str, float]) -> None:
        state = self._states.get(agent, "playing")
        # What is spoken is not heard here; whoever measures a residual plays.
        kind = "" if state == "joining" else "play" if agent in self._rounds else "survey"
        info = {"state": state, "kind": kind, "round": self._rounds.get(agent, 0), "record": record}
        if agent in self.down:
            info["suspects"] = {agent: "down"}
        self._progress(agent, info)

    def _fail(self, text: str) -> None:
        if self.failure is None:
            self.failure = RunFailed(text)
            self._changed()
