"""From the ``[faults]`` of a scenario to the fate of every delivery in the virtual network."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.faults import Barrier, FaultyLinks, Rates
from topologies.faults import Cut, Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from node.part import AgentId, Part
    from topologies.faults import AnyEvent, Faults


def fate_of(faults: Faults, events: Iterable[AnyEvent], *, free: bool = False) -> FaultyLinks:
    """The virtual network's part of the faults: everything that happens to messages on links.

    Args:
        faults: probabilities and slow agents.
        events: of ``topologies.faults.schedule``; the cuts and partitions among them.
        free: whether agents run freely; a slow one then ticks slowly (``slowed``), and its messages do not
            take longer than others'.
    """
    rates = Rates().changed(
        loss=faults.loss, duplicate=faults.duplicate, reorder=faults.reorder, delay=faults.delay
    )
    by_link = {
        link: rates.changed(
            loss=other.loss, duplicate=other.duplicate, reorder=other.reorder, delay=other.delay
        )
        for other in faults.link
        for link in other.links
    }
    barriers = []
    for event in events:
        if isinstance(event, Cut):
            barriers.append(Barrier(event.at, event.at + event.lasts, frozenset(event.links)))
        elif isinstance(event, Partition):
            side = {agent: k for k, group in enumerate(event.groups) for agent in group}
            barriers.append(Barrier(event.at, event.at + event.lasts, side=side))
    until = faults.until if faults.until is not None else math.inf
    return FaultyLinks(rates, by_link, {} if free else faults.slow, barriers, until)


def slowed(parts: Mapping[AgentId, Part], faults: Faults) -> dict[AgentId, Part]:
    """The parts of a run in which slow agents that run freely tick so many times more slowly."""
    return {
        name: replace(part, tick=part.tick * faults.slow[name])
        if part.tick is not None and name in faults.slow
        else part
        for name, part in parts.items()
    }
