"""Topics, built and parsed in one place. ``Topic.parse(str(topic)) == topic`` for every topic.

<run>/<src>/say            what src says to all who listen to it
<run>/<src>/to/<dst>       what src says to dst alone
<run>/<src>/status         retained: up, done; down by last will
<run>/<src>/telemetry      batches of measurements for whoever records
<run>/<src>/report         where no runner asks: how far it is and, retained, what came of it
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# One level of a topic. Nothing that MQTT (/ + #) or NATS (. > * and blanks) gives a meaning to.
LEVEL = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

SAY, TO, STATUS, TELEMETRY, REPORT = "say", "to", "status", "telemetry", "report"


class BadTopic(ValueError):
    """A topic that none of ours looks like."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic.

    Attributes:
        run: the run's id.
        src: the agent that publishes here.
        channel: ``say``, ``to``, ``status``, ``telemetry`` or ``report``.
        dst: the only reader of a ``to`` topic; None on every other channel.
    """

    run: str
    src: str
    channel: str
    dst: str | None = None

    def __str__(self) -> str:
        tail = f"/{self.dst}" if self.dst is not None else ""
        return f"{self.run}/{self.src}/{self.channel}{tail}"

    @classmethod
    def parse(cls, text: str) -> Topic:
        """Read a topic.

        Raises:
            BadTopic: if ``text`` is not one of the five forms above.
        """
        match text.split("/"):
            case [run, src, ("say" | "status" | "telemetry" | "report") as channel]:
                levels, topic = [run, src], cls(run, src, channel)
            case [run, src, "to", dst]:
                levels, topic = [run, src, dst], cls(run, src, TO, dst)
            case _:
                raise BadTopic(f"not a topic of ours: {text[:200]!r}")
        if not all(LEVEL.match(level) for level in levels):
            raise BadTopic(f"not a topic of ours: {text[:200]!r}")
        return topic


def say(run: str, src: str) -> str:
    """Where ``src`` says what all its listeners may read."""
    return f"{run}/{src}/{SAY}"


def to(run: str, src: str, dst: str) -> str:
    """Where ``src`` says what only ``dst`` may read."""
    return f"{run}/{src}/{TO}/{dst}"


def status(run: str, src: str) -> str:
    """Where ``src`` keeps its retained status."""
    return f"{run}/{src}/{STATUS}"


def telemetry(run: str, src: str) -> str:
    """Where ``src`` publishes measurements of itself."""
    return f"{run}/{src}/{TELEMETRY}"


def report(run: str, src: str) -> str:
    """Where ``src`` reports how far it is and keeps its retained result."""
    return f"{run}/{src}/{REPORT}"


def everything_of(run: str) -> str:
    """The filter of a recorder: every topic of a run."""
    return f"{run}/#"


def all_telemetry(run: str) -> str:
    """The filter for the telemetry of every agent of a run."""
    return f"{run}/+/{TELEMETRY}"


def all_status(run: str) -> str:
    """The filter for the status of every agent of a run."""
    return f"{run}/+/{STATUS}"


def all_reports(run: str) -> str:
    """The filter for the reports of every agent of a run."""
    return f"{run}/+/{REPORT}"
