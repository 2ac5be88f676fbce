"""An agent that does not go beyond a round before a test lets it, so that a run lasts as long as its test."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node.protocols.registry import protocol_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part
    from node.protocol import Accepts, Heard, Say

# Names the file that holds the number of that round.
GATE = "VICINAL_TESTS_GATE"


def held(part: Part, resume: Any = None) -> Generator[Say, Heard, Any]:
    """What the rules say. In its last round the agent cannot read what is said, and asks for it again."""
    gate = Path(os.environ[GATE])
    play = protocol_of(part, resume)
    say, round_ = next(play), 0
    while True:
        heard = yield replace(say, accepts=_before_the_last(gate, round_, say.accepts))
        try:
            say, round_ = play.send(heard), round_ + 1
        except StopIteration as ended:
            return ended.value


def _before_the_last(gate: Path, round_: int, accepts: Accepts | None) -> Accepts:
    def readable(body: Any, src: str) -> bool:
        return round_ < float(gate.read_text()) and (accepts is None or accepts(body, src))

    return readable
