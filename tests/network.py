"""A whole network of drivers over the virtual network, for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from broker import topics
from broker.transport import Will
from broker.virtual import Fate, VirtualNetwork
from node import lockstep
from node.agent import GONE, Agent
from node.part import Part
from node.protocol import Factory, Protocol
from node.switchboard import Switchboard

Make = Callable[[Part], Protocol]


def parts_of(
    edges: Sequence[tuple[str, str]], contract: Mapping[str, Any] | None = None, tick: float | None = None
) -> dict[str, Part]:
    """Parts for a directed graph; (i, j) means that i listens to j. With a tick agents run freely."""
    agents = sorted({end for edge in edges for end in edge})
    return {
        i: Part(
            agent=i,
            run="test",
            hears=tuple(sorted(b for a, b in edges if a == i)),
            heard_by=tuple(sorted(a for a, b in edges if b == i)),
            utility={},
            contract=contract or {},
            tick=tick,
        )
        for i in agents
    }


def both_ways(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The undirected graph with these edges."""
    return [*edges, *((b, a) for a, b in edges)]


def make_fresh(make: Make, part: Part, resume: Any = None) -> Protocol:
    """A factory of protocols without snapshots: they are replayed from the start."""
    assert resume is None
    return make(part)


class Net:
    """Drivers of all parts, wired to one virtual network."""

    def __init__(
        self, parts: Mapping[str, Part], make: Make, seed: int = 0, fate: Fate | None = None
    ) -> None:
        self.network = VirtualNetwork(seed, fate)
        self.agents: dict[str, Agent] = {}
        self.clients = {}
        for name, part in parts.items():
            self.add(name, part, partial(make_fresh, make, part))

    def add(self, name: str, part: Part, factory: Factory, hello_after: float = 0.01, **how: Any) -> Agent:
        """Connect one agent; its name may differ from its id."""
        client = self.clients[name] = self.network.connect(name, lambda topic, payload: None)
        agent = self.agents[name] = Agent(
            part,
            factory,
            client.publish,
            self.network.clock,
            nonce=f"process of {name}",
            **how,
        )
        switchboard = Switchboard(part.run, [agent])
        client.on_message = switchboard.deliver
        client.will = Will(topics.status(part.run, part.agent), agent.will())
        client.subscribe(switchboard.topics())
        self.network.call_later(hello_after, agent.hello)

        def beat() -> None:
            if client.connected:
                agent.tick(self.network.now)
                # What runs freely ticks at its own time.
                due = agent.deadline - self.network.now if part.free else 0.05
                self.network.call_later(max(due, 0.001), beat)

        beat()
        return agent

    def crash(self, name: str) -> None:
        """Kill an agent's process: it says nothing more; its will is published."""
        self.clients[name].abort()
        del self.agents[name]

    def run(self, limit: float = 10_000.0) -> dict[str, Any]:
        """Until every agent has left; their results."""
        self.network.run(lambda: all(a.state == GONE for a in self.agents.values()), limit)
        return {name: agent.result for name, agent in self.agents.items()}

    @property
    def rejected(self) -> Counter[str]:
        """What all agents dropped, by kind."""
        return sum((agent.rejected for agent in self.agents.values()), Counter())


def in_lockstep(parts: Mapping[str, Part], make: Make) -> lockstep.Lockstep:
    """The sequential simulation of the same agents."""
    return lockstep.run(
        {i: make(part) for i, part in parts.items()}, {i: part.hears for i, part in parts.items()}
    )
