"""From the ``[faults]`` of a scenario to the fate of every delivery in the virtual network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from broker.faults import Barrier, FaultyLinks, Rates
from topologies.faults import Cut, Partition

if TYPE_CHECKING:
    from collections.abc import Iterable

    from topologies.faults import AnyEvent, Faults


def fate_of(faults: Faults, events: Iterable[AnyEvent]) -> FaultyLinks:
    """The virtual network's part of the faults: everything that happens to messages on links.

    Args:
        faults: probabilities and slow agents.
        events: of ``topologies.faults.schedule``; the cuts and partitions among them.
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
    return FaultyLinks(rates, by_link, faults.slow, barriers, until)
