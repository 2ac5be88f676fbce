"""Watches a world whose agents run freely: no word can be foreseen, but what is promised can be checked."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from node.protocols.allocated import scale_of
from runner.result import environment_of
from runner.simulation.promises import tree_depth
from runner.simulation.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.agent import Agent
    from node.part import AgentId
    from runner.simulation.cases import Case
    from runner.simulation.watch import Position
    from runner.world import World

# Ratio consensus: its balance holds up to the roundings of sums that grow.
BALANCED = 1e-9


class FreeWatch(Watch):
    """Holds results and stops against what free mode promises. See ``Watch``.

    What an agent's work reports is noted with its tag, the round of the side in which it was said. So the
    rounds that a stop rests upon can be looked at again: that in them everybody was at rest, or that all
    estimates lay within the tolerance.
    """

    expected_drops = frozenset({"duplicate", "overtaken", "stale-epoch", "stale-incarnation"})

    def __init__(self, case: Case, trace: Callable[[str], None] | None = None) -> None:
        super().__init__(case, trace)
        if case.store in ("torn", "full"):
            # Whoever is behind its own words cannot read neighbours that have built upon them.
            self.expected_drops = self.expected_drops | {"body"}
        self._parts, self._promises = case.instance.parts, case.instance.promises
        self._diameter = case.instance.reference().diameter
        self._rules = next(iter(self._parts.values())).contract
        # How far the stopping rule counts, and in how many rounds more than one all must have been at rest.
        match self._rules["mechanism"]:
            case "summary":
                self._hops, self._extra = tree_depth(self._parts), 2
            case "consensus":
                self._hops, self._extra = self._diameter, 0
            case _:
                self._hops, self._extra = self._diameter, 1
        # (epoch, agent) -> its ticks: number, tag, report
        self._reports: dict[tuple[int, AgentId], list[tuple[int, int, Any]]] = defaultdict(list)
        self._optimum = None
        if self._rules["mechanism"] != "consensus":
            utilities = {i: part.utility for i, part in self._parts.items()}
            self._optimum = environment_of(self._rules, utilities).optimum()

    def _check(self, agent: Agent, before: Position | None, where: str) -> None:
        say = agent.conversation.saying
        if before is not None and before[1:3] == (agent.incarnation, agent.epoch) and before[3] > agent.round:
            self.violate(f"{where}: was in tick {before[3]} before")
        if len(agent.conversation.kept) > 1:
            self.violate(f"{where}: keeps {len(agent.conversation.kept)} messages")
        if say is None:
            return
        noted = self._reports[agent.epoch, agent.id]
        # A new life that has forgotten its last ticks makes others of them.
        while noted and noted[-1][0] >= agent.round:
            noted.pop()
        tag = say.body[1][0]
        if noted and not noted[-1][1] <= tag <= noted[-1][1] + 1:
            self.violate(f"{where}: goes from round {noted[-1][1]} of the side to {tag}")
        noted.append((agent.round, tag, None if say.snapshot is None else say.snapshot[2]))
        if self._rules.get("primitive") == "ratio" and say.snapshot is not None:
            self._balance(agent, say.snapshot[0][2], where)

    def _balance(self, agent: Agent, state: Any, where: str) -> None:
        """Section 3.1: y + sum S - sum RS = x, and the same for z, at every instant."""
        y, z, _, _, _, _, links = state
        (x,) = self._parts[agent.id].utility["value"]
        size = 1.0 + sum(abs(s) + abs(r) for _, s, _, r, _ in links)
        if abs(y + sum(s - r for _, s, _, r, _ in links) - x) > BALANCED * size:
            self.violate(f"{where}: y and its links do not add up to {x}")
        if abs(z + sum(t - r for _, _, t, _, r in links) - 1.0) > BALANCED * size:
            self.violate(f"{where}: z and its links do not add up to 1")

    def _result(self, agent: Agent, where: str) -> None:
        result = agent.result
        if not result.satisfied or result.stopped is None:
            self.violate(f"{where}: ended without the stopping rule")
            return
        self._early(agent.epoch, result.stopped, where)
        if self._optimum is not None:
            off = float(np.abs(result.allocation - self._optimum.allocation[agent.id]).max())
            promised = self._rules["stopping"]["tolerance"] * scale_of(self._rules, len(self._parts))
            if off > promised:
                self.violate(f"{where}: its allocation is {off:.3g} off the optimum; promised {promised:.3g}")

    def _early(self, epoch: int, stopped: int, where: str) -> None:
        """Whether the stop rests upon what it must."""
        stopping = self._rules.get("stopping", {})
        if self._optimum is None and self._rules["primitive"] != "set" and stopping["rule"] == "windows":
            start = stopped - max(1, self._diameter)  # the last round before the window that decided
            newest = {i: self._of(epoch, i, start)[-1:] for i in self._parts}
            estimates = [e for (e,) in newest.values() if type(e) is float and np.isfinite(e)]
            if len(estimates) < len(self._parts):
                self.violate(f"{where}: early stop: in round {start} of the side somebody had no estimate")
            elif max(estimates) - min(estimates) > stopping["tolerance"]:
                apart = max(estimates) - min(estimates)
                self.violate(f"{where}: early stop: in round {start} estimates were {apart:.3g} apart")
            return
        # Counters over h hops, asked for a count of h + e + 1: announced in k = stopped - (h + e), by one
        # that knew that all had been at rest from k - (h + e) to k - h.
        first = stopped - 2 * (self._hops + self._extra)
        for round_ in range(first, first + self._extra + 1):
            late = [i for i in self._parts if not all(self._of(epoch, i, round_) or [False])]
            if late:
                self.violate(f"{where}: early stop: in round {round_} of the side {late[0]} was not at rest")

    def _of(self, epoch: int, agent: AgentId, round_: int) -> list[Any]:
        return [report for _, tag, report in self._reports[epoch, agent] if tag == round_]

    def at_the_end(self, world: World) -> None:
        """See ``Watch``."""
        super().at_the_end(world)
        for broken in self._promises(self._parts, {i: a.result for i, a in world.agents.items()}, []):
            self.violate(f"at the end: {broken}")
