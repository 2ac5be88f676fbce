"""The convergence plot of a run, drawn from its record, and the rate that was observed."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runner.consensus import ConsensusResult
    from runner.record import Record
    from runner.result import RunResult

Vector = NDArray[np.float64]

# Okabe and Ito's palette: told apart with every common form of colour blindness.
_BLUE, _ORANGE, _GREEN, _PURPLE, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#777777"
_STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "xtick.direction": "out",
    "ytick.direction": "out",
}
# The part of an error's decades that is fitted, counted from the smallest error: above the rounding floor,
# below the transient of the first rounds.
_FIT_FROM, _FIT_TO = 0.15, 0.75
_FIT_POINTS = 8
_LINE_HEIGHT = 0.052  # of a label, in heights of the upper panel


class PlotUnavailable(Exception):
    """There is no plot to be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Errors:
    """How far the network was from the optimum, round by round.

    Attributes:
        rounds: (R,) ascending.
        values: (R,) >= 0, NaN where nothing is known.
    """

    rounds: NDArray[np.int64]
    values: Vector


def deviations(record: Record, name: str, optimal: Mapping[str, Sequence[float]]) -> Errors:
    """max over agents and goods of |value - optimum|, over max |optimum|, in every recorded round of play.

    The maximum is over the agents that have a row in that round.

    Args:
        record: with ``name``, or ``name.0``, ``name.1``, ...
        name: ``allocation`` or ``price``.
        optimal: agent -> what it should be, shape (K,). Agents that it does not name do not count.
    """
    rounds, values, agents = record.goods(name)
    known = [n for n, agent in enumerate(agents) if agent in optimal]
    if not known:
        return Errors(rounds, np.full(rounds.size, np.nan))
    target = np.array([optimal[agents[n]] for n in known], float)
    scale = float(np.abs(target).max()) or 1.0
    return Errors(rounds, _largest(values[:, known] - target) / scale)


def allocation_errors(record: Record, optimal: Mapping[str, Sequence[float]]) -> Errors:
    """``deviations`` of allocations: max |x_i - x_i*| over max |x*|."""
    return deviations(record, "allocation", optimal)


def observed_rate(record: Record, optimal_allocation: Mapping[str, Sequence[float]]) -> float | None:
    """The factor by which the allocation error shrank per round.

    A line is fitted by least squares to the logarithm of ``allocation_errors`` against the round; its slope
    is the logarithm of the rate. Fitted are the rounds, in one piece after the largest error, in which the
    logarithm lies between 15 % and 75 % of its range: above, first rounds show a transient of many rates;
    below, the error may have reached the floor of rounding.

    Returns:
        The rate per round, or None if there are fewer than eight such rounds or the error fell by less than
        a factor of ten in all.
    """
    errors = allocation_errors(record, optimal_allocation)
    known = errors.values > 0  # false for NaN
    rounds, logs = errors.rounds[known].astype(float), np.log(errors.values[known])
    if logs.size < _FIT_POINTS:
        return None
    rounds, logs = rounds[logs.argmax() :], logs[logs.argmax() :]
    low, span = logs.min(), np.ptp(logs)
    if span < np.log(10.0):
        return None
    begin = int(np.argmax(logs <= low + _FIT_TO * span))
    end = int(np.argmax(logs <= low + _FIT_FROM * span))
    if end - begin < _FIT_POINTS:
        return None
    slope = np.polyfit(rounds[begin:end] - rounds[begin], logs[begin:end], 1)[0]
    return float(np.exp(slope))


def draw_convergence(record: Record, result: RunResult, path: str | os.PathLike[str]) -> None:
    """Draw how the run found the optimum; the suffix of ``path`` chooses the format.

    Above, on a logarithmic axis, the errors against the central optimum, with the promised accuracy and the
    slope of the certified contraction; below, every agent's allocation on its way to its optimum. The file
    is either complete or not there.

    Raises:
        PlotUnavailable: if matplotlib is not installed or the record holds no allocation.
        OSError: if the file cannot be written.
    """
    rounds, values, agents = record.goods("allocation")
    if not rounds.size:
        raise PlotUnavailable("nothing to draw: the record holds no allocation")
    with figure_at(path) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.3, 1))
        _draw_errors(above, record, result, int(rounds[0]))
        _draw_allocations(below, rounds, values, agents, result)
        _mark_phases(above, int(rounds[0]), result, titled=True)
        _mark_phases(below, int(rounds[0]), result, titled=False)
        below.set_xlabel(_unit(result))


def draw_estimates(record: Record, result: ConsensusResult, path: str | os.PathLike[str]) -> None:
    """Draw how the agents' estimates of a mean met: errors above, the estimates themselves below.

    Raises:
        PlotUnavailable: if matplotlib is not installed or the record holds no estimate.
        OSError: if the file cannot be written.
    """
    rounds, values, _ = record.series("estimate")
    if not rounds.size:
        raise PlotUnavailable("nothing to draw: the record holds no estimate")
    mean = result.expected[0]
    with figure_at(path) as figure, np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a round in which no agent has an estimate
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        error = np.nanmax(np.abs(values - mean), axis=1)
        above.semilogy(rounds, np.where(error > 0, error, np.nan), color="#0072B2", linewidth=2)
        above.axhline(result.tolerance, color="black", linestyle="--", linewidth=1)
        above.text(float(rounds[0]), result.tolerance, " promised accuracy", va="bottom")
        above.set_ylabel("largest error of an estimate")
        above.set_title(
            f"{result.scenario}: {result.primitive}, {result.agents} agents, "
            f"{result.primitive_rounds} {_unit(result)}s, {_stop(result)}",
            loc="left",
        )
        below.plot(rounds, values, color="#56B4E9", linewidth=0.7, alpha=0.7)
        below.axhline(mean, color="black", linewidth=1)
        below.text(float(rounds[-1]), mean, "mean ", va="bottom", ha="right")
        below.set_ylabel("estimates")
        below.set_xlabel(_unit(result))


def _unit(result: RunResult | ConsensusResult) -> str:
    """What the horizontal axis counts: rounds, or every agent its own ticks."""
    return "tick" if result.synchrony == "free" else "round"


def _stop(result: RunResult | ConsensusResult) -> str:
    of = " of the stopping rule" if result.synchrony == "free" else ""
    return f"all stop in round {result.stopped_in_round}{of}"


@contextlib.contextmanager
def figure_at(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A figure, written to the path when the block is left in good order: complete or not there."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
        agg = importlib.import_module("matplotlib.backends.backend_agg")
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is missing; pip install vicinal[plot]") from error
    with matplotlib.rc_context(_STYLE):
        # A figure of its own instead of pyplot: no global state, no window, half the import time.
        figure = figures.Figure(figsize=(8.6, 6.6), layout="constrained")
        agg.FigureCanvasAgg(figure)
        yield figure
        path = Path(path)
        temporary = path.with_name(f".{path.name}")
        try:
            figure.savefig(temporary, format=path.suffix[1:] or "png", dpi=160)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _largest(deviation: Vector) -> Vector:
    """max |.| over all axes but the first, NaN where nothing is known."""
    axes = tuple(range(1, deviation.ndim))
    known = ~np.isnan(deviation)
    largest = np.where(known, np.abs(deviation), 0.0).max(axis=axes, initial=0.0)
    return np.where(known.any(axis=axes), largest, np.nan)


def _curves(record: Record, result: RunResult) -> Iterator[tuple[Errors, str, dict[str, Any]]]:
    """What the upper panel shows: values, label, style. The widest first: what hides behind stays visible."""
    rate = None if result.synchrony == "free" else observed_rate(record, result.optimal_allocation)
    text = "allocation error" + (f"\nobserved × {rate:.4f} a round" if rate is not None else "")
    yield allocation_errors(record, result.optimal_allocation), text, {"color": _BLUE, "linewidth": 3.2}

    yield (
        deviations(record, "price", result.optimal_prices),
        "price error",
        {"color": _ORANGE, "linewidth": 1.3},
    )

    rounds, taxes, _ = record.series("tax")
    paid = np.nansum(np.abs(taxes), axis=1)
    with np.errstate(invalid="ignore"):
        # A round in which an agent's row is missing says nothing about the budget.
        balance = np.abs(taxes.sum(axis=1)) / paid
    style = {"color": _GREEN, "linewidth": 1.3, "linestyle": (0, (4, 2))}
    yield Errors(rounds, balance), "|sum of taxes| / sum |taxes|", style

    rounds, residuals, _ = record.series("residual")
    yield (
        Errors(rounds, _largest(residuals)),
        "largest residual\n(units of demand)",
        {"color": _PURPLE, "linewidth": 1.3},
    )


def _draw_errors(axes: Any, record: Record, result: RunResult, play: int) -> None:
    axes.set_yscale("log")
    labels: list[tuple[float, float, str, str]] = []
    for errors, text, style in _curves(record, result):
        known = errors.values > 0
        if not known.any():
            continue
        x, y = errors.rounds[known], errors.values[known]
        axes.plot(x, y, **style)
        labels.append((float(x[-1]), float(y[-1]), text, style["color"]))

    errors = allocation_errors(record, result.optimal_allocation)
    # A tick is no round: in free mode the bound has no slope.
    if result.synchrony != "free" and (errors.values > 0).any() and 0 < result.contraction_bound < 1:
        first = int(np.argmax(errors.values > 0))
        x0, y0 = int(errors.rounds[first]), float(errors.values[first])
        x1 = max(int(errors.rounds[-1]), x0 + 1)
        y1 = y0 * result.contraction_bound ** (x1 - x0)
        axes.plot([x0, x1], [y0, y1], color=_GREY, linewidth=1.1, linestyle=(0, (1, 1.6)))
        labels.append((x1, y1, f"certified slope\n× {result.contraction_bound:.6g} a round", _GREY))
    axes.axhline(result.tolerance, color="black", linewidth=1.0, linestyle=(0, (5, 3)))
    word = "promised accuracy" if result.guaranteed else "accuracy asked for, not promised:"
    axes.annotate(
        f"{word} {_power(result.tolerance)}",
        (play, result.tolerance),
        xytext=(4, 3),
        textcoords="offset points",
    )
    axes.set_ylabel("distance from the optimum")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    title = Path(result.scenario).stem if result.scenario.endswith(".toml") else result.scenario
    axes.set_title(
        f"{title}: {result.agents} agents, {result.play_rounds} {_unit(result)}s of play, "
        f"final allocation error {_power(result.allocation_error)}",
        pad=16,
    )
    _label_ends(axes, labels)


def _power(value: float) -> str:
    """2.9e-09 as a paper writes it."""
    digits, exponent = f"{value:.1e}".split("e")
    factor = "" if digits == "1.0" else rf"{digits} \times "
    return rf"${factor}10^{{{int(exponent)}}}$"


def _label_ends(axes: Any, labels: list[tuple[float, float, str, str]]) -> None:
    """Write each curve's name right of its end, apart from one another."""
    bottom, top = (np.log10(limit) for limit in axes.get_ylim())
    labels = sorted(labels, key=lambda label: label[1])
    heights = np.array([(np.log10(y) - bottom) / (top - bottom) for _, y, _, _ in labels])
    half = np.array([_LINE_HEIGHT / 2 * (1 + text.count("\n")) for _, _, text, _ in labels])
    for _ in range(200):  # neighbours that overlap push each other away; a handful of sweeps settle it
        heights = np.clip(heights, half - 0.04, 1.02 - half)
        overlap = np.maximum(half[1:] + half[:-1] - np.diff(heights), 0.0) / 2
        heights[1:] += overlap
        heights[:-1] -= overlap
    for height, (x, y, text, colour) in zip(heights, labels, strict=True):
        axes.annotate(
            text,
            (x, y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=colour,
            va="center",
            linespacing=1.15,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def _draw_allocations(
    axes: Any, rounds: NDArray[np.int64], values: Vector, agents: Sequence[str], result: RunResult
) -> None:
    known = [n for n, agent in enumerate(agents) if agent in result.optimal_allocation]
    target = np.array([result.optimal_allocation[agents[n]] for n in known], float).reshape(len(known), -1)
    lines = values[:, known].reshape(len(rounds), -1)
    ends = target.reshape(-1)
    shades = importlib.import_module("matplotlib").colormaps["cividis"]
    rank = np.argsort(np.argsort(ends))
    for n in range(lines.shape[1]):
        shade = shades(0.92 * rank[n] / max(1, ends.size - 1))
        axes.plot(rounds, lines[:, n], color=shade, linewidth=0.8, alpha=0.8)
        axes.plot(rounds[-1:], ends[n : n + 1], ">", color=shade, markersize=3.5, clip_on=False)
    scale = float(np.abs(ends).max(initial=0.0)) or 1.0
    if np.nanmax(np.abs(lines), initial=0.0) > 10 * scale:
        # The first rounds overshoot by far; a linear axis would show nothing else.
        axes.set_yscale("symlog", linthresh=scale)
    axes.annotate(
        "▸ optimum of\n    each agent" if result.multiplier else "▸ optimum, the\n    same for all",
        (1, 0.5),
        xycoords="axes fraction",
        xytext=(1.04, 0.5),
        textcoords="axes fraction",
        va="center",
        linespacing=1.15,
    )
    axes.set_ylabel("allocation")


def _mark_phases(axes: Any, play: int, result: RunResult, *, titled: bool) -> None:
    """Shade what came before play, and say where play starts and where all stopped."""
    end = max(result.rounds - 1, play + 1)
    axes.set_xlim(0, end)
    axes.axvspan(0, play, color="#f2f2f2", zorder=0)
    axes.axvline(play, color="black", linewidth=0.7)
    axes.axvline(end, color="black", linewidth=0.7, clip_on=False)
    if not titled:
        return
    notes = [(play, f"play starts in {_unit(result)} {play}", "left"), (end, _stop(result), "right")]
    for x, text, side in notes:
        place = axes.get_xaxis_transform()
        axes.annotate(text, (x, 1), xycoords=place, xytext=(0, 4), textcoords="offset points", ha=side)
    if play > 0.08 * end:
        text = "survey, agreement"
        axes.text(play / 2, 0.97, text, transform=place, rotation=90, ha="center", va="top", color=_GREY)
