"""What an agent says of itself on its own status topic, and what comes back from there.

Statuses are retained, so whoever subscribes later hears the newest one; heartbeats are not. The broker
echoes both to the agent itself, which is how it learns that it is connected, and of another process that
claims to be the same agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import topics
from node.errors import DuplicateAgent
from node.liveness import HEARTBEAT
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.status import DONE, DOWN, JOIN, LEFT, QUIT, UP, Status

if TYPE_CHECKING:
    from node.agent import Agent, Publish

# Seconds between two answers to neighbours that ask for this agent's status.
TELL_EVERY = 0.05

_SAYS = {JOINING: JOIN, PLAYING: UP, LINGERING: DONE, GONE: LEFT}


class Announcer:
    """Says that an agent is there, and what it is doing.

    Args:
        agent: of whom it speaks.
        publish: hands a message to the network.
        digest: of the public rules.
        nonce: of the process.

    Attributes:
        topic: on which it speaks.
        echoed: whether anything that it said has come back: from then on it is heard, and hears.
        due: when a heartbeat is due, unless something is said before; in the clock's seconds.
    """

    __slots__ = (
        "_agent",
        "_called_at",
        "_digest",
        "_nonce",
        "_publish",
        "_told_at",
        "due",
        "echoed",
        "topic",
    )

    def __init__(self, agent: Agent, publish: Publish, digest: str, nonce: str) -> None:
        self._agent, self._publish, self._digest, self._nonce = agent, publish, digest, nonce
        self.topic = topics.status(agent.run, agent.id)
        self.echoed = False
        self._told_at, self._called_at = -TELL_EVERY, agent.clock()
        self.spoken(self._called_at)

    def tell(self) -> None:
        """Tell everybody what the agent is doing, now and whoever comes later."""
        self._told_at = self._agent.clock()
        self._publish(self.topic, self._status(self._standing()).pack(), retain=True)

    def tell_again(self) -> None:
        """Tell a neighbour that asks. One that has asked since the last time will hear that time's answer,
        or ask again; so a neighbour that asks without end makes nobody speak without end."""
        if self._agent.clock() >= self._told_at + TELL_EVERY:
            self.tell()

    def will(self) -> bytes:
        """The last will: what the broker is to publish as the agent's status if the connection breaks."""
        return self._status(DOWN).pack()

    def spoken(self, now: float) -> None:
        """The agent has said something: no heartbeat is needed for a while."""
        self.due = now + HEARTBEAT * self._agent.pace

    def beat(self, now: float) -> None:
        """Say that the agent is there."""
        self.spoken(now)
        self._publish(self.topic, self._status(self._standing(), beat=True).pack())

    def tick(self, now: float, *, wanted: bool) -> None:
        """Say that the agent is there if it has been silent for a heartbeat; if somebody wants to hear just
        that, whatever else it has said meanwhile."""
        if now >= self.due or (wanted and now >= self._called_at + HEARTBEAT * self._agent.pace):
            self._called_at = now
            self.beat(now)

    def echo(self, heard: Status) -> bool:
        """Take in what has come from the agent's own topic.

        Returns:
            Whether this process said it.
        Raises:
            DuplicateAgent: if another process was this agent before.
        """
        agent = self._agent
        if heard.nonce == self._nonce:
            agent.neighbours.liveness.myself(agent.clock())
            self.echoed = True
            return True
        if heard.incarnation >= agent.incarnation and heard.state in (JOIN, UP):
            # The later process leaves, by an order that both see alike, whatever reaches whom first.
            if heard.nonce < self._nonce:
                raise DuplicateAgent(
                    f"agent {agent.id}: another process already plays this agent in run {agent.run} "
                    f"(incarnation {heard.incarnation}); this one leaves"
                )
            # Somebody else claims this id after us. It will leave; our hello must stand.
            agent.reject("impostor")
            agent.hello()
        elif heard.state == DOWN and self.echoed:
            # The broker noticed the end of our last connection only now; we are back already.
            agent.hello()
        return False

    def _standing(self) -> str:
        return QUIT if self._agent.quitted else _SAYS[self._agent.state]

    def _status(self, state: str, *, beat: bool = False) -> Status:
        agent, known = self._agent, self._agent.neighbours
        without = known.without() if known.absent else ()
        hears = known.heard_absent(agent.clock()) if without else ()
        return Status(state, agent.incarnation, agent.epoch, self._digest, self._nonce, without, hears, beat)
