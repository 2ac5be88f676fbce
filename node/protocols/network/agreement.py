"""What the network agrees on in a step with Newton's prices: least numbers, and all links' summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.mechanisms.network.newton import Summary
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.part import AgentId

Numbers = tuple[float, ...]

# Letters of a name: of a link, or a group and a number behind it.
LONGEST = 80


def agreement(
    values: Numbers, own: Mapping[str, Summary], rounds: int
) -> Generator[Say, Heard, tuple[Numbers, dict[str, Summary]]]:
    """The smallest of every value, as ``node.consensus.extremum.minimum``, and the summaries of all links.

    Guarantee: the same at every agent if ``rounds`` is at least the diameter. A summary is said once by every
    agent.

    Args:
        values: this agent's numbers, finite; as many as every other agent's.
        own: the summaries that this agent has made; no other agent makes one of the same link.
        rounds: the same at every agent.
    """
    width, held = len(values), {name: summary.pack() for name, summary in own.items()}
    best = tuple(v + 0.0 for v in values)  # no -0.0, which equals 0.0 but has other bits
    fresh = tuple(held.items())

    def accepts(body: Any, src: AgentId) -> bool:
        return (
            type(body) is tuple
            and len(body) == 2
            and type(body[0]) is tuple
            and len(body[0]) == width
            and all(type(v) is float for v in body[0])
            and type(body[1]) is tuple
            and all(type(item) is tuple and len(item) == 2 and _summary(*item) for item in body[1])
        )

    for _ in range(rounds):
        heard = yield Say((best, fresh), kind="agreement", accepts=accepts)
        found: dict[str, Any] = {}
        for numbers, items in heard.said.values():
            best = tuple(map(min, best, numbers))
            found.update({name: packed for name, packed in items if name not in held})
        held.update(found)
        fresh = tuple(found.items())
    return best, {name: Summary.unpack(held[name]) for name in sorted(held)}


def _summary(name: Any, packed: Any) -> bool:
    return (
        type(name) is str
        and 0 < len(name) <= LONGEST
        and type(packed) is tuple
        and len(packed) == 5
        and all(type(v) is float for v in packed[:3])
        and type(packed[4]) is bool
        and (packed[0] >= 0.0 or packed[4])
        and type(packed[3]) is tuple
        and all(
            type(row) is tuple
            and len(row) == 3
            and type(row[0]) is str
            and name <= row[0]
            and all(type(v) is float and (v >= 0.0 or name < row[0]) for v in row[1:])
            for row in packed[3]
        )
        and any(row[0] == name for row in packed[3])
    )
