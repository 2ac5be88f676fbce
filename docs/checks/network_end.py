"""How runs of the bundled networks end: what the settlement does to taxes, and how fast the gap halves.

    python docs/checks/network_end.py

For every bundled network: the sum of taxes over the sum of their sizes, of the step whose allocations are the
outcome as it was played, and settled; and the rounds of the run. Of network-microgrid-7 at an accuracy of 0.1
the steps, and those without the rule that agents play on until next to nothing is given back to nobody. Then,
for these networks and the twelve random ones of network_variants.py, the most price moves that FAST-PADR took
to halve the proved gap, down to 1e-9 of the welfare; the fallback would be called after PATIENCE.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from network_variants import SEEDS

from node.mechanisms.network import checks
from node.mechanisms.network.contract import Share
from node.mechanisms.network.fallback import PATIENCE
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from node.protocols.network import life
from runner import record, run
from runner.ending import last_step, to_outcome
from runner.network import contracts_of
from tests.node.network import instances
from topologies import load_scenario

SCENARIOS = ("corn-5", "abilene-18", "nsfnet-24", "wireless-8", "microgrid-7", "multicast-9")
# The balance in which the table of docs/networks.md has a scenario, if it is not the file's own.
BALANCE = {"wireless-8": "everywhere"}
# Of the welfare; below, the gap is made of rounding.
LEAST, LIMIT = 1e-9, 1000


def settled(name: str, folder: Path) -> str:
    """The taxes of a run as they were played and settled."""
    chosen = [f"mechanism.balance={BALANCE[name]}"] if name in BALANCE else []
    result = run(f"network-{name}", overrides=chosen, lockstep=True, out=folder / name, plot=False)
    ending = to_outcome(record.read(folder / name), last_step(result.steps, result.stopped_unsatisfied))
    amounts, taxes = ending.latest("allocation"), ending.latest("tax")
    total, size = checks.balance({i: Share(amounts[i], taxes[i]) for i in amounts})
    after = abs(result.tax_sum) / result.tax_scale
    return f"not settled {abs(total) / size:.1e}, settled {after:.1e}, {result.rounds} rounds"


def slowest(contracts: dict) -> int:
    """The most price moves in which the least gap so far was halved."""
    welfare = abs(solve(program(contracts), {i: c.valuation for i, c in contracts.items()}).welfare)
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    most, since, from_ = 0, 0, math.inf
    for step in itertools.islice(play(takers), LIMIT):
        if step.gap <= 0.5 * from_:
            most, since, from_ = max(most, since), 0, step.gap
        since += 1
        if from_ <= LEAST * welfare:
            return most
    return max(most, since)


def main() -> None:
    """Print both."""
    out = sys.stdout.write
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in SCENARIOS:
            out(f"{name:14} {settled(name, folder)}\n")
        steps = []
        allowed = life.UNSETTLED
        for most in (allowed, math.inf):
            life.UNSETTLED = most
            chosen = ("stopping.tolerance=0.1", "record.every=0")
            played = run("network-microgrid-7", overrides=chosen, lockstep=True, out=folder / str(most))
            steps.append(played.steps)
        life.UNSETTLED = allowed
    out(f"microgrid-7 at 0.1: {steps[0]} steps, {steps[1]} if it did not matter what is given to nobody\n")
    out(f"moves to halve the gap; the fallback waits for {PATIENCE}\n")
    for name in SCENARIOS:
        out(f"  {name:14} {slowest(contracts_of(load_scenario(f'network-{name}')))}\n")
    found = [slowest(instances.random_unicast(seed)) for seed in SEEDS]
    out(f"  {len(SEEDS)} random ones: at most {max(found)}\n")


if __name__ == "__main__":
    main()
