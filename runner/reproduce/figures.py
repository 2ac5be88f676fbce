"""Figures 12 to 15 of the thesis, drawn from recorded runs."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.figures.canvas import BLUE, GREEN, ORANGE, halo, page
from runner.reproduce.cases import DYNAMICS, GRAPHS, Case

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner.reproduce.cases import Dynamics, Graph, Mechanism
    from runner.reproduce.curve import Curve

_COLOUR: dict[Dynamics, str] = {"cournot": BLUE, "exponential": ORANGE, "k10": GREEN}
_DASHES: dict[Graph, Any] = {"tree": "solid", "er": (0, (5, 1.6))}
_WIDTH: dict[Graph, float] = {"tree": 1.5, "er": 1.3}
_DYNAMIC: dict[Dynamics, str] = {"cournot": "Cournot", "exponential": "exponential", "k10": "k = 10"}
_GRAPH: dict[Graph, str] = {"tree": "tree", "er": "random graph"}
_GREY = "#555555"
_STYLE = {
    "font.family": "serif",
    "font.serif": ["STIX Two Text", "STIXGeneral", "Times New Roman", "DejaVu Serif"],
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "ytick.minor.left": False,
}
_INCHES = (6.8, 4.1)
_DPI = 150
_POINTS = 8.6  # of labels


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the thesis.

    Attributes:
        number: in the thesis.
        mechanism: whose curves.
        series: which of a curve's distances.
        title: what is drawn, in words and signs.
    """

    number: int
    mechanism: Mechanism
    series: str
    title: str

    @property
    def file(self) -> str:
        """Where it is kept."""
        return f"figure-{self.number}.png"


FIGURES = (
    Figure(
        12,
        "private-goods",
        "message",
        r"Private goods: distance of the messages from the Nash equilibrium, $\Vert m_n-\tilde m\,\Vert_2$",
    ),
    Figure(
        13,
        "private-goods",
        "allocation",
        r"Private goods: distance of the allocation from the optimum, $\Vert \hat x(m_n)-x^{\ast}\Vert_2$",
    ),
    Figure(
        14,
        "private-goods",
        "price",
        r"Private goods: distance of everybody’s price from the multiplier, "
        r"$\Vert \hat p(m_n)-\lambda^{\ast}\mathbf{1}\Vert_2$",
    ),
    Figure(
        15,
        "public-goods",
        "message",
        r"Public good: distance of the messages from the Nash equilibrium, $\Vert m_n-\tilde m\,\Vert_2$",
    ),
)


def draw_all(curves: Mapping[Case, Curve], seed: int, directory: Path) -> list[Path]:
    """Draw every figure for which there are curves of this seed.

    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if a file cannot be written.
    """
    drawn = []
    for figure in FIGURES:
        own = [
            curve
            for graph in GRAPHS
            for dynamics in DYNAMICS
            for case, curve in curves.items()
            if (case.mechanism, case.graph, case.dynamics, case.seed, case.parameters)
            == (figure.mechanism, graph, dynamics, seed, "proof")
        ]
        if own:
            draw(figure, own, directory / figure.file)
            drawn.append(directory / figure.file)
    return drawn


def draw(figure: Figure, curves: Sequence[Curve], path: Path) -> None:
    """Draw one figure: every curve named where it runs, with the round in which it ends.

    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    with page(path, _INCHES, _STYLE, _DPI) as sheet:
        axes = sheet.subplots()
        end = max(curve.played for curve in curves)
        for curve in curves:
            x, y = _positive(curve, figure.series)
            axes.plot(x, y, color=_COLOUR[curve.case.dynamics], linestyle=_DASHES[curve.case.graph],
                      linewidth=_WIDTH[curve.case.graph], solid_capstyle="round")  # fmt: skip
        tolerance = curves[0].case.tolerance if figure.series == "message" else None
        _frame(axes, figure, curves, end, tolerance)
        sheet.canvas.draw()  # positions on the page are known from here on
        fastest = min(curves, key=lambda curve: curve.played)
        for curve in curves:
            # Left of the fastest there is nobody; right of it it would be narrow.
            _name(axes, curve, figure.series, below=curve is fastest and len(curves) > 2)


def draw_over_broker(broker: Curve, lockstep: Curve, path: Path) -> None:
    """Draw one curve of Figure 15 twice: as dots what came over the broker, as a line the lockstep run.

    Raises:
        PlotUnavailable: if matplotlib is not installed.
        OSError: if the file cannot be written.
    """
    with page(path, _INCHES, _STYLE, _DPI) as sheet:
        axes = sheet.subplots()
        colour = _COLOUR[lockstep.case.dynamics]
        x, y = _positive(lockstep, "message")
        axes.plot(x, y, color=_GREY, linewidth=1.2)
        x, y = _positive(broker, "message")
        every = max(1, x.size // 60)
        axes.plot(x[::every], y[::every], "o", color=colour, markersize=3.6, markerfacecolor="white")
        end = max(broker.played, lockstep.played)
        _frame(axes, FIGURES[3], [broker], end, broker.case.tolerance, numbers=False)
        middle = x.size // 2
        for text, xy, shift, ink in (
            (
                f"○ {broker.case.agents} processes over an MQTT broker,\n    every {_nth(every)} round",
                (x[middle], y[middle]),
                (26, 18),
                colour,
            ),
            ("— the same agents in lockstep", (x[middle], y[middle]), (26, -4), _GREY),
        ):
            axes.annotate(text, xy, xytext=shift, textcoords="offset points", color=ink, va="center")


def _nth(count: int) -> str:
    return "single" if count == 1 else f"{count}th" if count > 3 else ("second", "third")[count - 2]


def _positive(curve: Curve, series: str) -> tuple[Any, Any]:
    """What a logarithmic axis can show."""
    values = getattr(curve, series)
    return curve.rounds[values > 0], values[values > 0]


def _frame(
    axes: Any,
    figure: Figure,
    curves: Sequence[Curve],
    end: int,
    tolerance: float | None,
    *,
    numbers: bool = True,
) -> None:
    axes.set_yscale("log")
    axes.set_xlim(0, end * 1.02)
    low = min(float(_positive(curve, figure.series)[1].min()) for curve in curves)
    high = max(float(_positive(curve, figure.series)[1].max()) for curve in curves)
    axes.set_ylim(low / 2.5, high * 2.5)
    case = curves[0].case
    axes.set_title(figure.title, pad=17)
    about = (
        f"{case.agents} agents, quadratic utilities, $\\eta = 25$, parameters of the proof; seed {case.seed}."
    )
    axes.annotate(
        about + (f" Numbers: rounds until messages are within {_power(case.tolerance)}." if numbers else ""),
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 5),
        textcoords="offset points",
        color=_GREY,
        fontsize=_POINTS,
    )
    axes.set_xlabel("round $n$")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ticker = importlib.import_module("matplotlib.ticker")
    axes.yaxis.set_major_locator(ticker.LogLocator(numticks=9))
    axes.grid(axis="y", color="#ebebeb", linewidth=0.6)
    axes.set_axisbelow(True)
    if tolerance is not None:
        axes.axhline(tolerance, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
        axes.annotate(
            f"{_power(tolerance)}: here runs end",
            (1, tolerance), xycoords=axes.get_yaxis_transform(), xytext=(0, -3), textcoords="offset points",
            ha="right", va="top", color=_GREY, fontsize=_POINTS,
        )  # fmt: skip


def _power(value: float) -> str:
    return f"$10^{{{round(np.log10(value))}}}$"


def _name(axes: Any, curve: Curve, series: str, *, below: bool) -> None:
    """Write a curve's name along its lower part: on its right or, if ``below``, on its left."""
    x, y = _positive(curve, series)
    points = axes.transData.transform(np.column_stack([x, y]))
    bottom, top = axes.transAxes.transform([(0, 0), (0, 1)])[:, 1]
    end = points[-1]
    # The direction from a third of the way up to the end: the curve there is straight but for ripples.
    third = points[points[:, 1] <= bottom + 0.40 * (top - bottom)]
    start = third[0] if third.size and third[0, 0] < end[0] else points[0]
    angle = float(np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0])))
    until = f"{curve.reached:,}" if curve.reached is not None else f"beyond {curve.played:,}"
    axes.annotate(
        f"{_GRAPH[curve.case.graph]}, {_DYNAMIC[curve.case.dynamics]}: {until}",
        axes.transData.inverted().transform(end),
        xytext=_aside(angle, 6.0, -3.2 if below else 3.2),
        textcoords="offset points",
        color=_COLOUR[curve.case.dynamics],
        fontsize=_POINTS,
        rotation=angle,
        rotation_mode="anchor",
        ha="right",
        va="top" if below else "bottom",
        path_effects=[halo()],
    )


def _aside(angle: float, back: float, off: float) -> tuple[float, float]:
    """Points to step back along a line at this angle, and off it to its upper side."""
    along = np.radians(angle)
    return (
        float(-back * np.cos(along) - off * np.sin(along)),
        float(-back * np.sin(along) + off * np.cos(along)),
    )
