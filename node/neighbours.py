"""What one agent knows of each of its neighbours, and which of them it plays with.

Usually it plays with all that it was configured with, and waits for whoever is slow, stands still or is
dead. It plays without a neighbour that has left for good and, if the run says ``on_down = "continue"``,
without one that has been down for a grace period. Such a neighbour is *absent*. An epoch is played with the
same neighbours from its first word to its last.

A link is used in an epoch only if both ends count each other present, or one would build on words that
were said without it. Two things see to that. Words go to those alone who are present (``node.conversation``):
who is not counted hears nothing. And statuses say who is absent, and which of these have been heard lately:

- whoever is counted absent by a neighbour that it plays with, and stays so for the grace period, plays
  without that neighbour as well: perhaps nothing passes in one direction;
- an absent neighbour is taken back, in a new epoch, if it counts this agent present, or says that it hears
  it: then both directions are open.

So a suspicion that was wrong heals, and a part of the network that was cut off comes back as a whole.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from node.liveness import HEARTBEAT, PATIENCE, Liveness

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node.part import AgentId, Part
    from node.status import Status


class Neighbours:
    """Knows; decides nothing, and says nothing.

    Args:
        part: of the agent: its neighbours, and whether to go on without those that are down.
        now: seconds, on the clock of all later calls.
        pace: by how much everything takes longer, see ``node.pacing.pace_of``.
        absent: whom the computation that a store gave back was played without.

    Attributes:
        everybody: all that it was configured with, ascending.
        lives, epochs: of each, the newest that was heard of.
        greeted: who has said hello.
        done: who has its result, in this epoch.
        liveness: who seems to be there.
        absent: whom it plays without -> why, in words.
        peers, hears: whom it plays with, and those of them that it listens to; ascending.
    """

    __slots__ = (
        "_dropped_at",
        "_left",
        "_me",
        "_pace",
        "_part",
        "_shunned",
        "_since",
        "absent",
        "done",
        "epochs",
        "everybody",
        "greeted",
        "hears",
        "liveness",
        "lives",
        "peers",
    )

    def __init__(self, part: Part, now: float, pace: float = 1.0, absent: Iterable[AgentId] = ()) -> None:
        self._part, self._me, self._pace = part, part.agent, pace
        self.everybody: tuple[AgentId, ...] = tuple(sorted({*part.hears, *part.heard_by}))
        self.lives = dict.fromkeys(self.everybody, 0)
        self.epochs = dict.fromkeys(self.everybody, 0)
        self.greeted: set[AgentId] = set()
        self.done: set[AgentId] = set()
        self.liveness = Liveness(self.everybody, now, pace, part.grace)
        self.absent: dict[AgentId, str] = dict.fromkeys(absent, "has been absent before")
        self._since = math.inf  # when this agent said hello for the first time
        self._left: set[AgentId] = set()  # for good
        self._shunned: dict[AgentId, float] = {}  # present here, and counting me absent since then
        self._dropped_at: dict[AgentId, float] = {}
        self._settle()

    def _settle(self) -> None:
        absent = self.absent
        self.peers = tuple(j for j in self.everybody if j not in absent) if absent else self.everybody
        self.hears = tuple(j for j in sorted(self._part.hears) if j not in absent)

    @property
    def part(self) -> Part:
        """The agent's part as far as its neighbours are present, and who is not."""
        if not self.absent:
            return self._part
        return replace(
            self._part,
            hears=self.hears,
            heard_by=tuple(j for j in self._part.heard_by if j not in self.absent),
            absent=tuple(sorted(self.absent)),
        )

    @property
    def complete(self) -> bool:
        """Whether all that it plays with have said hello."""
        return self.greeted.issuperset(self.peers)

    # -- what is heard -------------------------------------------------------------------------------

    def reborn(self, src: AgentId, incarnation: int) -> None:
        """A neighbour is back, and may have forgotten that it was done."""
        self.lives[src] = incarnation
        self.done.discard(src)

    def quits(self, src: AgentId) -> None:
        """A neighbour has left for good: nothing of this life of it counts any more."""
        self.lives[src] += 1
        self._left.add(src)

    def speaks(self, src: AgentId, epoch: int) -> None:
        """A neighbour that is present here is in this epoch, at least; if it had left, it is back."""
        self.epochs[src] = max(self.epochs[src], epoch)
        self._left.discard(src)

    def may_return(self, said: Status) -> bool:
        """Whether an absent neighbour that says this is to be taken back: both directions are open."""
        return self._me not in said.without or self._me in said.hears

    def note(self, src: AgentId, said: Status, now: float) -> None:
        """Take in whether a neighbour that is present here counts this agent absent."""
        if self._me in said.without:
            self._shunned.setdefault(src, now)
        else:
            self._shunned.pop(src, None)

    # -- whom to play with ---------------------------------------------------------------------------

    def hello(self, now: float) -> None:
        """This agent has said hello; neighbours have a grace period from now to do the same."""
        self._since = min(self._since, now)

    def overdue(self, now: float, *, joining: bool) -> dict[AgentId, str]:
        """Whom to play without from now on -> why. Empty unless the run says to go on."""
        if self._part.on_down != "continue":
            return {}
        grace = self._part.grace * self._pace
        down = self.liveness.suspects()
        found: dict[AgentId, str] = {}
        for j in self.peers:
            if joining and j not in self.greeted:
                if now - self._since > grace:
                    found[j] = f"has not said hello for {grace:g} s"
            elif down.get(j) == "down":
                found[j] = f"has been silent for {grace:g} s and more"
            elif now - self._shunned.get(j, math.inf) > grace:
                found[j] = "plays on without this agent"
        return found

    def drop(self, who: dict[AgentId, str], now: float) -> None:
        """Play without these."""
        self.absent.update(who)
        for j in who:
            self._dropped_at[j] = now
            self._shunned.pop(j, None)
            self.greeted.discard(j)
            self.done.discard(j)
        self._settle()

    def admit(self, src: AgentId) -> None:
        """Play with this one again."""
        del self.absent[src]
        self._left.discard(src)
        self._settle()

    def renew(self, now: float) -> dict[AgentId, str]:
        """A new computation begins, so this is the time to part with those that would have to be parted with
        soon: who they are -> why."""
        self.done.clear()
        self._shunned.clear()
        who = {j: "has left for good" for j in self.peers if j in self._left}
        if self._part.on_down == "continue":
            for j in self.liveness.silent(now, 0.5 * self._part.grace * self._pace):
                if j not in self.absent:
                    who.setdefault(j, "has been silent for long")
        if who:
            self.drop(who, now)
        return who

    # -- who seems to be away ------------------------------------------------------------------------

    def suspects(self) -> dict[AgentId, str]:
        """Those that seem not to be there, of those it plays with: ``suspect``, or ``down`` after a while."""
        found, absent = self.liveness.suspects(), self.absent
        return {j: how for j, how in found.items() if j not in absent} if absent else found

    def missed(self) -> Sequence[AgentId]:
        """Those that seem to be away and are waited for; nobody where all go on without them."""
        return tuple(self.suspects()) if self._part.on_down == "wait" else ()

    # -- what to say ---------------------------------------------------------------------------------

    @property
    def calling(self) -> bool:
        """Whether there is somebody who should hear from this agent, whatever else it says."""
        return bool(self.absent) or bool(self._shunned) or self.liveness.uneasy

    @property
    def incomplete(self) -> bool:
        """Whether somebody is missing who may come back: absent, or present and never known to be done. Only
        where the run says to go on; elsewhere nobody ends without all."""
        if self._part.on_down != "continue":
            return False
        return any(j not in self._left for j in self.absent) or not self.done.issuperset(self.peers)

    def without(self) -> tuple[AgentId, ...]:
        """Whom it plays without, but for those that have left for good."""
        return tuple(j for j in sorted(self.absent) if j not in self._left)

    def heard_absent(self, now: float) -> tuple[AgentId, ...]:
        """Those of them that have been heard lately."""
        recent = now - PATIENCE * HEARTBEAT * self._pace
        return tuple(
            j
            for j in self.without()
            if self.liveness.heard_at(j) > max(recent, self._dropped_at.get(j, -1.0))
        )

    def waiting_for(self, there: Iterable[AgentId]) -> Sequence[AgentId]:
        """Those it plays with that are not there yet."""
        seen = set(there)
        return tuple(j for j in self.peers if j not in seen)
