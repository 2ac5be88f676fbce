"""Payoff over the size of the lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runner.deviate.lab import shown_agents
from runner.figures.canvas import WIDTH, page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from runner.deviate.lab import Report

# Okabe and Ito's palette; each line has its own dashes and marks as well, so that it reads in grey.
HELD: dict[str, Any] = {"color": "#0072B2", "linestyle": "-", "marker": "o"}
LEARN: dict[str, Any] = {"color": "#D55E00", "linestyle": "--", "marker": "s"}
NAIVE: dict[str, Any] = {"color": "#009E73", "linestyle": "-.", "marker": "^"}
OTHERS: dict[str, Any] = {"color": "#444444", "linestyle": ":", "marker": "D"}
# From this ratio of the largest to the smallest gain on, a linear axis would show the largest alone.
WIDE = 30.0


def draw(report: Report, path: Path) -> None:
    """Draw what a deviator gains over the size of its lie; the suffix of ``path`` chooses the format.

    Above, the deviators' gain over honesty: the others' messages held at the equilibrium, where it must be
    largest at the honest size; the others learning; and for unicast the naive price iteration. Below, what
    all others gain. Hollow marks: play did not come to rest. Play that diverges has no mark.

    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    sizes = [p.size for p in report.points]
    held = [math.fsum(p.held.values()) for p in report.points]
    learn = [_or_nan(report.total(p.gains)) for p in report.points]
    others = [_or_nan(report.total(p.gains, deviators=False)) for p in report.points]
    rest = [p.learning.rest for p in report.points]
    naive = [math.fsum(p.naive.values()) for p in report.points] if report.naive else []
    with page(path, (WIDTH, 5.6)) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        for axes in (above, below):
            axes.axhline(0.0, color="#777777", linewidth=0.8)
            axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
            if report.honest_size is not None:
                axes.axvline(report.honest_size, color="#777777", linewidth=0.8, linestyle=(0, (4, 3)))
        _line(above, sizes, held, [True] * len(sizes), "others held at the equilibrium", HELD)
        _line(above, sizes, learn, rest, "others keep learning", LEARN)
        if naive:
            _line(above, sizes, naive, [True] * len(sizes), "no mechanism: naive prices", NAIVE)
        _line(below, sizes, others, rest, "all others, learning", OTHERS)
        _scale(above, [*held, *learn, *naive])
        _scale(below, others)
        who = shown_agents(report.agents)
        above.set_title(f"{report.scenario}: what {who} gains by {report.strategy}", pad=24)
        above.set_ylabel(f"gain of {who} over honesty")
        below.set_ylabel("gain of all\nothers")
        below.set_xlabel(f"size of the lie ({report.strategy})")
        if report.honest_size is not None:
            below.annotate(
                "honest",
                (report.honest_size, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 4),
                textcoords="offset points",
                color="#555555",
            )
        above.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=3,
            frameon=False,
            borderaxespad=0.1,
            handlelength=3.2,
        )
        if not all(rest):
            below.annotate(
                "hollow: play did not come to rest",
                (1.0, 1.0),
                xycoords="axes fraction",
                xytext=(0, 3),
                textcoords="offset points",
                ha="right",
                color="#555555",
            )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _line(
    axes: Any,
    sizes: Sequence[float],
    values: Sequence[float],
    rest: Sequence[bool],
    label: str,
    style: dict[str, Any],
) -> None:
    axes.plot(sizes, values, label=label, linewidth=1.8, markersize=6, **style)
    hollow = [(s, v) for s, v, ok in zip(sizes, values, rest, strict=True) if not ok]
    if hollow:
        marks = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
        axes.plot(*zip(*hollow, strict=True), markersize=6, markerfacecolor="white", zorder=3, **marks)


def _scale(axes: Any, values: Sequence[float]) -> None:
    """A symmetric logarithmic axis where losses differ by orders of magnitude, linear around the gains."""
    known = [abs(v) for v in values if math.isfinite(v) and v != 0.0]
    gains = [v for v in values if math.isfinite(v) and v > 1e-12 * max(known, default=1.0)]
    inner = max(gains) if gains else min(known, default=0.0)
    if known and inner > 0.0 and max(known) > WIDE * inner:
        axes.set_yscale("symlog", linthresh=_round_up(inner))


def _round_up(value: float) -> float:
    return float(10.0 ** math.ceil(math.log10(value)))
