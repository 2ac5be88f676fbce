"""Small forgeries of a run directory, each in one place; and a copy of a directory to forge."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def copied(directory: Path, to: Path) -> Path:
    """A run directory to be forged."""
    shutil.copytree(directory, to)
    return to


def accounts(directory: Path, change: Callable[[dict[str, dict[str, Any]]], None]) -> None:
    """Forge what agents have reported."""
    path = directory / "accounts.jsonl"
    every = {account["agent"]: account for account in map(json.loads, path.read_text().splitlines())}
    change(every)
    path.write_text("".join(json.dumps(account) + "\n" for account in every.values()))


def measurement(
    directory: Path, name: str, change: Callable[[list[int]], dict[tuple[int, str], float]]
) -> None:
    """Forge numbers of the record.

    Args:
        name: of the measurement.
        change: gets the rounds in which it was made, ascending; returns (round, agent) -> what to add.
    """
    path = directory / "telemetry.parquet"
    table = pq.read_table(path)
    names, agents = table.column("name").to_pylist(), table.column("agent").to_pylist()
    rounds = table.column("round").to_pylist()
    values = np.array(table.column("value").to_pylist())
    added = change(sorted({r for r, n in zip(rounds, names, strict=True) if n == name}))
    for k, row in enumerate(zip(rounds, agents, names, strict=True)):
        if row[2] == name and row[:2] in added:
            values[k] += added.pop(row[:2])
    assert not added, f"no such rows: {added}"
    column = table.column_names.index("value")
    pq.write_table(table.set_column(column, "value", pa.array(values)), path)


def value(directory: Path, name: str, round_: int, agent: str) -> float:
    """A number of the record."""
    table = pq.read_table(directory / "telemetry.parquet").to_pylist()
    (found,) = [r["value"] for r in table if (r["name"], r["round"], r["agent"]) == (name, round_, agent)]
    return float(found)
