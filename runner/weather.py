"""Faults of messages over a real broker: what becomes of each on its link, for the proxy to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from broker import topics
from broker.weather import AT_ONCE, Weather
from topologies.faults import Cut, Partition

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

    from broker.packets import Client
    from topologies.faults import AnyEvent, Faults

    Link = tuple[str, str]

# Client ids of agents, as the launcher and ``node.connection`` make them.
_AGENT = re.compile(r"agent-(.+)-[0-9a-f]{16}(-\d+)?\Z")


def harms_messages(faults: Faults, events: Iterable[AnyEvent]) -> bool:
    """Whether any fault is one of messages, which the proxy makes."""
    packets = (faults.loss, faults.duplicate, faults.reorder, faults.delay, faults.link)
    return any(packets) or any(isinstance(event, Cut | Partition) for event in events)


class LinkWeather:
    """How messages fare on each link: a ``Fate`` for the proxy.

    A message is harmed on its way from the broker to its reader, where the link is known: the reader is whose
    connection it is, and the topic tells who speaks. So every delivery has the probabilities of its link, as
    in the virtual network.

    Args:
        faults: whose probabilities hold, until ``faults.until``.
        clock: seconds since the agents were let go; negative before.

    Attributes:
        upwards: whether what is published may be harmed on its way to the broker as well.
        lost_on_cuts: messages that met a cut.
    """

    def __init__(self, faults: Faults, clock: Callable[[], float]) -> None:
        self.upwards = False
        self.lost_on_cuts = 0
        self._clock, self._until = clock, faults.until
        self._all = Weather(faults.loss, faults.duplicate, faults.reorder, faults.delay)
        self._links: dict[Link, Weather] = {}
        for other in faults.link:
            weather = Weather(
                self._all.loss if other.loss is None else other.loss,
                self._all.duplicate if other.duplicate is None else other.duplicate,
                self._all.reorder if other.reorder is None else other.reorder,
                self._all.delay if other.delay is None else other.delay,
            )
            self._links.update(dict.fromkeys(other.links, weather))
        self._cuts: list[tuple[float, Callable[[str, str], bool]]] = []

    def cut(self, until: float, severed: Callable[[str, str], bool]) -> None:
        """Let nothing pass the links for which ``severed(speaker, reader)`` holds."""
        self._cuts.append((until, severed))

    def fate(self, rng: random.Random, client: Client, up: bool, topic: str) -> Sequence[float]:
        """See ``broker.weather.Fate``."""
        if up and not self.upwards:
            return AT_ONCE
        now = self._clock()
        calm = self._until is not None and now >= self._until
        if up:
            return AT_ONCE if calm else self._all.delays(rng)
        try:
            speaker = topics.Topic.parse(topic).src
        except topics.BadTopic:
            return AT_ONCE
        match = _AGENT.match(client.client_id)
        reader = match[1] if match else ""
        if self._cuts:
            self._cuts = [cut for cut in self._cuts if cut[0] > now]
            if speaker != reader and any(severed(speaker, reader) for _, severed in self._cuts):
                self.lost_on_cuts += 1
                return ()
        return AT_ONCE if calm else self._links.get((speaker, reader), self._all).delays(rng)
