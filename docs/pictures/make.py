"""Makes the pictures of README.md and of the mechanisms' pages, each from the record of a run.

    python docs/pictures/make.py

Runs are played in virtual time: their outcome is that of processes, bit for bit, and the same on every
machine but for the last bits of a floating-point library. About a minute.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from runner import run

if TYPE_CHECKING:
    from runner.network import NetworkResult

HERE = Path(__file__).resolve().parent
# Picture -> scenario whose convergence plot it is.
PLOTS = {
    "convergence.png": "binary-tree-31",
    "convergence-public-goods.png": "public-tree-31",
    "convergence-summary.png": "summary-tree-31",
}
# Picture -> network scenario, and what it is called there.
NETWORKS = {
    "network-unicast.png": ("network-abilene-18", "18 flows over the Abilene backbone"),
    "network-multicast.png": ("network-multicast-9", "three streams, nine receivers"),
    "network-linear.png": ("network-microgrid-7", "seven houses, three of them share a battery"),
}
_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#777777"


def main() -> None:
    """Run the scenarios and keep their pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        for picture, scenario in PLOTS.items():
            out = Path(scratch) / scenario
            run(scenario, virtual=True, out=out)
            shutil.copy(out / "convergence.png", HERE / picture)
        for picture, (scenario, title) in NETWORKS.items():
            result = run(scenario, virtual=True, out=Path(scratch) / scenario)
            draw(result, title, HERE / picture)


def draw(result: NetworkResult, title: str, path: Path) -> None:
    """Allocation error and largest gain by a deviation, step by step, in logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
        axes.semilogy([*result.errors], [*result.errors.values()], color=_BLUE, label="allocation error")
        gains = {step: gain for step, gain in result.regrets.items() if gain > 0}
        axes.semilogy([*gains], [*gains.values()], ".", color=_ORANGE, label="largest gain by a deviation")
        axes.axhline(result.tolerance, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate("promised accuracy", (0, result.tolerance), xytext=(2, 3), color=_GREY,
                      textcoords="offset points")  # fmt: skip
        axes.set_title(f"{title}: {result.steps} steps, {result.rounds} rounds", loc="left")
        axes.set_xlabel("step of the mechanism")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="upper right")
        figure.savefig(path, dpi=160)
        plt.close(figure)


if __name__ == "__main__":
    main()
