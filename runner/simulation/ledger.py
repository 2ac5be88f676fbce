"""What all agents of a network mechanism have in use, held against the capacities at every instant.

Rounds are not enough: while one agent is in one round a neighbour may be in the next, and a dead one goes on
using what it had. So every change of anybody's amount is an instant, and all amounts of that instant count.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from node.mechanisms.network import checks
from node.protocols.network.life import network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.agent import Agent
    from node.mechanisms.network.contract import Contract
    from node.part import AgentId, Part
    from node.protocol import Protocol


class Ledger:
    """A network mechanism whose agents say what they use, in a world that may kill them at any time.

    Args:
        contracts: everybody's side, which no agent has.
        agents: the drivers that are alive; empty while there is no world yet.

    Attributes:
        amounts: agent -> what it uses now; it goes on doing so while it is dead, until it has left for good.
        changes: how often an amount has changed, each an instant.
        fullest: the largest part of a capacity that was in use at any of them.
        over: at how many of them it was more than all of it.
    """

    def __init__(
        self, contracts: Mapping[AgentId, Contract], agents: Callable[[], Mapping[AgentId, Agent]]
    ) -> None:
        self._contracts, self._agents = contracts, agents
        self.amounts = dict.fromkeys(contracts, 0.0)
        self._stamps = dict.fromkeys(contracts, (0, -1))
        self.changes, self.fullest, self.over = 0, 0.0, 0

    def protocol(self, part: Part, resume: Any = None) -> Protocol:
        """What everybody plays."""
        return network(part, resume, partial(self._use, part.agent))

    def _use(self, agent: AgentId, stamp: int, amount: float) -> None:
        living = self._agents()
        epoch = living[agent].epoch if agent in living else 0
        if (epoch, stamp) <= self._stamps[agent]:
            return  # a life that is replayed says again what is past
        self._stamps[agent] = (epoch, stamp)
        self._changed(agent, amount)

    def leaves(self, agent: AgentId) -> None:
        """An agent is about to leave for good, and lets go of what it has."""
        self._changed(agent, 0.0)

    def _changed(self, agent: AgentId, amount: float) -> None:
        self.amounts[agent] = amount
        self.changes += 1
        part = max(checks.used(self._contracts, self.amounts).values())
        self.fullest, self.over = max(self.fullest, part), self.over + (part > 1.0)
