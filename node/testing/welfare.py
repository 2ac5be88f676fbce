"""Laws about what comes of a mechanism at its Nash message."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.testing.report import Finding, Worst

if TYPE_CHECKING:
    from node.mechanisms.contract import Outcome
    from node.part import AgentId
    from node.testing.instance import Instance

# The Nash message is exact to 1e-12 of its size, and allocations are differences of such numbers.
ACCURACY = 1e-8


def outcomes(instance: Instance) -> dict[AgentId, Outcome]:
    """Everybody's outcome at the Nash message."""
    assert instance.nash is not None
    return {i: instance.outcome(i, instance.nash) for i in instance.agents}


def feasible(instance: Instance) -> Finding:
    """What is handed out at the Nash message is what there is."""
    assert instance.problem is not None
    allocation = {i: outcome.allocation for i, outcome in outcomes(instance).items()}
    off = instance.problem.infeasibility(allocation)
    return Finding(
        "feasible", off, ACCURACY, f"allocation {_shown(allocation)}" if not off <= ACCURACY else ""
    )


def efficient(instance: Instance) -> Finding:
    """No other allocation of the same total is worth more to all together."""
    assert instance.problem is not None
    allocation = {i: outcome.allocation for i, outcome in outcomes(instance).items()}
    off = instance.problem.inefficiency(allocation, instance.utilities)
    slopes = {i: instance.utilities[i].gradient(x) for i, x in allocation.items()}
    return Finding(
        "efficient", off, ACCURACY, f"marginal values {_shown(slopes)}" if not off <= ACCURACY else ""
    )


def balanced(instance: Instance) -> Finding:
    """Taxes sum to zero at the Nash message."""
    got = outcomes(instance)
    taxes = [float(outcome.tax) for outcome in got.values()]
    paid = math.fsum(float(np.abs(o.price * o.allocation).sum()) for o in got.values())
    scale = max(1.0, paid, math.fsum(abs(tax) for tax in taxes))
    total = math.fsum(taxes)
    worst = Worst()
    worst.see(abs(total) / scale, f"taxes sum to {total:.6g}, {scale:.3g} being paid in all")
    return worst.finding("budget balance", ACCURACY)


def rational(instance: Instance) -> Finding:
    """Nobody is worse off at the Nash message than without the mechanism."""
    assert instance.problem is not None
    worst = Worst()
    for i, outcome in outcomes(instance).items():
        alone = instance.utilities[i].value(instance.problem.outside(i, len(instance.agents)))
        got = instance.utility(i, outcome)
        loss = (alone - got) / max(1.0, abs(alone), abs(got))
        worst.see(loss, f"{i} has {got:.6g} with the mechanism and {alone:.6g} without")
    return worst.finding("individual rationality", ACCURACY)


def _shown(rows: dict[AgentId, np.ndarray]) -> str:
    shown = [f"{i}: {np.array2string(row, precision=4)}" for i, row in list(rows.items())[:4]]
    return ", ".join([*shown, *(["..."] if len(rows) > 4 else [])])
