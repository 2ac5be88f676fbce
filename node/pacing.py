"""When to send again what was not answered."""

from __future__ import annotations

import random

# Retransmission time-out: four times the measured round time, between these bounds. The floor is well above
# the scheduling jitter of a loaded machine, which keeps a healthy run free of needless copies.
START = 0.25
FLOOR = 0.05
CEILING = 5.0
# Spreads the copies of agents that wait for one another.
JITTER = 0.2


class Pacer:
    """The retransmission timer of one agent.

    Args:
        seed: of the jitter.
        now: seconds, on the clock of all later calls.

    Attributes:
        deadline: when to send again.
    """

    def __init__(self, seed: str, now: float) -> None:
        self._jitter = random.Random(seed)
        self._round_time = 0.0
        self._late = False
        self._since = now
        self._pause = START
        self.deadline = now + START

    def round_complete(self, now: float) -> None:
        """A round has ended, so the next one begins; how long it took sets the pause."""
        if not self._late:  # a round that needed copies says nothing about the network's own speed
            took = now - self._since
            self._round_time += 0.1 * (took - self._round_time) if self._round_time else took
        self.restart(now)

    def restart(self, now: float) -> None:
        """Something new was said; wait the shortest pause for an answer."""
        self._late, self._since = False, now
        self._pause = min(max(FLOOR, 4.0 * self._round_time), CEILING) if self._round_time else START
        self.deadline = now + self._pause

    def back_off(self, now: float) -> None:
        """Something was sent again; wait twice as long for an answer."""
        self._late = True
        self._pause = min(2.0 * self._pause, CEILING)
        self.deadline = now + self._pause * (1.0 + JITTER * self._jitter.uniform(-1.0, 1.0))
