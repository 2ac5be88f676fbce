"""When the messages of a large tree are exact: in round diameter + 1 of play and not before.

    python docs/checks/summary_exact.py [AGENTS]

A full binary tree (65,535 agents by default: some three minutes and 1.1 GiB), quadratic utilities, the
anchored summary contract, all agents in lockstep. For the rounds around the diameter: how many numbers of all
messages differ from their final values by more than 1e-12 of the largest, and by how much at most.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from node import lockstep
from node.protocols.registry import protocol_of
from runner.result import environment_of
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Vector
    from node.protocol import Say


def main() -> None:
    """Play and print."""
    agents = int(sys.argv[1]) if len(sys.argv) > 1 else 65_535
    loaded = load_scenario(
        "summary-tree-1023",
        [f"topology.agents={agents}", f"environment.capacities=[{agents}.0]", "record.every=0"],
    )
    parts = loaded.parts("check")
    depth = (agents + 1).bit_length() - 2
    kept: dict[int, Vector] = {}
    rounds = 0

    def keep(round_: int, says: Mapping[str, Say]) -> None:
        nonlocal rounds
        if "play" in next(iter(says.values())).kind:
            if 2 * depth - 2 <= rounds <= 2 * depth + 3:
                kept[rounds] = np.concatenate([say.body[0].ravel() for say in says.values()])
            rounds += 1

    ended = lockstep.run(
        {i: protocol_of(part, None) for i, part in parts.items()},
        {i: part.hears for i, part in parts.items()},
        keep,
    )
    first = next(iter(ended.results.values()))
    optimum = environment_of(loaded.contract(), loaded.utilities).optimum()
    shares = {i: float(x[0]) for i, x in optimum.allocation.items()}
    off = max(abs(result.allocation[0] - shares[i]) for i, result in ended.results.items())
    say = sys.stdout.write
    say(f"{first.agents} agents, diameter {first.diameter}, {ended.rounds} rounds\n")
    say(f"allocation: {off / max(map(abs, shares.values())):.1e} off, relative to the largest\n")
    final = kept.pop(max(kept))
    largest = float(np.abs(final).max())
    for k, messages in kept.items():
        difference = np.abs(messages - final) / largest
        wrong = int((difference > 1e-12).sum())
        say(f"round {k}: {wrong} of {final.size} numbers differ, by {difference.max():.1e} at most\n")


if __name__ == "__main__":
    main()
