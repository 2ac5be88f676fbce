"""The command line of ``vicinal sweep``."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console

    from runner.sweep.journal import Journal

DESCRIPTION = """Play a scenario for every combination of parameters and for every seed, over processes, into
one Parquet file with a row a run; print means with 95 % confidence intervals and draw them. Killed at any
instant, the same command goes on where it was. A run that fails is recorded with its error, and the sweep
goes on; the exit code is 1 then, and if a run did not keep its promise."""
EXAMPLES = """examples:
  vicinal sweep binary-tree-31 --grid environment.eta=10.0,25.0 --seeds 0-19
  vicinal sweep summary-tree-31 --grid topology.agents=31,127 --grid mechanism.variant=anchored,weighted \\
      --seeds 0-9 --lockstep --jobs 2 --metric play_rounds --metric messages
  vicinal sweep consensus-ratio-er-31 --seeds 0-99 --interval bootstrap --out averages
"""
# What is shown unless somebody says otherwise.
METRICS = ("rounds", "messages", "distance")
MOST_JOBS = 256
MOST_METRICS = 6
# Seconds between two lines where there is no terminal for a bar.
SAY_EVERY = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal sweep``, but for the scenario's."""
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V,V,...",
        help="values of a key of the scenario; with several options all combinations",
    )
    parser.add_argument("--seeds", default="0-9", metavar="A-B", help="seeds, both included (default 0-9)")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: as many as processors)")
    parser.add_argument("--lockstep", action="store_true", help="without a network: faster, counts no bytes")
    parser.add_argument(
        "--metric",
        action="append",
        dest="metrics",
        metavar="NAME",
        help=f"what is shown and drawn (default: {', '.join(METRICS)}); the file has all of them",
    )
    parser.add_argument(
        "--interval", default="student", metavar="KIND", help="student (default) or bootstrap"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to, and where from (default: runs/sweep-...)"
    )
    parser.add_argument("--again", action="store_true", help="play runs again that failed")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def main(arguments: argparse.Namespace) -> int:
    """Play what is left of the grid, print, draw; 1 if a run failed, else 0.

    Raises:
        UserError: for a grid, seeds, metrics or a folder that cannot be had.
    """
    from rich.console import Console

    from runner.simulation.report import seeds_of
    from runner.sweep import grid as grids
    from runner.sweep.cell import Plan
    from runner.sweep.journal import Journal, identity, name_of
    from topologies import ScenarioError

    metrics = metrics_of(arguments)
    jobs = jobs_of(arguments)
    if arguments.seed is not None:
        raise UserError(f"--seed {arguments.seed}: a sweep has several; expected --seeds A-B")
    seeds = seeds_of(arguments.seeds)
    grid = grids.read_grid(arguments.grid)
    cells = grids.cells(grid, seeds)
    plan = Plan(arguments.scenario, tuple(arguments.overrides), arguments.lockstep)
    try:
        loaded = grids.check(plan.source, plan.overrides, grid, seeds[0])
    except ScenarioError as error:
        raise UserError(str(error)) from None
    what = identity(plan, loaded)
    out: Path = arguments.out or Path("runs") / name_of(loaded, what, grid, seeds)
    errors = Console(stderr=True)
    with Journal(out, what, grid, seeds) as journal:
        left = [
            cell
            for cell in cells
            if (row := journal.done.get(cell)) is None or (arguments.again and row["error"] is not None)
        ]
        if len(left) < len(cells) and not arguments.quiet:
            errors.print(
                f"{out}: {len(cells) - len(left)} of {len(cells)} runs are there",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        _play(plan, left, min(jobs, max(1, len(left))), journal, errors, quiet=arguments.quiet)
        rows = list(journal.rows(cells, grid))
        result = journal.write(cells, grid)
    drawn = loaded.spec.record.plot
    return _report(arguments, str(loaded.spec.name), rows, list(grid), metrics, result, drawn=drawn)


def metrics_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What is to be shown.

    Raises:
        UserError: for a metric or an interval that is none, with the nearest name.
    """
    from runner.sweep.cell import METRICS as KNOWN
    from runner.sweep.statistics import INTERVALS
    from topologies.nearest import did_you_mean

    names = tuple(dict.fromkeys(arguments.metrics or METRICS))
    for name in names:
        if name not in KNOWN:
            hint = did_you_mean(name, KNOWN)
            raise UserError(f"--metric {name}: no such metric; expected one of {', '.join(KNOWN)}{hint}")
    if len(names) > MOST_METRICS:
        raise UserError(f"--metric: {len(names)} of them; expected {MOST_METRICS} at most")
    if arguments.interval not in INTERVALS:
        hint = did_you_mean(arguments.interval, INTERVALS)
        raise UserError(f"--interval {arguments.interval}: expected {' or '.join(INTERVALS)}{hint}")
    return names


def jobs_of(arguments: argparse.Namespace) -> int:
    """How many processes.

    Raises:
        UserError: if there cannot be so many.
    """
    if arguments.jobs is None:
        return min(MOST_JOBS, len(os.sched_getaffinity(0)))
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise UserError(f"--jobs {arguments.jobs}: expected 1 to {MOST_JOBS}")
    return int(arguments.jobs)


def _play(
    plan: Any, left: Sequence[Any], jobs: int, journal: Journal, errors: Console, *, quiet: bool
) -> None:
    """Play what is left, keeping each run as it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from runner.sweep.pool import play_all

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeRemainingColumn(),
        console=errors,
        disable=quiet or not errors.is_terminal,
    )
    task = bar.add_task("runs", total=len(left), failed="")
    failed, done, said = 0, 0, time.monotonic()
    with bar:
        for cell, row in play_all(plan, left, jobs):
            journal.add(cell, row)
            done += 1
            failed += row["error"] is not None
            bar.update(task, advance=1, failed=f"{failed} failed" if failed else "")
            due = done == len(left) or time.monotonic() - said > SAY_EVERY
            if due and not quiet and not errors.is_terminal:
                said = time.monotonic()
                errors.print(f"{done} of {len(left)} runs, {failed} failed", highlight=False)


def _report(
    arguments: argparse.Namespace,
    name: str,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str],
    metrics: Sequence[str],
    result: Path,
    *,
    drawn: bool,
) -> int:
    """Sum up, draw, print; the exit code."""
    from rich.console import Console

    from runner.directory import write_json
    from runner.figures.canvas import PlotUnavailable
    from runner.sweep import figure
    from runner.sweep.statistics import summarise

    summary = summarise(rows, keys, metrics, arguments.interval)
    plain = {
        "scenario": name,
        "result": str(result),
        "runs": len(rows),
        "failed": sum(row["error"] is not None for row in rows),
        "broken": sum(row["kept"] is False for row in rows),
        "interval": arguments.interval,
        "summary": [
            {**entry, "metrics": {m: asdict(e) for m, e in entry["metrics"].items()}} for entry in summary
        ],
    }
    write_json(result.with_name("summary.json"), plain)
    try:
        if drawn:
            figure.draw(name, summary, keys, metrics, arguments.interval, result.with_name("sweep.png"))
    except PlotUnavailable as error:
        sys.stderr.write(f"warning: {error}\n")
    if arguments.json:
        sys.stdout.write(json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n")
    else:
        show(plain, summary, keys, metrics, rows, Console())
    return 1 if plain["failed"] or plain["broken"] else 0


def show(
    plain: dict[str, Any],
    summary: Sequence[dict[str, Any]],
    keys: Sequence[str],
    metrics: Sequence[str],
    rows: Sequence[dict[str, Any]],
    console: Console,
) -> None:
    """Print the table, the errors, and where everything is."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{plain['scenario']}: means, 95 % intervals ({plain['interval']})",
        title_justify="left",
        box=box.ASCII if console.options.ascii_only else box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for key in _short(keys):
        table.add_column(key)
    table.add_column("runs", justify="right")
    for metric in metrics:
        table.add_column(metric, justify="right", no_wrap=True)
    for entry in summary:
        lost = f" ({entry['failed']} failed)" if entry["failed"] else ""
        lost += f" ({entry['broken']} broken)" if entry["broken"] else ""
        table.add_row(
            *(str(value) for value in entry["parameters"].values()),
            f"{entry['runs']}{lost}",
            *(interval_text(entry["metrics"][metric]) for metric in metrics),
        )
    console.print(table)
    seen = dict.fromkeys(row["error"] for row in rows if row["error"] is not None)
    for error in list(seen)[:5]:
        console.print(f"failed: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
    if len(seen) > 5:
        console.print(f"and {len(seen) - 5} other errors, in the column `error`", highlight=False)
    console.print(f"{plain['runs']} runs: {plain['result']}", soft_wrap=True, highlight=False, markup=False)


def _short(keys: Sequence[str]) -> list[str]:
    """The last parts of keys, if they tell them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(last) else list(keys)


def interval_text(found: Any) -> str:
    """``mean ± half``, or the mean with both ends where the interval is lopsided; ``-`` without a number."""
    if found.mean is None:
        return "-"
    if found.low is None:
        return f"{found.mean:.4g}"
    below, above = found.mean - found.low, found.high - found.mean
    if abs(below - above) <= 0.005 * max(below, above):
        return f"{found.mean:.4g} ± {above:.2g}"
    return f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}]"
