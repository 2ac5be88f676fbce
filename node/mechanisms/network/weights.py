"""Whether eta and xi are small enough: nobody gains by leaving the optimum, or loses by taking part.

In chapters 1 and 2 slack terms reward whoever makes room on a link and quotes less for it, so that no
equilibrium exists if they weigh too much (erratum 2). How much is too much depends on utilities, capacities
and units: slack terms go by eta^2 and by the square of prices, what a deviation costs by the first power, so
in a unit of money that is 10^3 times smaller eta must be 30 times smaller. In chapter 3 equilibria exist for
every eta; with balance "everywhere" it must be small for nobody to lose by taking part (erratum 12).

The agents cannot find out: nobody of them knows the optimum. Who knows all utilities can, by a search.
"""

from __future__ import annotations

import copy
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.mechanisms.network import strategic
from node.mechanisms.network.incentives import NEGLIGIBLE, REGAINED, claimed, standings
from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.sequential import gather

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from node.mechanisms.network.contract import Contract
    from node.mechanisms.network.incentives import Standing
    from node.mechanisms.network.optimum import Optimum
    from node.part import AgentId

# A weight that weighs nothing: what goes wrong with it as well is not the weights' fault.
NOTHING = sys.float_info.min
# The decade in which the largest good weight lies is halved so often, to a part in 2 ** 8.
HALVINGS = 8


@dataclass(frozen=True, slots=True)
class Excess:
    """Weights of slack terms that are too large.

    Attributes:
        agent: who is most tempted to leave the equilibrium, or to stay away.
        gain: what it gains by leaving, in money; 0 if it would rather stay away.
        loss: what it loses by taking part.
        weights: those to blame, "eta", "xi" or both: making them smaller helps.
        largest: what they may be, all alike times as small, as far as the search can tell; rounded down.
    """

    agent: AgentId
    gain: float
    loss: float
    weights: tuple[str, ...]
    largest: Mapping[str, float]


def excess(contracts: Mapping[AgentId, Contract], optimum: Optimum) -> Excess | None:
    """Which weights are too large for the claimed equilibrium; None if none is.

    The search is one of best responses, a lower bound on what there is to gain. Somebody who gains whatever
    the weights are, as where (A4) fails, is not counted.
    """
    found = _at(contracts, optimum, {}, contracts)
    suspects = sorted(i for i, standing in found.items() if not _good(standing))
    if not suspects:
        return None
    every = ("eta", "xi") if any(isinstance(c, Multicast) for c in contracts.values()) else ("eta",)
    least = _at(contracts, optimum, dict.fromkeys(every, NOTHING), suspects)
    suspects = [i for i in suspects if _good(least[i])]
    if not suspects:
        return None
    first = next(iter(contracts.values()))
    now = {name: float(getattr(first, name)) for name in every}

    def good(names: Iterable[str], factor: float) -> bool:
        chosen = {name: max(NOTHING, factor * now[name]) for name in names}
        return all(_good(standing) for standing in _at(contracts, optimum, chosen, suspects).values())

    alone = [(name,) for name in every if good((name,), 0.0)]
    blamed = alone[0] if alone else every
    # Gains grow with every weight, so who is content with larger ones need not be asked again.
    exponent = 0.0
    while not good(blamed, 10.0**exponent):
        exponent -= 1.0
    low, high = exponent, exponent + 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if good(blamed, 10.0**middle) else (low, middle)
    agent = max(suspects, key=lambda i: max(found[i].temptation, found[i].loss))
    tempted = found[agent].temptation > NEGLIGIBLE
    return Excess(
        agent,
        found[agent].regret if tempted else 0.0,
        0.0 if tempted else -found[agent].payoff,
        blamed,
        {name: _rounded(10.0**low * now[name] * math.sqrt(REGAINED)) for name in blamed},
    )


def _at(
    contracts: Mapping[AgentId, Contract],
    optimum: Optimum,
    weights: Mapping[str, float],
    agents: Iterable[AgentId],
) -> dict[AgentId, Standing]:
    """How agents stand at the claimed equilibrium, with other weights than theirs where given."""
    sides = {i: _weighted(c, weights) for i, c in contracts.items()} if weights else contracts
    tables = gather(claimed(sides, optimum))
    least = min(strategic.limits(sides, tables).values())
    shares = {i: c.share(tables, c.factor(least)) for i, c in sides.items()}
    return standings(sides, tables, shares, agents)


def _weighted(contract: Contract, weights: Mapping[str, float]) -> Contract:
    changed = copy.copy(contract)
    for name, weight in weights.items():
        setattr(changed, name, weight)
    return changed


def _good(standing: Standing) -> bool:
    return standing.temptation <= NEGLIGIBLE and standing.loss <= NEGLIGIBLE


def _rounded(number: float) -> float:
    """Down to two digits."""
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    return float(f"{math.floor(number / step) * step:.2g}")
