"""Where messages come in: decoded and checked once, then handed to every local agent that listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import codec
from broker.codec import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.agent import Agent
    from node.part import AgentId


class Switchboard:
    """Dispatches what arrives on one connection, or on several that belong to the same process.

    Args:
        run: the run's id; messages of any other run are counted and dropped.
        agents: the agents behind this connection.
    """

    def __init__(self, run: str, agents: Iterable[Agent]) -> None:
        self.run = run
        self._readers: dict[str, tuple[AgentId, list[Agent]]] = {}
        self._statuses: dict[str, tuple[AgentId, list[Agent]]] = {}
        for agent in agents:
            for topic, src in agent.subscriptions().items():
                table = self._statuses if topic.endswith("/status") else self._readers
                table.setdefault(topic, (src, []))[1].append(agent)

    def topics(self) -> tuple[str, ...]:
        """Each topic that some local agent reads, once."""
        return (*self._statuses, *self._readers)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Take in one message from the network. Whatever is wrong with it is counted by kind and dropped.

        Raises:
            AgentError: if an agent behind this connection cannot go on.
        """
        entry = self._readers.get(topic)
        if entry is None:
            if (status := self._statuses.get(topic)) is not None:
                for agent in status[1]:
                    agent.receive_status(status[0], payload)
            return  # any other topic: nobody here subscribed to it
        src, agents = entry
        try:
            messages, asks = codec.decode_all(payload)
        except Malformed as error:
            kind = error.kind
        else:
            if all(message.src == src and message.run == self.run for message in messages):
                for agent in agents:
                    for message in messages:
                        agent.receive(message)
                    if asks:
                        agent.asked(messages[-1])
                return
            foreign = any(message.run != self.run for message in messages)
            kind = "foreign-run" if foreign else "forged-sender"
        for agent in agents:
            agent.reject(kind)
