"""What an agent reports of itself where no runner asks: how far it is and, retained, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker import codec
from broker.codec import Malformed
from node.states import GONE, JOINING, LINGERING, PLAYING

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 2
PROGRESS, RESULT, FAILED = "progress", "result", "failed"
_STATES = (JOINING, PLAYING, LINGERING, GONE)
# What whoever judges needs of all that ``node.account.counts`` says of an agent, with its type.
_COUNTS: Mapping[str, type | tuple[type, ...]] = {
    "incarnation": int,
    "sent": int,
    "sent_bytes": int,
    "received": int,
    "received_bytes": int,
    "resent": int,
    "heard_from": dict,
    "restarted_by": dict,
    "rejected": dict,
    "first_round_at": (float, type(None)),
}
# Likewise of ``node.account.describe``.
_DESCRIBED: Mapping[str, type | tuple[type, ...]] = {
    "agent": str,
    "result": (dict, type(None)),
    "stranded": (str, type(None)),
    "rounds": int,
    "epoch": int,
    "neighbours": tuple,
    "absent": dict,
    **_COUNTS,
}
# Likewise of ``node.account.progress``.
_PROGRESS: Mapping[str, type | tuple[type, ...]] = {
    "state": str,
    "round": int,
    "kind": str,
    "record": dict,
    "waiting_for": tuple,
    "suspects": dict,
    "not_durable": (str, type(None)),
    **_COUNTS,
}


def pack(what: str, content: Mapping[str, Any]) -> bytes:
    """A report as bytes; ``read`` is the inverse.

    Args:
        what: ``progress``, ``result`` or ``failed``.
        content: what ``node.account.progress`` or ``node.account.describe`` says, or ``{"error": text}``.
    """
    return codec.pack((VERSION, what, dict(content)))


def read(payload: bytes, agent: str) -> tuple[str, dict[str, Any]]:
    """Read a report. What is in the ``result`` of a result is up to its protocol.

    Args:
        payload: as published.
        agent: who published it, as the topic says.
    Returns:
        What it is, and its content.
    Raises:
        Malformed: and nothing else, whatever the bytes are; kind ``report`` if they are not of this form.
    """
    match codec.unpack(payload):
        case (2, str(what), {**content}) if _finite(content) and _sound(what, content, agent):
            return what, {str(name): value for name, value in content.items()}
    raise Malformed("report", f"{agent}: not a report of version {VERSION}")


def _finite(content: Mapping[Any, Any]) -> bool:
    try:
        return codec.finite(content)
    except ValueError:  # nested too deeply
        return False


def _sound(what: str, content: Mapping[Any, Any], agent: str) -> bool:
    match what:
        case "result":
            return (
                _typed(content, _DESCRIBED)
                and content["agent"] == agent
                and (content["result"] is None) == (content["stranded"] is not None)
                and all(type(j) is str for j in content["neighbours"])
                and all(type(j) is type(why) is str for j, why in content["absent"].items())
                and _counts(content["rejected"])
                and _counts(content["heard_from"])
                and _counts(content["restarted_by"])
            )
        case "progress":
            return (
                _typed(content, _PROGRESS)
                and content["state"] in _STATES
                and content["round"] >= 0
                and all(
                    type(name) is str and type(value) is float for name, value in content["record"].items()
                )
                and all(type(j) is str for j in content["waiting_for"])
                and all(type(j) is type(how) is str for j, how in content["suspects"].items())
                and _counts(content["rejected"])
                and _counts(content["heard_from"])
                and _counts(content["restarted_by"])
            )
        case "failed":
            return type(content.get("error")) is str
    return False


def _typed(content: Mapping[Any, Any], types: Mapping[str, type | tuple[type, ...]]) -> bool:
    return all(name in content and isinstance(content[name], kind) for name, kind in types.items())


def _counts(counted: Mapping[Any, Any]) -> bool:
    return all(type(what) is str and type(count) is int for what, count in counted.items())
