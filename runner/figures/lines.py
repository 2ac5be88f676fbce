"""A quantity over the rounds: a line an agent, or for many agents how they are spread; or a line a run."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.figures.canvas import DASHES, GREY, MARKERS, PALETTE, Label, label_ends, shades

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from runner.figures.series import Series

FEW = len(PALETTE)  # lines that get a name each
MANY = 60  # lines that are drawn one by one
# Of the agents, in words: what is drawn of more of them.
SPREAD = (
    (1.0, "largest"),
    (0.9, "9 of 10 below"),
    (0.5, "median"),
    (0.1, "1 of 10 below"),
    (0.0, "smallest"),
)
_DARK, _PALE = "#08306b", "#9ecae1"
_ALIKE = 1e-3  # of the largest; closer together ends are not told apart on a page
_OVERSHOOT = 10  # times the end; from there on a linear axis would show the first rounds only


def draw_series(axes: Any, series: Series, inches: float) -> None:
    """Draw one run's series, with names at the ends of lines."""
    _scale(axes, [series])
    rounds, values = series.rounds, series.values
    if series.log:
        values = np.where(values > 0, values, np.nan)  # what a logarithmic axis can show
    if not np.isfinite(values).any():
        axes.set_yscale("linear")
        axes.text(0.5, 0.5, "0 throughout", transform=axes.transAxes, ha="center", color=GREY)
        return
    count = len(series.names)
    labels = _spread(axes, rounds, values) if count > MANY else _each(axes, series, values)
    if (
        count > FEW
        and not series.log
        and np.ptp([label.y for label in labels]) < _ALIKE * np.nanmax(np.abs(values))
    ):
        labels = [Label(labels[0].x, labels[0].y, f"all {count} alike", _DARK)]
    _targets(axes, series)
    axes.set_ylabel(series.axis)
    label_ends(axes, labels, inches)


def draw_runs(axes: Any, named: Sequence[tuple[str, Series]]) -> None:
    """Draw several runs' series: the median over agents and the range between them; of what shrinks, and of
    loads, the largest."""
    _scale(axes, [series for _, series in named])
    largest = named[0][1].log or named[0][1].of == "link"
    for k, (label, series) in enumerate(named):
        values = np.where(series.values > 0, series.values, np.nan) if series.log else series.values
        low, middle, high = _quantiles(values, (0.0, 0.5, 1.0))
        line = high if largest else middle
        draw_run(axes, k, label, series.rounds, line)
        if not largest:
            axes.fill_between(series.rounds, low, high, color=PALETTE[k % FEW], alpha=0.13, linewidth=0)
    axes.set_ylabel(named[0][1].axis)


def draw_run(axes: Any, k: int, label: str, x: Any, y: Any) -> None:
    """The line of the k-th run, told apart by colour, dashes and markers."""
    # Markers of different runs stand in different places.
    every = max(1, len(x) // 9)
    axes.plot(
        x,
        y,
        label=label,
        color=PALETTE[k % FEW],
        linestyle=DASHES[(k + k // FEW) % len(DASHES)],
        linewidth=1.5,
        marker=MARKERS[k % len(MARKERS)],
        markevery=(k * every // 4 % every, every),
        markersize=4,
    )


def _each(axes: Any, series: Series, values: NDArray[np.float64]) -> list[Label]:
    rounds, count = series.rounds, len(series.names)
    ends = [_end(rounds, values[:, k]) for k in range(count)]
    order = sorted(range(count), key=lambda k: (np.nan_to_num(ends[k][1]), k))
    tints = shades(count)
    labels: list[Label] = []
    for rank, k in enumerate(order):
        few = count <= FEW
        colour = PALETTE[k] if few else tints[rank]
        axes.plot(
            rounds,
            values[:, k],
            color=colour,
            linestyle=DASHES[k] if few else "solid",
            linewidth=1.4 if few else 0.8,
            alpha=1.0 if few else 0.85,
        )
        if few or rank in (0, count - 1):
            labels.append(Label(*ends[k], series.names[k], colour if few else "#333333"))
    labels = [label for label in labels if np.isfinite(label.y)]  # a residual that is 0 throughout has no end
    if count > FEW and len(labels) == 2:
        first, last = labels[0], labels[-1]
        labels = [
            Label(first.x, first.y, f"{first.text}\n(lowest of {count})", first.colour),
            Label(last.x, last.y, f"{last.text}\n(highest of {count})", last.colour),
        ]
    return labels


def _end(rounds: Any, line: Any) -> tuple[float, float]:
    known = np.flatnonzero(~np.isnan(line))
    at = known[-1] if known.size else 0
    return float(rounds[at]), float(line[at])


def _spread(axes: Any, rounds: Any, values: Any) -> list[Label]:
    """The range over all lines, that of eight tenths of them, and the median."""
    top, upper, middle, lower, bottom = _quantiles(values, [share for share, _ in SPREAD])
    axes.fill_between(rounds, bottom, top, color=_PALE, alpha=0.45, linewidth=0)
    axes.fill_between(rounds, lower, upper, color=_PALE, linewidth=0)
    axes.plot(rounds, middle, color=_DARK, linewidth=1.6)
    for line, dashes in ((top, DASHES[2]), (bottom, DASHES[2]), (upper, DASHES[1]), (lower, DASHES[1])):
        axes.plot(rounds, line, color=_DARK, linewidth=0.7, linestyle=dashes)
    ends = (top, upper, middle, lower, bottom)
    return [Label(*_end(rounds, line), text, _DARK) for line, (_, text) in zip(ends, SPREAD, strict=True)]


def _quantiles(values: Any, shares: Sequence[float]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a round of which nothing is known
        return np.nanquantile(values, shares, axis=1)


def _scale(axes: Any, every: Sequence[Series]) -> None:
    if every[0].log:
        axes.set_yscale("log")
        return
    ends = [abs(y) for s in every for y in s.values[-1] if np.isfinite(y)]
    size = max(ends, default=0.0) or 1.0
    if max(float(np.nanmax(np.abs(s.values), initial=0.0)) for s in every) > _OVERSHOOT * size:
        axes.set_yscale("symlog", linthresh=size)


def shows_targets(series: Series) -> bool:
    """Whether the lines of one run get marks where they should end: not too many, and known."""
    return 0 < np.unique(series.targets[np.isfinite(series.targets)]).size <= MANY


def _targets(axes: Any, series: Series) -> None:
    """Marks where the lines should end, at the last round."""
    if shows_targets(series):
        wanted = np.unique(series.targets[np.isfinite(series.targets)])
        x = np.full(wanted.size, series.rounds[-1])
        axes.plot(x, wanted, ">", color="black", markersize=4, clip_on=False, zorder=4)
