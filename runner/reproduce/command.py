"""The command ``vicinal reproduce chapter4``: play or read, draw, print published / ours / verdict."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import directory
from runner.errors import RunFailed, UserError
from runner.figures.canvas import PlotUnavailable
from runner.record import RecordError
from runner.reproduce import figures, over_broker
from runner.reproduce.cases import LIMIT, SEEDS, cases, table_one
from runner.reproduce.curve import Curve, load
from runner.reproduce.play import play
from runner.reproduce.pool import Display, play_all
from runner.reproduce.verdicts import Agreed, Line, failed, judge, same_bits
from runner.simulation.report import MOST_JOBS, seeds_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    from runner.reproduce.cases import Case

AGREED = "agreed.json"
TABLE = "table.json"
BROKER = "broker"
_STYLES = {"same": "green", "differs": "red", "open": "dim"}
_MARKS = {"same": ("✓", "ok"), "differs": ("✗", "!!"), "open": ("–", "--")}


def main(arguments: argparse.Namespace) -> int:
    """Play or read, draw, print. Returns the exit code: 1 if a line differs that is not known to.

    Raises:
        UserError: for options that do not go together or cannot be.
        RunFailed: if a run fails.
    """
    from rich.console import Console

    errors = Console(stderr=True)
    if arguments.from_ is not None:
        if arguments.out is not None or arguments.over is not None or arguments.quick:
            raise UserError("--from reads what was recorded; it goes with neither --out, --over nor --quick")
        where: Path = arguments.from_
        if not (where / AGREED).is_file():
            raise UserError(f"{where}: expected a directory that vicinal reproduce has left, with {AGREED}")
    else:
        where = _play(arguments, errors)
    try:
        lines, drawn = report(
            where, lambda text: errors.print(f"warning: {text}", markup=False, highlight=False)
        )
    except (RecordError, OSError) as error:
        raise RunFailed(str(error)) from error
    if arguments.json:
        plain = {
            "directory": str(where),
            "figures": [str(path) for path in drawn],
            "lines": [asdict(line) for line in lines],
        }
        sys.stdout.write(json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n")
    else:
        show(lines, drawn, Console())
    return 1 if failed(lines) else 0


def report(where: Path, warn: Callable[[str], None]) -> tuple[list[Line], list[Path]]:
    """Judge and draw what a directory holds, and keep the lines there.

    Args:
        where: as a run has left it, complete or not.
        warn: called if there can be no figures; the table stands without them.
    Raises:
        RecordError, OSError: naming what cannot be read or written.
    """
    curves = [load(path) for path in sorted(where.glob("*.parquet"))]
    try:
        agreed = [Agreed(**row) for row in json.loads((where / AGREED).read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise RecordError(f"{where / AGREED}: {error}") from error
    in_lockstep = {curve.case: curve for curve in curves if curve.over == "lockstep"}
    pair = next(
        ((c, in_lockstep[c.case]) for c in curves if c.over == "broker" and c.case in in_lockstep), None
    )
    lines = judge(in_lockstep.values(), agreed) if pair is None else [same_bits(*pair)]
    directory.write_json(where / TABLE, [asdict(line) for line in lines])
    try:
        if pair is None:
            first = min((case.seed for case in in_lockstep), default=0)
            return lines, figures.draw_all(in_lockstep, first, where)
        figures.draw_over_broker(*pair, where / "figure-15-over-broker.png")
        return lines, [where / "figure-15-over-broker.png"]
    except PlotUnavailable as error:
        warn(str(error))
        return lines, []


def _play(arguments: argparse.Namespace, errors: Console) -> Path:
    """Play everything that was asked for into a new directory."""
    seeds = seeds_of(arguments.seeds)
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise UserError(f"--jobs {arguments.jobs}: expected 1 to {MOST_JOBS}")
    out: Path = arguments.out if arguments.out is not None else Path("runs") / _name()
    directory.create(out, _name())
    only = [over_broker.PANEL] if arguments.over else cases(seeds, quick=arguments.quick)
    began = time.monotonic()
    record_agreed(out, [] if arguments.over else table_one({*SEEDS, *seeds}))
    with Display(errors, only, quiet=arguments.quiet) as display:
        play_all(only, out, min(arguments.jobs, len(only)), LIMIT, display.update)
    if arguments.over:
        _over_broker(out, errors)
    if not arguments.quiet:
        errors.print(f"played in {time.monotonic() - began:.0f} s", highlight=False)
    return out


def record_agreed(out: Path, graphs: list[Case]) -> None:
    """Let agents agree on xi and delta, and keep what they come to."""
    rows = []
    for case in graphs:
        curve = play(case, limit=0)
        rows.append(asdict(Agreed(case.mechanism, case.graph, case.seed, curve.xi, curve.delta)))
    directory.write_json(out / AGREED, rows)


def _over_broker(out: Path, errors: Console) -> Curve:
    (path,) = out.glob(f"{over_broker.PANEL.name}-lockstep.parquet")
    (out / BROKER).mkdir(mode=0o700)
    curve = over_broker.play_over_broker(
        load(path),
        out / BROKER,
        warn=lambda text: errors.print(f"warning: {text}", markup=False, highlight=False),
    )
    curve.save(out)
    return curve


def _name() -> str:
    return f"chapter4-{time.strftime('%Y%m%d-%H%M%S')}"


def show(lines: list[Line], drawn: list[Path], console: Console) -> None:
    """Print the table, and where the figures are."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    plain = console.options.ascii_only
    table = Table(box=box.ASCII if plain else box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "claim", "published", "ours", "verdict"):
        table.add_column(title)
    notes: dict[str, int] = {}
    last = ""
    for line in lines:
        where = line.where if line.where != last else ""
        if where and last:
            table.add_section()
        last = line.where
        number = f" ({notes.setdefault(line.note, len(notes) + 1)})" if line.note else ""
        mark, style = _MARKS[line.verdict][plain], _STYLES[line.verdict]
        verdict = Text(f"{mark} {line.verdict}{number}", style=style)
        table.add_row(where, Text(line.claim), Text(line.published), Text(line.ours), verdict)
    console.print(table)
    for note, k in notes.items():
        console.print(f"({k}) {note}", style="dim", highlight=False, markup=False)
    counts: dict[str, Any] = {word: sum(line.verdict == word for line in lines) for word in _MARKS}
    console.print(
        f"\n{counts['same']} same, {counts['differs']} differ, {counts['open']} open", highlight=False
    )
    for path in drawn:
        console.print(f"figure: {path}", soft_wrap=True, highlight=False, markup=False)
