"""Stopping by counters: all agents stop in the same round, and none before everybody is satisfied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import AgentId

# No stop round announced yet. Larger than any round, and an integer on the wire.
NEVER = 2**62

Snapshot = tuple[int, int, int]


def counters(diameter: int, resume: Snapshot | None = None) -> Generator[Say, Heard, None]:
    """Side protocol that tells when everybody's main protocol has been satisfied at the same time.

    ``count`` says for how many hops around everybody was satisfied: an agent whose main protocol reports
    True counts one more than the smallest count it hears, otherwise it starts again from 0. A count of
    D + 1 in round k means that in round k - D all agents were satisfied; the stop round k + D is then
    flooded, and the smallest announced one holds. The report turns from None to that round in the round
    itself, at every agent.

    Guarantee: no stop before a round in which every agent was satisfied; the stop comes 2D rounds after
    the first round from which on every agent stays satisfied, the same at all agents.

    Args:
        diameter: D or any larger number, the same at every agent.
        resume: a snapshot, or None.
    """
    count, stop, round_ = resume if resume is not None else (0, NEVER, 0)
    while True:
        heard = yield Say(
            (count, stop),
            kind="counters",
            accepts=_accepts,
            report=stop if round_ > stop else None,
            snapshot=(count, stop, round_),
        )
        stop = min([stop, *(other for _, other in heard.said.values())])
        count = 1 + min([count, *(other for other, _ in heard.said.values())]) if heard.report else 0
        if count >= diameter + 1:
            stop = min(stop, round_ + diameter)
        round_ += 1


def _accepts(body: object, src: AgentId) -> bool:
    match body:
        case (int(count), int(stop)):
            return 0 <= count <= NEVER and 0 <= stop <= NEVER
        case _:
            return False
