"""Watches a world in which agents leave, die for good and join late: every result must be right for those
with whom it was found, and in the end these must be all that are left and connected."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from node.account import describe
from node.states import JOINING
from runner.components import components_of, current
from runner.errors import RunFailed
from runner.simulation.instances import Instance
from runner.simulation.stores import EXACT
from runner.simulation.watch import Watch, same_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from node.agent import Agent
    from node.part import AgentId, Part
    from runner.simulation.cases import Case
    from runner.simulation.watch import Position
    from runner.world import World


class MembersWatch(Watch):
    """Holds every result against the run in lockstep of those that played that epoch together.

    In rounds mode the result of an agent, and the round in which it stops, must be those of the sequential
    simulation of its component, bit for bit, in every epoch that it finishes, and what that result promises
    must hold. In free mode, where bits depend on timing, the promises must hold at the end. See ``Watch``.
    """

    expected_drops = frozenset({"duplicate", "overtaken", "stale-epoch", "stale-incarnation", "ahead"})

    def __init__(self, case: Case, trace: Callable[[str], None] | None = None) -> None:
        super().__init__(case, trace)
        if case.store in ("torn", "full"):
            self.expected_drops = self.expected_drops | {"body"}
        self._instance = case.instance
        self._free = case.instance.free
        # epoch -> agent -> whom it plays with
        self._peers: dict[int, dict[AgentId, tuple[AgentId, ...]]] = {}
        self._references: dict[tuple[Any, ...], Instance] = {}
        self._accounts: dict[AgentId, dict[str, Any]] = {}  # of those that have come to an end
        self._forgot: set[AgentId] = set() if case.store in EXACT else set(case.instance.parts)

    def happened(self, now: float, what: str) -> None:
        """See ``Watch``."""
        super().happened(now, what)
        kind, name, *_ = *what.split(" "), ""
        if kind == "amnesia":
            self._forgot.add(name)

    def _check(self, agent: Agent, before: Position | None, where: str) -> None:
        if not agent.conversation.finished:
            self._accounts.pop(agent.id, None)  # it plays again
        if agent.state is JOINING or agent.conversation.saying is None:
            return
        noted = self._peers.setdefault(agent.epoch, {})
        peers = noted.setdefault(agent.id, agent.peers)
        if peers != agent.peers:
            if agent.id not in self._forgot:
                self.violate(f"{where}: plays with {agent.peers}, in the same epoch before with {peers}")
            noted[agent.id] = agent.peers  # it was told of an epoch that a life of it had been in before
        if before is not None and before[1] == agent.incarnation and before[2] > agent.epoch:
            self.violate(f"{where}: was in epoch {before[2]} before")

    def _result(self, agent: Agent, where: str) -> None:
        self._accounts[agent.id] = describe(agent)
        if self._free:
            return  # at the end
        reference = self._of(self._together(agent, where)).reference()
        if not reference.results:
            why, stranded = reference.broken[0], agent.conversation.stranded
            if not why.startswith("TooFew: ") or stranded != f"agent {agent.id}: {why.partition(': ')[2]}":
                self.violate(f"{where}: ended with {stranded or 'a result'}, but in lockstep {why}")
            return
        if agent.conversation.stranded is not None:
            self.violate(f"{where}: ended without a result: {agent.conversation.stranded}")
            return
        for broken in reference.broken:
            self.violate(f"{where}: in lockstep of its component already: {broken}")
        if agent.round + 1 != reference.rounds:
            self.violate(f"{where}: stopped; in lockstep all stop in round {reference.rounds - 1}")
        expected = reference.results[agent.id]
        if same_bits(agent.result) != same_bits(expected):
            self.violate(f"{where}: its result is {agent.result}, in lockstep {expected}")

    def _together(self, agent: Agent, where: str) -> dict[AgentId, Part]:
        """The parts of all that play this epoch with an agent, by whom each of them counts present."""
        noted = self._peers.get(agent.epoch, {})
        group: dict[AgentId, Part] = {}
        fringe = [agent.id]
        while fringe:
            i = fringe.pop()
            if i in group:
                continue
            peers = noted.get(i)
            if peers is None:
                self.violate(f"{where}: has a result, but {i} never played in that epoch")
                peers = ()
            group[i] = among(self._instance.parts[i], peers)
            for j in peers:
                if i not in noted.get(j, (i,)):
                    self.violate(f"{where}: {i} played with {j}, which played without {i}")
                fringe.append(j)
        return dict(sorted(group.items()))

    def _of(self, parts: Mapping[AgentId, Part]) -> Instance:
        key = tuple((i, part.hears) for i, part in parts.items())
        if key not in self._references:
            instance = self._instance
            self._references[key] = Instance(instance.name, dict(parts), instance.protocol, instance.promises)
        return self._references[key]

    def whole(self, world: World) -> bool:
        """Whether all have left, each with all of its neighbours that are still there."""
        return world.all_gone() and all(
            j in world.lost or j in agent.peers
            for i, agent in world.agents.items()
            for j in self._instance.parts[i].hears
        )

    def at_the_end(self, world: World) -> None:
        """See ``Watch``."""
        for name, agent in world.agents.items():
            if odd := set(agent.rejected) - self.expected_drops:
                self.violate(f"agent {name} dropped messages as {', '.join(sorted(odd))}")
            if not agent.conversation.finished:
                self.violate(f"agent {name} has left without having finished")
        if (wrong := world.contradiction()) is not None:
            self.violate(f"at the end: {wrong}")
        links = {(i, j) for i, part in self._instance.parts.items() for j in part.hears}
        try:
            components_of(current(self._accounts, world.lost), links, free=self._free)
        except RunFailed as error:
            self.violate(f"at the end, by the agents' accounts: {error}")
        if self._free:
            for group in components(world):
                self._promised({i: world.agents[i] for i in group})

    def _promised(self, agents: Mapping[AgentId, Agent]) -> None:
        parts = {i: among(self._instance.parts[i], agent.peers) for i, agent in agents.items()}
        stranded = [i for i, agent in agents.items() if agent.conversation.stranded is not None]
        if stranded:
            if len(stranded) < len(agents) or len(agents) > 2:
                self.violate(f"at the end: of {len(agents)} agents {len(stranded)} have no result")
            return
        if set().union(*(agent.peers for agent in agents.values())) - set(agents):
            return  # some of them are gone: nobody knows what they came to
        for broken in self._instance.promises(parts, {i: a.result for i, a in agents.items()}, []):
            self.violate(f"at the end, of {', '.join(agents)}: {broken}")


def among(part: Part, peers: tuple[AgentId, ...]) -> Part:
    """An agent's part as it is when it plays with these."""
    absent = tuple(j for j in sorted({*part.hears, *part.heard_by}) if j not in peers)
    return replace(part, hears=peers, heard_by=peers, absent=absent)


def components(world: World) -> Iterable[list[AgentId]]:
    """The agents that are there, by who counts whom present."""
    agents, seen = world.agents, set[str]()
    for start in agents:
        if start in seen:
            continue
        group, fringe = set[str](), [start]
        while fringe:
            i = fringe.pop()
            if i in agents and i not in group:
                group.add(i)
                fringe.extend(agents[i].peers)
        seen |= group
        yield sorted(group)
