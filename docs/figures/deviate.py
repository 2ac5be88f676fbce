"""Draws deviate-corn.png and deviate-public.png and prints the tables of docs/deviate.md.

    python docs/figures/deviate.py

A few minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from runner.deviate import figure
from runner.deviate.lab import Report, Wish, experiment
from runner.deviate.play import Stage
from topologies import load_scenario

HERE = Path(__file__).resolve().parent
CORN = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
PUBLIC = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
# Who free-rides where, and how much of it.
RIDES = (
    ("star-9", (), "a00", "the hub repeats 10 % too little"),
    ("star-9", (), "a02", "a leaf repeats 10 % too little"),
    ("summary-tree-31", (), "a01", "sums and echoes 10 % too small"),
    ("public-tree-31", (), "a07", "claims 90 % of its worth"),
    ("network-corn-5", (), "a3", "quotes 90 % of the price"),
)


def main() -> None:
    """Draw and print."""
    corn = tried("network-corn-5", (), "a3", "exaggerate", CORN)
    figure.draw(corn, HERE / "deviate-corn.png")
    public = tried("public-tree-31", (), "a07", "scale", PUBLIC)
    figure.draw(public, HERE / "deviate-public.png")
    for report in (corn, public, tried("star-9", (), "a02", "shift", None)):
        show(report)
    say("\nweak balance:")
    show(tried("network-corn-5", ('mechanism.balance="weak"',), "a3", "exaggerate", CORN))
    say("\nfree-ride 0.1")
    for source, overrides, agent, words in RIDES:
        report = tried(source, overrides, agent, "free-ride", (0.0, 0.1))
        point = report.points[1]
        say(
            f"{source} {agent} ({words}): held {point.held[agent]:+.3g}, "
            f"learning {report.total(point.gains):+.3g}, "
            f"others {report.total(point.gains, deviators=False):+.3g}; {point.learning.how}"
        )
    say("\nthe most that a committed shift gains, agent a01 of a binary tree, seed 1, c = N")
    for mechanism, source in (("private", "summary-tree-31"), ("public", "public-tree-31")):
        for agents in (7, 15, 31, 63):
            say(f"{mechanism} N = {agents}: {most(source, mechanism, agents)}")


def tried(
    source: str, overrides: tuple[str, ...], agent: str, strategy: str, sizes: tuple[float, ...] | None
) -> Report:
    """One experiment."""
    from node.strategies import kind_of

    wish = Wish((agent,), strategy, sizes if sizes is not None else kind_of(strategy).sizes)
    return experiment(Stage.of(load_scenario(source, overrides)), wish)


def most(source: str, mechanism: str, agents: int) -> str:
    """The best of many shifts, while the others learn."""
    overrides = [f"topology.agents={agents}", "seed=1"]
    if mechanism == "private":
        overrides.append(f"environment.capacities=[{float(agents)}]")
    else:
        overrides.append('mechanism={name="summary"}')
    sizes = tuple(sorted({*np.linspace(-6.0, 6.0, 25).tolist(), *np.linspace(-0.4, 0.4, 17).tolist()}))
    report = tried(source, tuple(overrides), "a01", "shift", sizes)
    best = max(report.points, key=lambda p: p.gains["a01"])
    return (
        f"size {best.size:+.3g} gains {best.gains['a01']:.3g} of {report.honest.payoffs['a01']:.4g} (held: "
        f"{best.held['a01']:+.3g}), welfare lost {report.honest.welfare - (best.learning.welfare or 0.0):.2g}"
    )


def show(report: Report) -> None:
    """A table in Markdown."""
    naive = " no mechanism |" if report.naive else ""
    say(f"\n{report.scenario}, {report.strategy}; honest {report.honest.payoffs[report.agents[0]]:.6g}")
    say(f"| size | others held | others learn |{naive} all others | welfare |")
    for p in report.points:
        (i,) = report.agents
        middle = f" {p.naive[i]:+.3g} |" if report.naive else ""
        others = report.total(p.gains, deviators=False)
        held, learning = f"{p.held[i]:+.3g}", f"{p.gains[i]:+.3g}"
        say(f"| {p.size:g} | {held} | {learning} |{middle} {others:+.3g} | {p.learning.welfare:.6g} |")


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
