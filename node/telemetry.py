"""Measurements of one agent, gathered into batches so that recording costs one message in many rounds."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from broker import codec, topics

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1


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
    """

    def __init__(self, run: str, agent: str, incarnation: int, every: int) -> None:
        self.topic = topics.telemetry(run, agent)
        self.latest: dict[str, float] = {}
        self.skipped = 0
        self._incarnation, self._every = incarnation, every
        self._columns: tuple[str, ...] = ()
        self._rounds: list[int] = []
        self._times: list[float] = []
        self._rows: list[tuple[float, ...]] = []
        self._batches: list[bytes] = []

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
        if columns != self._columns:
            self._close_batch()
            self._columns = columns
        self._rounds.append(round_)
        self._times.append(time.time())
        self._rows.append(tuple(record.values()))

    def __len__(self) -> int:
        """Rows waiting to be published."""
        return len(self._rows)

    def take(self, *, last: bool = False) -> list[bytes]:
        """The payloads to publish now; ``last`` marks the end of this agent's measurements."""
        self._close_batch(last=last)
        batches, self._batches = self._batches, []
        return batches

    def _close_batch(self, *, last: bool = False) -> None:
        if not self._rows and not last:
            return
        columns = self._columns if self._rows else ()
        values = np.array(self._rows, dtype=np.float64).reshape(len(self._rows), len(columns))
        self._batches.append(
            codec.pack(
                (
                    VERSION,
                    self._incarnation,
                    columns,
                    np.array(self._rounds, dtype=np.float64),
                    np.array(self._times, dtype=np.float64),
                    values,
                    last,
                )
            )
        )
        self._rounds, self._times, self._rows = [], [], []
