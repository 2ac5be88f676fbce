"""The record of a run on disk: one schema, a writer of Parquet parts, and the way back into arrays.

While a run is being recorded its directory holds ``telemetry/part-NNNNN.parquet``, each complete and
readable by itself; ``merge`` makes one ``telemetry.parquet`` of them. ``read`` takes either. Rows are in
long format: who measured what, in which round, at what time. Two records of the same scenario and seed are
equal after ``merge`` except for the columns ``run`` and ``time``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from broker.codec import COUNT_LIMIT, Malformed, finite, unpack
from runner.files import complete

if TYPE_CHECKING:
    import os

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]

# Column -> type, in file order. "category" is a string column with a dictionary.
SCHEMA: Mapping[str, str] = {
    "run": "category",
    "agent": "category",
    "epoch": "int64",  # the computation; a run has a second one only if memory was lost
    "round": "int64",
    "time": "float64",  # Unix seconds, the agent's own clock
    "name": "category",
    "value": "float64",
}
BATCH_VERSION = 2
MAX_COLUMNS = 64
# A measurement's name: what an analysis tool takes for a column name without quoting.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}\Z")
# Rounds travel as float64, which counts exactly up to here.
_MAX_ROUND = 2.0**53
# 50,000 rows are 2 MB in memory and some 10 ms of writing.
PART_ROWS = 50_000
# `merge` sorts in memory at about 100 bytes a row. A longer record stays in its parts.
MERGE_ROWS = 10_000_000


class RecordError(Exception):
    """The record cannot be written; the text names the path and the cause."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rounds' measurements of one agent.

    Attributes:
        agent: whose they are.
        columns: (c,) names of the measurements.
        rounds: (n,) round numbers, >= 0.
        times: (n,) Unix seconds.
        values: (n, c), finite.
        last: whether the agent announced that no batch follows.
        epoch: the computation that was measured.
        origin: the agent's life that counted the rows of this epoch from 0.
        floor: the rows before this one are on file, or will never come.
        first: number of the first row.
    """

    agent: str
    columns: tuple[str, ...]
    rounds: Integers
    times: Vector
    values: Vector
    last: bool = False
    epoch: int = 0
    origin: int = 0
    floor: int = 0
    first: int = 0

    @property
    def rows(self) -> int:
        """How many rows of the record it makes."""
        return self.values.size

    @property
    def stream(self) -> tuple[int, int]:
        """Whose count ``first`` goes by."""
        return self.epoch, self.origin

    @property
    def end(self) -> int:
        """The number after that of its last row; that it is the last batch counts as a row."""
        return self.first + len(self.rounds) + self.last

    def since(self, row: int) -> Batch:
        """What it holds from this row on."""
        skip = max(row - self.first, 0)
        return replace(
            self,
            rounds=self.rounds[skip:],
            times=self.times[skip:],
            values=self.values[skip:],
            first=self.first + skip,
        )


def decode_batch(payload: bytes, agent: str) -> Batch:
    """Read one telemetry payload.

    Args:
        payload: as published on the telemetry topic.
        agent: the sender, as the topic names it.
    Raises:
        Malformed: and nothing else, whatever the bytes are. Kinds ``oversized``, ``undecodable``, ``header``
            (wrong fields, types or names), ``shape`` (arrays that do not fit together), ``not-finite``.
    """
    fields = unpack(payload)
    if type(fields) is not tuple or len(fields) != 11 or fields[0] != BATCH_VERSION:
        raise Malformed("header", f"{agent}: not a telemetry batch of version {BATCH_VERSION}")
    _, *counts, last, columns, rounds, times, values = fields
    if not (
        all(type(count) is int and 0 <= count < COUNT_LIMIT for count in counts)
        and counts[3] <= counts[4]
        and type(last) is bool
        and type(columns) is tuple
        and len(columns) <= MAX_COLUMNS
        and all(type(name) is str and _NAME.match(name) for name in columns)
        and len(set(columns)) == len(columns)
        and type(rounds) is type(times) is type(values) is np.ndarray
    ):
        raise Malformed("header", f"{agent}: telemetry with unexpected fields or names")
    shape = (rounds.size, len(columns))
    if rounds.ndim != 1 or times.shape != rounds.shape or values.shape != shape:
        raise Malformed(
            "shape", f"{agent}: expected values {shape}, got {rounds.shape}, {times.shape}, {values.shape}"
        )
    if not (finite(rounds) and finite(times) and finite(values)):
        raise Malformed("not-finite", f"{agent}: a number in its telemetry is not finite")
    if rounds.size and not (rounds.min() >= 0 and rounds.max() < _MAX_ROUND and (rounds % 1 == 0).all()):
        raise Malformed("header", f"{agent}: round numbers must be integers >= 0")
    _, epoch, origin, floor, first = counts
    return Batch(agent, columns, rounds.astype(np.int64), times, values, last, epoch, origin, floor, first)


class PartWriter:
    """Collects batches and writes them as numbered parts under ``<directory>/telemetry``.

    ``append`` and ``take`` belong to one thread; ``write`` may run in another, one call at a time.

    Args:
        directory: the run's directory; it must exist.
        run: the run's id, repeated in every row.
        limit: rows at which ``append`` flushes by itself; None leaves flushing to the caller.
    Raises:
        RecordError: if the folder for the parts cannot be made.
    """

    def __init__(self, directory: str | os.PathLike[str], run: str, limit: int | None = PART_ROWS) -> None:
        self.run = run
        self.limit = limit
        self.rows = 0  # waiting to be written
        self.parts = 0  # written by this writer
        self._batches: list[Batch] = []
        self._folder = Path(directory) / "telemetry"
        try:
            self._folder.mkdir(exist_ok=True)
            # A second recorder of the same run continues the numbering of the first.
            numbers = [int(p.stem[5:]) for p in self._folder.glob("part-*.parquet") if p.stem[5:].isdigit()]
        except OSError as error:
            raise RecordError(f"cannot record in {self._folder}: {error.strerror or error}") from error
        self._next = max(numbers, default=-1) + 1

    def append(self, batch: Batch) -> None:
        """Keep a batch for the next part.

        Raises:
            RecordError: if the limit was reached and the part could not be written.
        """
        if batch.rows:
            self._batches.append(batch)
            self.rows += batch.rows
            if self.limit is not None and self.rows >= self.limit:
                self.flush()

    def take(self) -> list[Batch]:
        """Hand over what was collected, for ``write``, and start anew."""
        batches, self._batches, self.rows = self._batches, [], 0
        return batches

    def write(self, batches: Sequence[Batch]) -> Path | None:
        """Write one part that is either complete or not there; None if there is nothing to write.

        Raises:
            RecordError: naming the path and the cause (no space, read-only, ...).
        """
        if not batches:
            return None
        path = self._folder / f"part-{self._next:05d}.parquet"
        write_table(_table(self.run, *_columns(batches)), path)
        self._next += 1
        self.parts += 1
        return path

    def flush(self) -> Path | None:
        """``write`` what was collected."""
        return self.write(self.take())


@dataclass(frozen=True)
class Record:
    """What was measured in a run. Empty if nothing was recorded.

    Attributes:
        run: the run's id, or None in an empty record.
        agents: ids, ascending.
        names: of the measurements, ascending.
        agent, name: (rows,) indices into ``agents`` and ``names``.
        epoch, round, time, value: (rows,).
        unreadable: files that were skipped because they are not Parquet.
    """

    run: str | None = None
    agents: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    agent: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    epoch: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    round: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    time: Vector = field(default_factory=lambda: np.empty(0))
    name: Integers = field(default_factory=lambda: np.empty(0, np.int64))
    value: Vector = field(default_factory=lambda: np.empty(0))
    unreadable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.value.size

    @property
    def epochs(self) -> tuple[int, ...]:
        """Those of which there are rows, ascending."""
        return tuple(np.unique(self.epoch).tolist())

    def series(self, name: str, epoch: int | None = None) -> tuple[Integers, Vector, tuple[str, ...]]:
        """One measurement over the rounds of an epoch, by default the last one, and over agents.

        Returns:
            rounds (R,) ascending, those in which anybody measured it; values (R, N), NaN where an agent did
            not, the later row where it did twice; agents (N,), all of the record whatever they measured.
        """
        mask = self.name == self.names.index(name) if name in self.names else np.zeros(len(self), bool)
        mask &= self.epoch == (self.epoch.max(initial=0) if epoch is None else epoch)
        rounds, position = np.unique(self.round[mask], return_inverse=True)
        values = np.full((rounds.size, len(self.agents)), np.nan)
        values[position, self.agent[mask]] = self.value[mask]
        return rounds, values, self.agents

    def goods(self, name: str) -> tuple[Integers, Vector, tuple[str, ...]]:
        """A measurement with one number a good: ``name``, or ``name.0``, ``name.1``, ...

        Returns:
            rounds (R,), values (R, N, K), agents (N,); K = 1 for the plain form and if there is neither.
        """
        parts = [name]
        if name not in self.names and f"{name}.0" in self.names:
            parts = []
            while f"{name}.{len(parts)}" in self.names:
                parts.append(f"{name}.{len(parts)}")
        every = [self.series(part) for part in parts]
        rounds = np.unique(np.concatenate([own for own, _, _ in every]))
        values = np.full((rounds.size, len(self.agents), len(parts)), np.nan)
        for k, (own, part, _) in enumerate(every):
            values[np.searchsorted(rounds, own), :, k] = part
        return rounds, values, self.agents

    def latest(self, name: str) -> dict[str, float]:
        """Each agent's value of ``name`` in the last round in which it measured it."""
        _, values, agents = self.series(name)
        newest: dict[str, float] = {}
        for agent, column in zip(agents, values.T, strict=True):
            known = column[~np.isnan(column)]
            if known.size:
                newest[agent] = float(known[-1])
        return newest


def read(run_dir: str | os.PathLike[str]) -> Record:
    """Read the record of a run, merged or in parts, finished or not.

    Returns an empty record if there is none. Files that are not Parquet are skipped and named in
    ``Record.unreadable``.
    """
    return _read(_files(Path(run_dir)))


def read_files(files: Sequence[Path]) -> Record:
    """Read some files of a record: the parts that a run has made since somebody last looked.

    Returns an empty record if there are none; skips as ``read`` does.
    """
    return _read(files)


def merge(run_dir: str | os.PathLike[str]) -> Path | None:
    """Turn the parts of a finished run into one ``telemetry.parquet``, by epoch, round, agent and name.

    A row that was recorded twice is kept once, the later one. Killed half-way it leaves a readable record,
    and can be called again. Does nothing to a record of more than ``MERGE_ROWS`` rows.

    Returns:
        The merged file, or None if there was nothing to merge or too much.
    Raises:
        RecordError: if the file cannot be written; the parts are then untouched.
    """
    import pyarrow.parquet as pq

    directory = Path(run_dir)
    target = directory / "telemetry.parquet"
    parts = [path for path in _files(directory) if path != target]
    if not parts:
        return target if target.exists() else None
    broken: set[str] = set()
    rows = 0
    for path in parts:
        try:
            rows += pq.read_metadata(path).num_rows
        except (OSError, ValueError):
            broken.add(str(path))
    if not rows or rows > MERGE_ROWS:
        return None
    record = _read(_files(directory))
    columns = (record.name, record.agent, record.round, record.epoch)
    order = np.lexsort(columns)
    keys = np.stack([column[order] for column in columns])
    # lexsort is stable, so of equal keys the one read last stands last.
    final = np.append((keys[:, 1:] != keys[:, :-1]).any(axis=0), True)
    keep = order[final]
    table = _table(
        record.run or "",
        (record.agents, record.agent[keep]),
        record.epoch[keep],
        record.round[keep],
        record.time[keep],
        (record.names, record.name[keep]),
        record.value[keep],
    )
    write_table(table, target)
    for path in parts:
        if str(path) not in broken:
            path.unlink()
    if not any((directory / "telemetry").iterdir()):
        (directory / "telemetry").rmdir()
    return target


Coded = tuple[Sequence[str], Integers]  # a dictionary and indices into it


def _files(directory: Path) -> list[Path]:
    """The merged file first: where a part repeats a row of it, the part is the newer."""
    merged = directory / "telemetry.parquet"
    return [*([merged] if merged.exists() else []), *sorted((directory / "telemetry").glob("part-*.parquet"))]


def _read(files: Sequence[Path]) -> Record:
    if not files:
        return Record()
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[Any] = []
    unreadable: list[str] = []
    for path in files:
        try:
            table = pq.ParquetFile(path).read()
        except (OSError, ValueError):
            table = None
        if table is None or table.column_names != list(SCHEMA):
            unreadable.append(str(path))
        elif table.num_rows:
            tables.append(table)
    if not tables:
        return Record(unreadable=tuple(unreadable))
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    agents, agent = _sorted_codes(table.column("agent").chunk(0))
    names, name = _sorted_codes(table.column("name").chunk(0))
    return Record(
        run=str(table.column("run")[0].as_py()),
        agents=agents,
        names=names,
        agent=agent,
        epoch=table.column("epoch").to_numpy(),
        round=table.column("round").to_numpy(),
        time=table.column("time").to_numpy(),
        name=name,
        value=table.column("value").to_numpy(),
        unreadable=tuple(unreadable),
    )


def _sorted_codes(column: Any) -> tuple[tuple[str, ...], Integers]:
    words: list[str] = column.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    rank = np.empty(len(words), np.int64)
    rank[order] = np.arange(len(words))
    return tuple(words[i] for i in order), rank[column.indices.to_numpy()]


def _columns(batches: Sequence[Batch]) -> tuple[Coded, Integers, Integers, Vector, Coded, Vector]:
    agents: dict[str, int] = {}
    names: dict[str, int] = {}
    pieces: list[tuple[Integers, Integers, Integers, Vector, Integers, Vector]] = []
    for batch in batches:
        n, c = batch.values.shape
        codes = np.array([names.setdefault(name, len(names)) for name in batch.columns], np.int64)
        pieces.append(
            (
                np.full(n * c, agents.setdefault(batch.agent, len(agents)), np.int64),
                np.full(n * c, batch.epoch, np.int64),
                np.repeat(batch.rounds, c),
                np.repeat(batch.times, c),
                np.tile(codes, n),
                batch.values.reshape(-1),
            )
        )
    agent, epoch, round_, time, name, value = (np.concatenate(c) for c in zip(*pieces, strict=True))
    return (list(agents), agent), epoch, round_, time, (list(names), name), value


def _table(
    run: str, agent: Coded, epoch: Integers, round_: Integers, time: Vector, name: Coded, value: Vector
) -> Any:
    import pyarrow as pa

    types = {
        "category": pa.dictionary(pa.int32(), pa.string()),
        "int64": pa.int64(),
        "float64": pa.float64(),
    }

    def coded(words: Sequence[str], codes: Integers) -> Any:
        return pa.DictionaryArray.from_arrays(codes.astype(np.int32), pa.array(words, pa.string()))

    columns = {
        "run": coded([run], np.zeros(value.size, np.int64)),
        "agent": coded(*agent),
        "epoch": pa.array(epoch),
        "round": pa.array(round_),
        "time": pa.array(time),
        "name": coded(*name),
        "value": pa.array(value),
    }
    schema = pa.schema([(column, types[kind]) for column, kind in SCHEMA.items()])
    return pa.Table.from_arrays([columns[column] for column in SCHEMA], schema=schema)


def write_table(table: Any, path: Path) -> None:
    """Write a pyarrow table as Parquet: complete or not there.

    Raises:
        RecordError: if it cannot be written.
    """
    import pyarrow.parquet as pq

    try:
        with complete(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error
