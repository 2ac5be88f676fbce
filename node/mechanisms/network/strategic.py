"""STRATEGIC play of the network mechanisms: best responses of the actual game, and what they would gain.

An agent anticipates its own effect on the common factor. Own prices enter its payoff only by squares and
slack terms, so for any demand the best ones are known (``Contract.reply``) and a search over one number is
left.

Best responses do not converge here, whatever the step: prices are repeated, never raised, so a common price
that is too low stays too low while demands grow without bound (spec of chapters 1-3, section 5). They are
here to measure how far a profile is from an equilibrium, and to show that failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network.contract import FREE
from node.mechanisms.network.scan import payoffs
from node.mechanisms.network.sequential import gather

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from node.mechanisms.network.contract import Contract, Quotes, Tables
    from node.part import AgentId

# Demands tried: multiples of the present one and of the largest useful one, and between the best of these.
SCAN: tuple[float, ...] = (
    *np.logspace(-4.0, 4.0, 49).tolist(),
    *(1.0 + np.logspace(-6.0, -1.0, 6)).tolist(),
    *(1.0 - np.logspace(-6.0, -1.0, 6)).tolist(),
)
# Then the gap around the best of them is cut into so many, so often: to a part in 16^7 = 2.7e8.
ZOOM, ZOOMS = 33, 8
# The largest demand tried, in units of what is reasonable.
MOST = 1e4


@dataclass(frozen=True, slots=True)
class Response:
    """The best message found.

    Attributes:
        quotes: what the agent would say.
        payoff: v_i(x_i) - t_i with it.
        gain: over what it says now; >= 0.
    """

    quotes: Quotes
    payoff: float
    gain: float


def limits(contracts: Mapping[AgentId, Contract], tables: Tables) -> dict[str, float]:
    """Channel -> the factor that it allows."""
    found: dict[str, float] = {}
    for i in sorted(contracts):
        found |= contracts[i].limits(tables)
    return found


def rest_of(contract: Contract, every: Mapping[str, float]) -> float:
    """The factor that all channels of which the agent is no member allow."""
    return min((limit for name, limit in every.items() if name not in contract.channels), default=FREE)


def payoff(contract: Contract, tables: Tables, rest: float, quotes: Quotes | None = None) -> float:
    """v_i(x_i) - t_i, with other quotes than those in the tables if given."""
    if quotes is not None:
        tables = {name: {**tables[name], contract.me: quote} for name, quote in quotes.items()}
    share = contract.share(tables, factor_of(contract, tables, rest))
    return contract.valuation.value(share.allocation) - share.tax


def factor_of(contract: Contract, tables: Tables, rest: float) -> float:
    """The common factor."""
    return contract.factor(min([rest, *contract.limits(tables).values()]))


def with_demand(contract: Contract, tables: Tables, rest: float, y: float) -> Quotes:
    """The best quotes among those with demand y."""
    changed = {
        name: {**tables[name], contract.me: (y, *tables[name][contract.me][1:])} for name in contract.channels
    }
    return contract.reply(y, changed, factor_of(contract, changed, rest))


def best_response(contract: Contract, tables: Tables, rest: float, cap: float = math.inf) -> Response:
    """Search the best message against the others': a scan of demands, then ever closer around the best one.

    A lower bound on what there is to gain; the payoff need not have one maximum only.

    Args:
        contract: the agent's side.
        tables: the profile; own entries may be longer than quotes.
        rest: the factor that the other channels allow.
        cap: no larger demand is tried. What is tried goes up to ``MOST`` times the larger of the present and
            the largest useful demand; a supremum at infinity is not attained, so there may be no best one.
    """
    own = {name: tables[name][contract.me] for name in contract.channels}
    now = payoff(contract, tables, rest)
    present = next(iter(own.values()))[0]

    def tried(y: float) -> tuple[float, Quotes]:
        quotes = with_demand(contract, tables, rest, y)
        return payoff(contract, tables, rest, quotes), quotes

    top = min(cap, MOST * max(contract.highest, present))
    candidates = {
        min(max(s * base, contract.lowest), top) for s in SCAN for base in (present, contract.highest)
    }
    line = np.array(sorted(({*candidates, present, top}) - {0.0}))
    quick = payoffs(contract, tables, rest)
    at = quick if quick is not None else lambda ys: np.array([tried(y)[0] for y in ys.tolist()])
    best_y, best_value = contract.lowest, -math.inf
    for _ in range(ZOOMS):
        values = at(line)
        k = int(np.argmax(values))
        if values[k] > best_value:
            best_y, best_value = float(line[k]), float(values[k])
        # The best point and its neighbours hold a maximum of a payoff without jumps; look closer there.
        low, high = line[max(0, k - 1)], line[min(len(line) - 1, k + 1)]
        line = np.linspace(low, high, ZOOM)
    found = max((tried(y) for y in (best_y, contract.lowest)), key=lambda pair: pair[0])
    if found[0] <= now:
        return Response(own, now, 0.0)
    return Response(found[1], found[0], found[0] - now)


def regrets(contracts: Mapping[AgentId, Contract], tables: Tables) -> dict[AgentId, float]:
    """Agent -> what its best response found gains over what it says, the others staying: one-shot regret."""
    every = limits(contracts, tables)
    return {
        i: best_response(c, {name: tables[name] for name in c.channels}, rest_of(c, every)).gain
        for i, c in sorted(contracts.items())
    }


def play_best_responses(
    contracts: Mapping[AgentId, Contract], start: Mapping[AgentId, Quotes], damping: float = 1.0
) -> Iterator[Tables]:
    """Simultaneous best responses, for ever: the profile of every round. They do not converge here.

    Args:
        contracts: everybody's side.
        start: agent -> its first quotes.
        damping: the part of the way from the old message to the best one, in (0, 1]. Demands stay below
            ``MOST`` times the largest useful one: they would grow without end.
    """
    quotes = {i: dict(start[i]) for i in sorted(contracts)}
    while True:
        tables = gather(quotes)
        yield tables
        every = limits(contracts, tables)
        for i, c in contracts.items():
            own = {name: tables[name] for name in c.channels}
            best = best_response(c, own, rest_of(c, every), MOST * c.highest).quotes
            quotes[i] = {
                name: tuple(
                    old + damping * (new - old) for old, new in zip(quotes[i][name], best[name], strict=True)
                )
                for name in c.channels
            }
