"""The sequential simulation: all agents in turn, no network. Every other run must equal it, bit for bit."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.errors import Misaligned
from node.protocol import Heard, Protocol, Say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Lockstep:
    """How a sequential simulation ended.

    Attributes:
        results: agent -> what its protocol returned.
        rounds: rounds until then, the same for all.
    """

    results: Mapping[AgentId, Any]
    rounds: int


def run(
    protocols: Mapping[AgentId, Protocol],
    hears: Mapping[AgentId, Sequence[AgentId]],
    observe: Callable[[int, Mapping[AgentId, Say]], None] | None = None,
) -> Lockstep:
    """Step all protocols in rounds until they return.

    What is said is handed over as it is, not encoded: readers must leave it as it is, too. Some 2
    microseconds an agent and round come on top of what the protocols take.

    Args:
        protocols: agent -> a generator not yet started.
        hears: agent -> the agents it listens to.
        observe: called with every round (from 0) and what everybody says in it.
    Raises:
        Misaligned: if two agents' kinds differ in a round, or some return in a round and others do not.
        Exception: whatever a protocol raises; a note names the agent, the round and the kind.
    """
    collecting = gc.isenabled()
    gc.disable()  # a run makes millions of small objects, which end with their round, and hardly any cycle
    try:
        return _run(protocols, hears, observe)
    finally:
        if collecting:
            gc.enable()


def _run(
    protocols: Mapping[AgentId, Protocol],
    hears: Mapping[AgentId, Sequence[AgentId]],
    observe: Callable[[int, Mapping[AgentId, Say]], None] | None,
) -> Lockstep:
    agents = [(i, tuple(sorted(hears[i]))) for i in sorted(protocols)]
    rounds = 0
    says: dict[AgentId, Say] = {}
    for i, _ in agents:
        try:
            says[i] = next(protocols[i])
        except Exception as error:
            error.add_note(f"agent {i}, round 0 ()")
            raise
    while True:
        kinds = {say.kind for say in says.values()}
        if len(kinds) > 1:
            raise Misaligned(f"round {rounds}: agents are in different protocols: {sorted(kinds)}")
        if observe is not None:
            observe(rounds, says)
        bodies = {i: say.body for i, say in says.items()}
        private = {i: say.to for i, say in says.items() if say.to}
        following: dict[AgentId, Say] = {}
        results: dict[AgentId, Any] = {}
        for i, neighbours in agents:
            heard = Heard({j: bodies[j] for j in neighbours})
            if private:
                heard.told = {j: told for j in neighbours if (told := says[j].to.get(i)) is not None}
            try:
                following[i] = protocols[i].send(heard)
            except StopIteration as stop:
                results[i] = stop.value
            except Exception as error:
                error.add_note(f"agent {i}, round {rounds} ({says[i].kind})")
                raise
        rounds += 1
        if results:
            if following:
                raise Misaligned(
                    f"round {rounds - 1}: {sorted(results)} returned, {sorted(following)} did not"
                )
            return Lockstep(results, rounds)
        says = following
