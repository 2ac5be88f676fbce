"""Rounds of play of the bundled trees: how parameters are chosen, and which dynamic is played.

    .venv/bin/python docs/checks/rounds.py

Every run is stepped in lockstep, without a network; over a broker it takes the same rounds. Fictitious
play is ended after 2,000 rounds. The error is that of the allocation, relative to its largest number.
Takes some minutes.
"""

from __future__ import annotations

import sys

import numpy as np

from node import lockstep
from node.protocols.allocate import allocate
from runner.result import environment_of
from topologies import load_scenario

SCENARIOS = ("binary-tree-31", "public-tree-31")
COURNOT = 'learning={dynamics="cournot"}'
RUNS = {
    "tuned": ["mechanism.parameters=tuned", COURNOT],
    "eta": ["mechanism.parameters=eta", COURNOT],
    "proof": ["mechanism.parameters=proof", COURNOT],
    "exponential": ['learning={dynamics="exponential"}'],
    "k-period, k = 3": ['learning={dynamics="k-period", k=3}'],
    "k-period, k = 10": ['learning={dynamics="k-period", k=10}'],
    "fictitious": ['learning={dynamics="fictitious"}', "stopping.max_rounds=2000"],
}


def main() -> None:
    """Print one line a run."""
    sys.stdout.write(f"{'':36} {'xi':>12} {'delta':>9} {'bound':>12} {'rounds':>6} {'play':>6}   error\n")
    for name in SCENARIOS:
        for what, overrides in RUNS.items():
            loaded = load_scenario(name, overrides)
            parts = loaded.parts("rounds")
            ended = lockstep.run(
                {i: allocate(part) for i, part in parts.items()}, {i: p.hears for i, p in parts.items()}
            )
            optimum = environment_of(loaded.contract(), loaded.utilities).optimum().allocation
            off = max(float(np.abs(r.allocation - optimum[i]).max()) for i, r in ended.results.items())
            error = off / max(float(np.abs(x).max()) for x in optimum.values())
            first = ended.results[loaded.agents[0]]
            sys.stdout.write(
                f"{name + ', ' + what:36} {first.parameters['xi']:12.9f} {first.parameters['delta']:9.4f} "
                f"{first.bound:12.9f} {ended.rounds:6} {first.play_rounds:6}   {error:.1e}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
