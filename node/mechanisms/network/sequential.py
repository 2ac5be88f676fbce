"""All agents of a network in one place, round after round: what the distributed protocol must equal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.mechanisms.network.contract import FREE, Share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from node.mechanisms.network.contract import Quotes, Table
    from node.mechanisms.network.fallback import Fallback
    from node.mechanisms.network.taker import Claim, Taker
    from node.part import AgentId

Profile = dict[str, "Table"]


@dataclass(frozen=True, slots=True)
class Step:
    """One round of the mechanism.

    Attributes:
        tables: channel -> member -> entry; ids ascending.
        factor: the common factor.
        shares: agent -> allocation and tax.
        gap: proved bound on how much welfare is missing: N times the largest part of an agent.
        claims: agent -> what the gap must be held against to prove its allocation accurate.
        residual: largest projected excess, relative to the capacity of its channel.
    """

    tables: Mapping[str, Table]
    factor: float
    shares: Mapping[AgentId, Share]
    gap: float
    claims: Mapping[AgentId, Claim]
    residual: float


def gather(quotes: Mapping[AgentId, Quotes]) -> Profile:
    """The tables of all channels, from what every agent quotes; ids ascending."""
    tables: dict[str, dict[AgentId, tuple[float, ...]]] = {}
    for i in sorted(quotes):
        for name, quote in quotes[i].items():
            tables.setdefault(name, {})[i] = quote
    return {name: tables[name] for name in sorted(tables)}


def play(takers: Mapping[AgentId, Taker], moves: int = 1, fallback: Fallback | None = None) -> Iterator[Step]:
    """Rounds of price-taking play, for ever. What is given is a step after all of its price moves.

    Args:
        takers: agent -> its behaviour; they are changed.
        moves: price moves for every allocation, at least 1.
        fallback: when to turn to proved steps; never without it.
    """
    guess = 1.0
    agents = sorted(takers)
    rule, known = takers[agents[0]].dynamics, FREE
    while True:
        tables = gather({i: takers[i].announce(guess) for i in agents})
        seen = {i: takers[i].read(tables) for i in agents}
        least = min(
            (limit for i in agents for limit in takers[i].contract.limits(seen[i]).values()), default=FREE
        )
        factor = takers[agents[0]].contract.factor(least)
        shares = {i: takers[i].contract.share(seen[i], factor) for i in agents}
        claimed = {i: takers[i].claim(seen[i], least) for i in agents}
        claims = {i: claim for i, (claim, _) in claimed.items()}
        gap = len(agents) * max(part for _, part in claimed.values())
        told = {name: summary for i in agents for name, summary in takers[i].summaries(tables).items()}
        for i in agents:
            takers[i].learn({name: told[name] for name in sorted(told)})
        residual = max(takers[i].update(seen[i]) for i in agents)
        guess = factor
        for _ in range(moves - 1):
            more = gather({i: takers[i].announce(guess) for i in agents})
            for i in agents:
                takers[i].update(takers[i].read(more))
        # Agents know the gap of a step in the next one.
        if fallback is not None and fallback.learn(known, moves):
            for i in agents:
                takers[i].follow(rule.calm if fallback.calm else rule)
        known = gap
        yield Step(tables, factor, shares, gap, claims, residual)


def settle(takers: Mapping[AgentId, Taker], step: Step) -> tuple[Profile, dict[AgentId, Share]]:
    """The settlement of a step: the quotes of all, and what everybody gets and pays.

    Args:
        takers: agent -> its behaviour, as it stands when all stop: two steps after ``step`` if its accuracy
            was proved, one step after it else.
        step: what is settled; its allocations stay.
    """
    agents, shares = sorted(takers), step.shares
    said: dict[AgentId, Quotes] = {}
    for i in agents:
        quotes = {name: step.tables[name][i] for name in takers[i].contract.channels}
        said[i] = takers[i].settle(takers[i].contract.settled(quotes, shares[i].allocation, step.factor))
    tables, found = gather(said), dict["AgentId", Share]()
    for i in agents:
        c = takers[i].contract
        tax = c.share(takers[i].read(tables), c.closing(step.factor)).tax
        found[i] = Share(shares[i].allocation, tax)
    return tables, found
