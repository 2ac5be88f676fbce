"""Networks for tests of protocols: virtual, with faults and a clock to travel by; or of real processes.

The fixtures of ``runner.pytest_plugin`` hand these out. A protocol under test is a function of a Part and a
snapshot (or None) that returns a generator; see docs/protocol.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import codec, topics
from node import lockstep
from node.agent import SNAPSHOT_EVERY
from node.liveness import GRACE
from node.part import Part
from node.store import MemoryStore
from runner.fate import fate_of, slowed
from runner.world import World
from topologies.faults import Faults, schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.transport import OnMessage
    from broker.virtual import Fate, VirtualClient
    from node.agent import Agent
    from node.part import AgentId
    from node.store import Store
    from topologies.faults import AnyEvent

RUN = "test"
# Seconds between two ticks of an agent that runs freely, unless a test says otherwise.
TICK = 0.05
Edge = tuple[str, str]
ProtocolOf = Callable[..., Any]


def parts_of(
    edges: Iterable[Edge],
    *,
    directed: bool = False,
    contract: Mapping[str, Any] | None = None,
    private: Mapping[AgentId, Mapping[str, Any]] | None = None,
    synchrony: str = "rounds",
    tick: float = TICK,
    on_down: str = "wait",
    grace: float = GRACE,
) -> dict[AgentId, Part]:
    """Everybody's part, for a graph.

    Args:
        edges: pairs of agents; (i, j) means that i listens to j and, unless ``directed``, j to i.
        directed: whether edges have one direction.
        contract: the public rules, ``part.contract`` of every agent.
        private: agent -> its ``part.utility``.
        synchrony: ``rounds`` or ``free``.
        tick: free mode: seconds between two ticks of an agent.
        on_down: what to do about a neighbour that is down: ``wait`` or ``continue`` without it.
        grace: seconds for which it must seem away to be down.
    Raises:
        ValueError: for a synchrony, or something to do, that there is not.
    """
    if on_down not in ("wait", "continue"):
        raise ValueError(f"on_down {on_down!r}: expected 'wait' or 'continue'")
    if synchrony not in ("rounds", "free"):
        raise ValueError(f"synchrony {synchrony!r}: expected 'rounds' or 'free'")
    links = {(i, j) for i, j in edges}
    if not directed:
        links |= {(j, i) for i, j in links}
    agents = sorted({end for link in links for end in link})
    return {
        i: Part(
            agent=i,
            run=RUN,
            hears=tuple(sorted(b for a, b in links if a == i)),
            heard_by=tuple(sorted(a for a, b in links if b == i)),
            utility=dict((private or {}).get(i, {})),
            contract=dict(contract or {}),
            tick=tick if synchrony == "free" else None,
            on_down=on_down,
            grace=grace,
        )
        for i in agents
    }


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message that an agent took in.

    Attributes:
        time: virtual seconds.
        src, dst: sender and reader.
        round, kind: of the protocol; round -1 and kind ``status`` for a status, or what was wrong with it.
    """

    time: float
    src: AgentId
    dst: AgentId
    round: int
    kind: str


@dataclass(slots=True)
class Trace:
    """All that happened in a virtual network, in order.

    Attributes:
        deliveries: messages that agents took in, duplicates and all.
        faults: (time, what) of every fault that struck.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    faults: list[tuple[float, str]] = field(default_factory=list)
    _newest: dict[AgentId, int] = field(default_factory=dict)

    def delivered(self, now: float, dst: AgentId, topic: str, payload: bytes) -> None:
        """See ``runner.life.Watcher``."""
        where = topics.Topic.parse(topic)
        if where.channel == topics.STATUS:
            self.deliveries.append(Delivery(now, where.src, dst, -1, "status"))
        else:
            try:
                messages, _ = codec.decode_all(payload)
            except codec.Malformed as error:
                self.deliveries.append(Delivery(now, where.src, dst, -1, error.kind))
            else:
                self.deliveries += [Delivery(now, where.src, dst, m.round, m.kind) for m in messages]

    def stepped(self, now: float, agent: Agent) -> None:
        """See ``runner.life.Watcher``."""
        self._newest[agent.id] = agent.round

    def happened(self, now: float, what: str) -> None:
        """See ``runner.life.Watcher``."""
        self.faults.append((now, what))

    def assert_only_along(self, parts: Mapping[AgentId, Part]) -> None:
        """No message crossed a pair of agents that are not neighbours.

        Raises:
            AssertionError: naming the message.
        """
        for d in self.deliveries:
            part = parts[d.dst]
            assert d.src in (*part.hears, *part.heard_by, d.dst), f"{d} crossed a non-edge"

    def assert_kinds(self, *expected: str) -> None:
        """The protocols were spoken in this order, each for at least a round.

        Raises:
            AssertionError: with the order that was seen.
        """
        seen: list[str] = []
        for d in sorted((d for d in self.deliveries if d.round >= 0), key=lambda d: d.round):
            if d.kind not in seen:
                seen.append(d.kind)
        assert seen == list(expected), f"protocols were spoken in the order {seen}, expected {list(expected)}"


class Network:
    """Agents over a seeded virtual network.

    Args:
        parts: as ``parts_of`` makes them.
        protocol: called with a part and a snapshot or None, makes an agent's protocol.
        seed: of delays and faults.
        faults: a ``Faults`` table, or its content as a dict; None: every message arrives once, somewhat late.
        durable: whether agents have a store that survives their crashes.
        fate: how each delivery fares, in place of what ``faults`` say of messages: a ``broker.virtual.Fate``.
        store: called with an agent's id, makes its store; None: one in memory, if ``durable``.
        snapshot_every: rounds between two snapshots.

    Attributes:
        trace: what has happened so far.
        world: the simulation underneath, for what is not offered here.
    """

    def __init__(
        self,
        parts: Mapping[AgentId, Part],
        protocol: ProtocolOf,
        seed: int = 0,
        faults: Faults | Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
        fate: Fate | None = None,
        store: Callable[[AgentId], Store] | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.parts, self.protocol, self.trace = dict(parts), protocol, Trace()
        table = Faults.model_validate(faults) if isinstance(faults, Mapping) else faults
        free = any(part.free for part in self.parts.values())
        links = [(i, j) for i, part in self.parts.items() for j in part.hears]
        events: Sequence[AnyEvent] = () if table is None else schedule(table, list(self.parts), links, seed)
        self.world = World(
            self.parts if table is None else slowed(self.parts, table),
            protocol,
            seed,
            fate=fate if fate is not None or table is None else fate_of(table, events, free=free),
            store=(store or (lambda name: MemoryStore())) if durable else None,
            snapshot_every=snapshot_every,
            watcher=self.trace,
        )
        self.world.start(events)

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.world.network.now

    @property
    def agents(self) -> dict[AgentId, Agent]:
        """The drivers of the agents that are alive."""
        return self.world.agents

    @property
    def rejected(self) -> Counter[str]:
        """What the agents that are alive have dropped, by kind."""
        return sum((agent.rejected for agent in self.agents.values()), Counter())

    def advance(self, seconds: float) -> None:
        """Travel in time."""
        until = self.now + seconds
        reached = [False]
        self.world.network.call_later(seconds, lambda: reached.__setitem__(0, True))
        self.world.run(until + 1.0, lambda: reached[0])

    def run_until(self, condition: Callable[[], bool], limit: float = 1000.0) -> None:
        """Let time pass until the condition holds.

        Raises:
            broker.virtual.Stalled: if it does not within ``limit`` virtual seconds from now.
        """
        self.world.run(self.now + limit, condition)

    def run(self, limit: float = 10_000.0) -> dict[AgentId, Any]:
        """Until every agent has left; what their protocols returned.

        Raises:
            broker.virtual.Stalled: if that takes longer than ``limit`` virtual seconds from now.
        """
        self.world.run(self.now + limit)
        return {name: agent.result for name, agent in self.agents.items()}

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something when so many seconds have passed."""
        self.world.network.call_later(seconds, action)

    def kill(self, agent: AgentId, down: float = 1.0, *, forget: bool = False) -> None:
        """Kill an agent now; it comes back after ``down`` seconds, never if that is infinite, with its store
        or without."""
        self.world.kill(agent, down, forget=forget)

    def leave(self, agent: AgentId) -> None:
        """Let an agent leave for good."""
        self.world.leave(agent)

    def client(self, name: str, on_message: OnMessage = lambda topic, payload: None) -> VirtualClient:
        """A client that is none of the agents: to listen, or to disturb. Permissions do not bind it."""
        return self.world.network.connect(name, on_message)

    def pause(self, agent: AgentId, seconds: float) -> None:
        """Let an agent stand still."""
        self.world.pause(agent, seconds)

    def lockstep(self) -> lockstep.Lockstep:
        """The sequential simulation of the same agents: what a run must equal, bit for bit."""
        return lockstep.run(
            {name: self.protocol(part, None) for name, part in self.parts.items()},
            {name: part.hears for name, part in self.parts.items()},
        )

    def assert_equals_lockstep(self) -> None:
        """Every agent has returned what it returns in the sequential simulation, in the same round.

        Raises:
            AssertionError: naming the first agent that has not.
        """
        expected = self.lockstep()
        for name in self.parts:
            agent = self.agents[name]
            assert agent.result == expected.results[name], (
                f"{name} returned {agent.result!r}, in lockstep {expected.results[name]!r}"
            )
            assert agent.round + 1 == expected.rounds, f"{name} ended in round {agent.round}"


async def run_in_processes(
    parts: Mapping[AgentId, Part], protocol: str, *, hosts: int | None = None, overrides: Sequence[str] = ()
) -> dict[AgentId, dict[str, Any]]:
    """Run a protocol with one operating-system process per agent over an embedded broker.

    Args:
        parts: as ``parts_of`` makes them; at least three agents on a connected graph.
        protocol: ``module:function``, importable in a new process; its result must be a dataclass.
        hosts: processes that carry the agents between them; None: one each.
        overrides: ``dotted.key=value`` for the sections broker and recovery.
    Returns:
        agent -> its account; ``["result"]`` is what its protocol returned, as a dict.
    Raises:
        RunFailed: naming the agent and the cause. Every process has ended then, too.
    """
    from runner.launch import Settings, run_processes
    from topologies import load_scenario

    edges = [[i, j] for i, part in parts.items() for j in part.hears]
    topology = f"{{nodes={list(parts)}, edges={edges}, directed=true}}"
    # The scenario lends its sections broker and recovery; what is played comes from the parts.
    loaded = load_scenario("ring-12", [f"topology={topology}", "record.every=0", *overrides])
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            hosts,
            None,
            Path(directory),
            lambda agent, info: None,
            lambda text: None,
            protocol=protocol,
            import_path=tuple(sys.path),  # what this process can import, the agents can
        )
        fresh = {name: replace(part, record_every=0) for name, part in parts.items()}
        reports, _, _ = await run_processes(loaded, fresh, RUN, settings)
    return reports
