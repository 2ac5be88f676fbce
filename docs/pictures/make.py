"""Makes the pictures of README.md and of the mechanisms' pages, each from the record of a run.

    python docs/pictures/make.py

Runs are played in virtual time: their outcome is that of processes, bit for bit, and the same on every
machine but for the last bits of a floating-point library. About a minute.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from runner import run

HERE = Path(__file__).resolve().parent
# Picture -> scenario whose convergence plot it is.
PLOTS = {
    "convergence.png": "binary-tree-31",
    "convergence-public-goods.png": "public-tree-31",
    "convergence-summary.png": "summary-tree-31",
    "network-unicast.png": "network-abilene-18",
    "network-multicast.png": "network-multicast-9",
    "network-linear.png": "network-microgrid-7",
}


def main() -> None:
    """Run the scenarios and keep their pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        for picture, scenario in PLOTS.items():
            out = Path(scratch) / scenario
            run(scenario, virtual=True, out=out)
            shutil.copy(out / "convergence.png", HERE / picture)


if __name__ == "__main__":
    main()
