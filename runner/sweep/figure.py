"""Metrics over the first parameter of a sweep, with their confidence intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner.figures.canvas import DASHES, FAINT, MARKERS, PALETTE, WIDTH, page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner.sweep.statistics import Estimate

# Values that span more than this are drawn on a logarithmic axis.
WIDE = 20.0
MOST_LINES = len(PALETTE)


def draw(
    name: str,
    summary: Sequence[dict[str, Any]],
    keys: Sequence[str],
    metrics: Sequence[str],
    interval: str,
    path: Path,
) -> None:
    """Draw a panel for each metric: its mean over the first key, a line for every choice of the others.

    Args:
        name: the scenario's.
        summary: of ``statistics.summarise``.
        keys: the grid's; without any there is one point.
        metrics: at least one.
        interval: which confidence interval the bars are.
        path: the suffix chooses the format.
    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    first = keys[0] if keys else None
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for entry in summary:
        lines.setdefault(tuple(entry["parameters"][key] for key in keys[1:]), []).append(entry)
    places: list[Any] = (
        list(dict.fromkeys(entry["parameters"][first] for entry in summary)) if first else [""]
    )
    numeric = all(isinstance(value, int | float) for value in places)
    with page(path, (WIDTH, 1.4 + 2.0 * len(metrics))) as figure:
        panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
        for axes, metric in zip(panels, metrics, strict=True):
            shown = 0
            for k, (values, entries) in enumerate(list(lines.items())[:MOST_LINES]):
                shown += _line(axes, k, _label(keys[1:], values), entries, first, metric, places, numeric)
            axes.set_ylabel(metric)
            axes.grid(axis="y", color=FAINT, linewidth=0.6)
            axes.set_axisbelow(True)
            if not shown:
                axes.text(0.5, 0.5, f"no run has {metric}", transform=axes.transAxes, ha="center")
            elif _wide([e["metrics"][metric] for e in summary]):
                axes.set_yscale("log")
        figure.align_ylabels()
        bottom = panels[-1]
        if numeric and min(places) > 0 and max(places) > WIDE * min(places):
            bottom.set_xscale("log")
        if not numeric:
            bottom.set_xticks(range(len(places)), [str(place) for place in places])
            bottom.set_xlim(-0.5, len(places) - 0.5)
        bottom.set_xlabel(first or "all runs")
        runs = max(entry["runs"] for entry in summary)
        panels[0].set_title(
            f"{name}: means over {runs} seed{'s' if runs > 1 else ''}, 95 % intervals ({interval})",
            pad=10 if not keys[1:] else 26,
        )
        if keys[1:]:
            panels[0].legend(
                loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, borderaxespad=0.1
            )
        if len(lines) > MOST_LINES:
            bottom.annotate(
                f"the first {MOST_LINES} of {len(lines)} combinations",
                (1.0, 0.0),
                xycoords="axes fraction",
                ha="right",
            )


def _line(
    axes: Any,
    k: int,
    label: str,
    entries: Sequence[dict[str, Any]],
    first: str | None,
    metric: str,
    places: Sequence[Any],
    numeric: bool,
) -> bool:
    """Draw one line; whether there was anything to draw."""
    x, y, below, above = [], [], [], []
    for entry in entries:
        found: Estimate = entry["metrics"][metric]
        if found.mean is None:
            continue
        place = entry["parameters"][first] if first else ""
        x.append(place if numeric else places.index(place))
        y.append(found.mean)
        below.append(found.mean - found.low if found.low is not None else 0.0)
        above.append(found.high - found.mean if found.high is not None else 0.0)
    axes.errorbar(
        x,
        y,
        yerr=(below, above),
        label=label,
        color=PALETTE[k],
        marker=MARKERS[k],
        linestyle=DASHES[k],
        linewidth=1.6,
        markersize=5.5,
        capsize=3,
        elinewidth=1.1,
    )
    return bool(x)


def _label(keys: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} = {value}" for key, value in zip(keys, values, strict=True))


def _wide(estimates: Sequence[Estimate]) -> bool:
    means = [e.mean for e in estimates if e.mean is not None]
    return bool(means) and min(means) > 0.0 and max(means) > WIDE * min(means)
