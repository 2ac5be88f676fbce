"""What came of an agent, as it publishes it where no runner asks: retained, for whoever judges the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker import codec
from broker.codec import Malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
# What a judge needs of all that ``node.host.describe`` says of an agent, with its type.
_FACTS: dict[str, type | tuple[type, ...]] = {
    "agent": str,
    "result": dict,
    "rounds": int,
    "sent": int,
    "sent_bytes": int,
    "received": int,
    "received_bytes": int,
    "resent": int,
    "rejected": dict,
    "first_round_at": (float, type(None)),
}


class AgentFailed(Exception):
    """An agent has published that it could not go on; the text names it and the cause."""


def pack(report: Mapping[str, Any]) -> bytes:
    """As bytes what ``node.host.describe`` says of an agent; ``read`` is the inverse."""
    return codec.pack((VERSION, "result", dict(report)))


def pack_failure(agent: str, error: str) -> bytes:
    """As bytes, that an agent cannot go on."""
    return codec.pack((VERSION, "failed", agent, error))


def read(payload: bytes, agent: str) -> dict[str, Any]:
    """Read the report of an agent. What is in ``result`` is up to its protocol.

    Args:
        payload: as published.
        agent: who published it, as the topic says.
    Raises:
        AgentFailed: if it is the report of a failure.
        Malformed: and nothing else, whatever the bytes are; kind ``report`` if they are not of this form.
    """
    match codec.unpack(payload):
        case (1, "failed", str(who), str(error)) if who == agent:
            raise AgentFailed(error[:2000])
        case (1, "result", {**facts}) if (
            all(name in facts and isinstance(facts[name], kind) for name, kind in _FACTS.items())
            and facts["agent"] == agent
            and codec.finite(facts["result"])
        ):
            return {str(name): fact for name, fact in facts.items()}
    raise Malformed("report", f"{agent}: not a report of version {VERSION}")
