"""The figure of docs/privacy.md: what one agent can work out about all others from its own inbox.

    python docs/checks/reconstruct.py

Agent a30, a leaf of binary-tree-31, keeps what its only neighbour says. It uses nothing else but what every
agent knows at the end of a run: N, the capacity, xi, delta, its own distances, its own final price.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import networkx as nx

from node import lockstep
from node.protocols.allocate import allocate
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.protocol import Say

SPY = "a30"


def main() -> None:
    """Run two modes; print how well theta and sigma of everybody else are recovered."""
    for mode in ("tuned", "eta"):
        loaded = load_scenario("binary-tree-31", [f"mechanism.parameters={mode}"])
        parts = loaded.parts("run")
        hears = {agent: part.hears for agent, part in parts.items()}
        (neighbour,) = hears[SPY]
        inbox = []

        def keep(
            round_: int, says: Mapping[str, Say], neighbour: str = neighbour, inbox: list = inbox
        ) -> None:
            if "play" in says[neighbour].kind:
                inbox.append(says[neighbour].body[0])

        known = lockstep.run({i: allocate(part) for i, part in parts.items()}, hears, keep).results[SPY]
        n, (c,), price = known.agents, loaded.spec.environment.capacities, known.price[0]
        distance = nx.single_source_shortest_path_length(
            nx.DiGraph((i, j) for i in hears for j in hears[i]), SPY
        )
        worst = 0.0
        for row, agent in enumerate(loaded.agents, start=1):
            if agent == SPY:
                continue
            damping = known.parameters["xi"] ** max(1, distance[agent] - 1)
            demands = [float(message[row, 0]) / damping for message in inbox]
            # Having heard nothing but zeros, an agent says -c/N plus its demand at price 0.
            at_zero = next(y for y in demands if y) + c / n
            # The last one is the equilibrium's, (4.48): it holds the allocation at the common price.
            at_price = (demands[-1] - known.parameters["delta"] * price / n) * n / (n - 1) + c / n
            theta = price / (2 * (at_price - at_zero))
            sigma = -2 * theta * at_zero
            truth = loaded.utilities[agent]
            worst = max(worst, abs(theta / truth["theta"][0] - 1), abs(sigma / truth["sigma"][0] - 1))
        sys.stdout.write(
            f"{mode}: theta and sigma of the other {n - 1} agents, relative error at most {worst:.1e}\n"
        )


if __name__ == "__main__":
    main()
