"""What all figures share: palette, line styles, the page and its file, labels at the ends of curves."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.files import complete

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

# Okabe and Ito's palette: told apart with every common form of colour blindness. Lines that are told apart by
# their colour differ in their dashes as well: grey prints show these.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, "#000000", PURPLE, "#56B4E9", "#E69F00")
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (5, 2)),
    (0, (1.2, 1.4)),
    (0, (6, 1.6, 1.2, 1.6)),
    (0, (9, 2)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
    (0, (2.5, 2.5)),
)
MARKERS = "os^Dv>P"
GREY, FAINT = "#666666", "#e6e6e6"
SHADES = "cividis"  # from dark to light evenly: an order of lines that grey keeps
WIDTH = 8.6  # inches of a figure
FONT = 9.5  # points
STYLE: Mapping[str, Any] = {
    "font.size": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "axes.titlesize": FONT + 1,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "svg.hashsalt": "vicinal",  # the same figure is the same file
}
FORMATS = ("png", "svg")
_DPI = 160
_LINE = 1.3 * FONT / 72  # inches of a line of a label


class PlotUnavailable(Exception):
    """There is no plot to be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a curve, to be written beside its end (x, y)."""

    x: float
    y: float
    text: str
    colour: Any


@contextlib.contextmanager
def page(
    path: str | os.PathLike[str],
    inches: tuple[float, float],
    style: Mapping[str, Any] = STYLE,
    dpi: int = _DPI,
) -> Iterator[Any]:
    """A figure, written to the path when the block is left in good order: complete or not there.

    Args:
        path: its suffix chooses the format.
        inches: width and height.
        style: matplotlib's parameters.
        dpi: of a PNG.
    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
        agg = importlib.import_module("matplotlib.backends.backend_agg")
    except ImportError as error:
        raise PlotUnavailable("no plot: matplotlib is missing; pip install vicinal[plot]") from error
    with matplotlib.rc_context(dict(style)):
        # A figure of its own instead of pyplot: no global state, no window, half the import time.
        figure = figures.Figure(figsize=inches, layout="constrained")
        agg.FigureCanvasAgg(figure)
        yield figure
        kind = Path(path).suffix[1:] or "png"
        undated = {"metadata": {"Date": None}} if kind == "svg" else {}
        with complete(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=dpi, **undated)


def power(value: float) -> str:
    """2.9e-09 as a paper writes it."""
    if value == 0:
        return "0"
    digits, exponent = f"{value:.1e}".split("e")
    factor = "" if digits == "1.0" else rf"{digits} \times "
    return rf"${factor}10^{{{int(exponent)}}}$"


def halo() -> Any:
    """White around letters: they stay legible where a curve is near."""
    effects = importlib.import_module("matplotlib.patheffects")
    return effects.withStroke(linewidth=2.2, foreground="white")


def shades(count: int) -> Any:
    """(count, 4) colours from dark to light; the lightest fifth is left out, it is lost on white."""
    return importlib.import_module("matplotlib").colormaps[SHADES](np.linspace(0.0, 0.78, max(count, 1)))


def label_ends(axes: Any, labels: Sequence[Label], inches: float) -> None:
    """Write each curve's name right of its end, apart from one another.

    Args:
        axes: with its limits as they will be.
        labels: in any order.
        inches: height of the axes.
    """
    axes.get_ylim()  # settles limits that follow the data
    labels = sorted(labels, key=lambda label: label.y)
    points = axes.transData.transform([(label.x, label.y) for label in labels] or np.empty((0, 2)))
    heights = axes.transAxes.inverted().transform(points)[:, 1]
    half = np.array([_LINE / inches / 2 * (1 + label.text.count("\n")) for label in labels])
    for _ in range(200):  # neighbours that overlap push each other away; a handful of sweeps settle it
        heights = np.clip(heights, half - 0.04, 1.04 - half)
        overlap = np.maximum(half[1:] + half[:-1] - np.diff(heights), 0.0) / 2
        heights[1:] += overlap
        heights[:-1] -= overlap
    for height, label in zip(heights, labels, strict=True):
        axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=label.colour,
            va="center",
            linespacing=1.15,
            arrowprops={
                "arrowstyle": "-",
                "color": label.colour,
                "linewidth": 0.7,
                "relpos": (0.0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )
