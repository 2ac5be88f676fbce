"""``vicinal check``: the command's arguments, what it prints, and its exit code."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.transport import parse_url
from runner.errors import UserError
from runner.files import read_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.console import Console
    from rich.text import Text

    from runner.check.evidence import Evidence
    from runner.check.lines import Judgement, Line

DESCRIPTION = """Judge a recorded run anew, from its record, what its agents reported and its scenario
alone: each law of the mechanism gets a verdict, a number, a tolerance and the reason for it. What the run
said of itself is not believed. The exit code is 1 if a line fails, and 2 if the directory cannot be
judged."""
EXAMPLES = """examples:
  vicinal check runs/ID
  vicinal check runs/ID --json --tolerance efficiency=1e-9
  vicinal check runs/ID --probe
  vicinal check runs/ID --probe --broker mqtts://HOST:8883 --ca secrets/ca.pem \\
      --access secrets/agent-n1.json --access secrets/agent-n9.json --access secrets/recorder.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal check``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="LINE=VALUE",
        dest="tolerances",
        help="judge a line by this tolerance instead of what is promised (may be repeated)",
    )
    parser.add_argument(
        "--probe", action="store_true", help="also try at a broker what agents must not be able to do"
    )
    parser.add_argument(
        "--broker", metavar="URL", help="with --probe: this one, mqtt:// or mqtts://, not one of our own"
    )
    parser.add_argument(
        "--access",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --broker: what a process of the run, or its recorder, was told, JSON (repeatable)",
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="with --broker: PEM, whom its certificate must be signed by"
    )


def main(arguments: argparse.Namespace) -> int:
    """Judge, print; 0 if no line fails, else 1.

    Raises:
        UserError: for a directory that cannot be judged, and arguments that do not fit together.
    """
    tolerances = read_tolerances(arguments.tolerances)
    if not arguments.probe and (arguments.broker or arguments.access or arguments.ca):
        raise UserError("--broker, --access and --ca say where to probe; expected --probe with them")
    if (arguments.broker is None) != (not arguments.access) or (arguments.ca and not arguments.broker):
        raise UserError("--broker and --access belong together: where to probe, and with whose credentials")

    from runner.check.evidence import gather
    from runner.check.judging import judgement, lines_of

    evidence = gather(arguments.run)
    lines = lines_of(evidence)
    if arguments.probe:
        lines.append(asyncio.run(_probed(evidence, arguments)))
    found = judgement(evidence, lines, tolerances)
    if arguments.json:
        sys.stdout.write(json.dumps(found.as_dict(), allow_nan=False) + "\n")
    else:
        from rich.console import Console

        show(found, Console())
    return 1 if found.failed else 0


async def _probed(evidence: Evidence, arguments: argparse.Namespace) -> Line:
    from runner.check import probe

    if arguments.broker is None:
        return await probe.own(evidence.loaded, evidence.run)
    try:
        address = parse_url(arguments.broker, ca=arguments.ca)
    except ValueError as error:
        raise UserError(str(error)) from None
    return await probe.elsewhere(evidence.loaded, address, [_told(path) for path in arguments.access])


def _told(path: Path) -> dict[str, Any]:
    """What a process or a recorder was told.

    Raises:
        UserError: naming the file.
    """
    told = read_json(path, "access file")
    if not isinstance(told, dict) or not (
        {"agents", "shared", "client", "run"} <= set(told) or "recorder" in told
    ):
        raise UserError(
            f"access file {path}: expected what `vicinal compose` writes for a process or the recorder"
        )
    return told


def read_tolerances(given: Sequence[str]) -> dict[str, float]:
    """``LINE=VALUE`` each.

    Raises:
        UserError: naming what is wrong and, for an unknown line, the nearest.
    """
    from runner.check.lines import NAMES
    from topologies.nearest import did_you_mean

    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in NAMES:
            meant = did_you_mean(name, NAMES)
            raise UserError(
                f"--tolerance {text}: no line {name!r}; expected one of {', '.join(NAMES)}{meant}"
            )
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0.0 <= number < math.inf:
            raise UserError(f"--tolerance {text}: expected {name}=VALUE with a number >= 0")
        found[name] = number
    return found


def show(found: Judgement, console: Console) -> None:
    """Print a line for each law, and what it comes to."""
    from rich.table import Table
    from rich.text import Text

    plain = console.options.ascii_only
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "law", "number", "at most", "reason"):
        table.add_column(title, no_wrap=title not in ("reason", ""), min_width=2 if not title else None)
    for line in found.lines:
        reason = (
            line.reason if line.flaw is None else f"{line.flaw}. {line.reason[:1].upper()}{line.reason[1:]}"
        )
        table.add_row(
            _sign(line, plain),
            Text(line.name),
            Text(_number(line.number)),
            Text(_number(line.tolerance)),
            Text(reason if line.verdict in ("pass", "fail") else f"{line.verdict}: {reason}", style="dim"),
        )
    console.print(
        f"\n{found.scenario}: run {found.run}, judged anew", style="bold", markup=False, highlight=False
    )
    console.print(table)
    held = sum(line.verdict == "pass" for line in found.lines)
    rest = len(found.lines) - held - len(found.failed)
    words = f"\n{held} lines pass, {rest} without a verdict"
    words += f", {len(found.failed)} FAIL: {', '.join(found.failed)}" if found.failed else ""
    console.print(words, markup=False, highlight=False)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:g}" if value in (0.0, 1.0) or 0.1 <= abs(value) < 1.0 else f"{value:.2e}"


def _sign(line: Line, plain: bool) -> Text:
    from rich.text import Text

    match line.verdict:
        case "pass":
            return Text("ok" if plain else "✓", style="green")
        case "fail":
            return Text("NO" if plain else "✗", style="bold red")
        case "not checked":
            return Text("?", style="yellow")
    return Text("-", style="dim")
