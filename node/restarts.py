"""How often neighbours may make an agent start again, and which of them have.

A word of a newer epoch, a neighbour that comes back, one that has forgotten what it said: each makes an agent
drop its computation and start again from its inputs, and tell all its neighbours so. In a network of honest
agents that takes a cause: one that has died, left, come late, or been silent for a grace period of a second
at least. A hostile neighbour needs no cause. It says a newer epoch in each of its messages, or leaves and
comes back a thousand times a second, and each of its words costs the whole network a start. Nobody can finish
against it if all are to start again together; but what it costs is bounded here, and it is named.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from node.liveness import HEARTBEAT

if TYPE_CHECKING:
    from node.part import AgentId

# An epoch further ahead of one's own than this is no epoch of an honest network. Each costs a cause (above):
# that many agents would have to die, leave or come; at ten in a second the run would be in its second day. So
# whoever begins at epoch 0 without its memory still catches up with any network that there is. Without the
# bound a single word could put everybody at the end of what a header holds (``codec.COUNT_LIMIT``), where no
# epoch can follow; with it, and the pause below, that takes 2^42 words and 70,000 years.
FAR = 1 << 20
# So many restarts at once are taken from neighbours, more than a storm of crashes makes; after that one in so
# many seconds: neighbours that are further say so again with every heartbeat, so whoever lets a word pass
# hears it once more.
BURST, EVERY = 32, HEARTBEAT


class Restarts:
    """Counts what made one agent start again, and says whether it is to once more.

    Args:
        now: seconds, on the clock of all later calls.
        pace: by how much everything takes longer, see ``node.pacing.pace_of``.

    Attributes:
        by: neighbour -> how often its word has made the agent start again. An honest neighbour passes on
            what it was told, so whoever is at the root of it is named by its own neighbours.
    """

    __slots__ = ("_every", "_left", "_since", "by")

    def __init__(self, now: float, pace: float = 1.0) -> None:
        self.by: Counter[AgentId] = Counter()
        self._every = EVERY * pace
        self._left, self._since = float(BURST), now

    def allows(self, src: AgentId, now: float) -> bool:
        """Whether to start again for what this neighbour has just said; counted if so."""
        self._left = min(BURST, self._left + (now - self._since) / self._every)
        self._since = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        self.by[src] += 1
        return True
