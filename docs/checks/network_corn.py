"""The published figures of "corn", one capacity shared by five, on an instance with which they come out.

    python docs/checks/network_corn.py

The data of the published instance are not known. This one was found as follows. Agent 1 is paid for hiding
demand: its payoffs .5220 and .5534 at the prices 2.933 and 2.768 leave of the families log, exponential and
square root one with round numbers, 2 log(1 + x/0.3). Sets of two to four others with round numbers were
searched for those with which, at a capacity between 1 and 5, both prices come out, and the sum of all
1/|v''| at the optimum that follows from the rounds of the constant step: 79 of them. One of these has all
five figures from a known start that were compared: rounds of PADR, FAST-PADR and FAST-PADR with kappa 0.5
from price 1, and to 1e-6 of the first two from price 100. These are marked "chosen by"; all other lines
were compared afterwards. Their published start is random, about 1 in the mean; here it is 1.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from node.mechanisms.network import naive
from node.mechanisms.network.linear import Linear
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.rows import Row
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from tests.node.network import instances

if TYPE_CHECKING:
    from node.mechanisms.network.unicast import Unicast

TOLERANCES = (1e-2, 1e-4, 1e-6)
LIMIT = 700
FLOOR = 1e-6
# What is played, published rounds to 1e-2 / 1e-4 / 1e-6, whether the instance was chosen by them.
ROUNDS = (
    (Dynamics("padr"), "4/5/6", True),
    (Dynamics("fast"), "5/6/8", True),
    (Dynamics("fast", kappa=0.5), "4/10/15", True),
    (Dynamics("padr", start=100.0), "../../28", True),
    (Dynamics("fast", start=100.0), "../../16", True),
    (Dynamics("padr", kappa=0.5), "10/16/23", False),
    (Dynamics("padr", kappa=1.5), "2/5/11", False),
    (Dynamics("padr", kappa=1.9), "23/67/111", False),
    (Dynamics("constant", gamma=0.03), "161/371/581", False),
    (Dynamics("constant", gamma=0.3), "14/33/52", False),
    (Dynamics("constant", gamma=3.0), "never", False),
)
# Step, start, published rounds.
NAIVE = ((0.1, 2.0, "50/111/172"), (1.0, 2.0, "23/27/30"), (5.0, 2.0, "never"), (20.0, 2.0, "never"))


def shown(errors: list[float]) -> str:
    """The rounds from which on the errors stay below each tolerance."""
    late = [max((k + 1 for k, e in enumerate(errors) if e >= t), default=0) for t in TOLERANCES]
    return "/".join(str(n) for n in late) if late[0] < len(errors) else "never"


def linear(contracts: dict[str, Unicast]) -> dict[str, Linear]:
    """The same agents and capacity under the rules of chapter 3."""
    row = Row("corn", 1.0, dict.fromkeys(contracts, 1.0), dict.fromkeys(contracts, FLOOR))
    return {i: Linear(i, c.valuation, [row], floor=FLOOR, balance="everywhere") for i, c in contracts.items()}


def main() -> None:
    """Print what was published beside what comes out."""
    out = sys.stdout.write
    contracts = instances.published_corn()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    largest = max(optimum.allocation.values())
    out("agent 1 says 0.7 of its demand, naive iteration (chosen by)\n")
    found = []
    for report, price, payoff in ((1.0, 2.933, 0.5220), (0.7, 2.768, 0.5534)):
        rounds = naive.iterate(contracts, 0.1, reports={"a1": report})
        prices, demands = next(itertools.islice(rounds, 1500, None))
        found.append(naive.payoff(contracts["a1"], prices, demands))
        out(f"  report {report}: price {prices['corn']:.3f} ({price}), ")
        out(f"payoff {found[-1]:.4f} ({payoff:.4f})\n")
    out(f"  it gains {100 * (found[1] / found[0] - 1):.1f} % (6.0 %)\n")
    out("price moves, in brackets published\n")
    for dynamics, published, chosen in ROUNDS:
        takers = {i: taker(c, dynamics) for i, c in contracts.items()}
        errors = []
        for step in itertools.islice(play(takers), LIMIT):
            off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
            errors.append(off / largest)
        label = (
            f"{dynamics.rule} kappa={dynamics.kappa:g}"
            if dynamics.gamma is None
            else f"gamma={dynamics.gamma:g}"
        )
        tail = " chosen by" if chosen else ""
        out(f"  {label:18} from {dynamics.start:<4g} {shown(errors):>12} ({published}){tail}\n")
    out("as a row, balance off the equilibrium; in brackets published of an instance that is not known\n")
    theirs = linear(contracts)
    best = solve(program(theirs), {i: c.valuation for i, c in theirs.items()})
    for dynamics, published in ((Dynamics("padr"), "9/18/27"), (Dynamics("fast"), "5/11/16")):
        takers = {i: taker(c, dynamics) for i, c in theirs.items()}
        errors = [
            max(abs(step.shares[i].allocation - x) for i, x in best.allocation.items()) / largest
            for step in itertools.islice(play(takers), 80)
        ]
        out(f"  {dynamics.rule:18} from 1    {shown(errors):>12} ({published})\n")
    out("naive iteration; its published start is not known\n")
    for gamma, start, published in NAIVE:
        errors = []
        for _, demands in itertools.islice(naive.iterate(contracts, gamma, start=start), LIMIT):
            errors.append(max(abs(demands[i] - x) for i, x in optimum.allocation.items()) / largest)
        out(f"  gamma={gamma:<12g} from {start:<4g} {shown(errors):>12} ({published})\n")


if __name__ == "__main__":
    main()
