"""A diameter that was given by hand, checked before anybody relies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.errors import AgentError
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import AgentId


class DiameterTooSmall(AgentError):
    """The graph is wider than the number that was given; the text names two agents that are too far apart."""


def confirm_diameter(me: AgentId, diameter: int) -> Generator[Say, Heard, int]:
    """Make sure that nobody is further away than a number that was given.

    With a D that is too small an extremum is wrong somewhere, and stopping rules stop agents in different
    rounds (section 4.3). So before it is used: everybody says the ids that it has first heard in the round
    before, for D rounds and one more. An id first heard in round k is k hops away, so whoever hears a new one
    in round D + 1 has found somebody who is too far.

    Guarantee, on every strongly connected graph: if D is at least the diameter, all agents leave at the end
    of round D + 1; if it is less, at least the agents from which somebody is more than D hops away raise, at
    the end of that round. D + 1 rounds and every id once on every link: half of what the survey takes, which
    needs no D.

    Args:
        me: the own id.
        diameter: D >= 1, the same at every agent.
    Returns:
        (as a generator) how many agents there are.
    Raises:
        DiameterTooSmall: naming this agent and the first by id of those that are further away.
        ValueError: if D is less than 1.
    """
    if diameter < 1:
        raise ValueError(f"expected a diameter >= 1, got {diameter}")
    known, fresh = {me}, (me,)
    for round_ in range(1, diameter + 2):
        heard = yield Say(fresh, kind="confirm-diameter", accepts=_accepts)
        fresh = tuple(sorted({r for ids in heard.said.values() for r in ids} - known))
        known.update(fresh)
        if fresh and round_ > diameter:
            raise DiameterTooSmall(
                f"agent {me}: the diameter was given as {diameter}, but agent {fresh[0]} is {round_} hops "
                "away; expected the diameter or more"
            )
    return len(known)


def _accepts(body: object, src: AgentId) -> bool:
    return type(body) is tuple and all(type(r) is str and 0 < len(r) <= 64 for r in body)
