"""Newton's prices on random networks with linear constraints and with multicast: price moves to 1e-6.

    python docs/checks/network_newton.py

Networks are those of tests/node/network/instances.py. The proof needs (A2), all optimal amounts between floor
and largest amount, of linear constraints, and (A4), two groups that get something on every link, of
multicast. Where (A2) fails no rule finds more than floors allow; printed is what Newton misses beyond that.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from node.mechanisms.network import checks
from node.mechanisms.network.linear import Linear
from node.mechanisms.network.optimum import NotSolved, program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from tests.node.network import instances

TOLERANCE, MOVES, LONG = 1e-6, 40, 300


def errors(contracts: dict, best: dict[str, float], rule: str, moves: int) -> list[float]:
    """max |x - x*| / max x* of every move."""
    if rule == "newton" and isinstance(next(iter(contracts.values())), Linear):
        takers = instances.newton_takers(contracts)
    else:
        takers = {i: taker(c, Dynamics(rule)) for i, c in contracts.items()}
    found = []
    for step in itertools.islice(play(takers), moves):
        off = max(abs(step.shares[i].allocation - x) for i, x in best.items())
        found.append(off / max(best.values()))
    return found


def main() -> None:
    """Print how many networks of each kind there were, the most moves, and what did not settle."""
    for kind, seeds in (("linear", range(60)), ("multicast", range(120))):
        make = instances.random_linear if kind == "linear" else instances.random_multicast
        most, met, other, unsolved, left = 0, 0, 0, 0, []
        for seed in seeds:
            contracts = make(seed)
            try:
                best = solve(program(contracts), {i: c.valuation for i, c in contracts.items()}).allocation
            except NotSolved:
                unsolved += 1
                continue
            if kind == "linear":
                fits = all(c.lowest < best[i] < c.highest for i, c in contracts.items())
            else:
                fits = not checks.lonely(contracts, best, 1e-7)
            if not fits and kind == "multicast":
                other += 1
                continue  # the optimum is out of reach, whatever the prices
            found = errors(contracts, best, "newton", MOVES if fits else LONG)
            late = max((k + 1 for k, e in enumerate(found) if e >= TOLERANCE), default=0)
            if fits:
                met, most = met + 1, max(most, late)
            else:
                other += 1
            if late == len(found):
                fast = errors(contracts, best, "fast", LONG)[-1]
                if found[-1] > 2.0 * fast:
                    left.append(f"seed {seed}: {found[-1]:.2g} off with newton, {fast:.2g} with fast")
        sys.stdout.write(
            f"{kind}: {met} networks for which the proof holds, settled after {most} moves at most; "
            f"{other} others; {unsolved} without an optimum to compare with\n"
        )
        for text in left:
            sys.stdout.write(f"  {text}\n")


if __name__ == "__main__":
    main()
