"""A network in memory and in virtual time: topics, retained messages, last wills, random delays, seeded.

Behaves as a broker would towards its clients, but every delivery takes a random time of its own, so
messages overtake one another. Time advances from event to event; nothing waits. Two networks with the same
seed, driven alike, deliver the same messages in the same order at the same times.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.transport import OnMessage, Will

# How a message fares between two clients: the delays, in virtual seconds, of every copy that arrives.
# An empty sequence is a loss, two values are a duplicate. This is where faults plug in.
Fate = Callable[[random.Random, str, str, str, float], Sequence[float]]

DEFAULT_DELAY = (0.0005, 0.02)


def uniform_delay(low: float = DEFAULT_DELAY[0], high: float = DEFAULT_DELAY[1]) -> Fate:
    """Every message arrives once, after a time uniform in [low, high] virtual seconds.

    Raises:
        ValueError: unless 0 <= low <= high.
    """
    if not 0 <= low <= high:
        raise ValueError(f"expected 0 <= low <= high, got [{low}, {high}]")

    def fate(rng: random.Random, src: str, dst: str, topic: str, now: float) -> Sequence[float]:
        return (rng.uniform(low, high),)

    return fate


class Stalled(Exception):
    """Nothing is left to happen, or time is up, and what was waited for has not come."""


class VirtualNetwork:
    """The broker and the network around it.

    Args:
        seed: of all delays.
        fate: how each delivery fares; called with (generator, sender's name, receiver's name, topic, now).

    Attributes:
        now: virtual seconds since the start.
        delivered: messages handed to clients.
    """

    def __init__(self, seed: int, fate: Fate | None = None) -> None:
        self.now = 0.0
        self.delivered = 0
        self._rng = random.Random(seed)
        self._fate = fate if fate is not None else uniform_delay()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._exact: dict[str, list[VirtualClient]] = {}
        self._filters: list[tuple[list[str], VirtualClient]] = []
        self._retained: dict[str, tuple[str, bytes]] = {}

    def clock(self) -> float:
        """The virtual time, as a function to hand to whoever reads a clock."""
        return self.now

    def connect(self, name: str, on_message: OnMessage, will: Will | None = None) -> VirtualClient:
        """A client by this name; see ``VirtualClient``."""
        return VirtualClient(self, name, on_message, will)

    def call_later(self, delay: float, action: Callable[[], None]) -> None:
        """Run ``action`` in ``delay`` >= 0 virtual seconds; actions of equal time in order of asking."""
        heapq.heappush(self._events, (self.now + delay, self._order, action))
        self._order += 1

    def run(self, until: Callable[[], bool], limit: float) -> None:
        """Let time pass until ``until()`` holds.

        Raises:
            Stalled: if nothing is left to happen or ``limit`` virtual seconds have passed before.
        """
        while not until():
            if not self._events:
                raise Stalled(f"nothing is left to happen at {self.now:.3f} s")
            at, _, action = heapq.heappop(self._events)
            if at > limit:
                raise Stalled(f"not done within {limit:g} virtual seconds")
            self.now = at
            action()

    def forget(self) -> None:
        """Drop all that is retained, as a broker does whose store is lost."""
        self._retained.clear()

    # -- for clients ---------------------------------------------------------------------------------

    def _publish(self, src: str, topic: str, payload: bytes, retain: bool) -> None:
        if retain:
            if payload:
                self._retained[topic] = (src, payload)
            else:
                self._retained.pop(topic, None)
        for client in self._subscribers(topic):
            self._send(src, client, topic, payload)

    def _send(self, src: str, client: VirtualClient, topic: str, payload: bytes) -> None:
        for delay in self._fate(self._rng, src, client.name, topic, self.now):
            self.call_later(delay, lambda: self._arrive(client, topic, payload))

    def _arrive(self, client: VirtualClient, topic: str, payload: bytes) -> None:
        if client.connected:
            self.delivered += 1
            client.on_message(topic, payload)

    def _subscribers(self, topic: str) -> Iterator[VirtualClient]:
        seen = set()
        levels = topic.split("/")
        for client in self._exact.get(topic, ()):
            seen.add(client)
            yield client
        for pattern, client in self._filters:
            if client not in seen and _matches(pattern, levels):
                seen.add(client)
                yield client

    def _subscribe(self, client: VirtualClient, topics: Sequence[str]) -> None:
        for topic in topics:
            pattern = topic.split("/")
            if "+" in pattern or "#" in pattern:
                self._filters.append((pattern, client))
                matching = [t for t in self._retained if _matches(pattern, t.split("/"))]
            else:
                readers = self._exact.setdefault(topic, [])
                if client not in readers:
                    readers.append(client)
                matching = [topic] if topic in self._retained else []
            for t in matching:
                src, payload = self._retained[t]
                self._send(src, client, t, payload)

    def _disconnect(self, client: VirtualClient) -> None:
        for readers in self._exact.values():
            if client in readers:
                readers.remove(client)
        self._filters = [(pattern, other) for pattern, other in self._filters if other is not client]


class VirtualClient:
    """One client of a virtual network.

    Attributes:
        name: how the network's fate calls it.
        on_message: called with (topic, payload).
        connected: whether messages still reach it.
    """

    def __init__(self, network: VirtualNetwork, name: str, on_message: OnMessage, will: Will | None) -> None:
        self.name, self.on_message, self.will, self.connected = name, on_message, will, True
        self._network = network

    def subscribe(self, topics: Sequence[str]) -> None:
        """Read these topics or filters from now on; what is retained there comes after its delay."""
        self._network._subscribe(self, topics)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send to whoever reads the topic; a lost client's messages go nowhere."""
        if self.connected:
            self._network._publish(self.name, topic, payload, retain)

    def close(self) -> None:
        """Leave with a goodbye: the will does not fire."""
        if self.connected:
            self.connected = False
            self._network._disconnect(self)

    def abort(self) -> None:
        """Leave without one: the will is published, retained."""
        if self.connected:
            self.close()
            if self.will is not None:
                self._network._publish(self.name, self.will.topic, self.will.payload, retain=True)


def _matches(pattern: Sequence[str], levels: Sequence[str]) -> bool:
    for k, level in enumerate(pattern):
        if level == "#":
            return True
        if k >= len(levels) or level not in ("+", levels[k]):
            return False
    return len(pattern) == len(levels)
