"""Follows a run: its directory, and while it goes on the measurements and statuses at the broker.

What is heard at the broker arrives within a quarter of a second and may have gaps; what is on file has none
and is a second old. Both fill the same frames, in which a row that is known already changes nothing. When the
run has ended, its whole record is read once more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from broker.transport import Address, BrokerError
from node import status
from node.connection import Connection
from runner import journal, record
from runner.ending import last_step_of, to_outcome
from runner.errors import UserError
from runner.page import scene as scenes
from runner.page.frames import Frames
from runner.record import decode_batch

if TYPE_CHECKING:
    from pathlib import Path

    from runner.page.scene import Scene

# Seconds between two looks at the directory; the recorder writes once a second.
LOOK_EVERY = 0.5
# Seconds between two readings of what is on file while the broker tells the same sooner: the run may need the
# processor.
READ_EVERY = 5.0
# A broker that loses this connection so many times in a row, each within so many seconds, knows somebody else
# by the same name: the embedded Mosquitto takes the user for the client. One of us has to yield.
MOST_LOSSES, LASTING = 5, 5.0
# An agent's state as the page has it, one character each.
UNKNOWN, JOINING, UP, DONE, GONE, DOWN = "-", "j", "u", "d", "g", "x"
_STATES = {"join": JOINING, "up": UP, "done": DONE, "gone": GONE, "down": DOWN}


class Follower:
    """One run as far as it is known.

    Args:
        scene: what is fixed.

    Attributes:
        frames: what was measured.
        states: agent's number -> its state, the newest heard.
        events: what befell the run, by time.
        live: whether the run still goes on.
        outcome: its result, or ``{"failed": text}``; None while it goes on, and if nobody knows.
        version: grows whenever anything but frames has changed.
        rejected: messages that were dropped, by kind.
        connected: whether the broker is heard.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.outcome: dict[str, Any] | None = None
        self.frames = self._frames()
        self.states = [UNKNOWN] * len(scene.agents)
        self.events: list[dict[str, Any]] = []
        self.live, self.version, self.connected = False, 0, False
        self.rejected: Counter[str] = Counter()
        self._number = {agent: k for k, agent in enumerate(scene.agents)}
        self._known: set[Path] = set()
        self._read_at = -math.inf
        self._run = str(scene.meta["run"])
        self._listening: asyncio.Task[None] | None = None
        self._since, self._losses = 0.0, 0

    # -- a run that is over ----------------------------------------------------------------------------

    def open(self) -> None:
        """Read what there is.

        Raises:
            UserError: if the record is of another version, or a run that has ended recorded nothing.
        """
        live = scenes.alive(self.scene.run_dir)  # first, as in _look
        self.outcome = scenes.ended(self.scene.run_dir)
        self.live = self.outcome is None and live is not None
        self.frames = self._frames()
        self._read_all()
        if not self.live:
            self._conclude()

    def _frames(self) -> Frames:
        """None filled yet."""
        aim = self.scene.aim if self.scene.aim is not None else scenes.aim_of(self.outcome)
        return Frames(self.scene.agents, aim, scenes.began(self.scene.meta))

    def _read_all(self) -> None:
        run_dir = self.scene.run_dir
        self._known = set((run_dir / "telemetry").glob("part-*.parquet"))
        found = record.read(run_dir)
        if found.unreadable and not self.live:
            raise UserError(
                f"{found.unreadable[0]}: not a record of this version; expected Parquet with the columns "
                f"{', '.join(record.SCHEMA)}"
            )
        if not len(found) and not self.live:
            raise UserError(
                f"{run_dir}: no rounds are on file; expected the record of a run (record.every > 0)"
            )
        if found.run not in (None, self._run):
            raise UserError(f"{run_dir}: the record is of run {found.run}; expected {self._run}")
        self.frames.load(to_outcome(found, last_step_of(self.outcome)))
        self.events = self._happened()

    def _conclude(self) -> None:
        """The run is over: everybody is where the record leaves them."""
        self.live, self.connected = False, False
        finished = self.outcome is not None and "failed" not in self.outcome
        if finished:
            self.states = [GONE] * len(self.states)
        self.version += 1

    # -- a run that goes on ----------------------------------------------------------------------------

    async def follow(self) -> None:
        """Until the run has ended. ``open`` comes first."""
        try:
            while self.live:
                await asyncio.sleep(LOOK_EVERY)
                await self._look()
        finally:
            await self._stop_listening()

    async def _look(self) -> None:
        """See what is new in the directory, and whether there is a broker to be heard."""
        run_dir = self.scene.run_dir
        # In this order: a run that had not ended before it was asked whether it lives has not lost its end.
        live = scenes.alive(run_dir)
        outcome = scenes.ended(run_dir)
        if outcome is not None or live is None:
            await self._stop_listening()
            await asyncio.to_thread(self._end, outcome)
            return
        if self._listening is None and "observer" in live:
            self._listening = asyncio.create_task(self._listen(live), name="page-broker")
        new = set((run_dir / "telemetry").glob("part-*.parquet")) - self._known
        if new and (not self.connected or time.monotonic() - self._read_at >= READ_EVERY):
            self._read_at = time.monotonic()
            self._known |= new
            self.frames.load(await asyncio.to_thread(record.read_files, sorted(new)))
        events = self._happened()
        if len(events) != len(self.events):
            self.events = events
            self.version += 1

    def _end(self, outcome: dict[str, Any] | None) -> None:
        self.outcome = outcome
        complete = record.read(self.scene.run_dir)
        if len(complete):
            frames = self._frames()
            frames.load(to_outcome(complete, last_step_of(outcome)))
            frames.generation += self.frames.generation  # whoever looks fetches them anew
            self.frames = frames
        self.events = self._happened()
        self._conclude()

    def _happened(self) -> list[dict[str, Any]]:
        """Of the journal, what concerns agents by their numbers."""
        events = []
        for event in journal.read(self.scene.run_dir):
            numbers = [self._number[agent] for agent in event["agents"] if agent in self._number]
            events.append({**event, "agents": numbers})
        return events

    async def _listen(self, live: dict[str, Any]) -> None:
        """Hear measurements and statuses while the broker lets us; the directory is read either way."""
        observer = live["observer"]
        address = Address.at(live["broker"], observer["user"], observer["password"])
        client_id = f"{observer['client_id']}-{time.time_ns():x}"  # several pages may look on
        connection = Connection(live["client"], address, client_id, self.receive)
        try:
            await connection.keep(
                [topics.all_telemetry(self._run), topics.all_status(self._run)],
                lambda: self._heard(True),
                patient=True,
                on_loss=lambda reason: self._heard(False),
            )
        except BrokerError:
            self._heard(False)  # shown; what is on file is followed all the same
        finally:
            await connection.close()

    def _heard(self, connected: bool) -> None:
        now = time.monotonic()
        if connected:
            self._since = now
        else:
            self._losses = self._losses + 1 if now - self._since < LASTING else 1
        if self._losses >= MOST_LOSSES and self._listening is not None:
            self._listening.cancel()  # what is on file is followed all the same
        self.connected = connected
        self.version += 1

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait({self._listening})
            listening, self._listening = self._listening, None
            if not listening.cancelled():
                listening.result()  # ended before, by itself: if by an error, it is heard of here

    def receive(self, topic: str, payload: bytes) -> None:
        """Take in one message; whatever is wrong with it is counted by kind. Never raises."""
        try:
            source = topics.Topic.parse(topic)
            number = self._number.get(source.src)
            if source.run != self._run:
                raise topics.BadTopic(topic)
            if number is None or not payload:
                return  # not shown, or a retained status that was cleared
            if source.channel == topics.TELEMETRY:
                batch = decode_batch(payload, source.src)
                self.frames.add(
                    batch.agent, batch.epoch, batch.rounds, batch.times, batch.columns, batch.values
                )
            elif source.channel == topics.STATUS:
                state = _STATES[status.read(payload).state]
                if state != self.states[number]:
                    self.states[number] = state
                    self.version += 1
        except topics.BadTopic:
            self.rejected["topic"] += 1
        except Malformed as error:
            self.rejected[error.kind] += 1

    def sketch(self) -> dict[str, Any]:
        """All but the numbers: what a browser is told at first, and whenever it has changed."""
        return {
            "version": self.version,
            "live": self.live,
            "connected": self.connected,
            "states": "".join(self.states),
            "events": self.events,
            "outcome": _outcome(self.outcome),
        }


# Of a result, what is shown: facts of everybody; what single agents get is in the frames.
_SHOWN = (
    "rounds",
    "play_rounds",
    "stopped_in_round",
    "messages",
    "bytes",
    "retransmissions",
    "restarts",
    "seconds",
    "allocation_error",
    "price_error",
    "tolerance",
    "error",
    "failed",
    "contraction_bound",
    "observed_rate",
    "diameter",
)


def _outcome(outcome: dict[str, Any] | None) -> dict[str, Any] | None:
    return {key: outcome[key] for key in _SHOWN if key in outcome} if outcome is not None else None
