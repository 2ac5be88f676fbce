"""Which rows of every agent's telemetry are there: what is new, what came twice, what will never come.

An agent counts its rows (``node.telemetry``), so a repetition is told from a gap. A gap is left open: the
agent goes on publishing what it has no receipt for, and what lies behind the gap is taken in then.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner.record import Batch

# agent, epoch, origin, and how many rows of this stream
Mark = tuple[str, int, int, int]

# Streams of one agent that are remembered: a new one begins when memory is lost. Of more, the oldest go.
STREAMS = 64


class Ledger:
    """The rows that have been taken in.

    Args:
        agents: whose.
        marks: what an earlier recorder of the same run has on file.

    Attributes:
        missing: agents whose last batch has not come.
        lost: agent -> rows that it dropped before they could be taken in.
        repeated, gaps: batches not taken in: because they had been, or because others must come first.
    """

    def __init__(self, agents: Iterable[str], marks: Iterable[Mark] = ()) -> None:
        self.missing = set(agents)
        self.lost: Counter[str] = Counter()
        self.repeated = self.gaps = 0
        self._rows: dict[str, dict[tuple[int, int], int]] = {agent: {} for agent in self.missing}
        self._touched: set[tuple[str, tuple[int, int]]] = set()
        for agent, epoch, origin, rows in marks:
            self._rows[agent][epoch, origin] = rows

    def next_row(self, batch: Batch) -> int:
        """The number of the first row of this batch's stream that is not there yet and may still come."""
        return max(self._rows[batch.agent].get(batch.stream, 0), batch.floor)

    def accept(self, batch: Batch) -> Batch | None:
        """What of this batch is new; None if nothing, or if rows before it must come first.

        A batch of an agent that is not one of ``agents`` is a KeyError.
        """
        known = self._rows[batch.agent]
        had, row = known.get(batch.stream, 0), self.next_row(batch)
        # Told about in any case: the receipt may have been lost, or the agent would not repeat itself.
        self._touched.add((batch.agent, batch.stream))
        if batch.first > row:
            self.gaps += 1
            return None
        if batch.end <= row:
            self.repeated += 1
            return None
        self.lost[batch.agent] += row - had
        known[batch.stream] = batch.end
        if len(known) > STREAMS:
            del known[min(known)]
        if batch.last:
            self.missing.discard(batch.agent)
        return batch.since(row)

    def receipts(self) -> list[Mark]:
        """How much of every stream is there, for those of which something came since the last call."""
        touched, self._touched = self._touched, set()
        return [
            (agent, *stream, self._rows[agent][stream])
            for agent, stream in sorted(touched)
            if stream in self._rows[agent]
        ]
