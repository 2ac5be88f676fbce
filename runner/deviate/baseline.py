"""The same lies where no mechanism stands in their way: the naive dual price iteration of the slides.

Agents are asked for their demand at announced prices and pay the last ones. Nothing in it keeps an agent from
answering with less than it wants, and with the price that this brings about it is better off.
"""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING

from node.mechanisms.network import naive
from node.mechanisms.network.unicast import Unicast
from node.strategies.claims import ClaimedValuation
from runner.errors import RunFailed
from runner.network import contracts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.strategies import Strategy
    from topologies import LoadedScenario

# Prices that move by less than this part of themselves stand still; so many rounds are waited for it.
STILL, LIMIT = 1e-12, 200_000
STRATEGIES = ("scale", "shift", "exaggerate")


def applies(loaded: LoadedScenario, strategy: str) -> bool:
    """Whether the baseline has links with prices, and the strategy says anything in it."""
    return loaded.contract()["mechanism"] == "unicast" and strategy in STRATEGIES


def payoffs(loaded: LoadedScenario, deviators: Mapping[str, Strategy]) -> dict[str, float]:
    """Agent -> v_i(x_i) - P_i x_i with its true utility, at the prices at which the iteration stands still.

    Args:
        loaded: a unicast scenario.
        deviators: agent -> what it does; all others are honest.
    Raises:
        RunFailed: if prices do not come to a stand.
    """
    true = {i: c for i, c in contracts_of(loaded).items() if isinstance(c, Unicast)}
    said = dict(true)
    reports: dict[str, float] = {}
    for i, strategy in deviators.items():
        lie = strategy.lie(False)
        if not lie.truth:
            said[i] = copy.copy(true[i])
            said[i].valuation = ClaimedValuation(true[i].valuation, lie)
        else:
            reports[i] = strategy.size
    rounds = itertools.pairwise(naive.iterate(said, _step(said), reports=reports))
    for (before, _), (prices, demands) in itertools.islice(rounds, LIMIT):
        if all(abs(p - before[name]) <= STILL * max(1.0, p) for name, p in prices.items()):
            return {i: naive.payoff(c, prices, demands) for i, c in true.items()}
    raise RunFailed(f"the naive iteration does not come to a stand within {LIMIT} rounds")


def _step(contracts: Mapping[str, Unicast]) -> float:
    """1 / L of the dual gradient, by the least curvature that is met: at the largest useful amount."""
    bend = {i: 1.0 / c.valuation.curvature(c.highest) for i, c in contracts.items()}
    rows: dict[str, float] = {}
    for i, c in contracts.items():
        whole = sum(link.coefficients[i] for link in c.links.values())
        for name, link in c.links.items():
            rows[name] = rows.get(name, 0.0) + link.coefficients[i] * whole * bend[i]
    return 1.0 / max(rows.values())
