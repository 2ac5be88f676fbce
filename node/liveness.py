"""Who seems to be there: two signals, never one, and every suspicion can be refuted.

A last will says that the broker lost a neighbour's connection, silence that nothing has come for several
heartbeats. Either makes a *suspect*; one that stays so through a grace period is *down*. Any message of the
neighbour's newest life refutes both. Whoever watches is told; an agent that goes on without neighbours that
are down (``node.neighbours``) acts on it, any other waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.part import AgentId

# An agent that has published nothing for this long says that it is there.
HEARTBEAT = 0.5
# Silence of so many heartbeats makes a suspect.
PATIENCE = 4
# How often an agent compares silences with its clock.
LOOK_EVERY = 0.25
# A suspect for so many seconds is down.
GRACE = 10.0
# An agent whose own clock stood still, because its process or machine did, must not blame its neighbours.
_MOST_PATIENCE = 8.0


class Liveness:
    """What one agent believes about its neighbours.

    Args:
        peers: the neighbours.
        now: seconds, on the clock of all later calls.
        pace: by how much everything takes longer, see ``node.pacing.pace_of``.
        grace: seconds after which a suspect is down.
    """

    __slots__ = ("_grace", "_heard", "_looked", "_myself", "_pace", "_patience", "_since", "_wills")

    def __init__(self, peers: Iterable[AgentId], now: float, pace: float = 1.0, grace: float = GRACE) -> None:
        self._pace, self._grace = pace, grace * pace
        self._heard = dict.fromkeys(peers, now)
        self._since: dict[AgentId, float] = {}  # suspect -> since when
        self._wills: set[AgentId] = set()
        self._looked = self._myself = now
        self._patience = 1.0

    def myself(self, now: float) -> None:
        """The broker has brought this agent its own words: it is connected."""
        self._myself = now

    def heard(self, peer: AgentId, now: float) -> bool:
        """A message of the neighbour's newest life has come; whatever was suspected is refuted.

        Returns:
            Whether anything was.
        """
        self._heard[peer] = now
        if not self._since or peer not in self._since:
            return False
        del self._since[peer]
        self._wills.discard(peer)
        return True

    def will(self, peer: AgentId, now: float) -> None:
        """The broker has published the neighbour's last will."""
        self._wills.add(peer)
        self._since.setdefault(peer, now)

    def look(self, now: float) -> None:
        """Compare silences with the clock; to be called every ``LOOK_EVERY`` seconds, times the pace."""
        late = now - self._looked > self._pace * (LOOK_EVERY + 0.5 * HEARTBEAT)
        self._patience = min(2.0 * self._patience, _MOST_PATIENCE) if late else max(1.0, 0.9 * self._patience)
        self._looked = now
        limit = self._pace * PATIENCE * HEARTBEAT * self._patience
        for peer, at in self._heard.items():
            if now - at > limit:
                self._since.setdefault(peer, now)
        if self._since and now - max(self._myself, *self._heard.values()) > limit:
            # Nothing at all arrives here: it is this agent, or the broker, that is cut off.
            self._since = dict.fromkeys(self._since, now)

    def silence(self, peers: Iterable[AgentId], now: float) -> float:
        """Seconds since any of these neighbours was heard; infinite if there are none."""
        return min((now - self._heard[peer] for peer in peers), default=float("inf"))

    def heard_at(self, peer: AgentId) -> float:
        """When the neighbour was heard last."""
        return self._heard[peer]

    @property
    def uneasy(self) -> bool:
        """Whether there is any suspicion."""
        return bool(self._since)

    def silent(self, now: float, seconds: float) -> list[AgentId]:
        """The neighbours that have been suspects for so many seconds; ascending."""
        return [peer for peer, since in sorted(self._since.items()) if now - since > seconds]

    def suspects(self) -> dict[AgentId, str]:
        """Neighbour -> ``suspect`` or ``down``; those that are neither are left out."""
        return {
            peer: "down" if self._looked - since > self._grace else "suspect"
            for peer, since in sorted(self._since.items())
        }
