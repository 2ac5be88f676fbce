"""The measured table of docs/summary.md: rounds of play of the variants on trees, paths and random graphs.

    python docs/checks/summary_rounds.py

Counted are rounds until all messages of the network are, and stay, within 1e-6 of their last ones (2-norm,
relative), and until all allocations are within 1e-6 of the optimum (largest difference, relative to the
largest share). The instances: utilities of the thesis' section 5.2, seed 1; in the last lines one agent has
95 % of the sum of all -1/v''.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from node import lockstep
from node.environments import PrivateGoods
from node.protocols.scalable import scalable
from node.utilities import build
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.protocol import Say

GRAPHS = {
    "binary tree, 31": '{generator="binary-tree", agents=31}',
    "binary tree, 1,023": '{generator="binary-tree", agents=1023}',
    "Erdos-Renyi, 1,023": '{generator="erdos-renyi", agents=1023, p=0.008}',
    "scale-free, 1,023": '{generator="scale-free", agents=1023}',
    "star, 1,023": '{generator="star", agents=1023}',
    "grid, 31 x 31": '{generator="grid", rows=31, columns=31}',
    "path, 100": '{generator="path", agents=100}',
}
DOMINATED = ("binary tree, 31", "path, 100")
# Plain play takes thousands of rounds on the larger graphs.
PLAIN = ("binary tree, 31",)
TOLERANCE = 1e-6


def instance(topology: str, variant: str, share: float | None) -> dict[str, Any]:
    """The parts of all agents; with a share, one agent holds so much of the sum of all -1/v''."""
    overrides = [
        f"topology={topology}",
        f"mechanism.variant={variant}",
        "environment.capacities=[100.0]",
        "stopping.tolerance=1e-12",
        "record.agents=1023",
    ]
    if share is None:
        return load_scenario("summary-tree-1023", overrides).parts("check")
    loaded = load_scenario("summary-tree-1023", [*overrides, "environment.eta=1e6"])
    rng = np.random.default_rng(1)
    a = rng.uniform(0.5, 1.5, len(loaded.agents))
    one = int(rng.integers(a.size))
    a[one] = share / (1 - share) * (a.sum() - a[one])
    for i, own in zip(loaded.agents, a, strict=True):
        loaded.utilities[i]["theta"] = [float(-0.5 / own)]
    return loaded.parts("check")


def measure(parts: Mapping[str, Any]) -> tuple[int, int, int, int, float]:
    """N, diameter of the tree, rounds of messages and of allocations, largest weight."""
    rules = next(iter(parts.values())).contract
    optimum = PrivateGoods(rules["capacities"], {i: build(p.utility) for i, p in parts.items()}).optimum()
    target = np.array([optimum.allocation[i][0] for i in parts])
    profiles: list[Any] = []
    gaps: list[float] = []

    def keep(round_: int, says: Mapping[str, Say]) -> None:
        if "play" in next(iter(says.values())).kind:
            profiles.append(np.concatenate([say.body[0].ravel() for say in says.values()]))
            record = [say.record or {} for say in says.values()]
            if "allocation" in record[0]:
                gaps.append(float(np.abs(np.array([row["allocation"] for row in record]) - target).max()))

    ended = lockstep.run(
        {i: scalable(part) for i, part in parts.items()}, {i: p.hears for i, p in parts.items()}, keep
    )
    result = next(iter(ended.results.values()))
    last = profiles[-1]
    off = [float(np.linalg.norm(m - last) / np.linalg.norm(last)) for m in profiles]
    largest = float(np.abs(target).max())
    return (
        result.agents,
        result.diameter,
        1 + max(k for k, value in enumerate(off) if value > TOLERANCE),
        # What is recorded with the words of a round is about the round before.
        1 + max((k for k, gap in enumerate(gaps) if gap > TOLERANCE * largest), default=-1),
        result.parameters["largest_weight"],
    )


def main() -> None:
    """Print the table."""
    say = sys.stdout.write
    say(f"{'graph':36}{'variant':10}{'D':>5}{'message':>9}{'allocation':>11}{'largest w':>11}\n")
    for share in (None, 0.95):
        for name, topology in GRAPHS.items():
            for variant in ("anchored", "weighted", "plain"):
                if (variant == "plain" and (name not in PLAIN or share)) or (share and name not in DOMINATED):
                    continue
                _, diameter, message, allocation, w = measure(instance(topology, variant, share))
                title = name if share is None else f"{name}, one agent {share:.0%}"
                say(f"{title:36}{variant:10}{diameter:>5}{message:>9}{allocation:>11}{w:>11.3f}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
