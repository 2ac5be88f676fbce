"""The command line of ``vicinal deviate``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import RunFailed, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from node.strategies import Strategy
    from runner.deviate.lab import Point, Report, Wish
    from topologies import LoadedScenario

DESCRIPTION = """Let one agent or several not play by the rule, and say what they and the others gain or lose,
by their true utilities. For every size of the lie there are two answers: the others keep the messages of the
equilibrium (then honesty is best, and the exit code is 1 if it is not), and the others go on learning while
the deviator keeps to its lie (then it may gain). docs/deviate.md says why."""
EXAMPLES = """examples:
  vicinal deviate star-9 --agent a02 --strategy shift                 # a few sizes of it
  vicinal deviate network-corn-5 --agent a3 --strategy exaggerate --size 0.7
  vicinal deviate public-tree-31 --agent a07 --strategy scale --sizes 0.2:2:10 --out lies
  vicinal deviate star-9 --agent a02 --strategy mine:Hesitant --size 0.5    # a class in mine.py

strategies and what their size means:
"""
OVER = ("lockstep", "virtual", "broker")
# More sizes than anybody looks at are a typing error.
MOST_SIZES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``vicinal deviate``, but for the scenario's."""
    parser.add_argument(
        "--agent",
        action="append",
        required=True,
        metavar="ID",
        dest="agents",
        help="who lies (repeatable)",
    )
    parser.add_argument("--strategy", required=True, metavar="NAME", help="how; see below, or module:Class")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--size", type=float, metavar="X", help="how large the lie is, beside honesty")
    which.add_argument("--sizes", metavar="A:B:K", help="K sizes from A to B, or a list A,B,C")
    parser.add_argument("--draw", type=int, default=0, metavar="S", help="seed of a strategy that draws")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="R",
        help="rounds of play at most (default: 4 times honest play + 100)",
    )
    parser.add_argument(
        "--over", choices=OVER, default="lockstep", help="what carries the messages (default: lockstep)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to (default: runs/deviate-...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--quiet", action="store_true", help="no progress")


class Help(argparse.RawDescriptionHelpFormatter):
    """The list of strategies is made only if somebody asks for it: it takes NumPy."""

    def format_help(self) -> str:
        from node.strategies import STRATEGIES

        lines = []
        for name, kind in STRATEGIES.items():
            what = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
            filled = argparse.HelpFormatter._fill_text(self, f"{name}: {what}", self._width, "  ")
            lines.append(filled)
        return super().format_help() + "\n".join(lines) + "\n"


def main(arguments: argparse.Namespace) -> int:
    """Play, print, draw; 1 if somebody gains while the others hold their messages, else 0.

    Raises:
        UserError: for a scenario, an agent, a strategy or sizes that cannot be had.
    """
    from rich.console import Console

    from node.imports import extend_path
    from runner import directory
    from runner.deviate import figure
    from runner.deviate.lab import experiment
    from runner.deviate.play import Stage
    from runner.figures.canvas import PlotUnavailable
    from topologies import ScenarioError, load_scenario

    try:
        loaded = load_scenario(arguments.scenario, arguments.overrides, arguments.seed)
    except ScenarioError as error:
        raise UserError(str(error)) from None
    extend_path([str(loaded.path.parent.resolve()), str(Path.cwd())])
    wish = wished(loaded, arguments)
    errors = Console(stderr=True)
    run = directory.new_run_id(f"deviate-{loaded.spec.name}")
    out = directory.create(arguments.out, run)
    directory.describe(out, loaded, run, {"deviate": wish.strategy, "agents": list(wish.agents)})
    stage = Stage.of(loaded, arguments.over, out if arguments.over == "broker" else None)
    told = (lambda text: None) if arguments.quiet or arguments.json else _line(errors)
    try:
        report = experiment(stage, wish, told)
    except RunFailed as error:
        directory.write_json(out / "failed.json", {"error": str(error)})
        raise
    directory.write_json(out / "deviation.json", report.as_dict())
    try:
        if loaded.spec.record.plot:
            figure.draw(report, out / "deviation.png")
    except PlotUnavailable as error:
        errors.print(f"warning: {error}", markup=False, highlight=False)
    if arguments.json:
        plain = {**report.as_dict(), "directory": str(out)}
        sys.stdout.write(json.dumps(plain, allow_nan=False, ensure_ascii=False) + "\n")
    else:
        show(report, out, Console())
    return 0 if report.held_peaks_at_honesty else 1


def _line(errors: Console) -> Any:
    return lambda text: errors.print(text, style="dim", markup=False, highlight=False)


def wished(loaded: LoadedScenario, arguments: argparse.Namespace) -> Wish:
    """What is to be tried.

    Raises:
        UserError: naming what cannot be, and the nearest that can.
    """
    from runner.deviate.lab import Wish
    from runner.deviate.play import is_network
    from topologies.errors import listed
    from topologies.nearest import did_you_mean

    kind = strategy_of(arguments.strategy)
    for agent in arguments.agents:
        if agent not in loaded.agents:
            near = listed(loaded.agents) + did_you_mean(agent, loaded.agents)
            raise UserError(f"--agent {agent}: no agent of {loaded.path}; expected one of {near}")
    mechanism = loaded.contract()["mechanism"]
    if mechanism == "consensus":
        raise UserError(f"{loaded.path}: consensus has no payoffs; expected a scenario that allocates")
    if loaded.spec.synchrony.mode == "free":
        raise UserError(f'{loaded.path}: synchrony.mode = "free"; expected "rounds" for deviators')
    if arguments.strategy == "price-take" and is_network(loaded):
        raise UserError(
            f"--strategy price-take: agents of {mechanism!r} are price takers by the rule; no lie"
        )
    if arguments.rounds is not None and arguments.rounds < 1:
        raise UserError(f"--rounds {arguments.rounds}: expected a whole number >= 1")
    if arguments.over == "broker" and loaded.spec.broker.url is not None:
        raise UserError("--over broker: starts a broker of its own; expected no broker.url")
    sizes = sizes_of(arguments, kind)
    for size in sizes:
        try:
            kind(size, arguments.draw)
        except ValueError as error:
            raise UserError(f"--strategy {arguments.strategy}: {error}") from None
    return Wish(
        tuple(sorted(set(arguments.agents))), arguments.strategy, sizes, arguments.draw, arguments.rounds
    )


def strategy_of(name: str) -> type[Strategy]:
    """The class of a strategy.

    Raises:
        UserError: with the nearest name.
    """
    from node.strategies import STRATEGIES, kind_of
    from topologies.nearest import did_you_mean

    if name not in STRATEGIES and ":" not in name:
        near = f"one of {', '.join(STRATEGIES)} or module:Class{did_you_mean(name, STRATEGIES)}"
        raise UserError(f"--strategy {name}: no such strategy; expected {near}")
    try:
        return kind_of(name)
    except ValueError as error:
        raise UserError(f"--strategy {error}") from None


def sizes_of(arguments: argparse.Namespace, kind: type[Strategy]) -> tuple[float, ...]:
    """The sizes to try, ascending; the honest one, if there is one, among them.

    Raises:
        UserError: if they cannot be read.
    """
    text: str | None = arguments.sizes
    if arguments.size is not None:
        sizes = [float(arguments.size)]
    elif text is None:
        sizes = list(kind.sizes)
    else:
        try:
            sizes = _range(text) if ":" in text else [float(part) for part in text.split(",")]
        except ValueError:
            expected = f"A:B:K with 1 <= K <= {MOST_SIZES}, or numbers A,B,C"
            raise UserError(f"--sizes {text}: expected {expected}") from None
    if kind.honest is not None:
        sizes.append(kind.honest)
    # A range that passes the honest size means it, and not a neighbouring double.
    near = [s for s in sizes if kind.honest is None or s == kind.honest or abs(s - kind.honest) > 1e-9]
    return tuple(sorted(set(near)))


def _range(text: str) -> list[float]:
    first, last, count = text.split(":")
    low, high, number = float(first), float(last), int(count)
    if not 1 <= number <= MOST_SIZES or not abs(low) + abs(high) < float("inf"):
        raise ValueError(text)
    return [low + (high - low) * k / max(1, number - 1) for k in range(number)]


def show(report: Report, out: Path, console: Console) -> None:
    """Print the table, what it comes to, and where the figure is."""
    from rich import box
    from rich.table import Table

    from runner.deviate.lab import shown_agents

    who = shown_agents(report.agents)
    table = Table(
        title=f"{report.scenario}: {who} plays {report.strategy} ({report.mechanism})",
        title_justify="left",
        box=box.ASCII if console.options.ascii_only else box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in _columns(report):
        table.add_column(name, justify="right", no_wrap=True)
    for point in report.points:
        table.add_row(*_row(report, point), style="bold" if point.size == report.honest_size else None)
    console.print(table)
    honest = sum(report.honest.payoffs[i] for i in report.agents)
    console.print(
        f"Gains of {who} over honesty, in money: others held at the equilibrium, others learning"
        f"{', naive price iteration' if report.naive else ''}.\nThen, others learning: the gain of all "
        f"others, what {who} {'get and pay' if len(report.agents) > 1 else 'gets and pays'}, the welfare, "
        f"rounds of play. The honest payoff is {honest:.6g}.",
        style="dim",
        highlight=False,
    )
    for how in dict.fromkeys(p.learning.how for p in report.points if not p.learning.rest):
        console.print(f"* {how}", style="dim", highlight=False, markup=False)
    for line in verdicts(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    drawn = "figure and numbers" if (out / "deviation.png").exists() else "numbers"
    console.print(f"{drawn}: {out}", soft_wrap=True, highlight=False, markup=False)


def _columns(report: Report) -> list[str]:
    naive = ["naive"] if report.naive else []
    return ["size", "held", "learning", *naive, "others", "gets", "pays", "welfare", "rounds"]


def _row(report: Report, point: Point) -> list[str]:
    ended = point.learning
    naive = [_signed(sum(point.naive.values()))] if report.naive else []
    got = [x for i in report.agents for x in ended.allocation.get(i, [])]
    paid = [ended.taxes[i] for i in report.agents if i in ended.taxes]
    return [
        f"{point.size:g}",
        _signed(sum(point.held.values())),
        _signed(report.total(point.gains)),
        *naive,
        _signed(report.total(point.gains, deviators=False)),
        ",".join(f"{x:.3g}" for x in got[:3]) + (",..." if len(got) > 3 else "") if got else "-",
        f"{sum(paid):.3g}" if paid else "-",
        "-" if ended.welfare is None else f"{ended.welfare:.5g}",
        "diverges" if ended.welfare is None else f"{ended.rounds}{'' if ended.rest else ' *'}",
    ]


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3g}"


def verdicts(report: Report) -> list[str]:
    """What the numbers come to, one line each."""
    gain, agent, size = report.best_held
    if not report.held_peaks_at_honesty:
        held = f"{agent} gains {gain:.4g} with {size:g}: this is no equilibrium"
    elif report.honest_size is None:
        held = f"nobody gains; least is lost with {size:g}: {-gain:.4g}"
    else:
        held = "nobody gains by any of these sizes; honesty is best"
    lines = [f"others held:  {held}"]
    known = [(total, p) for p in report.points if (total := report.total(p.gains)) is not None]
    if known:
        total, best = max(known, key=lambda pair: pair[0])
        lines.append(f"others learn: {_best(report, total, best)}")
    if report.naive:
        best = max(report.points, key=lambda p: sum(p.naive.values()))
        of = sum(report.naive.values())
        total = sum(best.naive.values())
        lines.append(f"naive:        {best.size:g} gains {total:.4g}{_percent(total, of)}")
    return lines


def _best(report: Report, total: float, best: Point) -> str:
    if total <= 1e-6 * report.scale:
        return "no size gains"
    honest = sum(report.honest.payoffs[i] for i in report.agents)
    return (
        f"{best.size:g} gains {total:.4g}{_percent(total, honest)}: who commits to a lie before the others "
        "have learnt moves what they learn"
    )


def _percent(gain: float, honest: float) -> str:
    return f" ({100.0 * gain / honest:+.1f} %)" if honest > 1e-9 else ""
