"""Draws idea.png, the picture on the first page of the documentation.

    python docs/figures/idea.py

Seven agents on a binary tree. The curves beside them are their utilities, the lines on the right the record
of a run of theirs (over the virtual network, which gives the same numbers as a broker).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from runner import record, run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from runner import RunResult

HERE = Path(__file__).resolve().parent
SCENARIO = "binary-tree-31"
OVERRIDES = [
    "topology.agents=7",
    "environment.capacities=[14.0]",
    "environment.eta=5.0",
    "utilities.theta={uniform=[-1.2, -0.4]}",
]

# Okabe and Ito's palette, told apart with every common form of colour blindness; black for the root.
COLOURS = ("#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, SOFT, PAPER, DENIED = "#222222", "#6b6b6b", "#eef2f6", "#c62828"
PLACES = ((5.0, 7.0), (2.75, 4.85), (7.25, 4.85), (1.5, 2.4), (4.0, 2.4), (6.0, 2.4), (8.5, 2.4))
EDGES = ((0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6))
RADIUS = 0.37


def main() -> None:
    """Run the seven agents and draw them."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        result = run(SCENARIO, overrides=OVERRIDES, virtual=True, plot=False, out=out)
        recorded = record.read(out)
        rounds, allocation = _allocations(recorded, result)
        resolved = _utilities()
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 11, "mathtext.fontset": "dejavusans"}):
        figure = Figure(figsize=(12.6, 6.5), dpi=150, facecolor="white")
        network = figure.add_axes((0.02, 0.115, 0.575, 0.80))
        outcome = figure.add_axes((0.672, 0.315, 0.255, 0.575))
        _network(network, resolved)
        _outcome(outcome, rounds, allocation, result)
        figure.text(0.02, 0.945, "What everybody does", fontsize=14, weight="bold", color=INK)
        figure.text(0.632, 0.945, "What comes of it", fontsize=14, weight="bold", color=INK)
        _captions(figure, result)
        figure.savefig(HERE / "idea.png", metadata={"Software": None})


def _utilities() -> dict[str, Any]:
    from topologies import load_scenario

    return dict(load_scenario(SCENARIO, OVERRIDES).utilities)


def _allocations(recorded: Any, result: RunResult) -> tuple[np.ndarray, np.ndarray]:
    """Rounds of play from 0, shape (R,), and allocations, shape (R, N)."""
    rounds, values, _ = recorded.series("allocation")
    return rounds - rounds[0], values


def _network(axes: Axes, utilities: dict[str, Any]) -> None:
    axes.set(xlim=(0.45, 9.8), ylim=(1.1, 8.05))
    axes.set_aspect("equal", anchor="W")
    axes.axis("off")
    axes.add_patch(
        FancyBboxPatch(
            (0.45, 1.15), 9.35, 6.85, boxstyle="round,pad=0,rounding_size=0.35", fc=PAPER, ec="none", zorder=0
        )
    )
    for a, b in EDGES:
        _both_ways(axes, a, b)
    # The message, spelt out on one edge.
    axes.text(4.55, 5.5, r"$y_1,\;q_1$", color=COLOURS[1], ha="center", va="center", fontsize=12)
    axes.text(3.2, 6.35, r"$y_0,\;q_0$", color=COLOURS[0], ha="center", va="center", fontsize=12)
    # What the broker refuses.
    axes.add_patch(
        FancyArrowPatch(
            PLACES[1], PLACES[2], connectionstyle="arc3,rad=0.28", shrinkA=24, shrinkB=24,
            arrowstyle="-|>", mutation_scale=13, lw=1.3, ls=(0, (4, 3)), color=DENIED, zorder=2,
        )
    )  # fmt: skip
    axes.plot(5.0, 4.22, marker="x", ms=13, mew=3.2, color=DENIED, zorder=4)
    axes.text(
        5.0,
        3.72,
        "no edge: the broker\nlets nothing pass",
        color=DENIED,
        ha="center",
        va="center",
        fontsize=9.5,
    )
    for k, place in enumerate(PLACES):
        axes.add_patch(Circle(place, RADIUS, fc="white", ec=COLOURS[k], lw=2.6, zorder=5))
        axes.text(
            *place, f"{k}", ha="center", va="center", color=COLOURS[k], weight="bold", fontsize=12, zorder=6
        )
        _utility(axes, k, utilities[f"a{k:02d}"])
    axes.text(0.75, 7.62, "MQTT broker", color=SOFT, fontsize=11, weight="bold", va="center")
    axes.text(0.75, 7.27, "permissions = the edges of the graph", color=SOFT, fontsize=9.5, va="center")


def _both_ways(axes: Axes, a: int, b: int) -> None:
    for src, dst in ((a, b), (b, a)):
        axes.add_patch(
            FancyArrowPatch(
                PLACES[src], PLACES[dst], connectionstyle="arc3,rad=0.13", shrinkA=21, shrinkB=21,
                arrowstyle="-|>", mutation_scale=12, lw=1.5, color=COLOURS[src], zorder=3,
            )
        )  # fmt: skip


def _utility(axes: Axes, k: int, utility: dict[str, Any]) -> None:
    """A little curve of v(x), beside or below its agent; the same scales for all."""
    x0, y0 = PLACES[k]
    dx, dy = ((0.62, -0.3), (-1.95, -0.25), (0.62, -0.25))[k] if k < 3 else (-0.6, -1.12)
    width, height = 1.2, 0.68
    axes.add_patch(
        FancyBboxPatch(
            (x0 + dx, y0 + dy), width, height, boxstyle="round,pad=0.05,rounding_size=0.1",
            fc="white", ec="#c9d0d6", lw=0.8, zorder=4,
        )
    )  # fmt: skip
    theta, sigma = utility["theta"][0], utility["sigma"][0]
    x = np.linspace(0.0, 12.0, 60)
    v = theta * x**2 + sigma * x
    keep = v >= 0
    axes.plot(
        x0 + dx + 0.04 + (width - 0.08) * x[keep] / 12.0,
        y0 + dy + 0.03 + (height - 0.06) * v[keep] / 150.0,
        color=COLOURS[k], lw=1.8, zorder=5, solid_capstyle="round",
    )  # fmt: skip
    if k == 0:
        axes.text(x0 + dx + width + 0.22, y0 + dy + 0.33, r"private utility $v_0(x)$" "\n" "never sent",
                  color=SOFT, fontsize=9.5, va="center")  # fmt: skip


def _outcome(axes: Axes, rounds: np.ndarray, allocation: np.ndarray, result: RunResult) -> None:
    last = 25
    for k, agent in enumerate(result.allocation):
        axes.plot(rounds[: last + 1], allocation[: last + 1, k], color=COLOURS[k], lw=1.7)
        best = result.optimal_allocation[agent][0]
        axes.plot(last + 1.2, best, marker="D", ms=6, color=COLOURS[k], mec="white", mew=0.8, clip_on=False)
    ends = sorted((result.optimal_allocation[f"a{k:02d}"][0], k) for k in range(7))
    heights = _spread([value for value, _ in ends], 0.052 * np.ptp(axes.get_ylim()))
    for (_, k), height in zip(ends, heights, strict=True):
        axes.text(last + 2.3, height, f"{k}", color=COLOURS[k], va="center", weight="bold")
    axes.set(xlim=(0, last), yticks=(0, 5, 10, 15), xlabel="round of play", ylabel=r"allocation $x_i$")
    axes.text(last + 1.7, heights[-1] + 1.2, "the planner's\noptimum", fontsize=9.5, color=SOFT, ha="center")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _spread(values: list[float], gap: float) -> list[float]:
    """Move label heights, ascending, apart to at least ``gap``."""
    heights = list(values)
    for _ in range(200):
        for k in range(len(heights) - 1):
            lack = gap - (heights[k + 1] - heights[k])
            if lack > 0:
                heights[k] -= lack / 2
                heights[k + 1] += lack / 2
    return heights


def _captions(figure: Figure, result: RunResult) -> None:
    figure.text(
        0.02, 0.052,
        r"Each round, each agent says two things to its neighbours: its demand $y_i$," "\n"
        r"and $q_i$, its proxies of everybody's demand, damped once per hop.",
        fontsize=10.5, color=INK, va="center", linespacing=1.45,
    )  # fmt: skip
    price = result.multiplier[0]
    figure.text(
        0.632, 0.105,
        "Nobody computes this centrally, and yet\n"
        "all shares add up to the capacity, 14,\n"
        f"all agents face the same price, {price:.2f},\n"
        "and the taxes they pay sum to zero.",
        fontsize=10.5, color=INK, va="center", linespacing=1.45,
    )  # fmt: skip


if __name__ == "__main__":
    main()
