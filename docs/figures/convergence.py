"""Draws convergence-binary-tree-31.png: the convergence plot of a real run, one process per agent.

    python docs/figures/convergence.py

Every number in it is the same on every machine but for the last bits of a floating-point library.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from runner import run

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the scenario and keep its plot."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        run("binary-tree-31", out=out)
        shutil.copy(out / "convergence.png", HERE / "convergence-binary-tree-31.png")


if __name__ == "__main__":
    main()
