"""Measurements of one agent: gathered into batches, and kept until the recorder has them on file.

Recording must not slow anybody down, so batches are published like any message and nothing waits for them.
Like any message they may be lost, with the broker or with the recorder's connection; so each is kept until
the recorder is known to have written it, and is published again until then. What is kept is bounded.

The rows of one computation (an epoch) are counted from 0, whatever the agent's lives: an agent that comes
back from its store makes the same rows again under the same numbers. So the recorder can tell a repetition
from a gap, and a gap that will be filled from one that will not.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from broker import codec, topics
from broker.codec import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 2
# Bytes of batches that wait for the recorder. Beyond it the oldest batch is dropped, counted, and the
# recorder is told that it will not come. 1 MiB holds a minute of 1,000 rounds a second with two numbers each.
LIMIT = 1 << 20
# A batch is closed at so many rows at the latest: with 64 columns it is a quarter of the largest message.
ROWS = 512
# A batch that nobody has acknowledged is published again after so many seconds, doubling up to the second.
# The recorder writes, and then acknowledges, once a second.
AGAIN = (5.0, 40.0)

Stream = tuple[int, int]  # epoch, and the life that counted its rows from 0


@dataclass(slots=True)
class _Batch:
    """Rows ``first`` to ``first + count - 1`` of a stream; the end of a stream counts as a row."""

    stream: Stream
    first: int
    count: int
    last: bool
    body: bytes
    sent: bool = False


class Telemetry:
    """Rows of (round, time, values) under fixed columns; a new set of columns starts a new batch.

    Args:
        run, agent: whose measurements these are.
        incarnation: the agent's life.
        every: keep every so many rounds' rows; 0 keeps none.

    Attributes:
        topic: where batches are published.
        latest: the newest value of every column ever recorded, for whoever watches.
        skipped: rows left out because a number was not finite.
        dropped: rows lost because too much was waiting.
    """

    def __init__(self, run: str, agent: str, incarnation: int, every: int) -> None:
        self.topic = topics.telemetry(run, agent)
        self.latest: dict[str, float] = {}
        self.skipped = self.dropped = 0
        self._incarnation, self._every = incarnation, every
        self._kept: list[_Batch] = []  # a deque would take 600 bytes, empty or not
        self._bytes = 0
        self._again_at, self._pause = math.inf, AGAIN[0]
        self._columns: tuple[str, ...] = ()
        self._open()
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """A computation begins: what is measured from now on belongs to it."""
        self._close()
        self._stream: Stream = (epoch, self._incarnation)
        self._next = self._recorded = 0
        self._columns, self._ended = (), False

    def add(self, round_: int, record: Mapping[str, float]) -> None:
        """Keep the measurements of a round; a row with a number that is not finite is left out."""
        if not all(map(math.isfinite, record.values())):
            self.skipped += 1
            return
        self.latest.update(record)
        columns = tuple(record)
        # The first row under new columns is always kept: facts are recorded once, whatever the rhythm.
        if not self._every or (columns == self._columns and round_ % self._every):
            return
        if columns != self._columns or len(self._rows) >= ROWS:
            self._close()
            self._columns = columns
        index, self._next = self._next, self._next + 1
        if index < self._recorded:
            return  # made again by a later life, and on file already
        self._rounds.append(round_)
        self._times.append(time.time())
        self._rows.append(tuple(record.values()))

    def __len__(self) -> int:
        """Rows that were never published."""
        return len(self._rows) + sum(batch.count for batch in self._kept if not batch.sent)

    @property
    def settled(self) -> bool:
        """Whether all that was measured is on file."""
        return not self._rows and not self._kept

    def take(self, now: float, *, last: bool = False) -> list[bytes]:
        """The payloads to publish now: what is new, and again what has waited for too long.

        Args:
            now: seconds, on any clock that is always the same.
            last: whether this agent measures nothing more, which the last batch says.
        """
        self._close()
        if last and self._every and not self._ended:
            self._keep(_Batch(self._stream, self._next, 1, True, _body((), [], [], [])))
            self._next, self._ended = self._next + 1, True
        if now >= self._again_at:
            self.again()
            self._pause = min(2.0 * self._pause, AGAIN[1])
        payloads = []
        floors: dict[Stream, int] = {}
        for batch in self._kept:
            floor = floors.setdefault(batch.stream, batch.first)
            if not batch.sent:
                batch.sent = True
                head = (VERSION, self._incarnation, *batch.stream, floor, batch.first, batch.last)
                # 0x9b: array of eleven, the seven of the head and the four of the body.
                payloads.append(b"\x9b" + codec.pack(head)[1:] + batch.body[1:])
        if payloads:
            self._again_at = now + self._pause
        return payloads

    def again(self) -> None:
        """Publish all that is not known to be on file once more: connection or recorder were away."""
        for batch in self._kept:
            batch.sent = False
        self._again_at = math.inf

    def recorded(self, stream: Stream, rows: int) -> None:
        """The recorder has the first so many rows of a stream on file."""
        if stream == self._stream:
            self._recorded = max(self._recorded, rows)
        before = len(self._kept)
        self._kept = [b for b in self._kept if b.stream != stream or b.first + b.count > rows]
        if len(self._kept) < before:
            self._bytes = sum(len(batch.body) for batch in self._kept)
            self._pause = AGAIN[0]
        if not self._kept:
            self._again_at = math.inf

    def discard(self) -> None:
        """Nobody records: keep nothing of what was measured."""
        self._kept.clear()
        self._open()
        self._bytes, self._again_at = 0, math.inf

    # -- across lives ----------------------------------------------------------------------------------

    def state(self) -> bytes:
        """What a later life needs to go on here, for ``restore``: for the store, beside a snapshot."""
        self._close()
        kept = tuple((*b.stream, b.first, b.count, b.last, b.body) for b in self._kept)
        return codec.pack((*self._stream, self._next, self._columns, kept))

    def restore(self, state: bytes | None) -> None:
        """Go on where an earlier life stood; None: where the first one began.

        Raises:
            Malformed: if this is no state.
        """
        if state is None:
            self._stream = (0, 0)
            return
        match codec.unpack(state, 2 * LIMIT):
            case (int(epoch), int(origin), int(following), tuple() as columns, tuple() as kept):
                self._stream, self._next, self._columns = (epoch, origin), following, columns
                for epoch, origin, first, count, last, body in kept:
                    self._keep(_Batch((epoch, origin), first, count, last, body))
            case _:
                raise Malformed("telemetry", "not the state of an agent's telemetry")

    # -- batches ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._rounds: list[int] = []
        self._times: list[float] = []
        self._rows: list[tuple[float, ...]] = []

    def _close(self) -> None:
        if self._rows:
            body = _body(self._columns, self._rounds, self._times, self._rows)
            count = len(self._rows)
            self._keep(_Batch(self._stream, self._next - count, count, False, body))
            self._open()

    def _keep(self, batch: _Batch) -> None:
        self._kept.append(batch)
        self._bytes += len(batch.body)
        while self._bytes > LIMIT:
            oldest = self._kept.pop(0)
            self._bytes -= len(oldest.body)
            self.dropped += oldest.count


def _body(
    columns: tuple[str, ...], rounds: list[int], times: list[float], rows: list[tuple[float, ...]]
) -> bytes:
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    return codec.pack(
        (columns, np.array(rounds, dtype=np.float64), np.array(times, dtype=np.float64), values)
    )
