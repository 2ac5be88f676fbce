"""Ticks of free-running agents: each at its own deadline, one sleeping task for all of a process."""

from __future__ import annotations

import asyncio
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from node.liveness import LOOK_EVERY
from node.states import GONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.agent import Agent

# So long may ticks keep the event loop from reading what has arrived, in seconds.
SLICE = 0.005


async def ticking(agents: Sequence[Agent], clock: Callable[[], float]) -> None:
    """Let every agent look at the clock at its deadline, for ever; costs nothing between deadlines.

    An agent's deadline may come nearer between two ticks, when it joins or starts again; it then ticks up to
    ``LOOK_EVERY`` late, once.

    Args:
        agents: any number.
        clock: theirs; seconds, monotonic.
    """
    due = [(clock(), k) for k in range(len(agents))]
    heapify(due)
    began = clock()
    while due:
        (at, k), now = due[0], clock()
        if at > now:
            await asyncio.sleep(at - now)
            began = clock()
            continue
        agent = agents[k]
        if now >= agent.deadline:
            agent.tick(now)
        # One that has left has nothing to do, unless a new epoch brings it back.
        heapreplace(due, (now + LOOK_EVERY if agent.state is GONE else max(agent.deadline, now), k))
        if now - began > SLICE:
            await asyncio.sleep(0.0)
            began = clock()
