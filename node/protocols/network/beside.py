"""Two exchanges in the same messages: tables within groups, and beside them sums over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import AgentId


def beside(
    one: Generator[Say, Heard, Any], other: Generator[Say, Heard, Any], kind: str
) -> Generator[Say, Heard, tuple[Any, Any]]:
    """Run both until the longer one is over; what a neighbour is told is a pair, None where there is nothing.

    Both take a number of rounds that is the same at every agent, so all leave in the same round. They say
    nothing to everybody, only to single neighbours.

    Returns:
        What the two return.
    """
    both = (_Half(one), _Half(other))
    while any(half.say is not None for half in both):
        to = {
            j: tuple(half.to(j) for half in both)
            for j in sorted({j for half in both if half.say is not None for j in half.say.to})
        }
        heard = yield Say(to=to, kind=kind, accepts=_nothing, accepts_told=_accepts(both))
        for k, half in enumerate(both):
            half.hear(
                Heard(heard.said, {j: told[k] for j, told in heard.told.items() if told[k] is not None})
            )
    return both[0].result, both[1].result


class _Half:
    """One of the two, and what it says next; None when it is over."""

    def __init__(self, exchange: Generator[Say, Heard, Any]) -> None:
        self._exchange = exchange
        self.say: Say | None = None
        self.result: Any = None
        self._go(None)

    def _go(self, heard: Heard | None) -> None:
        try:
            self.say = self._exchange.send(heard)  # type: ignore[arg-type]
        except StopIteration as stop:
            self.say, self.result = None, stop.value

    def hear(self, heard: Heard) -> None:
        """Go on, if it is not over."""
        if self.say is not None:
            self._go(heard)

    def to(self, neighbour: AgentId) -> Any:
        """What it tells one neighbour."""
        return None if self.say is None else self.say.to.get(neighbour)

    def accepts(self, told: Any, src: AgentId) -> bool:
        """Whether a neighbour may tell it that."""
        if told is None or self.say is None:
            return told is None
        return self.say.accepts_told is None or self.say.accepts_told(told, src)


def _accepts(both: tuple[_Half, _Half]) -> Accepts:
    def accepts(told: Any, src: AgentId) -> bool:
        return (
            type(told) is tuple
            and len(told) == 2
            and all(half.accepts(part, src) for half, part in zip(both, told, strict=True))
        )

    return accepts


def _nothing(body: object, src: AgentId) -> bool:
    return body is None
