"""The passive recorder: ``python -m runner.recorder`` writes the telemetry of a run to its directory.

It may read everything and publish nothing, and no agent waits for it. One JSON line on stdin configures it:

    {"run", "directory", "client", "client_id", "user", "password", "place", "agents"}

and optionally "marks", the receipts of an earlier recorder of the same run, and "patient", whether the broker
may be away at first. It answers in JSON lines on stdout:

    {"event": "ready"}                                    subscribed, for the first time or again
    {"event": "away", "reason"}                           the connection was lost; it is made again
    {"event": "recorded", "marks"}                        receipts: rows that are on file
    {"event": "progress", "rows", "rejected"}             at most twice a second, when something arrived
    {"event": "closed", "rows", "parts", "rejected", "complete", "missing", "lost"}
                                                          the last line, exit code 0
    {"event": "failed", "error"}                          the last line, exit code 1

A receipt is [agent, epoch, origin, rows]: so many rows of that stream (``node.telemetry``) are on file. What
was on its way when a connection broke is published again by its agent, which waits for the receipt.

It ends when every agent's last batch has come, on the line {"event": "stop"} on stdin or its end, and on
SIGTERM. A Ctrl-C reaches the runner, which then stops it in its own time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from broker.transport import Address, BrokerError
from node.connection import Connection
from runner.ledger import Ledger, Mark
from runner.record import PART_ROWS, PartWriter, RecordError, decode_batch

if TYPE_CHECKING:
    from node.connection import MakeTransport

REPORT_EVERY = 0.5  # seconds
FLUSH_EVERY = 1.0  # seconds: what a killed recorder may lose
# Rows kept while the disk is slower than the network: 80 MB. Beyond it batches are dropped and counted; their
# agents get no receipt and publish them again.
HOLD_ROWS = 2_000_000
# How long the broker may take to hand over what was published before the order to stop.
DRAIN_SECONDS = 2.0
# Ids in the last line, which whoever reads line by line takes as a whole.
MISSING_SHOWN = 100
# Receipts in one line, likewise.
RECEIPTS = 500
STOP = {"event": "stop"}
# A configuration line with 100,000 agent ids fits.
_LINE_LIMIT = 8 * 1024 * 1024

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Config:
    """What the recorder is told.

    Attributes:
        run: the run's id.
        directory: the run's directory; it must exist.
        client: name of the MQTT client, for ``broker.mqtt.make_transport``.
        client_id: MQTT client id.
        user, password: as in ``broker.transport.Address``.
        place: where the broker is, an ``Address.place``.
        agents: ids of all agents of the run.
        marks: receipts of an earlier recorder of this run.
        patient: whether the broker may be away at first.
    """

    run: str
    directory: str
    client: str
    client_id: str
    user: str | None
    password: str | None
    place: Mapping[str, Any]
    agents: tuple[str, ...]
    marks: tuple[Mark, ...] = ()
    patient: bool = False

    @classmethod
    def from_json(cls, line: bytes | str) -> Config:
        """Read the configuration line.

        Raises:
            ValueError: naming what is missing or unknown.
        """
        data = json.loads(line)
        names = {f.name for f in fields(cls)}
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if type(data) is not dict or not needed <= set(data) <= names:
            got = sorted(data) if type(data) is dict else type(data).__name__
            raise ValueError(f"recorder: expected the keys {sorted(needed)}, got {got}")
        marks = tuple((str(agent), *map(int, numbers)) for agent, *numbers in data.get("marks", ()))
        return cls(**{**data, "agents": tuple(data["agents"]), "marks": marks})


class Recorder:
    """Takes messages in, checks them and keeps their batches for the writer. No I/O of its own.

    Args:
        config: run and agents.
        writer: where accepted batches go; it must not flush by itself.
        changed: called when a flush is due or the last agent has sent its last batch.
    """

    def __init__(self, config: Config, writer: PartWriter, changed: Callable[[], None]) -> None:
        self.run = config.run
        self.agents = frozenset(config.agents)
        self.ledger = Ledger(config.agents, config.marks)
        self.rows = 0
        self.rejected: Counter[str] = Counter()
        self._writer = writer
        self._changed = changed

    def receive(self, topic: str, payload: bytes) -> None:
        """Take one message; whatever is wrong with it is counted in ``rejected`` by kind. Never raises."""
        try:
            source = topics.Topic.parse(topic)
            if source.run != self.run or source.channel != topics.TELEMETRY:
                raise topics.BadTopic(topic)
            if source.src not in self.agents:
                raise Malformed("foreign", f"{source.src!r} is no agent of this run")
            batch = decode_batch(payload, source.src)
        except topics.BadTopic:
            self.rejected["topic"] += 1
            return
        except Malformed as error:
            self.rejected[error.kind] += 1
            return
        if self._writer.rows + batch.rows > HOLD_ROWS:
            self.rejected["overflow"] += 1
            return
        new = self.ledger.accept(batch)
        if new is not None:
            self._writer.append(new)
            self.rows += new.rows
        if not self.ledger.missing or self._writer.rows >= PART_ROWS:
            self._changed()


class _Session:
    """One recorder from connection to last line: what the parts of ``record`` share."""

    def __init__(self, config: Config, report: Report, make: MakeTransport) -> None:
        self.writer = PartWriter(config.directory, config.run, limit=None)
        self.wake = asyncio.Event()
        self.recorder = Recorder(config, self.writer, self.wake.set)
        self.report = report
        self.ending: str | None = None  # why: complete, stop, terminated, failed
        self.error: str | None = None
        self.filter, self.patient = topics.all_telemetry(config.run), config.patient
        address = Address.at(config.place, config.user, config.password)
        self.connection = Connection(config.client, address, config.client_id, self.recorder.receive, make)

    def end(self, why: str, error: str | None = None) -> None:
        """Only the first reason counts."""
        if self.ending is None:
            self.ending, self.error = why, error
            self.wake.set()

    async def connect(self) -> None:
        """Be subscribed, again after every loss; end if the broker says no."""
        try:
            await self.connection.keep(
                [self.filter],
                lambda: self.report({"event": "ready"}),
                patient=self.patient,
                on_loss=lambda reason: self.report({"event": "away", "reason": reason}),
            )
        except BrokerError as error:
            self.end("failed", str(error))

    async def listen(self, stdin: asyncio.StreamReader) -> None:
        """Wait for the order to stop, or the end of ``stdin``. Other lines mean nothing to this version."""
        order: Any = None
        while order != STOP:
            try:
                line = await stdin.readline()
                order = json.loads(line) if line else STOP
            except ValueError:
                order = None
        # A subscription repeated: its acknowledgement comes behind all that the broker holds for us. If the
        # broker is gone or silent, what has arrived is all there is.
        with contextlib.suppress(BrokerError):
            await self.connection.subscribe([self.filter], DRAIN_SECONDS)
        self.end("stop")

    async def keep(self) -> None:
        """Write parts and report until the end.

        Raises:
            RecordError: if a part cannot be written.
        """
        # Costs a tenth of a second and is not needed before the first part.
        await asyncio.to_thread(importlib.import_module, "pyarrow.parquet")
        clock = asyncio.get_running_loop().time
        flushed = reported = clock()
        seen: tuple[int, int] = (0, 0)
        while self.ending is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_EVERY):
                    await self.wake.wait()
            self.wake.clear()
            if not self.recorder.ledger.missing:
                self.end("complete")
            if self.writer.rows >= PART_ROWS or clock() - flushed >= FLUSH_EVERY:
                flushed = clock()
                await self._write()
            now = (self.recorder.rows, self.recorder.rejected.total())
            if now != seen and clock() - reported >= REPORT_EVERY:
                seen, reported = now, clock()
                self.report({"event": "progress", "rows": now[0], "rejected": dict(self.recorder.rejected)})
        await self._write()

    async def _write(self) -> None:
        batches, receipts = self.writer.take(), self.recorder.ledger.receipts()
        # Compression and the disk take their time in a thread; messages go on arriving meanwhile.
        await asyncio.to_thread(self.writer.write, batches)
        for start in range(0, len(receipts), RECEIPTS):
            self.report({"event": "recorded", "marks": receipts[start : start + RECEIPTS]})


async def record(config: Config, stdin: asyncio.StreamReader, report: Report, make: MakeTransport) -> bool:
    """Record until the end; every outcome is reported as described at the top of this module.

    Args:
        config: what to record and where.
        stdin: where the order to stop comes from, behind the configuration line.
        report: takes the events; must not raise.
        make: ``broker.mqtt.make_transport`` or a stand-in.
    Returns:
        Whether it ended as it should; False after a ``failed`` event.
    """
    try:
        session = _Session(config, report, make)
    except RecordError as error:
        report({"event": "failed", "error": str(error)})
        return False
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, session.end, "terminated")
    try:
        async with asyncio.TaskGroup() as group:
            others = [
                group.create_task(session.connect(), name="recorder-connection"),
                group.create_task(session.listen(stdin), name="recorder-stdin"),
            ]
            await session.keep()
            for other in others:
                other.cancel()
    except* RecordError as errors:
        session.error = str(errors.exceptions[0])
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        await session.connection.close()
    if session.error is not None:
        report({"event": "failed", "error": session.error})
        return False
    recorder, ledger = session.recorder, session.recorder.ledger
    report(
        {
            "event": "closed",
            "rows": recorder.rows,
            "parts": session.writer.parts,
            "rejected": dict(recorder.rejected),
            "complete": not ledger.missing and not ledger.lost.total(),
            "missing": sorted(ledger.missing)[:MISSING_SHOWN],
            "lost": dict(sorted((+ledger.lost).items())[:MISSING_SHOWN]),
        }
    )
    return True


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def _to_stdout(event: Mapping[str, Any]) -> None:
    # Past Python's buffer, which would be flushed once more at exit. If nobody listens any more the end of
    # stdin will say so, and the record is still completed.
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(event).encode() + b"\n")


async def _main() -> bool:
    stdin = await _standard_input()
    try:
        config = Config.from_json(await stdin.readline())
    except ValueError as error:
        _to_stdout({"event": "failed", "error": f"no valid configuration on stdin: {error}"})
        return False
    from broker.mqtt import make_transport

    return await record(config, stdin, _to_stdout, make_transport)


def main() -> int:
    """Run as a process; see the top of this module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0 if asyncio.run(_main()) else 1


if __name__ == "__main__":
    sys.exit(main())
