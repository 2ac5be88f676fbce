"""What the ways of keeping time have in common: rounds (``node.rounds``), free ticks (``node.free``)."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.codec import Message
    from node.agent import Agent
    from node.part import AgentId
    from node.store import Saved


class Timekeeper(abc.ABC):
    """Decides when an agent's protocol goes on, and with which of the messages that have come.

    The agent checks who speaks, in which life and in which epoch; what is left is handed to ``take``. The
    timekeeper lets the protocol hear, has the agent say what comes of it, and repeats what may be lost.

    Args:
        agent: whose time it keeps.

    Attributes:
        barrier: whether nothing may be said before every neighbour has said hello.
        eager: whether ``deadline`` wants to be kept to the millisecond.
        deadline: when ``tick`` has something to do; in the clock's seconds.
    """

    barrier: bool

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    @property
    @abc.abstractmethod
    def deadline(self) -> float: ...

    @property
    def eager(self) -> bool:
        return False

    @abc.abstractmethod
    def clear(self) -> None:
        """A new computation begins: forget what was heard in the old one."""

    @abc.abstractmethod
    def replay(self, left: Saved) -> None:
        """Let the protocol hear again what it has heard since a snapshot; nothing is said."""

    def lose(self, names: tuple[AgentId, ...]) -> None:
        """These neighbours are gone, and the protocol goes on without them."""
        raise NotImplementedError(f"{names} are gone: expected a new epoch")

    def remember(self, saved: Saved) -> None:
        """Add to a snapshot what ``replay`` needs beside the log."""
        return

    @abc.abstractmethod
    def said(self, now: float) -> None:
        """Something new is being said."""

    @abc.abstractmethod
    def resume(self, now: float) -> None:
        """The agent is back, from its store or on a new connection: what it said last may never have left."""

    def welcome_back(self, src: AgentId, now: float) -> None:
        """A neighbour that was suspected is heard again; what was said to it meanwhile may be lost."""
        return

    def asked(self, newest: Message) -> None:
        """A neighbour whose newest message this is lacks this agent's of the same round."""
        return

    @abc.abstractmethod
    def finished(self, now: float) -> None:
        """The protocol has returned; its last words may still be needed."""

    @abc.abstractmethod
    def take(self, message: Message) -> None:
        """Take in a message of this epoch, of the sender's newest life.

        Raises:
            AgentError: if the agent cannot go on.
        """

    @abc.abstractmethod
    def advance(self) -> None:
        """Go on, if the messages that came before the agent was ready allow it."""

    @abc.abstractmethod
    def tick(self, now: float) -> None:
        """The deadline has passed."""

    @abc.abstractmethod
    def awaited(self) -> Collection[AgentId]:
        """The neighbours whose word is missing while the agent plays."""

    def again(self) -> None:
        """Publish once more what neighbours may still need."""
        self.agent.repeat([message for outgoing in self.agent.conversation.kept for message in outgoing])
