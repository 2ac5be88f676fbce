"""Watches a world: hashes its trace, and checks after every step what must hold then.

``RoundsWatch`` holds every word against the run in lockstep; ``runner.simulation.free`` does what can be done
where words depend on timing.
"""

from __future__ import annotations

import abc
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from node.states import GONE, JOINING, LINGERING
from runner.simulation.instances import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.agent import Agent
    from node.part import AgentId
    from runner.simulation.cases import Case
    from runner.simulation.instances import Reference
    from runner.world import World

_TIME = struct.Struct("<d")
# Enough to see what is wrong; a broken run would go on for ever.
ENOUGH = 5

Position = tuple[str, int, int, int]  # state, incarnation, epoch, round


class Violated(Exception):
    """A run has broken so many invariants that there is no point in going on."""


class Watch(abc.ABC):
    """One run under observation.

    Args:
        case: what is run.
        trace: called with every line of the trace; None if nobody reads it.

    Attributes:
        violations: what did not hold, in words.
        steps: how many deliveries and ticks there were.
        finished_at: when the first agent had its result; None before.
    """

    # What an honest network under faults makes agents drop. Anything else is a mistake of ours.
    expected_drops: frozenset[str]

    def __init__(self, case: Case, trace: Callable[[str], None] | None = None) -> None:
        self.violations: list[str] = []
        self.steps = 0
        self.finished_at: float | None = None
        self._forgetful = case.store == "none"
        self._hash = hashlib.sha256()
        self._trace = trace
        self._world: World | None = None
        self._at: dict[AgentId, Position] = {}

    def attach(self, world: World) -> None:
        """The world to be watched."""
        self._world = world

    def digest(self) -> str:
        """sha256 of everything that was delivered, and of every change of state, in order."""
        return self._hash.hexdigest()

    # -- what the world tells ------------------------------------------------------------------------

    def delivered(self, now: float, dst: AgentId, topic: str, payload: bytes) -> None:
        """See ``runner.life.Watcher``. The topic names the sender."""
        self._hash.update(b"%b%b>%b%b" % (_TIME.pack(now), topic.encode(), dst.encode(), payload))
        if self._trace is not None:
            self._trace(f"{now:.6f} {topic} > {dst} {payload.hex()}")

    def stepped(self, now: float, agent: Agent) -> None:
        """See ``runner.life.Watcher``."""
        self.steps += 1
        at = (agent.state, agent.incarnation, agent.epoch, agent.round)
        before = self._at.get(agent.id)
        if at == before:
            return
        self._at[agent.id] = at
        line = f"{now!r} {agent.id} {at[0]} life {at[1]} epoch {at[2]} round {at[3]}"
        self._hash.update(line.encode())
        if self._trace is not None:
            self._trace(line)
        where = f"{now:.3f} s, agent {agent.id}, epoch {at[2]}, round {at[3]}"
        self._check(agent, before, where)
        if agent.state in (LINGERING, GONE) and agent.conversation.finished:
            self._result(agent, where)
            if self.finished_at is None:
                self.finished_at = now

    def happened(self, now: float, what: str) -> None:
        """See ``runner.life.Watcher``."""
        self._hash.update(f"{now!r} {what}".encode())
        if self._trace is not None:
            self._trace(f"{now:.6f} {what}")
        kind, _, rest = what.partition(" ")
        if kind == "amnesia" or (kind == "crash" and self._forgetful):
            self._at.pop(rest.split(" ")[0], None)  # its next life owes nothing to this one

    # -- what must hold ------------------------------------------------------------------------------

    def violate(self, text: str) -> None:
        """Note that something did not hold."""
        self.violations.append(text)
        if len(self.violations) >= ENOUGH:
            raise Violated

    @abc.abstractmethod
    def _check(self, agent: Agent, before: Position | None, where: str) -> None:
        """After every change of an agent's state, life, epoch or round."""

    @abc.abstractmethod
    def _result(self, agent: Agent, where: str) -> None:
        """An agent has its result."""

    def at_the_end(self, world: World) -> None:
        """What must hold when every agent has left."""
        epochs = {agent.epoch for agent in world.agents.values()}
        if len(epochs) != 1:
            self.violate(f"the agents stopped in epochs {sorted(epochs)}")
        for name, agent in world.agents.items():
            if odd := set(agent.rejected) - self.expected_drops:
                self.violate(f"agent {name} dropped messages as {', '.join(sorted(odd))}")


class RoundsWatch(Watch):
    """Holds every word of every agent against the run in lockstep. See ``Watch``."""

    expected_drops = frozenset({"duplicate", "stale-epoch", "stale-incarnation", "ahead"})

    def __init__(self, case: Case, trace: Callable[[str], None] | None = None) -> None:
        super().__init__(case, trace)
        self._reference: Reference = case.instance.reference()
        self._exact = case.store not in ("torn", "full")
        self._peers = {i: sorted({*p.hears, *p.heard_by}) for i, p in case.instance.parts.items()}

    def _check(self, agent: Agent, before: Position | None, where: str) -> None:
        words, conversation = self._reference.words[agent.id], agent.conversation
        if agent.round >= len(words):
            self.violate(f"{where}: goes on after the last round, {len(words) - 1}")
        elif conversation.saying is not None and hash_of(conversation.saying) != words[agent.round]:
            self.violate(f"{where}: says other words than in lockstep")
        if len(conversation.kept) > 2:
            self.violate(f"{where}: keeps the messages of {len(conversation.kept)} rounds")
        if before is not None:
            same_life = before[1] == agent.incarnation
            if (same_life or (self._exact and before[2] == agent.epoch)) and before[2:] > (
                agent.epoch,
                agent.round,
            ):
                self.violate(f"{where}: was in epoch {before[2]}, round {before[3]} before")
        if agent.state is not JOINING:
            self._near(agent, where)

    def _near(self, agent: Agent, where: str) -> None:
        assert self._world is not None
        if not self._exact:
            return  # who has lost a part of its memory is behind until it opens a new epoch
        for j in self._peers[agent.id]:
            life = self._world.lives.get(j)
            if life is None or life.agent.state is JOINING or life.agent.epoch != agent.epoch:
                continue
            if abs(life.agent.round - agent.round) > 1:
                self.violate(f"{where}: neighbour {j} is in round {life.agent.round}")

    def _result(self, agent: Agent, where: str) -> None:
        if agent.round + 1 != self._reference.rounds:
            self.violate(f"{where}: stopped; in lockstep all stop in round {self._reference.rounds - 1}")
        expected = self._reference.results[agent.id]
        if same_bits(agent.result) != same_bits(expected):
            self.violate(f"{where}: its result is {agent.result}, in lockstep {expected}")

    def at_the_end(self, world: World) -> None:
        """See ``Watch``."""
        super().at_the_end(world)
        rounds = {agent.round for agent in world.agents.values()}
        if len(rounds) != 1:
            self.violate(f"the agents stopped in rounds {sorted(rounds)}")


def same_bits(value: Any) -> str:
    """A text that is equal for equal bits: ``repr`` of a float is exact, and tells -0.0 from 0.0."""
    return repr(value)
