"""Whether any capacity is exceeded at any instant, over many rounds under loss, delays and crashes.

    python -m benchmarks.network_overshoot [--rounds 10000] [--first-seed 0]

Bundled network scenarios, cut short so that prices still move, and random ones on random graphs, in turn,
over the virtual network. Messages are lost, doubled, late and overtaken all the time; agents die and come
back, one of them without its memory, stand still and are cut off. At every change of what anybody has in use
all that is in use is added up on every link (``runner.simulation.ledger``). Runs must end with the bits of
lockstep.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node import lockstep
from node.part import Part
from node.protocols.network.facts import contract_of
from node.protocols.network.life import network
from runner.simulation import networks
from runner.simulation.instances import TOPOLOGIES
from runner.simulation.ledger import Ledger
from runner.testing import Network
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLED = (
    *("network-corn-5", "network-abilene-18", "network-nsfnet-24"),
    *("network-multicast-9", "network-wireless-8", "network-microgrid-7"),
)
# An accuracy that is never proved: all steps are played, and most of them far from rest.
CUT = ("stopping.max_rounds=12", "stopping.tolerance=1e-14", "record.every=0")
RANDOM = tuple(
    f"{mechanism}, {graph}"
    for graph in ("small", "tree-31", "small-directed")
    for mechanism in ("unicast", "multicast", "linear")
)
MESSAGES = {"loss": 0.15, "duplicate": 0.1, "reorder": 0.1, "delay": [0.001, 0.08]}
STORM = {"between": [0.0, 15.0], "lasts": [0.1, 2.0], "crash": 6, "pause": 4, "cut": 3, "partition": 1}


@dataclass(slots=True)
class Row:
    """A line of the table.

    Attributes:
        runs, rounds: how many were played, those of epochs that were given up not counted.
        faults: events that struck agents or links.
        instants: changes of what anybody had in use.
        fullest: the largest part of a capacity in use.
        over: instants at which it was more than all.
    """

    runs: int = 0
    rounds: int = 0
    faults: int = 0
    instants: int = 0
    fullest: float = 0.0
    over: int = 0

    def add(self, rounds: int, faults: int, ledger: Ledger) -> None:
        """Take in a run."""
        self.runs, self.rounds, self.faults = self.runs + 1, self.rounds + rounds, self.faults + faults
        self.instants, self.over = self.instants + ledger.changes, self.over + ledger.over
        self.fullest = max(self.fullest, ledger.fullest)


def parts_of(name: str, seed: int) -> dict[str, Part]:
    """Everybody's part: of a bundled scenario, or drawn by the seed."""
    if name in BUNDLED:
        return load_scenario(name, CUT).parts("overshoot")
    mechanism, _, topology = name.partition(", ")
    rng = random.Random(f"{name} {seed}")
    graph = TOPOLOGIES[topology](rng)
    rules, told = networks.draw(mechanism, graph, rng)
    return {
        i: Part(
            agent=i,
            run="overshoot",
            hears=tuple(sorted(graph.successors(i))),
            heard_by=tuple(sorted(graph.predecessors(i))),
            utility=told[i],
            contract=rules,
        )
        for i in sorted(graph)
    }


def play(parts: Mapping[str, Part], seed: int, row: Row) -> None:
    """One run under a storm.

    Raises:
        AssertionError: if it does not end with the bits of lockstep.
        broker.virtual.Stalled: if it does not end.
    """
    rules = next(iter(parts.values())).contract
    contracts = {i: contract_of(i, rules, part.utility) for i, part in parts.items()}
    worlds: list[Network] = []
    ledger = Ledger(contracts, lambda: worlds[0].agents if worlds else {})
    # Early, when nobody can have left: without those who have, nobody could start again.
    forgets = random.Random(seed).choice(sorted(parts))
    amnesia = {"kind": "amnesia", "at": 1.0, "agents": [forgets], "down": 0.5}
    faults = {**MESSAGES, "seed": seed, "storm": STORM, "event": [amnesia]}
    worlds.append(Network(parts, ledger.protocol, seed=seed, faults=faults))
    results = worlds[0].run()
    # Not by ``assert_equals_lockstep``: that would play the ledger's protocol again.
    hears = {i: part.hears for i, part in parts.items()}
    expected = lockstep.run({i: network(part) for i, part in parts.items()}, hears)
    assert results == expected.results, f"seed {seed}: other results than in lockstep"
    row.add(expected.rounds, len(worlds[0].trace.faults), ledger)


def main() -> int:
    """Print the table; 1 if anything was exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10_000, help="at least so many rounds in all")
    parser.add_argument("--first-seed", type=int, default=0)
    chosen = parser.parse_args()
    table = {name: Row() for name in (*BUNDLED, *RANDOM)}
    seed = chosen.first_seed
    while sum(row.rounds for row in table.values()) < chosen.rounds:
        for name, row in table.items():
            play(parts_of(name, seed), seed, row)
        seed += 1
    print("| scenario | runs | rounds | faults | instants | fullest, 1 - load / capacity | exceeded |")
    print("|---|---|---|---|---|---|---|")
    for name, row in table.items():
        print(
            f"| {name} | {row.runs} | {row.rounds:,} | {row.faults:,} | {row.instants:,} "
            f"| {1.0 - row.fullest:.1e} | {row.over} |"
        )
    rows = table.values()
    print(
        f"| all | {sum(r.runs for r in rows)} | {sum(r.rounds for r in rows):,} | "
        f"{sum(r.faults for r in rows):,} | {sum(r.instants for r in rows):,} "
        f"| {1.0 - max(r.fullest for r in rows):.1e} | {sum(r.over for r in rows)} |"
    )
    return int(any(row.over for row in rows))


if __name__ == "__main__":
    sys.exit(main())
