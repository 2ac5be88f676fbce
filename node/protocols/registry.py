"""Which protocol a run's mechanism is played by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocols.allocate import allocate
from node.protocols.consensus import consensus
from node.protocols.free_consensus import consensus_freely
from node.protocols.free_play import allocate_freely
from node.protocols.network.facts import MECHANISMS as NETWORK
from node.protocols.network.life import network
from node.protocols.scalable import scalable, scalable_freely

if TYPE_CHECKING:
    from node.part import Part
    from node.protocol import Protocol


def protocol_of(part: Part, resume: Any = None) -> Protocol:
    """The protocol of ``part.contract["mechanism"]``, from a snapshot or from the start.

    Raises:
        ValueError: for an unknown mechanism.
    """
    match part.contract.get("mechanism"):
        case "private-goods" | "public-goods":
            return allocate_freely(part, resume) if part.free else allocate(part, resume)
        case "summary":
            return scalable_freely(part, resume) if part.free else scalable(part, resume)
        case "consensus":
            if part.free:
                return consensus_freely(part, resume)
            if resume is not None:
                raise ValueError("consensus takes no snapshots of its own; it is replayed from the start")
            return consensus(part)
        case str(name) if name in NETWORK:
            return network(part, resume)
        case other:
            raise ValueError(
                f"unknown mechanism {other!r}; expected 'private-goods', 'public-goods', 'summary', "
                f"'consensus', {', '.join(map(repr, NETWORK))}"
            )
