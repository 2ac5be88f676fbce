"""Steps that the price dynamics of the network mechanisms take on the bundled networks.

    python docs/checks/network_rounds.py

For every scenario and rule: the first step from which on max |x_i - x_i*| / max x* stays below 1e-2, 1e-4 and
1e-6, x the allocation of the step, from the price 1 on every link; the step in which the accuracies are
proved; and the largest one-shot regret at steps 0, 5, 20 and 40. Also the naive iteration, and whom it pays
to lie.
"""

from __future__ import annotations

import itertools
import sys

from node.mechanisms.network import checks, naive, strategic
from node.mechanisms.network.optimum import Optimum, program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import Step, gather, play
from node.mechanisms.network.takers import taker
from node.protocols.network.life import own_of
from topologies import load_scenario

SCENARIOS = ("corn-5", "abilene-18", "nsfnet-24", "wireless-8", "microgrid-7", "multicast-9")
RULES = (
    Dynamics("padr"),
    Dynamics("fast"),
    Dynamics("fast", kappa=0.5),
    Dynamics("newton"),
    Dynamics("proved"),
    Dynamics("constant", gamma=0.03),
    Dynamics("constant", gamma=0.3),
    Dynamics("constant", gamma=3.0),
)
# Whose regrets are searched.
SEARCHED = ("padr", "fast", "newton")
LIMIT = 3000
TOLERANCES = (1e-2, 1e-4, 1e-6)


def error(step: Step, optimum: Optimum) -> float:
    """The largest distance from the optimum, relative to the largest share."""
    off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
    return off / max(optimum.allocation.values())


def proved(step: Step, tolerance: float) -> bool:
    """Whether the step's gap proves the accuracy for every agent, as the agents decide it."""
    largest = max(share.allocation for share in step.shares.values())
    return all(c.holds(step.gap, tolerance * largest / (1.0 + tolerance)) for c in step.claims.values())


def main() -> None:
    """Print the tables."""
    out = sys.stdout.write
    for name in SCENARIOS:
        # Newton's prices need to be told more than the others; contracts are the same.
        parts = load_scenario(f"network-{name}", ["mechanism.prices=newton"]).parts("rounds")
        owns = {i: own_of(part) for i, part in parts.items()}
        contracts = {i: own.contract for i, own in owns.items()}
        optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
        out(f"\n{name}\n")
        for dynamics in RULES:
            takers = {i: taker(own.contract, dynamics, own.routes) for i, own in owns.items()}
            late, certain, regrets = [0, 0, 0], [-1, -1, -1], {}
            for k, step in enumerate(itertools.islice(play(takers), LIMIT)):
                off = error(step, optimum)
                late = [k + 1 if off >= t else n for n, t in zip(late, TOLERANCES, strict=True)]
                certain = [
                    k if n < 0 and proved(step, t) else n for n, t in zip(certain, TOLERANCES, strict=True)
                ]
                if (
                    k in (0, 5, 20, 40)
                    and dynamics.rule in ("padr", "fast", "newton")
                    and dynamics.kappa == 1.0
                ):
                    regrets[k] = max(strategic.regrets(contracts, step.tables).values())
                if off < 1e-10 and (min(certain) >= 0 or k > late[2] + 300):
                    break
            label = dynamics.rule + (f" {dynamics.gamma}" if dynamics.gamma else f" kappa={dynamics.kappa:g}")
            reached = "/".join(str(n) if n < LIMIT else "never" for n in late)
            shown = "/".join(str(n) if n >= 0 else "-" for n in certain)
            tail = "  regret " + ", ".join(f"{k}: {r:.1e}" for k, r in regrets.items()) if regrets else ""
            out(f"  {label:18} {reached:>18}   proved {shown:>14}{tail}\n")
        if name == "corn-5":
            _naive(contracts, optimum)


def _naive(contracts: dict, optimum: Optimum) -> None:
    out = sys.stdout.write
    for gamma in (0.1, 0.3, 1.0, 5.0):
        late = [0, 0, 0]
        for k, (_, demands) in enumerate(itertools.islice(naive.iterate(contracts, gamma), LIMIT)):
            off = max(abs(demands[i] - x) for i, x in optimum.allocation.items())
            off /= max(optimum.allocation.values())
            late = [k + 1 if off >= t else n for n, t in zip(late, TOLERANCES, strict=True)]
        out(f"  naive gamma={gamma:<6} {'/'.join(str(n) if n < LIMIT else 'never' for n in late):>18}\n")
    tables = gather(checks.equilibrium(contracts, optimum))
    for agent, contract in contracts.items():
        gains = []
        for report in (1.0, 0.7):
            rounds = naive.iterate(contracts, 0.1, reports={agent: report})
            prices, demands = next(itertools.islice(rounds, 2000, None))
            gains.append(naive.payoff(contract, prices, demands))
        honest = strategic.payoff(contract, tables, 1e300)
        lie = strategic.with_demand(contract, tables, 1e300, 0.7 * tables["corn"][agent][0])
        lied = strategic.payoff(contract, tables, 1e300, lie)
        out(
            f"  {agent} says 0.7 of its demand: naive iteration {100 * (gains[1] / gains[0] - 1):+.1f} %, "
            f"mechanism {100 * (lied / honest - 1):+.1f} %\n"
        )


if __name__ == "__main__":
    main()
