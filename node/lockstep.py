"""The sequential simulation: all agents in turn, no network. Every other run must equal it, bit for bit."""

from __future__ import annotations

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

    Args:
        protocols: agent -> a generator not yet started.
        hears: agent -> the agents it listens to.
        observe: called with every round (from 0) and what everybody says in it.
    Raises:
        Misaligned: if two agents' kinds differ in a round, or some return in a round and others do not.
    """
    listens = {i: sorted(hears[i]) for i in sorted(protocols)}
    says = {i: next(protocols[i]) for i in listens}
    rounds = 0
    while True:
        kinds = {say.kind for say in says.values()}
        if len(kinds) > 1:
            raise Misaligned(f"round {rounds}: agents are in different protocols: {sorted(kinds)}")
        if observe is not None:
            observe(rounds, says)
        following: dict[AgentId, Say] = {}
        results: dict[AgentId, Any] = {}
        for i, neighbours in listens.items():
            heard = Heard(
                {j: says[j].body for j in neighbours},
                {j: told for j in neighbours if (told := says[j].to.get(i)) is not None},
            )
            try:
                following[i] = protocols[i].send(heard)
            except StopIteration as stop:
                results[i] = stop.value
        rounds += 1
        if results:
            if following:
                raise Misaligned(
                    f"round {rounds - 1}: {sorted(results)} returned, {sorted(following)} did not"
                )
            return Lockstep(results, rounds)
        says = following
