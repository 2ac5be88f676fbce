"""One life of one agent in a simulated world: its driver, its connection, and what befalls it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Protocol

from broker import topics
from broker.transport import Will
from node.states import GONE
from node.switchboard import Switchboard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.virtual import VirtualClient
    from node.agent import Agent
    from node.part import AgentId
    from node.store import Store
    from runner.world import World


# What a timer of an event loop resolves, in seconds.
RESOLUTION = 0.001


class Watcher(Protocol):
    """Who is told what happens in a world, at once and in order."""

    def delivered(self, now: float, dst: AgentId, topic: str, payload: bytes) -> None:
        """An agent is about to take in a message."""

    def stepped(self, now: float, agent: Agent) -> None:
        """An agent has taken in a message, or has looked at the clock and had something to do."""

    def happened(self, now: float, what: str) -> None:
        """A fault has struck, or has ended."""


class Life:
    """One life of one agent: a process, were this not a simulation.

    Attributes:
        agent: the driver.
        client: its connection; None while there is no broker.
        alive: False once killed.
        missed: what has reached it while it stands still; None if it does not.
        paused_until: when it goes on.
    """

    def __init__(self, world: World, name: AgentId, number: int, store: Store | None) -> None:
        self.client: VirtualClient | None = None
        self.alive, self.paused_until = True, -math.inf
        self.missed: list[tuple[str, bytes]] | None = None
        self._world, self._joined = world, False
        self._wakes_at = math.inf
        part = world.parts[name]
        self.agent = world.make_agent(
            part,
            world.protocol,
            self.publish,
            world.network.clock,
            nonce=f"{name}.{number}",
            incarnation=number,
            store=store,
            snapshot_every=world.snapshot_every,
            ask=self.ask,
        )
        self._switchboard = Switchboard(part.run, [self.agent])
        self.wake()
        self._will = Will(topics.status(part.run, part.agent), self.agent.announcer.will())

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the broker, if there is one and this life still lasts."""
        if self.client is not None and self.alive:
            self.client.publish(topic, payload, retain=retain)

    def ask(self, names: Sequence[str]) -> None:
        """Have the broker tell again what it retains on these topics."""
        if self.client is not None and self.alive:
            self.client.subscribe(names)

    def connect(self, after: float) -> None:
        """Open a connection and subscribe; say hello ``after`` some seconds."""
        network = self._world.network
        self.client = network.connect(self.agent.id, self.deliver, self._will)
        self.client.subscribe(self._switchboard.topics())
        network.call_later(after, self.hello)

    def hello(self) -> None:
        """Tell the neighbours: for the first time, or after the connection was lost."""
        if not self.alive or self.client is None:
            return
        if self.missed is not None:
            network = self._world.network
            network.call_later(max(0.0, self.paused_until - network.now), self.hello)
            return
        if self._joined:
            self.agent.reconnected()
        else:
            self._joined = True
            self.agent.hello()

    def deliver(self, topic: str, payload: bytes) -> None:
        """Take in a message, now or when it goes on."""
        if self.missed is not None:
            self.missed.append((topic, payload))
            return
        watcher = self._world.watcher
        if watcher is None:
            self._switchboard.deliver(topic, payload)
        else:
            now = self._world.network.now
            watcher.delivered(now, self.agent.id, topic, payload)
            self._switchboard.deliver(topic, payload)
            watcher.stepped(now, self.agent)
        self.wake()

    def wake(self) -> None:
        """See to it that the agent looks at the clock at its very deadline, if it cannot wait for a beat: for
        ticks of its own, or because messages get lost."""
        agent = self.agent
        if (agent.state is GONE and not agent.still_calling) or not (
            agent.free or (self._world.prompt and agent.eager)
        ):
            return
        network, at = self._world.network, agent.deadline
        if at < self._wakes_at:
            self._wakes_at = at
            network.call_later(max(RESOLUTION, at - network.now), partial(self._woken, at))

    def _woken(self, at: float) -> None:
        if at != self._wakes_at:
            return  # an earlier look has taken its place
        self._wakes_at = math.inf
        if self.alive and self.missed is None:
            self.tick(self._world.network.now)
            if self.agent.free:
                self._exit_when_gone()  # no beat comes after
            self.wake()

    def tick(self, now: float) -> None:
        """Let the agent look at the clock."""
        self._exit_when_gone()
        if self.missed is None and now >= self.agent.deadline:
            self.agent.tick(now)
            if self._world.watcher is not None:
                self._world.watcher.stepped(now, self.agent)

    def _exit_when_gone(self) -> None:
        if self.agent.state is GONE and self._world.exit_when_gone and self.client is not None:
            self.client.close()
            self.client, self.alive = None, False
