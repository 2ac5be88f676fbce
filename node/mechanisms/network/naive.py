"""The naive dual price iteration of the slides: the price-taking baseline, which is no mechanism.

Announce prices, let everybody reply with its demand, raise the price where demand exceeds the capacity. It
finds the optimum if all are honest, and pays an agent that is not (spec of chapters 1-3, sections 4 and 6).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.unicast import limit
from node.mechanisms.network.valuations import demand

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from node.mechanisms.network.links import Link
    from node.mechanisms.network.unicast import Unicast
    from node.part import AgentId

Round = tuple[dict[str, float], dict["AgentId", float]]


def iterate(
    contracts: Mapping[AgentId, Unicast],
    gamma: float,
    start: float = 1.0,
    reports: Mapping[AgentId, float] | None = None,
) -> Iterator[Round]:
    """Rounds of (prices of the links, demands replied to them), for ever.

    Args:
        contracts: for their links and valuations; nothing is paid by their rules.
        gamma: the step, > 0, money per unit of excess.
        start: the first price of every link.
        reports: agent -> what it multiplies its demand by; 1, the truth, for all others.
    """
    links: dict[str, Link] = {name: link for c in contracts.values() for name, link in c.links.items()}
    prices = dict.fromkeys(sorted(links), start)
    while True:
        demands = {
            i: (reports or {}).get(i, 1.0) * demand(c.valuation, price_of(c, prices), 0.0, c.highest)
            for i, c in sorted(contracts.items())
        }
        yield prices, demands
        prices = {
            name: max(0.0, price + gamma * (links[name].load(demands) - links[name].capacity))
            for name, price in prices.items()
        }


def price_of(contract: Unicast, prices: Mapping[str, float]) -> float:
    """What a unit costs an agent on its route."""
    return math.fsum(link.coefficients[contract.me] * prices[name] for name, link in contract.links.items())


def payoff(contract: Unicast, prices: Mapping[str, float], demands: Mapping[AgentId, float]) -> float:
    """What an agent has when it gets its reported demand at the price: v(x) - P x."""
    x = demands[contract.me]
    return contract.valuation.value(x) - price_of(contract, prices) * x


def projected(contracts: Mapping[AgentId, Unicast], demands: Mapping[AgentId, float]) -> dict[AgentId, float]:
    """The demands scaled down until every capacity holds; in transients they do not hold by themselves."""
    links = {name: link for c in contracts.values() for name, link in c.links.items()}
    factor = min(1.0, *(limit(link, demands) for link in links.values()))
    return {i: factor * y for i, y in demands.items()}
