"""Going on without agents that have left for good: links are unwound, and the game is of those who stay.

Every capacity that is shared must be shared among all that use it. So a member of a link is taken off it only
if somebody in this part of the network knows that it has left for good: it has said so, and uses nothing any
more. Silence shows nothing of the kind: whoever is dead or cut off goes on using what it had. What is left is
then what the agents would have been told, had only those that are there ever taken part, and may be no game
at all: a link with one user, members that cannot hear one another any more. Then nobody gets a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.consensus.flooding import set_flooding
from node.errors import TooFew
from node.protocols.network.facts import own_of
from node.protocols.network.wires import Absent, Unreachable, Wires, measure

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    from node.part import AgentId, Part
    from node.protocol import Heard, Say
    from node.protocols.network.facts import Own
    from node.routes import Routes

# Letters of a reason that travels; ids have up to 64.
LONGEST = 400


def wired(part: Part, own: Own, routes: Routes, way: str) -> Generator[Say, Heard, tuple[Own, Wires]]:
    """Measure the links; first unwind them if somebody is missing who is on one.

    Whether somebody is missing all learn in the same round, with the first lengths that they compare. Then
    they tell each other who has left (D rounds, D the diameter), and whether what is left can be played (D
    more).

    Args:
        part: what this agent knows; ``part.absent`` are the neighbours that have left.
        own: what it plays with among all.
        routes: of those that are there.
        way: "flood" or "convergecast".
    Returns:
        What it plays with, and how far the members of its links are from each other.
    Raises:
        TooFew: at every agent of this part in the same round and with the same reason, which names an agent
            and its link, if those that are there cannot play.
        Unreachable, Contradiction: as ``measure``, where nobody is missing.
    """
    try:
        wires = yield from measure(part, own, routes, way)
    except Absent:
        pass
    else:
        return own, wires
    # Where the others go on without whoever is silent, absence does not show that somebody has left.
    known = part.absent if part.on_down == "wait" else ()
    told = yield from set_flooding(part.agent, known, part.hears, routes.diameter, accepts=_ids)
    left = {j for absent in told.values() for j in absent}
    reason = ""
    try:
        own = unwound(part, own, routes.agents, left)
    except ValueError as error:
        reason = str(error)
    yield from _none(part, routes, reason)
    try:
        wires = yield from measure(part, own, routes, way)
    except Unreachable as error:  # at every agent in this round
        yield from _none(part, routes, str(error) if error.link else "")
        raise AssertionError("links that cannot be reached are somebody's") from error
    return own, wires


def unwound(part: Part, own: Own, present: Collection[AgentId], left: Collection[AgentId]) -> Own:
    """What an agent plays with among those that are there.

    Args:
        part, own: the agent's; own among all.
        present: those that are there.
        left: those of the others that are known to have left for good.
    Raises:
        ValueError: naming the link, if that is not known of some member that is missing, or if the mechanism
            refuses what is left.
    """
    for name, channel in own.channels.items():
        unknown = [j for j in channel.members if j not in present and j not in left]
        if unknown and part.agent in channel.members:
            raise ValueError(
                f"link {name}: {', '.join(unknown[:3])} cannot be heard, and nobody here knows that it has "
                "left; expected to hear all that may use a part of the capacity"
            )
    return own_of(part, present)


def _none(part: Part, routes: Routes, reason: str) -> Generator[Say, Heard, None]:
    """All learn whether anybody has a reason not to play.

    Raises:
        TooFew: at every agent, with the reason of the first that has one, ids ascending.
    """
    whose = f"agent {part.agent}: {reason}"[:LONGEST] if reason else ""
    told = yield from set_flooding(part.agent, whose, part.hears, routes.diameter, accepts=_text)
    for said in told.values():
        if said:
            raise TooFew(f"those that are left cannot play: {said}")


def _ids(value: Any) -> bool:
    return type(value) is tuple and all(type(j) is str and 0 < len(j) <= 64 for j in value)


def _text(value: Any) -> bool:
    return type(value) is str and len(value) <= LONGEST
