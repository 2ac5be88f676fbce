"""Whether agents may leave, join late or be gone for good in a scenario: what that needs, in one place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from topologies.errors import Invalid, Problem, shown
from topologies.faults import Amnesia, Crash, Join, Leave
from topologies.network.sections import NetworkMechanism

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from topologies.faults import AnyEvent
    from topologies.model import Scenario


def leavers(events: Sequence[AnyEvent]) -> dict[str, str]:
    """Agents that are not there at the end because a fault said so -> ``left`` or ``died``."""
    found: dict[str, str] = {}
    for event in events:
        if isinstance(event, Leave):
            found.update(dict.fromkeys(event.agents, "left"))
        elif isinstance(event, Crash) and event.seconds == math.inf:
            for agent in event.agents:
                found.setdefault(agent, "died")
    return found


def joiners(events: Sequence[AnyEvent]) -> dict[str, float]:
    """Agents that start late -> when, in seconds."""
    return {agent: event.at for event in events if isinstance(event, Join) for agent in event.agents}


def check(spec: Scenario, agents: Sequence[str], directed: bool) -> None:
    """Refuse what cannot come to an end, or to a right one.

    Args:
        spec: as validated.
        agents: all ids.
        directed: whether edges have one direction.
    Raises:
        Invalid: with one problem for each mistake.
    """
    problems = list(_problems(spec, agents, directed))
    if problems:
        raise Invalid(*problems)


def _problems(spec: Scenario, agents: Sequence[str], directed: bool) -> Iterator[Problem]:
    events = spec.faults.event if spec.faults is not None else ()
    leaving = leavers(events)
    goes_on = spec.recovery.on_down == "continue"
    if (goes_on or leaving) and directed:
        # Without one agent a strongly connected graph need not be so any more, and nobody would know.
        yield Problem(
            "topology.directed",
            "got true",
            'false, because agents may be left behind: recovery.on_down = "continue", or a leave or crash '
            "for good",
        )
    if goes_on and isinstance(spec.mechanism, NetworkMechanism):
        # Whoever is silent may be cut off, or dead, and what it has is in use.
        yield Problem(
            "recovery.on_down",
            'got "continue"',
            f'"wait", because mechanism.name = {shown(spec.mechanism.name)}: whoever is silent may still use '
            "its share, and to hand that out would exceed a capacity; agents may leave for good",
        )
    late: dict[str, float] = {}
    for k, event in enumerate(events):
        key = f"faults.event[{k}]"
        if isinstance(event, Crash) and event.seconds == math.inf and not goes_on:
            yield Problem(
                f"{key}.down",
                f"got {shown(event.down)}",
                'a number of seconds, because recovery.on_down = "wait": the others would wait for ever',
            )
        if isinstance(event, Join):
            for m, agent in enumerate(event.agents):
                if agent in late:
                    yield Problem(f"{key}.agents[{m}]", f"got {shown(agent)} a second time", "one join each")
                late[agent] = event.at
    for k, event in enumerate(events):
        if isinstance(event, Leave | Crash | Amnesia):
            for m, agent in enumerate(event.agents):
                if agent in late and event.at <= late[agent]:
                    yield Problem(
                        f"faults.event[{k}].agents[{m}]",
                        f"got {shown(agent)} at {event.at:g} s",
                        f"a time after {late[agent]:g} s, when it joins",
                    )
    if leaving and not set(agents) - set(leaving):
        yield Problem("faults.event", "every agent leaves", "somebody to stay")
    if late and not set(agents) - set(late):
        yield Problem("faults.event", "every agent joins late", "somebody to be there from the start")
