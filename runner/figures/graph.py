"""The communication graph with a value on every agent."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.consensus import ConsensusResult
from runner.errors import UserError
from runner.figures.canvas import GREY, SHADES, halo
from runner.figures.placing import MOST_EXACT, places
from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.figures.run import Run

VALUES = ("allocations", "prices", "taxes")
NAMED = 40  # agents up to which all have their id on the page
_ROOM = 17.0  # points across, from which a number fits into a disc
_LARGEST, _SMALLEST = 30.0, 2.2  # points across
_GAP, _MARGIN = 0.25, 0.17  # between two graphs, and about all, in widths of one
_FAR = 20  # times the median size; from there on a linear scale would show one colour
_EDGE = "#9a9a9a"
_MOST_CLEAR = 1500  # edges up to which a page shows them one by one


def final_values(run: Run, what: str) -> tuple[str, dict[str, float]]:
    """What is written on the agents, after its name: of the first good, or what a consensus found.

    Raises:
        UserError: if it is no metric that agents have a final value of.
    """
    result = run.result
    if isinstance(result, ConsensusResult):
        return "value found", {i: x[0] for i, x in result.values.items() if x}
    if what not in VALUES:
        raise UserError(
            f"values on nodes: got {what!r}; expected one of {', '.join(VALUES)}{did_you_mean(what, VALUES)}"
        )
    if what == "taxes":
        return "tax (money)", dict(result.taxes)
    found = result.allocation if what == "allocations" else result.prices
    goods = len(next(iter(found.values())))
    of = f", {run.good} 0 of {goods}" if goods > 1 else ""
    word, unit = (
        ("allocation", f"units of the {run.good}") if what == "allocations" else ("price", "money a unit")
    )
    return f"{word}{of} ({unit})", {i: x[0] for i, x in found.items()}


@dataclass(frozen=True, slots=True)
class Placed:
    """Graphs side by side, each in a square of side 1.

    Attributes:
        runs: whose they are.
        what: the values' name and unit.
        values: of each run, agent -> number.
        spots: of each run, shape (N, 2), in the order of the graph's nodes.
    """

    runs: Sequence[Run]
    what: str
    values: list[dict[str, float]]
    spots: list[Any]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all, margins and titles included."""
        tall = max(float(np.ptp(spots[:, 1])) for spots in self.spots)
        return len(self.runs) + (len(self.runs) - 1) * _GAP + _MARGIN, tall + _MARGIN + self.head

    @property
    def head(self) -> float:
        """Height of the titles: one graph needs none."""
        return 0.1 if len(self.runs) > 1 else 0.0


def place(runs: Sequence[Run], what: str) -> Placed:
    """Put the agents of every run's graph on the page.

    Args:
        runs: at least one.
        what: one of ``VALUES``.
    Raises:
        UserError: for an unknown ``what``.
    """
    named = [final_values(run, what) for run in runs]
    spots = [
        _fitted(places(run.loaded.graph, run.loaded.directed)) + np.array([k * (1 + _GAP), 0.0])
        for k, run in enumerate(runs)
    ]
    return Placed(runs, named[0][0], [values for _, values in named], spots)


def draw_graphs(axes: Any, placed: Placed, inches: float) -> None:
    """Draw the graphs with one scale of colours.

    Args:
        axes: will show nothing else.
        placed: the graphs.
        inches: a side of the square of each.
    """
    norm, shades = _norm(placed.values), importlib.import_module("matplotlib").colormaps[SHADES]
    for k, run in enumerate(placed.runs):
        _draw(axes, run, placed.spots[k], {i: shades(norm(x)) for i, x in placed.values[k].items()}, inches)
        at = dict(zip(run.loaded.graph, placed.spots[k], strict=True))
        _write(axes, at, placed.values[k], lambda x: shades(norm(x)), _size(placed.spots[k], inches))
        if len(placed.runs) > 1:
            top = max(float(spots[:, 1].max()) for spots in placed.spots)
            axes.text(k * (1 + _GAP), top + placed.head, run.label, ha="center", va="bottom")
    if norm.vmax > norm.vmin:
        mappable = importlib.import_module("matplotlib.cm").ScalarMappable(norm, shades)
        bar = axes.figure.colorbar(mappable, ax=axes, shrink=0.8, pad=0.02, aspect=28)
        bar.set_label(placed.what)
        bar.outline.set_linewidth(0.6)
    else:
        text = f"{placed.what}: {norm.vmin:.6g} everywhere"
        axes.text(0.5, 0.0, text, transform=axes.transAxes, ha="center", va="top")
    width, height = placed.size
    bottom = min(float(spots[:, 1].min()) for spots in placed.spots) - _MARGIN / 2
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-0.5 - _MARGIN / 2, -0.5 - _MARGIN / 2 + width)
    axes.set_ylim(bottom, bottom + height)


def _draw(axes: Any, run: Run, spots: Any, shade: dict[str, Any], inches: float) -> None:
    collections = importlib.import_module("matplotlib.collections")
    graph, directed = run.loaded.graph, run.loaded.directed
    at, size = dict(zip(graph, spots, strict=True)), _size(spots, inches)
    lines = [(at[a], at[b]) for a, b in graph.edges if directed or a < b]
    thin = 0.9 if len(graph) <= MOST_EXACT else 0.35
    faint = min(1.0, max(0.12, _MOST_CLEAR / max(1, len(lines))))  # many cover one another
    axes.add_collection(
        collections.LineCollection(lines, colors=_EDGE, linewidths=thin, alpha=faint, zorder=1)
    )
    if directed:
        _arrows(axes, graph, at, size)
    axes.scatter(
        spots[:, 0],
        spots[:, 1],
        s=size**2,
        c=[shade.get(i, "white") for i in graph],
        edgecolors="#333333" if size > 6 else "none",
        linewidths=0.6,
        zorder=2,
    )


def _norm(values: Sequence[dict[str, float]]) -> Any:
    """The scale of colours; logarithmic beyond the usual size if a few values are far larger."""
    colors = importlib.import_module("matplotlib.colors")
    every = np.array([x for each in values for x in each.values()] or [0.0])
    low, high = float(every.min()), float(every.max())
    usual = float(np.median(np.abs(every)))
    if usual > 0 and float(np.abs(every).max()) > _FAR * usual:
        return colors.SymLogNorm(usual, vmin=low, vmax=high)
    return colors.Normalize(low, high)


def _fitted(spots: Any) -> Any:
    """In a square of side 1 about the origin."""
    low, high = spots.min(0), spots.max(0)
    return (spots - (low + high) / 2) / (float((high - low).max()) or 1.0)


def _size(spots: Any, inches: float) -> float:
    """Points across a disc, such that most neighbours on the page do not touch."""
    if len(spots) > 2000:
        return _SMALLEST
    gaps = np.linalg.norm(spots[:, None] - spots[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    near = float(np.quantile(gaps.min(axis=1), 0.1)) * inches * 72
    return float(np.clip(0.8 * near, _SMALLEST, _LARGEST))


def _write(axes: Any, at: Any, values: dict[str, float], shade: Callable[[float], Any], size: float) -> None:
    """Numbers into the discs and ids below; if there is no room, the largest and the smallest alone."""
    if len(at) <= NAMED and size >= _ROOM:
        points = {"textcoords": "offset points", "ha": "center"}
        for i, spot in at.items():
            if i in values:
                dark = np.dot(shade(values[i])[:3], (0.299, 0.587, 0.114)) < 0.5
                ink, font = "white" if dark else "black", min(8.5, 0.36 * size)
                axes.annotate(
                    _short(values[i]), spot, (0, 0), va="center", color=ink, fontsize=font, **points
                )
            below = (0, -size / 2 - 1)
            axes.annotate(i, spot, below, va="top", color=GREY, fontsize=7.5, path_effects=[halo()], **points)
        return
    if not values or max(values.values()) == min(values.values()):
        return
    middle = np.mean(list(at.values()), axis=0)
    for word, pick in (("largest", max), ("smallest", min)):
        i = pick(sorted(values), key=lambda agent: values[agent])
        away = at[i] - middle
        away = 24 * away / (float(np.linalg.norm(away)) or 1.0)
        axes.annotate(
            f"{word}: {i}, {values[i]:.4g}".replace(" -", " −"),
            at[i],
            tuple(away),
            textcoords="offset points",
            ha="left" if away[0] > 12 else "right" if away[0] < -12 else "center",
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": "black", "linewidth": 0.7},
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )


def _short(value: float) -> str:
    """At most five characters where they say enough."""
    text = f"{value:.2f}" if abs(value) < 100 else f"{value:.3g}"
    return "0" if value == 0 else text.replace("-", "−")


def _arrows(axes: Any, graph: Any, at: Any, size: float) -> None:
    """Heads of single directions: i -> j, i listens to j."""
    for a, b in graph.edges:
        if not graph.has_edge(b, a):
            axes.annotate(
                "",
                at[b],
                at[a],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": _EDGE,
                    "linewidth": 0.9,
                    "shrinkA": size / 2,
                    "shrinkB": size / 2,
                },
                zorder=1,
            )
