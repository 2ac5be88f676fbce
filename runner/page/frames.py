"""What agents measured, at the resolution of a screen: a frame stands for so many rounds in a row.

However long a run is, it has at most ``CAPACITY`` frames: when they are full, two become one. A frame holds
of every agent what it measured last in these rounds; and of what tells how far the network is from rest, the
largest value of these rounds, so that no peak is lost between two frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runner.record import Record

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]

CAPACITY = 720  # even; a curve has about as many pixels
# Above it a run of many agents gets fewer frames: 24 MB of float32 for a browser.
NUMBERS = 6_000_000
# Series that are shown; first come those that say most.
MOST_SERIES = 12
ERROR, RESIDUAL, THRESHOLD = "error", "residual", "threshold"
LARGEST = (ERROR, RESIDUAL, "gap_part")
_FIRST = ("error", "allocation", "estimate", "known", "price", "tax", "residual")
# Constants that an agent records once, and what has as many columns as an agent has links.
_UNSHOWN = re.compile(
    r"(N|diameter|depth|step|threshold|xi|delta|L|contraction_bound|guaranteed|quote)(\..*)?\Z"
)


@dataclass(frozen=True, slots=True)
class Aim:
    """Where play is to lead, as somebody knows who knows everything.

    Attributes:
        of: the measurement that is held against it: ``allocation``, ``estimate`` or ``known``.
        values: agent -> its K numbers.
        scale: > 0; distances are relative to it.
    """

    of: str
    values: Mapping[str, Sequence[float]]
    scale: float = 1.0


class Frames:
    """The frames of one run.

    Args:
        agents: ids, in the order of all arrays here.
        aim: what the agents are to come to; with it the series ``error`` is kept, an agent's distance from
            it. None: no such series.
        began: Unix seconds, when the run began; None if nobody knows.

    Attributes:
        names: the series, in the order in which they are shown.
        values: name -> (frames, N) float32, NaN where nothing is known.
        times: (frames, N) Unix seconds of the last row, NaN likewise.
        stride: rounds a frame stands for.
        used: frames that hold anything, counted from the first.
        generation: changes whenever frames known to somebody are not valid any more.
        thresholds: agent's number -> the residual at which it is at rest.
        epoch: the computation that is shown, the newest one.
        began: Unix seconds that packed times are relative to: when the run began or, if nobody said so, of
            the first row that was taken in.
    """

    def __init__(self, agents: Sequence[str], aim: Aim | None = None, began: float | None = None) -> None:
        self.agents = tuple(agents)
        aim = aim if aim is not None else Aim("allocation", {})
        self._of, self._scale = aim.of, aim.scale
        self._number = {agent: k for k, agent in enumerate(self.agents)}
        self.capacity = max(2, min(CAPACITY, NUMBERS // (6 * len(self.agents)))) // 2 * 2
        self._target: dict[int, Vector] = {
            self._number[agent]: np.asarray(value, float)
            for agent, value in aim.values.items()
            if agent in self._number
        }
        self.generation, self.epoch = 0, 0
        self.began = began
        self.thresholds: dict[int, float] = {}
        self._clear()

    def _clear(self) -> None:
        shape = (self.capacity, len(self.agents))
        self.names: list[str] = []
        self.values: dict[str, NDArray[np.float32]] = {}
        self.times = np.full(shape, np.nan)
        self._round = np.full(shape, -1, np.int64)  # of the last row
        self.stride, self.used = 1, 0
        self.latest = np.full(len(self.agents), -1, np.int64)  # each agent's newest round
        self._dirty: tuple[int, int] | None = None
        self.generation += 1

    # -- filling ---------------------------------------------------------------------------------------

    def load(self, record: Record) -> None:
        """Take in a record, or a part of one."""
        if not len(record):
            return
        order = np.lexsort((record.round, record.agent, record.epoch))
        agent, epoch = record.agent[order], record.epoch[order]
        starts = np.flatnonzero(np.append(True, (np.diff(agent) != 0) | (np.diff(epoch) != 0)))
        for begin, end in zip(starts, np.append(starts[1:], order.size), strict=True):
            rows = order[begin:end]
            number = self._number.get(record.agents[int(record.agent[rows[0]])])
            if number is None or not self._current(int(record.epoch[rows[0]])):
                continue
            self._fit(int(record.round[rows[-1]]))
            rounds, times, name = record.round[rows], record.time[rows], record.name[rows]
            columns: dict[str, tuple[Integers, Vector]] = {}
            for k in np.unique(name):
                mine = name == k
                columns[record.names[k]] = (rounds[mine], record.value[rows[mine]])
            self._put(number, rounds, times, columns)

    def add(
        self,
        agent: str,
        epoch: int,
        rounds: Integers,
        times: Vector,
        columns: Sequence[str],
        values: Vector,
    ) -> None:
        """Take in some rows of one agent, rounds ascending; what is known already changes nothing.

        Args:
            agent: who measured; whoever is not shown is ignored.
            epoch: the computation; an older one than the newest is ignored, a newer one starts anew.
            rounds, times: (n,).
            columns: (c,) names.
            values: (n, c).
        """
        number = self._number.get(agent)
        if number is None or not rounds.size or not self._current(epoch):
            return
        self._fit(int(rounds[-1]))
        self._put(number, rounds, times, {name: (rounds, values[:, k]) for k, name in enumerate(columns)})

    def _current(self, epoch: int) -> bool:
        if epoch > self.epoch:
            self.epoch = epoch
            self._clear()
        return epoch == self.epoch

    def _fit(self, round_: int) -> None:
        while round_ >= self.capacity * self.stride:
            self._halve()

    def _put(
        self, agent: int, rounds: Integers, times: Vector, columns: Mapping[str, tuple[Integers, Vector]]
    ) -> None:
        """Take in one agent's columns, each with its own rounds, ascending."""
        at = rounds // self.stride
        new = rounds > self._round[at, agent]
        if not new.any():
            return
        newest = self._round[:, agent].copy()
        if self.began is None:
            self.began = float(np.floor(times[0]))
        if self._of in columns or f"{self._of}.0" in columns:
            columns = {**self._error(agent, columns), **columns}
        facts = columns["N"][0] if "N" in columns else None
        for name, (own, values) in columns.items():
            if name == THRESHOLD:
                self.thresholds[agent] = float(values[-1])
            if facts is not None and np.array_equal(own, facts):
                continue  # said once, with the number of agents: no curve
            if _UNSHOWN.match(name) or not self._known(name):
                continue
            place = own // self.stride
            fresh = own > newest[place]
            place, series = place[fresh], self.values[name]
            if name in LARGEST:
                column = series[:, agent]
                np.fmax.at(column, place, values[fresh].astype(np.float32))
            else:
                # Of an index that is there twice the later value counts.
                series[place, agent] = values[fresh]
        at, rounds = at[new], rounds[new]
        self._round[at, agent] = rounds
        self.times[at, agent] = times[new]
        self.latest[agent] = max(self.latest[agent], int(rounds[-1]))
        begin, end = int(at.min()), int(at.max()) + 1
        self.used = max(self.used, end)
        self._dirty = (
            (begin, end) if self._dirty is None else (min(begin, self._dirty[0]), max(end, self._dirty[1]))
        )

    def _error(
        self, agent: int, columns: Mapping[str, tuple[Integers, Vector]]
    ) -> dict[str, tuple[Integers, Vector]]:
        target = self._target.get(agent)
        if target is None:
            return {}
        parts = [self._of] if self._of in columns else [f"{self._of}.{k}" for k in range(target.size)]
        if len(parts) != target.size or any(part not in columns for part in parts):
            return {}
        found = [columns[part] for part in parts]
        if any(rounds.size != found[0][0].size for rounds, _ in found):
            return {}
        off = np.abs(np.column_stack([values for _, values in found]) - target).max(axis=1)
        return {ERROR: (found[0][0], off / self._scale)}

    def _known(self, name: str) -> bool:
        if name in self.values:
            return True
        if len(self.names) >= MOST_SERIES:
            return False
        self.values[name] = np.full((self.capacity, len(self.agents)), np.nan, np.float32)
        self.names = sorted(self.values, key=_rank)
        self.generation += 1
        return True

    def _halve(self) -> None:
        """Two frames become one."""
        half = self.capacity // 2

        def joined(array: NDArray[Any], *, largest: bool = False) -> NDArray[Any]:
            even, odd = array[::2], array[1::2]
            whole = np.full_like(array, np.nan)
            whole[:half] = np.fmax(even, odd) if largest else np.where(np.isnan(odd), even, odd)
            return whole

        for name, series in self.values.items():
            self.values[name] = joined(series, largest=name in LARGEST)
        self.times = joined(self.times)
        rounds = np.full_like(self._round, -1)
        rounds[:half] = np.maximum(self._round[::2], self._round[1::2])
        self._round = rounds
        self.stride *= 2
        self.used = -(-self.used // 2)
        self._dirty = None
        self.generation += 1

    # -- giving away -----------------------------------------------------------------------------------

    def changes(self) -> tuple[int, int] | None:
        """The frames [begin, end) that have changed since this was asked last; None: none."""
        changed, self._dirty = self._dirty, None
        return changed

    def pack(self, begin: int, end: int) -> bytes:
        """Little-endian float32, shape (1 + series, end - begin, N): the times in seconds since ``began``,
        then the series in the order of ``names``."""
        parts = [(self.times[begin:end] - (self.began or 0.0)).astype("<f4")]
        parts += [self.values[name][begin:end].astype("<f4") for name in self.names]
        return b"".join(part.tobytes() for part in parts)


def _rank(name: str) -> tuple[int, str, int]:
    head, _, good = name.partition(".")
    place = _FIRST.index(head) if head in _FIRST else len(_FIRST)
    return place, head, int(good) if good.isdigit() else 0
