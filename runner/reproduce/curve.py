"""One run's way to the equilibrium, and how it is kept: a small Parquet file that explains itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.record import RecordError, write_table
from runner.reproduce.cases import Case

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1
_KEY = b"vicinal.reproduce"
_SERIES = ("message", "allocation", "price")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Distances from the equilibrium round by round; round 0 is the opening m_0 = 0.

    Attributes:
        case: what was played.
        xi, delta: what the agents agreed on.
        nash_norm1: ||m~||_1, which the thesis' relative distance divides by.
        reached: the first round within the case's tolerance; None if the run was given up before.
        played: the last round.
        over: ``lockstep`` or ``broker``.
        rounds: (R,) ascending, a growing distance apart; the first and the last are always there.
        message: (R,) ||m_n - m~||_2.
        allocation: (R,) ||x(m_n) - x*||_2.
        price: (R,) ||p(m_n) - (lambda*, ..., lambda*)||_2.
    """

    case: Case
    xi: float
    delta: float
    nash_norm1: float
    reached: int | None
    played: int
    over: str
    rounds: NDArray[np.int64]
    message: NDArray[np.float64]
    allocation: NDArray[np.float64]
    price: NDArray[np.float64]

    @property
    def relative(self) -> float | None:
        """||m_n - m~||_2 / ||m~||_1 in the round that reached the tolerance."""
        return None if self.reached is None else float(self.message[-1]) / self.nash_norm1

    def save(self, directory: Path) -> Path:
        """Write the curve into a directory; the file is either complete or not there.

        Raises:
            RecordError: if it cannot be written.
        """
        import pyarrow as pa

        about = {
            "format": FORMAT,
            "case": asdict(self.case),
            "xi": self.xi,
            "delta": self.delta,
            "nash_norm1": self.nash_norm1,
            "reached": self.reached,
            "played": self.played,
            "over": self.over,
        }
        table = pa.table({"round": self.rounds, **{name: getattr(self, name) for name in _SERIES}})
        table = table.replace_schema_metadata({_KEY: json.dumps(about, allow_nan=False).encode()})
        path = directory / f"{self.case.name}-{self.over}.parquet"
        write_table(table, path)
        return path


def load(path: Path) -> Curve:
    """Read what ``Curve.save`` wrote.

    Raises:
        RecordError: naming the file, if it is none of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        about: dict[str, Any] = json.loads((table.schema.metadata or {})[_KEY])
        if about.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        case = Case(**about.pop("case"))
        rounds = table.column("round").to_numpy().astype(np.int64)
        series = {name: table.column(name).to_numpy().astype(np.float64) for name in _SERIES}
        return Curve(case=case, rounds=rounds, **about, **series)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise RecordError(f"{path}: no record of a reproduced run: {error}") from error
