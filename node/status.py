"""An agent's status: the retained message by which neighbours know that it is there."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from broker import codec
from broker.codec import Malformed

if TYPE_CHECKING:
    from node.part import AgentId

JOIN, UP, DONE, LEFT, DOWN, QUIT = "join", "up", "done", "gone", "down", "quit"


@dataclass(frozen=True, slots=True)
class Status:
    """What the topic ``<run>/<agent>/status`` holds.

    Attributes:
        state: ``join``: subscribed, and asks for the status of its neighbours; ``up``: plays; ``done``: the
            last round is complete, goodbyes are awaited; ``gone``: has left with its result; ``down``: the
            last will, published by the broker when the connection was lost; ``quit``: leaves for good.
        incarnation: the agent's life, growing at each restart.
        epoch: the computation it takes part in.
        digest: of the public rules it plays by.
        nonce: of its process; tells two processes apart that claim the same id.
        without: neighbours that it plays without in this epoch, though they may come back.
        hears: those of them that it has heard lately.
        beat: whether this is a heartbeat, which the broker does not retain.
    """

    state: str
    incarnation: int
    epoch: int
    digest: str
    nonce: str
    without: tuple[AgentId, ...] = ()
    hears: tuple[AgentId, ...] = ()
    beat: bool = False

    def pack(self) -> bytes:
        """As bytes; ``read`` is the inverse."""
        # Not `asdict`, which copies deeply and takes ten times as long: heartbeats are many.
        return codec.pack({name: getattr(self, name) for name in self.__slots__})


# Of statuses that are kept; with nobody absent they have some 150 bytes. What is longer is read each time: a
# neighbour that says a thousand different ones of a mebibyte must not fill the memory.
_KEPT = 1024


def read(payload: bytes) -> Status:
    """Read a status.

    Raises:
        Malformed: and nothing else, whatever the bytes are; kind ``status`` if they are not of this form.
    """
    return _known(payload) if len(payload) <= _KEPT else _read(payload)


def _read(payload: bytes) -> Status:
    match codec.unpack(payload):
        case {
            "state": ("join" | "up" | "done" | "gone" | "down" | "quit") as state,
            "incarnation": incarnation,
            "epoch": epoch,
            "digest": str(digest),
            "nonce": str(nonce),
            "without": tuple() as without,
            "hears": tuple() as hears,
            "beat": bool(beat),
        } if (
            type(incarnation) is type(epoch) is int  # True is an int, too, and would be said on as True
            and 0 <= incarnation < codec.COUNT_LIMIT
            and 0 <= epoch < codec.COUNT_LIMIT
            and all(type(j) is str for j in (*without, *hears))
        ):
            return Status(state, incarnation, epoch, digest, nonce, without, hears, beat)
        case other:
            raise Malformed("status", f"not a status: {reprlib.repr(other)}")


# The same heartbeat comes again and again, and to all local neighbours of who says it.
_known = lru_cache(maxsize=1024)(_read)
