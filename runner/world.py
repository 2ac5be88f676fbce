"""Agents over a virtual network, and all that can happen to them: crash, amnesia, pause, a broker that dies.

The world is host, supervisor and fate in one, in virtual time. It starts agents, kills them, starts them
again with what their stores hold, and takes no part in what they say.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from broker.virtual import Stalled, VirtualNetwork
from node.agent import SNAPSHOT_EVERY, Agent
from node.states import GONE
from runner.components import Roll
from runner.life import Life
from topologies.faults import Amnesia, BrokerKill, Crash, Cut, Join, Leave, Partition, Pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from broker.virtual import Fate
    from node.part import AgentId, Part
    from node.store import Store
    from runner.life import Watcher
    from topologies.faults import AnyEvent

    ProtocolOf = Callable[..., Any]  # (part, snapshot or None) -> protocol

# Virtual seconds between two looks at the clock of every agent.
BEAT = 0.05
# An agent says hello so many virtual seconds after the start at the latest: nobody starts at once.
STAGGER = 0.05


class World:
    """All agents of a run.

    Args:
        parts: agent -> its part.
        protocol: called with a part and a snapshot or None, makes an agent's protocol.
        seed: of all delays.
        fate: how deliveries fare; default: once each, after a random delay.
        store: called with an agent's id, makes a new store for it, also after one was lost; None: agents
            remember nothing.
        loses_memory: whether these stores may give back less than was put in.
        snapshot_every: rounds between two snapshots.
        watcher: is told what happens.
        exit_when_gone: whether an agent's process ends as soon as the agent has left, which is harsher than
            ``vicinal run``: there it stays until all have their results, and answers who missed a goodbye.
        prompt: whether agents that ask for it look at the clock at their very deadline, as over a broker,
            and not at the next beat; truer, and dearer.
        may_forget: asked with an agent's id before it is killed and loses any of its memory; whether it may.
            None: always.
        killed: called with the driver of an agent that has been killed.
        make_agent: the driver; anything else than ``Agent`` is for tests of tests.
        happens: called with every fault when it strikes.

    Attributes:
        network: the virtual network; its ``now`` is the time.
        lives: agent -> its present life; none while it is dead.
        lost: agents that are dead for good, or have left for good.
        roll: who these are, and who was started late, with the times.
        stores: agent -> its store.
    """

    def __init__(
        self,
        parts: Mapping[AgentId, Part],
        protocol: ProtocolOf,
        seed: int,
        *,
        fate: Fate | None = None,
        store: Callable[[AgentId], Store] | None = None,
        loses_memory: bool = False,
        snapshot_every: int = SNAPSHOT_EVERY,
        watcher: Watcher | None = None,
        exit_when_gone: bool = False,
        prompt: bool = True,
        may_forget: Callable[[AgentId], bool] | None = None,
        killed: Callable[[Agent], None] | None = None,
        make_agent: Callable[..., Agent] = Agent,
        happens: Callable[[AnyEvent], None] = lambda event: None,
    ) -> None:
        self.parts, self.protocol, self.snapshot_every = parts, protocol, snapshot_every
        self.watcher, self.make_agent, self.exit_when_gone = watcher, make_agent, exit_when_gone
        self.network = VirtualNetwork(seed, fate)
        self.lives: dict[AgentId, Life] = {}
        self.stores: dict[AgentId, Store] = {}
        self.loses_memory, self.prompt = loses_memory, prompt
        self._new_store, self._may_forget, self._killed = store, may_forget, killed
        self._happens = happens
        self._numbers = dict.fromkeys(sorted(parts), 0)
        self._broker_back = -math.inf
        self._unfinished = set(parts)
        self.lost: set[AgentId] = set()
        self.roll = Roll()
        self._to_join: set[AgentId] = set()

    # -- a run -----------------------------------------------------------------------------------------

    def start(self, events: Iterable[AnyEvent] = ()) -> None:
        """Let all agents go, and fate with them; those that are to join later do then."""
        events = list(events)
        self._to_join = {name for event in events if isinstance(event, Join) for name in event.agents}
        for k, name in enumerate(self._numbers):
            if name not in self._to_join:
                self._begin(name, STAGGER * k / len(self._numbers))
        self.strike(events)
        if not all(part.free for part in self.parts.values()):
            self.network.call_later(BEAT, self._beat)

    def strike(self, events: Iterable[AnyEvent]) -> None:
        """Let events happen, their times counted from now."""
        for event in events:
            self.network.call_later(event.at, partial(self._strike, event))

    def run(self, limit: float, until: Callable[[], bool] | None = None) -> None:
        """Until every agent has left, or ``until()`` holds.

        Raises:
            Stalled: if that takes longer than ``limit`` virtual seconds; names who waits for whom.
        """
        try:
            self.network.run(self.all_gone if until is None else until, limit)
        except Stalled as error:
            raise Stalled(f"{error}; {self.waiting()}") from None

    def all_gone(self) -> bool:
        """Whether every agent has left, but for those that are lost."""
        # Asked after every event, so it must not look at every agent every time.
        while self._unfinished:
            name = next(iter(self._unfinished))
            if not self._has_left(name):
                return False
            self._unfinished.discard(name)
        # A new epoch may have brought some back that had left before.
        self._unfinished = {name for name in self._numbers if not self._has_left(name)}
        return not self._unfinished and self.contradiction() is None

    def contradiction(self) -> str | None:
        """What does not fit together in whom the agents count present; None if it does."""
        agents = self.agents
        for name, agent in agents.items():
            for j in agent.peers:
                other = agents.get(j)
                if other is not None and (name not in other.peers or other.epoch != agent.epoch):
                    return f"agent {name} counts {j} present in epoch {agent.epoch}, {j} is in {other.epoch}"
        return None

    def _has_left(self, name: AgentId) -> bool:
        life = self.lives.get(name)
        return name in self.lost if life is None else life.agent.state is GONE

    def waiting(self) -> str:
        """Who waits for whom, in words; the first one that does."""
        for name in self._numbers:
            life = self.lives.get(name)
            if life is None:
                if name in self.lost:
                    continue
                return f"agent {name} {'has not joined' if name in self._to_join else 'is dead'}"
            if life.agent.state is not GONE and (awaited := life.agent.waiting_for()):
                return f"agent {name} waits for {', '.join(awaited)}"
        return self.contradiction() or "nobody waits"

    @property
    def agents(self) -> dict[AgentId, Agent]:
        """Those that are alive, ascending."""
        return {name: self.lives[name].agent for name in self._numbers if name in self.lives}

    # -- what can happen -------------------------------------------------------------------------------

    def kill(self, name: AgentId, down: float, *, forget: bool = False) -> None:
        """Kill an agent, if it lives and has not left; it comes back after ``down`` seconds, if ever."""
        life = self.lives.get(name)
        if life is None:
            if down == math.inf:
                self._lose(name, self.roll.died)
            return
        if life.agent.state is GONE:
            return
        loses = forget or self._new_store is None or self.loses_memory
        if down < math.inf and loses and self._may_forget is not None and not self._may_forget(name):
            self._tell(f"spared {name}")
            return
        self._tell(f"{'amnesia' if forget else 'crash'} {name} {down}")
        life.alive = False
        del self.lives[name]
        if life.client is not None:
            life.client.abort()
        if down < math.inf:
            self.network.call_later(down, partial(self._begin, name, 0.0))
        else:
            self._lose(name, self.roll.died)
        if self._killed is not None:
            self._killed(life.agent)
        self._numbers[name] += 1
        if forget:
            self.stores.pop(name, None)

    def leave(self, name: AgentId) -> None:
        """Let an agent leave for good; its process ends. One that is dead or has no broker leaves when it can
        say so."""
        life = self.lives.get(name)
        if life is None or life.client is None:
            if name not in self.lost and name not in self._to_join:
                self.network.call_later(BEAT, partial(self.leave, name))
            return
        self._tell(f"leave {name}")
        life.agent.quit()
        if life.client is not None:
            life.client.close()
        life.alive, life.client = False, None
        del self.lives[name]
        self._lose(name, self.roll.left)
        if self._killed is not None:
            self._killed(life.agent)

    def _lose(self, name: AgentId, where: dict[str, float]) -> None:
        """This agent is gone for good, unless it was before, or is still to join."""
        if name not in self.lost and name not in self._to_join:
            self.lost.add(name)
            where[name] = self.network.now

    def join(self, name: AgentId) -> None:
        """Let an agent start that was to join later."""
        if name not in self._to_join:
            return
        self._tell(f"join {name}")
        self._to_join.discard(name)
        self.roll.joined[name] = self.network.now
        self._begin(name, 0.0)

    def pause(self, name: AgentId, lasts: float) -> None:
        """Let an agent stand still; what reaches it meanwhile waits."""
        life = self.lives.get(name)
        if life is None:
            return
        self._tell(f"pause {name} {lasts}")
        if life.missed is None:
            life.missed = []
        life.paused_until = max(life.paused_until, self.network.now + lasts)
        self.network.call_later(lasts, partial(self._go_on, life))

    def kill_broker(self, down: float, *, forget: bool = False) -> None:
        """Break every connection; no will is published. All connect again after ``down`` seconds."""
        self._tell(f"broker-kill {down} {forget}")
        for name in self._numbers:
            if (life := self.lives.get(name)) is not None and life.client is not None:
                life.client.close()
                life.client = None
        if forget:
            self.network.forget()
        self._broker_back = max(self._broker_back, self.network.now + down)
        self.network.call_later(down, self._connect_all)

    def _strike(self, event: AnyEvent) -> None:
        self._happens(event)
        match event:
            case Crash():
                for name in event.agents:
                    self.kill(name, event.seconds)
            case Amnesia():
                for name in event.agents:
                    self.kill(name, event.down, forget=True)
            case Leave():
                for name in event.agents:
                    self.leave(name)
            case Join():
                for name in event.agents:
                    self.join(name)
            case Pause():
                for name in event.agents:
                    self.pause(name, event.lasts)
            case BrokerKill():
                self.kill_broker(event.down, forget=event.forget)
            case Cut() | Partition():
                self._tell(f"{event.kind} {event.lasts}")  # the fate's business

    def _begin(self, name: AgentId, hello_after: float) -> None:
        if name in self.lost:
            return
        if self._new_store is not None and name not in self.stores:
            self.stores[name] = self._new_store(name)
        life = self.lives[name] = Life(self, name, self._numbers[name], self.stores.get(name))
        if self.network.now >= self._broker_back:
            life.connect(hello_after)
        if self._numbers[name]:
            self._tell(f"back {name}")

    def _go_on(self, life: Life) -> None:
        if not life.alive or self.network.now < life.paused_until or life.missed is None:
            return  # dead meanwhile, or told to stand still for longer
        self._tell(f"goes on {life.agent.id}")
        missed, life.missed = life.missed, None
        for topic, payload in missed:
            life.deliver(topic, payload)
        life.wake()

    def _connect_all(self) -> None:
        if self.network.now < self._broker_back:
            return  # killed again
        self._tell("broker back")
        for k, name in enumerate(self._numbers):
            life = self.lives.get(name)
            if life is not None and life.alive and life.client is None:
                life.connect(STAGGER * k / len(self._numbers))

    def _beat(self) -> None:
        now = self.network.now
        for name in self._numbers:
            if (life := self.lives.get(name)) is not None and not life.agent.free:
                life.tick(now)
        self.network.call_later(BEAT, self._beat)

    def _tell(self, what: str) -> None:
        if self.watcher is not None:
            self.watcher.happened(self.network.now, what)
