"""The result of a run as a table in the terminal, or as plain lines when the output is piped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from runner import network_table
from runner.consensus import ConsensusResult
from runner.network import NetworkResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from runner.result import RunResult

AGENT_LIMIT = 40
NARROWEST = 60  # columns
_OF_ALL_LIVES = "of agents; counts are of all lives, but for the last 0.2 s of a killed one"
PLOT = "convergence.png"


@dataclass(frozen=True, slots=True)
class Row:
    """One fact: its name, its value, what to hold it against, and whether it holds (None: no judgement)."""

    name: str
    value: str
    remark: str = ""
    holds: bool | None = None


def bytes_text(count: float) -> str:
    """1234567 as ``1.2 MB``; units of a thousand."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def seconds_text(seconds: float) -> str:
    """0.0123 as ``12 ms``, 4.32 as ``4.3 s``, 200 as ``3 min 20 s``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def print_result(
    result: RunResult | ConsensusResult | NetworkResult, console: Console, *, agents: bool = False
) -> None:
    """Print what a run came to, and where its record and its plot are.

    Args:
        result: the facts.
        console: where to; decides on colours, width and whether signs beyond ASCII can be shown.
        agents: whether to add a line for every agent, if there are at most ``AGENT_LIMIT``.
    """
    plain = console.options.ascii_only
    # Below that rich would cut numbers off without a sign of it; the terminal may break lines instead.
    console.width = max(console.width, NARROWEST)
    for title, rows in _groups(result):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        # The same widths in every group: the groups then read as one table.
        for width in (2, 17, 14):
            table.add_column(min_width=width, no_wrap=True)
        table.add_column(style="dim")
        for row in rows:
            table.add_row(_verdict(row.holds, plain), row.name, Text(row.value), Text(row.remark))
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
        console.print(table)
    if agents:
        rows_of_agents = agent_rows(result)
        console.print()
        console.print(
            rows_of_agents
            or f"{result.agents} agents: too many for a table; see result.json in the run's directory"
        )
    if result.run_dir is not None:
        plot = Path(result.run_dir) / PLOT
        line = f"\nrecord: {result.run_dir}" + (f"   plot: {plot}" if plot.exists() else "")
        # A path must stay in one piece: it is there to be copied.
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def agent_rows(result: RunResult | ConsensusResult | NetworkResult) -> Table | None:
    """What every agent came to, beside what it should; None for more than ``AGENT_LIMIT`` agents."""
    if result.agents > AGENT_LIMIT:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("agent")
    if isinstance(result, ConsensusResult):
        for title in ("found", "expected"):
            table.add_column(title, justify="right")
        for agent, value in result.values.items():
            table.add_row(agent, _numbers(value), _numbers(result.expected))
        return table
    for title in ("allocation", "optimum", "price", "tax"):
        table.add_column(title, justify="right")
    for agent, allocation in result.allocation.items():
        table.add_row(
            agent,
            _numbers(allocation),
            _numbers(result.optimal_allocation[agent]),
            _numbers(result.prices[agent]),
            _numbers([result.taxes[agent]]),
        )
    return table


def _groups(result: RunResult | ConsensusResult | NetworkResult) -> Iterator[tuple[str, list[Row]]]:
    yield f"{result.scenario}: network", _network(result)
    if isinstance(result, ConsensusResult):
        yield f"{result.primitive} against the truth", _found(result)
    elif isinstance(result, NetworkResult):
        yield "outcome against the planner's optimum", [Row(*row) for row in network_table.outcome(result)]
        yield f"{result.mechanism}: what is promised", [Row(*row) for row in network_table.promises(result)]
    else:
        yield "outcome against the central optimum", _outcome(result)
        yield "certificate", _certificate(result)
    if result.dropped or result.retransmissions or result.restarts:
        dropped = [Row(kind, f"{count:,}", "dropped") for kind, count in sorted(result.dropped.items())]
        yield (
            "messages out of the ordinary",
            [
                *dropped,
                *([Row("retransmissions", f"{result.retransmissions:,}")] if result.retransmissions else []),
                *([Row("restarts", f"{result.restarts:,}", _OF_ALL_LIVES)] if result.restarts else []),
            ],
        )


def _found(result: ConsensusResult) -> list[Row]:
    shown, after = next(iter(result.values.values())), result.rounds_to_tolerance
    error = "nothing found by some agent" if result.error is None else f"{result.error:.1e}"
    close = result.error is not None and result.error <= result.tolerance
    promised = "exact is promised" if not result.tolerance else f"promised {result.tolerance:.1e}"
    spread = "-" if result.spread is None else f"{result.spread:.1e}"
    same = "the same bits at every agent" if result.identical else "agents differ in the last digits"
    return [
        Row("found", _numbers(shown), f"expected {_numbers(result.expected)}"),
        *([] if after is None else [Row("converged", f"{after} rounds", f"to {result.tolerance:.1e}")]),
        Row("largest error", error, promised, close),
        Row("spread", spread, same, result.identical or None),
    ]


def _network(result: RunResult | ConsensusResult | NetworkResult) -> list[Row]:
    first = result.first_round_seconds
    virtual = result.mode == "virtual"
    if isinstance(result, ConsensusResult):
        of_these = f"{result.primitive_rounds} of {result.primitive}"
    else:
        of_these = f"{result.play_rounds} of play"
    free = result.synchrony == "free"
    unit = "tick" if free else "round"
    a_second = result.rounds / result.seconds if result.seconds > 0 else 0.0
    pace = f"{a_second:{',.0f' if a_second >= 10 else '.2g'}} {unit}s/s" if a_second else ""
    rest = f"{result.stopped_unsatisfied} agents not" if result.stopped_unsatisfied else "all"
    return [
        Row("agents", f"{result.agents}", f"diameter {result.diameter}"),
        *_members(result),
        Row(f"{unit}s", f"{result.rounds}", of_these),
        Row(
            "stopped in round",
            f"{result.stopped_in_round}",
            f"{rest} at rest{'; rounds of the stopping rule' if free else ''}",
            not result.stopped_unsatisfied,
        ),
        Row("messages", f"{result.messages:,}", f"{result.messages / max(1, result.rounds):,.0f} a {unit}"),
        Row("bytes", "none", "in lockstep nothing is encoded")
        if result.mode == "lockstep"
        else Row(
            "bytes",
            bytes_text(result.bytes),
            f"{bytes_text(result.bytes / max(1, result.messages))} a message",
        ),
        Row(
            "virtual time" if virtual else "wall time",
            seconds_text(result.seconds),
            pace if virtual or first is None else f"first round complete after {seconds_text(first)}",
        ),
    ]


def _members(result: RunResult | ConsensusResult | NetworkResult) -> list[Row]:
    """Who was not there all the time, and into which parts the network fell; nothing where all was well."""
    rows = []
    for name, what in (("left", result.left), ("died", result.died), ("joined late", result.joined)):
        if what:
            shown = ", ".join(list(what)[:5]) + (" ..." if len(what) > 5 else "")
            rows.append(Row(name, f"{len(what)}", shown))
    parts = result.components
    if rows or len(parts) > 1 or any(part.epoch for part in parts):
        sizes = ", ".join(str(part.size) for part in parts[:8]) + (" ..." if len(parts) > 8 else "")
        epochs = ", ".join(str(part.epoch) for part in parts[:8])
        rows.append(Row("connected parts", f"{len(parts)}", f"of {sizes} agents, in epoch {epochs}"))
    for part in parts:
        if part.stranded is not None:
            rows.append(Row("no result", ", ".join(part.heard[:5]), part.stranded, False))
        if part.unheard:
            rows.append(Row("result unknown", ", ".join(part.unheard[:5]), "gone with their last words said"))
    return rows


def _outcome(result: RunResult) -> list[Row]:
    tolerance, promised = result.tolerance, result.guaranteed
    balance = abs(result.tax_sum) / result.tax_scale if result.tax_scale else abs(result.tax_sum)
    optimal = result.optimal_welfare
    gap = (result.welfare - optimal) / abs(optimal) if optimal else result.welfare
    word = "promised" if promised else "nothing promised, asked for"
    if result.multiplier:
        against = f"relative to the multiplier {_numbers(result.multiplier)}"
    else:
        highest = max(abs(p) for own in result.optimal_prices.values() for p in own)
        against = f"of an agent's own price; relative to the highest, {highest:.6g}"

    def holds(kept: bool) -> bool | None:
        """No verdict where nothing was promised."""
        return kept if promised else None

    return [
        Row(
            "allocation",
            f"{result.allocation_error:.1e} off",
            f"relative to the largest; {word} {tolerance:.1e}",
            holds(result.allocation_error <= tolerance),
        ),
        Row("price", f"{result.price_error:.1e} off", against, holds(result.price_error <= tolerance)),
        Row(
            "sum of taxes",
            f"{result.tax_sum:.1e}",
            f"{balance:.1e} of the sum of |tax|",
            holds(result.balanced) if not any(part.unheard for part in result.components) else None,
        ),
        Row(
            "welfare",
            f"{result.welfare:.9g}",
            f"{abs(gap):.1e} {'below' if gap < 0 else 'above'} the optimum, relative",
            holds(gap >= -tolerance),
        ),
    ]


def _certificate(result: RunResult) -> list[Row]:
    bound, rate = result.contraction_bound, result.observed_rate
    rows = [Row(name, f"{value:.9g}") for name, value in result.parameters.items()]
    if result.guaranteed:
        rows.append(Row("contraction bound", f"{bound:.9g}", f"a round, {result.norm}", bound < 1))
    else:
        rows.append(Row("contraction bound", f"{bound:.9g}", f"not below 1, {result.norm}: no guarantee"))
    if result.spectral_radius is not None:
        rows.append(Row("spectral radius", f"{result.spectral_radius:.9g}", "of the Jacobian; no norm bound"))
    if rate is not None:
        # The rate is fitted: where the bound is attained it may come out a trifle above.
        kept = 1 - rate >= 0.99 * (1 - bound) if result.guaranteed else None
        rows.append(Row("observed rate", f"{rate:.6g}", "a round", kept))
    return rows


def _verdict(holds: bool | None, plain: bool) -> Text:
    if holds is None:
        return Text()
    if holds:
        return Text("ok" if plain else "✓", style="green")
    return Text("NO" if plain else "✗", style="bold red")


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
