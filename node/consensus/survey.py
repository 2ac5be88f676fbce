"""The survey: who is there, how far, and through whom, learnt from neighbours alone.

A distance vector in which every id is said exactly once by every agent, with an exact end that needs no
bound on the diameter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol import Heard, Say
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import AgentId

# A neighbour that invents agents in each of its words must not fill the memory. Nobody has a network of so
# many: it would need as many processes or, in one, tens of gigabytes.
MOST_AGENTS = 1 << 20


def survey(me: AgentId) -> Generator[Say, Heard, Routes]:
    """Find all agents, the distances to them, the next hops towards them, and the diameter.

    In round k (from 1) everybody says the ids it first heard in round k-1, so an id said by a neighbour in
    round k is k-1 hops from that neighbour. The levels of a breadth-first search have no gaps: the first
    round without a new id completes the list, and the round before gives the own eccentricity. The largest
    eccentricity M known so far is flooded along; whoever knows its own leaves at the end of round 2M + 2.

    Guarantee, on every strongly connected graph: exact, and all agents leave at the end of round 2D + 2.
    For let agent i hold M < D, M at least its own eccentricity. Eccentricities grow by at most one from an
    agent to one that listens to it, so somewhere on a path from i to the agent of eccentricity D there is
    an r of eccentricity M + 1. It knows so at the end of round M + 2, and i hears of it d(i,r) <= M rounds
    later: in time not to leave.

    Raises:
        ValueError: if more than MOST_AGENTS are told of, naming the neighbour that told most in that round.
    """
    distance, hop = {me: 0}, {me: me}
    echo = 0
    fresh: tuple[AgentId, ...] = (me,)
    complete, largest = False, 0
    round_ = 0
    while not (complete and round_ >= 2 * largest + 2):
        round_ += 1
        heard = yield Say((fresh, largest), kind="survey", accepts=_accepts)
        found: dict[AgentId, AgentId] = {}
        for j, (ids, theirs) in heard.said.items():  # ascending: the smallest id wins a tie
            for r in ids:
                if r == me and not echo:
                    hop[me], echo = j, round_ - 1
                elif r not in distance:
                    found.setdefault(r, j)
            largest = max(largest, theirs)
        if len(distance) + len(found) > MOST_AGENTS:
            most = max(heard.said, key=lambda j: len(heard.said[j][0]))
            raise ValueError(
                f"neighbour {most} tells of {len(heard.said[most][0])} more agents in round {round_}: that "
                f"would be more than {MOST_AGENTS} in all"
            )
        for r, j in found.items():
            distance[r], hop[r] = round_, j
        if not found and not complete:
            complete, largest = True, max(largest, round_ - 1)
        fresh = tuple(found)
    return Routes(me, tuple(sorted(distance)), distance, hop, echo, largest)


def _accepts(body: object, src: AgentId) -> bool:
    match body:
        case (tuple() as ids, int(largest)):
            return largest >= 0 and all(type(r) is str and 0 < len(r) <= 64 for r in ids)
        case _:
            return False
