"""What a sweep has done so far, on disk: killed at any instant, it goes on where it was.

``sweep.json`` says what is swept, and ``cells.jsonl`` holds a line for every finished cell, on the disk
before the next one is waited for. A line that was being written when the process died is not complete and is
dropped; its cell is played again. ``sweep.parquet`` is made of the lines, complete or not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from runner.errors import UserError
from runner.files import complete
from runner.sweep.cell import COLUMNS, METRICS
from runner.sweep.grid import Cell, typed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner.sweep.cell import Plan, Row
    from runner.sweep.grid import Grid
    from topologies import LoadedScenario

MANIFEST, CELLS, RESULT = "sweep.json", "cells.jsonl", "sweep.parquet"
_COUNTS = ("rounds", "play_rounds", "messages", "bytes", "published", "retransmissions", "restarts", "agents")


def identity(plan: Plan, loaded: LoadedScenario) -> dict[str, Any]:
    """What must be equal for cells to be comparable: not the grid and the seeds, which may grow."""
    modules = {path.name: _digest(path.read_bytes()) for path in loaded.own_modules}
    return {
        "version": version("vicinal"),
        "scenario": _digest(loaded.text.encode()),
        "modules": modules,
        "overrides": list(plan.overrides),
        "mode": "lockstep" if plan.lockstep else "virtual",
    }


def name_of(loaded: LoadedScenario, what: Mapping[str, Any], grid: Grid, seeds: Sequence[int]) -> str:
    """A directory's name that the same command finds again."""
    content = json.dumps([what, grid, list(seeds)], sort_keys=True)
    return f"sweep-{loaded.spec.name}-{_digest(content.encode())[:8]}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Journal:
    """The state of one sweep; a context manager that holds the directory against a second sweep.

    Args:
        directory: made if it is not there.
        what: of ``identity``.
        grid, seeds: what is asked for now; for whoever reads ``sweep.json``.
    Raises:
        UserError: if the directory holds something else, or another sweep works in it.
    """

    def __init__(self, directory: Path, what: Mapping[str, Any], grid: Grid, seeds: Sequence[int]) -> None:
        self.directory = directory
        self.done: dict[Cell, Row] = {}
        self._what = dict(what)
        self._asked = {"grid": {k: list(v) for k, v in grid.items()}, "seeds": list(seeds)}

    def __enter__(self) -> Journal:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        where = self.directory
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            manifest = where / MANIFEST
            if not manifest.is_file() and any(where.iterdir()):
                raise UserError(f"{where}: holds no sweep; expected an empty directory, or none")
            self._file = stack.enter_context((where / CELLS).open("a+b"))
        except OSError as error:
            raise UserError(f"{where}: cannot be used ({error.strerror}); expected a directory") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{where}: another sweep works there; expected one at a time") from None
        if manifest.is_file():
            self._compare(manifest)
        with complete(manifest) as temporary:
            temporary.write_bytes(json.dumps({**self._what, **self._asked}, indent=2).encode() + b"\n")
        self._read()

    def _compare(self, manifest: Path) -> None:
        try:
            before = json.loads(manifest.read_text("utf-8"))
            differs = [key for key, value in self._what.items() if before[key] != value]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{manifest}: not that of a sweep ({error}); expected another --out") from None
        if differs:
            raise UserError(
                f"{self.directory}: holds a sweep of another {' and '.join(differs)}; expected a new --out"
            )

    def _read(self) -> None:
        self._file.seek(0)
        good = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # cut off by the end of its process
            entry = json.loads(line)
            cell = Cell(tuple((k, v) for k, v in entry["cell"]), entry["seed"])
            self.done[cell] = entry["row"]
            good += len(line)
        self._file.truncate(good)

    def add(self, cell: Cell, row: Row) -> None:
        """Keep a finished cell: on the disk when this returns."""
        entry = {"cell": [list(pair) for pair in cell.values], "seed": cell.seed, "row": row}
        self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.done[cell] = row

    def rows(self, cells: Sequence[Cell], grid: Grid) -> Iterator[Row]:
        """One row for each of the cells that are done, in their order."""
        values = typed(grid)
        for number, cell in enumerate(cells):
            if (row := self.done.get(cell)) is not None:
                yield {"cell": number, **{k: values[k][v] for k, v in cell.values}, "seed": cell.seed, **row}

    def write(self, cells: Sequence[Cell], grid: Grid) -> Path:
        """Make ``sweep.parquet``: a row a run, parameters, seed, ``METRICS``, kept, verdict, error, hash."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(self.rows(cells, grid))
        kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
        values = typed(grid)
        schema = [("cell", pa.int64())]
        schema += [(key, kinds[type(next(iter(values[key].values())))]) for key in grid]
        schema += [("seed", pa.int64())]
        schema += [(m, pa.int64() if m in (*_COUNTS, "diameter") else pa.float64()) for m in METRICS]
        schema += [(name, pa.bool_() if name == "kept" else pa.string()) for name in COLUMNS]
        columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in schema}
        path = self.directory / RESULT
        with complete(path) as temporary:
            pq.write_table(pa.table(columns), temporary)
        return path
