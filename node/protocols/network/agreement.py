"""What the network agrees on in a step with Newton's prices: least numbers, and all links' summaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from node.part import AgentId

Numbers = tuple[float, ...]
Packed = tuple[Any, ...]

# Letters of a name: of a link, or a group and a number behind it.
LONGEST = 80


def agreement(
    values: Numbers,
    own: Mapping[str, Packed],
    rounds: int,
    summary: Callable[[str, Any], bool],
) -> Generator[Say, Heard, tuple[Numbers, dict[str, Packed]]]:
    """The smallest of every value, as ``node.consensus.extremum.minimum``, and the summaries of all links.

    Guarantee: the same at every agent if ``rounds`` is at least the diameter. A summary is said once by every
    agent.

    Args:
        values: this agent's numbers, finite; as many as every other agent's.
        own: the summaries that this agent has made, as plain values; no other agent makes one of the same
            link.
        rounds: the same at every agent.
        summary: whether a name and a value may be a link and its summary.
    """
    width, held = len(values), dict(own)
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
            and all(
                type(item) is tuple
                and len(item) == 2
                and type(item[0]) is str
                and 0 < len(item[0]) <= LONGEST
                and summary(*item)
                for item in body[1]
            )
        )

    for _ in range(rounds):
        heard = yield Say((best, fresh), kind="agreement", accepts=accepts)
        found: dict[str, Any] = {}
        for numbers, items in heard.said.values():
            best = tuple(map(min, best, numbers))
            found.update({name: packed for name, packed in items if name not in held})
        held.update(found)
        fresh = tuple(found.items())
    return best, {name: held[name] for name in sorted(held)}
