"""Consensus primitives in free mode: ratio consensus, flow updating and set flooding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.combinators import newest, throughout
from node.consensus.counters import counters
from node.consensus.flooding import exact_sum, set_flooding
from node.consensus.survey import survey
from node.protocols.consensus import (
    FREE,
    Agreed,
    agreed,
    average,
    facts_of,
    known_so_far,
    primitive_of,
    recording,
    stopping_rule,
)
from node.protocols.free import Plan, free_run

if TYPE_CHECKING:
    from node.part import Part
    from node.protocol import Protocol

# N and D, as surveyed.
Size = tuple[int, int]


def consensus_freely(part: Part, resume: Any = None) -> Protocol:
    """Learn what the run's primitive gives from everybody's private values, with no barrier between agents.

    The contract is that of ``node.protocols.consensus``. The survey and the stopping rule keep rounds; what
    is between them runs freely. Set flooding ends by counters once everybody holds N values, so it is exact
    and the same bits as in rounds.

    Args:
        part: what this agent knows.
        resume: a snapshot taken once the survey was over, or None.
    Returns:
        (as a generator) ``Agreed``; its ``rounds`` are this agent's ticks of the primitive.
    Raises:
        ValueError: for a primitive that is not right in free mode, or as ``node.protocols.consensus``.
    """
    primitive, values = primitive_of(part)
    if primitive not in FREE:
        raise ValueError(f"{primitive} is right in rounds mode only; free mode has {', '.join(FREE)}")

    def surveyed() -> Protocol:
        routes = yield from survey(part.agent)
        return len(routes.agents), routes.diameter

    plan: Plan[Size]
    if primitive == "set":
        plan = Plan(
            set_up=surveyed,
            rule=lambda size, state: counters(size[1], state),
            fold=throughout,
            work=lambda size, state: recording(
                set_flooding(part.agent, values, part.hears, size=size[0], resume=state),
                known_so_far,
                facts_of(*size) if state is None else None,
            ),
            result=lambda size, everything, stopped, ticks: Agreed(
                primitive, exact_sum(everything), *size, ticks, True, True, stopped=stopped
            ),
            pack=tuple,
            unpack=tuple,
        )
    else:
        windowed = part.contract["stopping"].get("rule", "windows") == "windows"
        plan = Plan(
            set_up=surveyed,
            rule=lambda size, state: stopping_rule(part, size[1], state),
            fold=newest if windowed else throughout,
            work=lambda size, state: average(part, *size, state),
            result=lambda size, averaged, stopped, ticks: agreed(primitive, averaged, *size, stopped),
            pack=tuple,
            unpack=tuple,
        )
    return free_run(plan, part, resume)
