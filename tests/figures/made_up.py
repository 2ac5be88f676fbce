"""A made-up record that converges at a known rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runner.record import Batch, PartWriter, Record, read

if TYPE_CHECKING:
    from pathlib import Path

START = 60


def optimum(n: int, goods: int = 1) -> dict[str, list[float]]:
    return {f"n{i:02d}": [1.0 + i + 0.5 * k for k in range(goods)] for i in range(n)}


def recorded(
    directory: Path, n: int = 5, rounds: int = 200, rate: float = 0.9, goods: int = 1, floor: float = 0.0
) -> Record:
    """A made-up run: x_i(k) = x_i* + (-1)^i rate^k, with a floor of rounding."""
    random = np.random.default_rng(7)
    writer = PartWriter(directory, "r1")
    k = np.arange(rounds)
    for i, (agent, best) in enumerate(optimum(n, goods).items()):
        shrink = rate**k + floor * random.uniform(0.2, 1.0, rounds)
        names = (
            ["allocation", "price"]
            if goods == 1
            else [f"{w}.{g}" for w in ("allocation", "price") for g in range(goods)]
        )
        columns = (*names, "tax", "residual")
        values = np.column_stack(
            [
                *[x + (-1) ** i * shrink for x in best],
                *[4.0 + 0.5 * shrink for _ in best],
                (-1.0) ** i * (2 + (i == n - 1) * (n % 2) * -2) + shrink,
                0.1 * shrink,
            ]
        )
        writer.append(Batch(agent, columns, START + k, 1e9 + k * 0.01, values))
    writer.flush()
    return read(directory)
