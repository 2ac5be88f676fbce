"""How far a run is from the right outcome: over its rounds, and over the messages that it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.consensus import ConsensusResult
from runner.errors import UserError
from runner.figures import series
from runner.figures.canvas import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Label,
    halo,
    label_ends,
    power,
)
from runner.figures.lines import draw_run
from runner.figures.measures import (
    Errors,
    allocation_errors,
    deviations,
    largest,
    observed_rate,
    tax_balance,
)
from runner.network import NetworkResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner.figures.run import Run

# Consensus that counts agents, and has no estimate on the way.
COUNTED = ("set", "tree")
ERROR, SPREAD = "largest error of an estimate", "largest difference between estimates"
_UNKNOWN = 1e100  # a gap beyond stands for "not known yet"


@dataclass(frozen=True, slots=True)
class Curve:
    """A distance over the rounds, its name and its look."""

    errors: Errors
    text: str
    colour: str
    width: float = 1.3
    dashes: Any = "solid"


def distance(run: Run) -> Errors:
    """How far the agents are from their answer; empty if the record does not say.

    Of allocations the largest error relative to the largest optimal one. Of consensus, with every agent among
    those that it was connected with in the end: the largest error of an estimate as it is; of trimmed
    averaging, which promises no certain value, the largest difference between two estimates; of sums and sets
    the most agents that somebody has not counted yet.
    """
    result = run.result
    if not isinstance(result, ConsensusResult):
        return allocation_errors(run.record, result.optimal_allocation)
    if result.primitive in COUNTED:
        rounds, values, agents = run.record.series("known")
        size = result.component_size
        whole = np.array([size.get(agent, np.nan) for agent in agents], float)
        return Errors(rounds, largest(values - whole))
    rounds, estimates, agents = run.record.goods("estimate")
    if result.primitive == "trimmed":
        return Errors(rounds, _spread(result, estimates[:, :, 0], agents))
    nothing = [np.nan] * estimates.shape[2]
    targets = [result.targets.get(agent, nothing) for agent in agents]
    return Errors(rounds, largest(estimates - np.array(targets, float).reshape(1, *estimates.shape[1:])))


def _spread(result: ConsensusResult, estimates: Any, agents: Sequence[str]) -> Any:
    """(R,): the largest difference between two estimates within a part of the network."""
    parts = [part.agents for part in result.components] or [tuple(agents)]
    spreads = np.full((len(estimates), len(parts)), np.nan)
    for k, part in enumerate(parts):
        own = estimates[:, [n for n, agent in enumerate(agents) if agent in part]]
        known = ~np.isnan(own)
        high = np.where(known, own, -np.inf).max(axis=1, initial=-np.inf)
        low = np.where(known, own, np.inf).min(axis=1, initial=np.inf)
        spreads[:, k] = np.where(known.any(axis=1), high - low, np.nan)
    return largest(spreads)


def draw_convergence(axes: Any, run: Run, inches: float) -> None:
    """Draw the errors of one run on a logarithmic axis, with the accuracy that was promised."""
    axes.set_yscale("log")
    labels: list[Label] = []
    for curve in _curves(run):
        known = curve.errors.values > 0
        if not known.any():
            continue
        x, y = curve.errors.rounds[known], curve.errors.values[known]
        axes.plot(x, y, color=curve.colour, linewidth=curve.width, linestyle=curve.dashes)
        labels.append(Label(float(x[-1]), float(y[-1]), curve.text, curve.colour))
    labels += _certified(axes, run)
    _promise(axes, run, run.play)
    absolute = isinstance(run.result, ConsensusResult)
    axes.set_ylabel(_what(run) if absolute else "distance from the optimum (relative)")
    _grid(axes)
    label_ends(axes, labels, inches)


def draw_convergence_of(axes: Any, runs: Sequence[Run]) -> None:
    """Draw the largest error of each of several runs."""
    axes.set_yscale("log")
    for k, run in enumerate(runs):
        errors = distance(run)
        known = errors.values > 0
        draw_run(axes, k, run.label, errors.rounds[known], errors.values[known])
    _promises(axes, runs)
    axes.set_ylabel(_what(runs[0]))
    _grid(axes)


def draw_messages(axes: Any, runs: Sequence[Run], inches: float) -> None:
    """Draw the largest error over the messages that all agents together had received by then.

    In rounds every link carries one message a round, so this is exact; free-running agents are taken to
    receive evenly over their ticks. Of a run that began anew it is the last epoch's.
    """
    axes.set_yscale("log")
    for k, run in enumerate(runs):
        errors = distance(run)
        known = errors.values > 0
        x = (errors.rounds[known] + 1) * _messages_a_round(run)
        draw_run(axes, k, run.label, x, errors.values[known])
    _promises(axes, runs)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("messages received by all agents together")
    axes.set_ylabel(_what(runs[0]))
    _grid(axes)
    if len(runs) == 1 and x.size:
        result = runs[0].result
        sent = f"{result.messages:,} messages,\n{_bytes(result.bytes)} in all,"
        text = f"{sent}\n{result.retransmissions:,} copies"
        label_ends(axes, [Label(float(x[-1]), float(errors.values[known][-1]), text, BLUE)], inches)


def _messages_a_round(run: Run) -> float:
    if run.result.synchrony == "free":
        return run.result.messages / run.result.rounds
    there = {agent for part in run.result.components for agent in part.agents} or set(run.loaded.agents)
    graph = run.loaded.graph
    # On a graph of one direction those who are heard answer with pulses, so links count both ways.
    links = {pair for a, b in graph.edges for pair in ((a, b), (b, a))}
    return float(sum(a in there and b in there for a, b in links))


def comparable(runs: Sequence[Run]) -> None:
    """Whether the errors of these runs are of one kind.

    Raises:
        UserError: if some are of estimates and some of allocations, or a record shows no errors.
    """
    for run in runs:
        if not np.isfinite(distance(run).values).any():
            raise UserError(
                f"{run.label}: nothing recorded that shows how it converged; expected a run with "
                "record.every > 0 whose agents approach their answer step by step"
            )
    kinds = {_what(run): run.label for run in runs}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise UserError(
            f"{first} and {second}: {one} and {other} have no axis in common; expected runs of one kind"
        )


def _curves(run: Run) -> Iterator[Curve]:
    """What one run shows. The widest first: what hides behind stays visible."""
    result, record = run.result, run.record
    if isinstance(result, ConsensusResult):
        what = _what(run)
        text = {ERROR: "largest error", SPREAD: "largest difference\nbetween two agents"}.get(what)
        yield Curve(distance(run), text or "agents not counted\nby somebody", BLUE, 2.0)
        for residuals in series.residuals(run):
            yield Curve(
                Errors(residuals.rounds, largest(residuals.values)),
                "largest residual",
                PURPLE,
                1.3,
                DASHES[3],
            )
        return
    rate = None
    if result.synchrony != "free":
        rate = observed_rate(record, result.optimal_allocation)
    text = "allocation error" + (f"\nobserved × {rate:.4f} a round" if rate is not None else "")
    yield Curve(allocation_errors(record, result.optimal_allocation), text, BLUE, 3.2)
    if isinstance(result, NetworkResult):
        for links in series.prices(run):
            scale = float(np.nanmax(links.targets, initial=0.0)) or 1.0
            off = Errors(links.rounds, largest(links.values - links.targets) / scale)
            yield Curve(off, "error of link prices", ORANGE)
        rounds, parts, _ = record.series("gap_part")
        if not run.partly:  # somebody else's part may be the largest
            parts = parts[:, ~np.isnan(parts).all(axis=0)]
            gap = parts.max(axis=1, initial=0.0) * parts.shape[1] / (abs(result.optimal_welfare) or 1.0)
            gap = np.where(gap < _UNKNOWN, gap, np.nan)
            yield Curve(Errors(rounds, gap), "proved gap,\npart of the welfare", PURPLE, 1.3, DASHES[3])
    else:
        yield Curve(deviations(record, "price", result.optimal_prices), "price error", ORANGE)
    if not run.partly:  # the taxes of some do not say whether those of all balance
        # Of a network as they were in each step; in the end they are settled, and add up to rounding.
        settled = "\nbefore they are settled" if isinstance(result, NetworkResult) else ""
        yield Curve(tax_balance(record), f"|sum of taxes| / sum |taxes|{settled}", GREEN, 1.3, DASHES[1])
    if not isinstance(result, NetworkResult):
        rounds, residual, _ = record.series("residual")
        off = Errors(rounds, largest(residual))
        yield Curve(off, "largest residual\n(units of demand)", PURPLE, 1.3, DASHES[3])


def _certified(axes: Any, run: Run) -> list[Label]:
    """The slope of the certified contraction, from the first error on; a tick is no round, so none in free
    mode."""
    result = run.result
    if isinstance(result, ConsensusResult | NetworkResult) or result.synchrony == "free":
        return []
    errors = distance(run)
    if not ((errors.values > 0).any() and 0 < result.contraction_bound < 1):
        return []
    first = int(np.argmax(errors.values > 0))
    x0, y0 = int(errors.rounds[first]), float(errors.values[first])
    x1 = max(int(errors.rounds[-1]), x0 + 1)
    y1 = y0 * result.contraction_bound ** (x1 - x0)
    axes.plot([x0, x1], [y0, y1], color=GREY, linewidth=1.1, linestyle=DASHES[2])
    return [Label(x1, y1, f"certified slope\n× {result.contraction_bound:.6g} a round", GREY)]


def _promise(axes: Any, run: Run, x: float) -> None:
    tolerance = run.result.tolerance
    if not tolerance:
        return  # exact, or judged by a range
    promised = getattr(run.result, "guaranteed", True)
    word = "promised accuracy" if promised else "accuracy asked for, not promised:"
    axes.axhline(tolerance, color="black", linewidth=1.0, linestyle=(0, (5, 3)))
    text = f"{word} {power(tolerance)}"
    axes.annotate(
        text, (x, tolerance), xytext=(4, 3), textcoords="offset points", path_effects=[halo()], zorder=5
    )


def _promises(axes: Any, runs: Sequence[Run]) -> None:
    """The accuracy promised, if it is the same in all runs."""
    if len({run.result.tolerance for run in runs}) == 1:
        _promise(axes, runs[0], 0)


def _what(run: Run) -> str:
    """What ``distance`` is of such a run."""
    if not isinstance(run.result, ConsensusResult):
        return "allocation error (relative)"
    if run.result.primitive in COUNTED:
        return "agents not counted yet"
    return SPREAD if run.result.primitive == "trimmed" else ERROR


def _grid(axes: Any) -> None:
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
