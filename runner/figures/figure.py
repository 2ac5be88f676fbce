"""A figure: panels below one another, of one run or of several."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.consensus import ConsensusResult
from runner.errors import UserError
from runner.figures import convergence, graph, lines
from runner.figures.canvas import GREY, WIDTH, PlotUnavailable, page, power
from runner.figures.series import METRICS
from runner.network import NetworkResult
from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from runner.figures.run import Run
    from runner.figures.series import Series

WHAT = ("convergence", *METRICS, "messages", "graph")
MOST_RUNS = 28  # looks of lines that differ
MOST_GRAPHS = 4
MOST_PANELS = 40
MOST_GOODS = 3  # that the overview shows one by one
_TALL, _FLAT = 4.1, 2.3  # inches of a panel
_SIDE, _BESIDE_BAR = 5.4, 0.86  # inches of a graph; what a scale of colours leaves of the width
_HEAD = 0.5  # inches above all panels


@dataclass(frozen=True, slots=True)
class Panel:
    """One of a figure's.

    Attributes:
        title: what it shows; empty if the figure's title says so.
        inches: its height.
        rounds: whether its horizontal axis counts rounds.
        draw: what fills the axes.
    """

    title: str
    inches: float
    rounds: bool
    draw: Callable[[Any], None]


def overview(run: Run) -> tuple[str, ...]:
    """What the picture shows that a run leaves in its directory."""
    result = run.result
    if isinstance(result, ConsensusResult):
        if not len(run.record):
            return ("graph",)
        return ("convergence", "counts" if result.primitive in convergence.COUNTED else "estimates")
    if isinstance(result, NetworkResult):
        return ("convergence", "allocations", "loads")
    goods = len(next(iter(result.optimal_allocation.values())))
    return ("convergence", "allocations") if goods <= MOST_GOODS else ("convergence",)


def draw(
    runs: Sequence[Run],
    what: Sequence[str],
    path: str | os.PathLike[str],
    *,
    agents: Sequence[str] = (),
    nodes: str = "allocations",
) -> None:
    """Draw a figure; the suffix of ``path`` chooses the format. The file is either complete or not there.

    Args:
        runs: one, or several to be compared: at least one.
        what: names out of ``WHAT``, a panel each, or one for each good.
        agents: only these agents' lines; empty: all.
        nodes: the values on the nodes of a graph, one of ``graph.VALUES``.
    Raises:
        UserError: for what is not known, or what the runs have nothing of.
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    if len(runs) > MOST_RUNS:
        raise UserError(f"{len(runs)} runs; expected at most {MOST_RUNS}: more lines cannot be told apart")
    panels = [panel for name in what for panel in _panels(runs, name, agents, nodes)]
    if len(panels) > MOST_PANELS:
        raise UserError(f"{len(panels)} panels; expected at most {MOST_PANELS}: leave out some of --what")
    if len(panels) == 1 and panels[0].rounds:
        panels = [Panel(panels[0].title, max(panels[0].inches, _TALL), panels[0].rounds, panels[0].draw)]
    height = _HEAD + sum(panel.inches + 0.35 for panel in panels)
    with page(path, (WIDTH, height)) as figure:
        ratios = [panel.inches for panel in panels]
        every = figure.subplots(len(panels), 1, height_ratios=ratios, squeeze=False)[:, 0]
        for axes, panel in zip(every, panels, strict=True):
            panel.draw(axes)
            if panel.title:
                axes.set_title(panel.title)
        _rounds([axes for axes, panel in zip(every, panels, strict=True) if panel.rounds], runs)
        if len(runs) == 1:
            figure.suptitle(_headline(runs[0]), x=0.01, ha="left")
        else:
            handles, labels = next(
                (found for axes in every if (found := axes.get_legend_handles_labels())[0]), ([], [])
            )
            if handles:
                columns = min(3, len(runs))
                place = "outside upper left"
                figure.legend(handles, labels, loc=place, ncols=columns, handlelength=3.4, frameon=False)


def draw_overview(run: Run, path: str | os.PathLike[str]) -> None:
    """Draw the picture that a run leaves in its directory.

    Raises: as ``draw``; also PlotUnavailable if the record holds nothing to draw.
    """
    try:
        draw([run], overview(run), path)
    except UserError as error:
        raise PlotUnavailable(f"no plot: {error}") from None


def known(name: str) -> None:
    """Whether there is such a metric.

    Raises:
        UserError: if not, with the one that was meant.
    """
    if name not in WHAT:
        raise UserError(f"--what {name}: expected one of {', '.join(WHAT)}{did_you_mean(name, WHAT)}")


def _panels(runs: Sequence[Run], name: str, agents: Sequence[str], nodes: str) -> list[Panel]:
    one = runs[0] if len(runs) == 1 else None
    known(name)
    if name in ("convergence", "messages"):
        convergence.comparable(runs)
        if name == "messages":
            title = "Convergence over messages"
            return [Panel(title, _TALL, False, lambda axes: convergence.draw_messages(axes, runs, _TALL))]
        if one is not None:
            title = f"Convergence{one.partly}" if one.partly else ""
            return [Panel(title, _TALL, True, lambda axes: convergence.draw_convergence(axes, one, _TALL))]
        return [Panel("Convergence", _TALL, True, lambda axes: convergence.draw_convergence_of(axes, runs))]
    if name == "graph":
        if len(runs) > MOST_GRAPHS:
            raise UserError(f"graph: {len(runs)} runs; expected at most {MOST_GRAPHS} beside one another")
        placed = graph.place(runs, nodes)
        across, high = placed.size
        side = min(_SIDE, WIDTH * _BESIDE_BAR / across)
        arrows = any(run.loaded.directed for run in runs)
        title = "Communication graph" + ("  (i → j: i listens to j)" if arrows else "")
        return [Panel(title, side * high, False, lambda axes: graph.draw_graphs(axes, placed, side))]
    found = [_series(run, name, agents) for run in runs]
    if len({len(series) for series in found}) > 1:
        raise UserError(f"{name}: the runs differ in the number of goods; expected the same in all")
    return [_panel(runs, list(each)) for each in zip(*found, strict=True)]


def _panel(runs: Sequence[Run], each: list[Series]) -> Panel:
    first = each[0]
    if len(runs) == 1:
        title = first.title + (runs[0].partly if first.of == "agent" else "")
        title += f"  (▸ {first.target})" if lines.shows_targets(first) else ""
        return Panel(title, _FLAT, True, lambda axes: lines.draw_series(axes, first, _FLAT))
    if first.log or first.of == "link":
        title = f"{first.title}: the largest"
    else:
        title = f"{first.title}: median of the agents, and range"
    named = [(run.label, series) for run, series in zip(runs, each, strict=True)]
    return Panel(title, _FLAT, True, lambda axes: lines.draw_runs(axes, named))


def _series(run: Run, name: str, agents: Sequence[str]) -> list[Series]:
    found = METRICS[name](run)
    if not found:
        has = [other for other in METRICS if METRICS[other](run)]
        why = f"expected one of {', '.join(has)}, graph" if has else "nothing was recorded; expected graph"
        raise UserError(f"{run.label}: no {name} to draw; {why}")
    return [series.only(agents, run.label) for series in found] if agents else found


def _headline(run: Run) -> str:
    result = run.result
    name = Path(result.scenario).stem if result.scenario.endswith(".toml") else result.scenario
    agents = f"{name}: {result.agents:,} agents"
    if isinstance(result, ConsensusResult):
        if result.primitive == "trimmed":
            error = "" if result.spread is None else f", final spread {power(result.spread)}"
        else:
            error = "" if result.error is None else f", final error {power(result.error)}"
        return f"{agents}, {result.primitive}, {result.primitive_rounds} {run.unit}s{error}"
    return (
        f"{agents}, {result.mechanism}, {result.play_rounds} {run.unit}s of play, "
        f"final allocation error {power(result.allocation_error)}"
    )


def _rounds(every: Sequence[Any], runs: Sequence[Run]) -> None:
    """Give all panels over rounds the same horizontal axis; of one run, shade what came before play."""
    if not every:
        return
    units = sorted({run.unit for run in runs})
    end = max(run.result.rounds - 1 for run in runs)
    for axes in every:
        axes.set_xlim(0, max(end, 1))
        axes.xaxis.set_major_formatter(
            lambda value, _: f"{value:,.0f}" if value == int(value) else f"{value:g}"
        )
        axes.tick_params(labelbottom=axes is every[-1])
        if len(runs) == 1:
            axes.axvspan(0, runs[0].play, color="#f2f2f2", zorder=0)
            axes.axvline(runs[0].play, color="black", linewidth=0.7)
            axes.axvline(end, color="black", linewidth=0.7, clip_on=False)
    unit = units[0] if len(units) == 1 else "round, or in free mode tick"
    every[-1].set_xlabel(unit + (", survey and agreement included" if len(runs) > 1 else ""))
    if len(runs) == 1:
        _phases(every[0], runs[0], end)


def _phases(axes: Any, run: Run, end: int) -> None:
    """Say where play starts and where all stopped."""
    play, free = run.play, run.result.synchrony == "free"
    stop = f"all stop in round {run.result.stopped_in_round}" + (" of the stopping rule" if free else "")
    place = axes.get_xaxis_transform()
    if axes.get_title(loc="left"):
        axes.set_title(axes.get_title(loc="left"), pad=17)
    for x, text, side in ((play, f"play starts in {run.unit} {play}", "left"), (end, stop, "right")):
        if side == "left" and play > 0.45 * end:
            side = "right"
        axes.annotate(
            text, (x, 1), xycoords=place, xytext=(0, 4), textcoords="offset points", ha=side, color=GREY
        )
    if play > 0.08 * end:
        text = "survey, agreement"
        axes.text(play / 2, 0.97, text, transform=place, rotation=90, ha="center", va="top", color=GREY)
