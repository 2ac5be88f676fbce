"""What an agent has published and has heard of its neighbours, counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.codec import Message
    from node.part import AgentId


class Traffic:
    """Counts messages of rounds; statuses are not counted.

    Attributes:
        sent, sent_bytes: publishes, first copies only.
        resent: further copies published.
        received, received_bytes: messages from neighbours, first copies only.
        heard_from: of whom they were, and how many.
    """

    __slots__ = ("heard_from", "received", "received_bytes", "resent", "sent", "sent_bytes")

    def __init__(self) -> None:
        self.sent = self.sent_bytes = self.resent = self.received = self.received_bytes = 0
        self.heard_from: Counter[AgentId] = Counter()

    def hear(self, messages: Mapping[AgentId, Message]) -> None:
        """Count what has been heard in a round, a message of each neighbour."""
        self.received += len(messages)
        self.heard_from.update(messages.keys())
        self.received_bytes += sum([len(message.raw) for message in messages.values()])
