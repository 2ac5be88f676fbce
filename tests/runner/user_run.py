"""A scenario whose utilities are a class beside it, good or of one that breaks its word during play."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Modules are imported once in a process, so each test needs a name of its own.
_NUMBERS = itertools.count()

CODE = '''
import numpy as np


class Fragile:
    """v' = sigma - x down to x = edge, and steeper by ``press`` below; [0.5, 2] is declared."""

    curvature = (0.5, 2.0)

    def __init__(self, sigma, edge=-1e9, press=0.5, code="number"):
        self.sigma, self.edge, self.press, self.code = sigma, edge, press, code

    def value(self, x):
        if self.code == "blind" and (x < self.edge).any():
            return float("nan")
        below = np.minimum(x - self.edge, 0.0)
        return float(np.sum(self.sigma * x - x**2 / 2 - self.press * below**2 / 2))

    def gradient(self, x):
        below = np.minimum(x - self.edge, 0.0)
        if self.code == "nan" and below.any():
            return np.full(1, np.nan)
        if self.code == "raise" and below.any():
            raise LookupError("there is nothing down there")
        return self.sigma - x - self.press * below
'''


def write(folder: Path, agent: str = "") -> Path:
    """The scenario's file. Everybody starts at 6 and ends at -4; ``agent`` are arguments of a1's utility."""
    name = f"fragile_{next(_NUMBERS)}"
    (folder / f"{name}.py").write_text(CODE)
    path = folder / "fragile.toml"
    path.write_text(
        textwrap.dedent(
            f"""
            [topology]
            nodes = ["a0", "a1", "a2", "a3"]
            edges = [["a0", "a1"], ["a1", "a2"], ["a2", "a3"]]
            [environment]
            capacities = [-16.0]
            eta = 30.0
            [utilities]
            family = "custom"
            class = "{name}:Fragile"
            [utilities.agents]
            a0 = {{ sigma = 6.0 }}
            a1 = {{ sigma = 6.0, {agent or "press = 0.5"} }}
            a2 = {{ sigma = 6.0 }}
            a3 = {{ sigma = 6.0 }}
            [mechanism]
            parameters = "eta"
            [record]
            plot = false
            """
        )
    )
    return path
