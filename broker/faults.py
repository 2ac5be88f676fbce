"""How deliveries of the virtual network fare when it is not well: fates of (generator, src, dst, topic, now).

``FaultyLinks`` loses, repeats, delays, holds back and blocks. It keeps nothing from one delivery to the
next: what it does depends on its arguments and on the generator alone, so a run is replayed by its seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker.virtual import DEFAULT_DELAY

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable, Mapping, Sequence

    Link = tuple[str, str]

# A reordered message is held back by up to so many seconds: long enough to be overtaken by the copies that
# a sender makes of it and by its next messages.
HELD_BACK = 0.5


@dataclass(frozen=True, slots=True)
class Rates:
    """What may happen to one delivery.

    Attributes:
        loss: probability that it never arrives.
        duplicate: probability that it arrives twice, the second copy after a time of its own.
        reorder: probability that it is held back by up to ``HELD_BACK`` seconds.
        delay: (lo, hi): seconds on top of the network's own delay.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)

    def changed(self, **others: float | tuple[float, float] | None) -> Rates:
        """The same rates but for those that are given."""
        return replace(self, **{key: value for key, value in others.items() if value is not None})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Barrier:
    """What does not pass between two times.

    Attributes:
        start, end: virtual seconds; it stands in start <= now < end.
        links: (src, dst) pairs that are cut, one direction each.
        side: client -> number of its group; between different numbers nothing passes. A client that is not
            named is in a group of its own kind, -1. Empty: no partition.
    """

    start: float
    end: float
    links: Collection[Link] = frozenset()
    side: Mapping[str, int] = field(default_factory=dict)

    def stops(self, src: str, dst: str) -> bool:
        """Whether a message of ``src`` does not reach ``dst``."""
        return (src, dst) in self.links or (
            bool(self.side) and self.side.get(src, -1) != self.side.get(dst, -1)
        )


class FaultyLinks:
    """A fate: rates that hold until a time, and barriers that come and go.

    Args:
        rates: of every link.
        by_link: (src, dst) -> its own rates.
        slow: client -> how many times longer than others' what it sends takes.
        barriers: cuts and partitions.
        until: when rates cease to hold; slowness and barriers do not.
        base: (lo, hi): the healthy network's delay, in seconds.
    Attributes:
        slowest: seconds that a message takes at most once the rates have ceased.
    """

    def __init__(
        self,
        rates: Rates,
        by_link: Mapping[Link, Rates] | None = None,
        slow: Mapping[str, float] | None = None,
        barriers: Iterable[Barrier] = (),
        until: float = math.inf,
        base: tuple[float, float] = DEFAULT_DELAY,
    ) -> None:
        self._rates, self._by_link, self._slow = rates, dict(by_link or {}), dict(slow or {})
        self._barriers = tuple(barriers)
        self._until, self._base = until, base
        # Most deliveries happen after the last barrier or outside any.
        self._standing = (
            min((b.start for b in self._barriers), default=math.inf),
            max((b.end for b in self._barriers), default=-math.inf),
        )
        self.slowest = base[1] * max(self._slow.values(), default=1.0)

    def __call__(self, rng: random.Random, src: str, dst: str, topic: str, now: float) -> Sequence[float]:
        """The delays of every copy that arrives; none is a loss."""
        low, high = self._base
        if (
            self._standing[0] <= now < self._standing[1]
            and src != dst  # what an agent hears of itself passes no link
            and any(b.start <= now < b.end and b.stops(src, dst) for b in self._barriers)
        ):
            return ()
        slower = self._slow.get(src, 1.0)
        if now >= self._until:
            return (slower * rng.uniform(low, high),)
        rates = self._by_link.get((src, dst), self._rates) if self._by_link else self._rates
        if rates.loss and rng.random() < rates.loss:
            return ()
        copies = 2 if rates.duplicate and rng.random() < rates.duplicate else 1
        delays = []
        for _ in range(copies):
            delay = rng.uniform(low, high)
            if rates.delay[1]:
                delay += rng.uniform(*rates.delay)
            if rates.reorder and rng.random() < rates.reorder:
                delay += rng.uniform(0.0, HELD_BACK)
            delays.append(slower * delay)
        return delays
