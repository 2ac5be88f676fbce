"""What becomes of messages that pass a proxy: lost, repeated, delayed, overtaken by others."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.packets import Client

# How much later a reordered packet leaves, in seconds: some rounds' worth of others overtake it.
REORDER = (0.001, 0.02)

# (generator, client, whether it goes up to the broker, topic) -> the delays, in seconds, of every copy that
# arrives; none is a loss, two are a duplicate. The generator belongs to this client and direction.
Fate = Callable[[random.Random, Client, bool, str], Sequence[float]]
AT_ONCE = (0.0,)


def unharmed(rng: random.Random, client: Client, up: bool, topic: str) -> Sequence[float]:
    """The fate of a network without faults."""
    return AT_ONCE


@dataclass(frozen=True, slots=True)
class Weather:
    """Independent probabilities for every message.

    Attributes:
        loss: that it does not arrive.
        duplicate: that it arrives twice.
        reorder: that it is held back while others overtake it.
        delay: (lo, hi), seconds, drawn for each copy; None: as fast as can be.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: tuple[float, float] | None = None

    def delays(self, rng: random.Random) -> Sequence[float]:
        """What happens to one message."""
        if self.loss and rng.random() < self.loss:
            return ()
        copies = 1 + (self.duplicate > 0 and rng.random() < self.duplicate)
        if copies == 1 and self.delay is None and not self.reorder:
            return AT_ONCE
        return [self._delay(rng) for _ in range(copies)]

    def _delay(self, rng: random.Random) -> float:
        late = rng.uniform(*self.delay) if self.delay is not None else 0.0
        if self.reorder and rng.random() < self.reorder:
            late += rng.uniform(*REORDER)
        return late

    def everywhere(self, rng: random.Random, client: Client, up: bool, topic: str) -> Sequence[float]:
        """The ``Fate`` of a network with this weather on every connection, in both directions."""
        return self.delays(rng)
