"""The command line of ``vicinal doctor``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import UserError

if TYPE_CHECKING:
    import argparse

    from runner.doctor.finding import Finding

DESCRIPTION = """Look whether this machine can run a network of agents: versions, broker, loopback, folders,
limits, disk and clock; and say what to do if not. The exit code is 1 if something needed is broken."""
EXAMPLES = """examples:
  vicinal doctor                              # for 31 agents, a process each
  vicinal doctor summary-tree-1023 --hosts 2  # for this scenario, in two processes
  vicinal doctor --json
"""
AGENTS = 31  # without a scenario: those of the one that `make demo` runs
_MARKS = {"ok": ("✓", "ok", "green"), "poor": ("!", "!", "yellow"), "absent": ("–", "--", "dim")}
_BROKEN = ("✗", "!!", "red")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal doctor``."""
    parser.add_argument(
        "scenario",
        metavar="SCENARIO",
        nargs="?",
        help="whose agents, broker and port are meant (default: 31 agents)",
    )
    parser.add_argument(
        "--hosts", type=int, metavar="H", help="processes that carry the agents (default: one each)"
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where run directories go (default: runs)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def main(arguments: argparse.Namespace, loaded: Any = None) -> int:
    """Look at everything, print it. Returns 1 if something needed is broken, else 0.

    Args:
        arguments: as parsed.
        loaded: the ``LoadedScenario`` that was asked for, or None.
    """
    findings = examine(arguments.runs, arguments.hosts, loaded)
    broken = [finding for finding in findings if finding.verdict == "broken"]
    if arguments.json:
        report = {"broken": len(broken), "findings": [finding.as_dict() for finding in findings]}
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _print(findings)
    if broken:
        sys.stderr.write(f"vicinal: broken: {', '.join(finding.name for finding in broken)}\n")
    return 1 if broken else 0


def examine(runs: Path, hosts: int | None, loaded: Any = None) -> list[Finding]:
    """All findings, in the order in which a table shows them.

    Args:
        runs: where run directories go.
        hosts: processes that carry the agents; None: one each.
        loaded: the ``LoadedScenario`` that is to run, or None.
    Raises:
        UserError: if there are not so many agents as ``hosts``, or it is no number of processes.
    """
    import tempfile

    from runner.doctor import installed, machine, network

    agents = len(loaded.agents) if loaded is not None else AGENTS
    broker = loaded.spec.broker if loaded is not None else None
    if hosts is not None and not 1 <= hosts <= agents:
        raise UserError(f"hosts = {hosts}: expected 1 to {agents}, the number of agents")
    count = agents if hosts is None else hosts
    shared = broker is not None and broker.connections == "host"
    own = broker is None or broker.url is None  # a broker of the user's is not ours to look at
    stores = Path(tempfile.gettempdir())
    return [
        installed.python(),
        *installed.packages(),
        network.loopback(),
        *([network.port(broker.port)] if own and broker is not None and broker.port else []),
        *([network.broker(broker.server if broker is not None else "nats")] if own else []),
        machine.descriptors(count if shared else agents, count),
        machine.processes(count),
        machine.folder("run directories", runs, "--out or --runs"),
        machine.folder("stores of agents", stores, "TMPDIR"),
        machine.disk(stores),
        machine.clock(),
        *installed.programs(),
    ]


def _print(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 110))
    plain = (console.encoding or "").lower() not in ("utf-8", "utf8")
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for finding in findings:
        sign, letters, style = _MARKS.get(finding.verdict, _BROKEN)
        table.add_row(
            f"[{style}]{letters if plain else sign}[/]",
            *map(_escaped, (finding.name, finding.found, finding.todo)),
        )
    console.print(table)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
