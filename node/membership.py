"""Whom an agent plays with: what follows from its neighbours' statuses, and from their silence.

``node.neighbours`` is what the agent knows of them and the rules by which they are counted present or
absent; here they are applied. What a change means for the computation is the agent's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import topics
from node.errors import ContractMismatch
from node.liveness import LOOK_EVERY
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.status import DONE, DOWN, JOIN, LEFT, QUIT, UP

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.agent import Agent
    from node.part import AgentId
    from node.status import Status

# An agent that waits for a neighbour that seems to be away asks the broker so often, in seconds, for the
# status that it keeps: that the neighbour has left for good is said only once, and may have been lost.
ASK_EVERY = 2.0
# So long after asking, what says that the neighbour is there may be what the broker keeps.
ASKED = 1.0


class Membership:
    """Takes in who comes, goes and stays away, and has the agent play with those that are there.

    Args:
        agent: whose neighbours they are.
        digest: of the public rules.
        ask: subscribes once more to these topics, so that what is retained there is told again.

    Attributes:
        look_at: when ``look`` is due; in the clock's seconds.
    """

    __slots__ = ("_agent", "_ask", "_asked_at", "_digest", "look_at")

    def __init__(self, agent: Agent, digest: str, ask: Callable[[Sequence[str]], None]) -> None:
        self._agent, self._digest, self._ask = agent, digest, ask
        self.look_at = agent.clock()
        self._asked_at = self.look_at - ASK_EVERY

    def heard(self, src: AgentId, said: Status) -> None:
        """Take in a status of a neighbour.

        Raises:
            ContractMismatch: if it plays by other rules.
        """
        agent, known, now = self._agent, self._agent.neighbours, self._agent.clock()
        if said.digest != self._digest:
            raise ContractMismatch(
                f"agent {agent.id}: neighbour {src} plays by other rules "
                f"(digest {said.digest[:32]}, expected {self._digest})"
            )
        if agent.far(said.epoch):
            return agent.reject("far-epoch")
        if said.incarnation < known.lives[src]:
            return agent.reject("stale-incarnation")
        if said.incarnation > known.lives[src]:
            known.reborn(src, said.incarnation)
        known.epochs[src] = max(known.epochs[src], said.epoch)
        if said.state == DOWN:
            return known.liveness.will(src, now)
        if said.state == QUIT:
            return self._parted(src)
        if now < self._asked_at + ASKED and self._may_be_old(src, said):
            return None
        if known.liveness.heard(src, now) and src not in known.absent:
            agent.keeper.welcome_back(src, now)
        if src in known.absent:
            if not known.may_return(said):
                return agent.announcer.tell_again()  # it does not hear me: perhaps it will hear this
            self.admit(src, said.epoch if agent.id not in said.without else -1)
        else:
            known.speaks(src, said.epoch)
            if said.epoch > agent.epoch and not agent.amnesic:
                if not agent.may_restart(src):
                    return None
                agent.enter_epoch(said.epoch)
        if said.epoch == agent.epoch:
            known.note(src, said, now)
        if said.state in (DONE, LEFT) and said.epoch == agent.epoch:
            if said.state == DONE and agent.state is GONE:
                agent.announcer.tell_again()  # it still waits for my goodbye: the network must have lost it
            known.done.add(src)
        if said.state == JOIN and agent.state is not JOINING:
            agent.announcer.tell_again()  # it may have missed my hello
        known.greeted.add(src)
        agent.start_when_ready()
        agent.leave_when_acknowledged()

    def _may_be_old(self, src: AgentId, said: Status) -> bool:
        """Whether a status may be what the broker has kept; if it is not, a heartbeat will say the same."""
        return not said.beat and said.state in (JOIN, UP) and src in self._agent.neighbours.suspects()

    def _parted(self, src: AgentId) -> None:
        """A neighbour has left for good."""
        agent, known = self._agent, self._agent.neighbours
        known.quits(src)
        if src in known.absent:
            return
        if agent.state in (LINGERING, GONE):
            # My result stands. Whoever lacks its last words will make all start again without it.
            known.done.add(src)
            agent.leave_when_acknowledged()
        else:
            agent.go_on_without({src: "has left for good"})

    def admit(self, src: AgentId, epoch: int) -> None:
        """An absent neighbour is there again.

        Args:
            src: the neighbour.
            epoch: that it is in and counts this agent present in; -1 if it does not.
        """
        agent, known = self._agent, self._agent.neighbours
        if not agent.may_restart(src):
            return
        known.epochs[src] = max(known.epochs[src], epoch)
        known.admit(src)
        if epoch > agent.epoch and not agent.forgot:
            agent.enter_epoch(epoch)
        else:
            # One that has forgotten may have spoken in that epoch before, among others.
            agent.open_epoch()

    def look(self, now: float) -> bool:
        """See who is silent, part with those that the run does not wait for, and ask for the others.

        Returns:
            Whether somebody wants to hear that the agent is there, whatever else it says: who is thought away
            does not hear what is said to the others; and only an own word that comes back tells that anything
            at all arrives here.
        """
        agent, known = self._agent, self._agent.neighbours
        self.look_at = now + LOOK_EVERY * agent.pace
        known.liveness.look(now)
        wanted = known.calling
        joining = agent.state is JOINING
        if agent.state in (JOINING, PLAYING) and (overdue := known.overdue(now, joining=joining)):
            agent.go_on_without(overdue)
        elif now >= self._asked_at + ASK_EVERY * agent.pace and (missed := known.missed()):
            self._asked_at = now
            self._ask([topics.status(agent.run, j) for j in missed])
        return wanted
