"""Stopping by counters: all agents stop in the same round, and none before everybody is satisfied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

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
        diameter: D or any larger number, the same at every agent. Where neighbours may be lost on the way: of
            whatever is left, for which N - 1 is enough.
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
            survives=True,
        )
        stop = min([stop, *(other for _, other in heard.said.values())])
        count = 1 + min([count, *(other for other, _ in heard.said.values())]) if heard.report else 0
        if count >= diameter + 1:
            stop = min(stop, round_ + diameter)
        round_ += 1


def tree_counters(
    parent: AgentId | None,
    children: Sequence[AgentId],
    depth: int,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, None]:
    """``counters`` on a tree that is known: counts go up to the root, the stop round comes down from it.

    An agent whose main protocol reports True counts one more than the smallest of its own count and its
    children's, otherwise it starts again from 0. Then a count of h + 1 in round k says that every agent of
    its subtree that is at most h hops below it was satisfied in round k - h: it counted at least h + 1 - d
    in round k - d if it is d hops below, which took as many rounds of being satisfied, up to k - d. The
    root is at most ``depth`` hops from anybody, so its count of depth + 1 in round k means that in round
    k - depth all agents were satisfied. It then says the stop round, k + depth, which has reached
    everybody when it falls due. Nobody else says one: there is nothing to be agreed.

    Guarantee: no stop before a round in which every agent was satisfied; the stop comes 2 depth rounds
    after the first round from which on every agent stays satisfied, the same at all agents. (On a path
    whose smallest id is at one end that is as late as with ``counters``; on a balanced tree it is half of it,
    for the diameter is twice the depth there.) Neighbours beside the tree are heard and not needed.

    Args:
        parent: the neighbour towards the root; None at the root.
        children: the neighbours away from it.
        depth: the largest distance of an agent to the root, or any larger number, the same at every agent.
        resume: a snapshot, or None.
    """
    count, stop, round_ = resume if resume is not None else (0, NEVER, 0)
    while True:
        heard = yield Say(
            (count, stop),
            kind="tree-counters",
            accepts=_accepts,
            report=stop if round_ > stop else None,
            snapshot=(count, stop, round_),
        )
        said = heard.said
        count = 1 + min([count, *[said[j][0] for j in children]]) if heard.report else 0
        if parent is not None:
            stop = said[parent][1]
        elif count > depth and stop == NEVER:
            stop = round_ + depth
        round_ += 1


def _accepts(body: object, src: AgentId) -> bool:
    match body:
        case (int(count), int(stop)):
            return 0 <= count <= NEVER and 0 <= stop <= NEVER
        case _:
            return False
