"""Protocols that fail, for ``runner.launch.Settings.protocol``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocol import Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part
    from node.protocol import Heard


def raises(part: Part, resume: Any = None) -> Generator[Say, Heard, Any]:
    """Agent a03 fails in round 7; the others would go on for ever."""
    round_ = 0
    while True:
        yield Say(0.0, kind="doomed")
        if part.agent == "a03" and round_ == 7:
            raise ArithmeticError("the till does not balance")
        round_ += 1


def raises_at_once(part: Part, resume: Any = None) -> Generator[Say, Heard, Any]:
    """Every agent fails before it says anything."""
    raise LookupError(f"{part.agent} lost its notes")
    yield Say()


def little_room(part: Part, resume: Any = None) -> Generator[Say, Heard, Any]:
    """What the rules say, with files of at most ``room`` bytes for two of the agents."""
    from node.protocols.registry import protocol_of

    if part.agent in ("a01", "a04"):
        import resource

        room = part.contract["room"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    return protocol_of(part, resume)
