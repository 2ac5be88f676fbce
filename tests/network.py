"""A whole network of drivers over the virtual network, for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from broker.virtual import Fate, VirtualNetwork
from node import lockstep
from node.agent import GONE, Agent
from node.part import Part
from node.protocol import Protocol
from node.switchboard import Switchboard

Make = Callable[[Part], Protocol]


def parts_of(edges: Sequence[tuple[str, str]], contract: Mapping[str, Any] | None = None) -> dict[str, Part]:
    """Parts for a directed graph; (i, j) means that i listens to j."""
    agents = sorted({end for edge in edges for end in edge})
    return {
        i: Part(
            agent=i,
            run="test",
            hears=tuple(sorted(b for a, b in edges if a == i)),
            heard_by=tuple(sorted(a for a, b in edges if b == i)),
            utility={},
            contract=contract or {},
        )
        for i in agents
    }


def both_ways(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The undirected graph with these edges."""
    return [*edges, *((b, a) for a, b in edges)]


class Net:
    """Drivers of all parts, wired to one virtual network."""

    def __init__(
        self, parts: Mapping[str, Part], make: Make, seed: int = 0, fate: Fate | None = None
    ) -> None:
        self.network = VirtualNetwork(seed, fate)
        self.agents: dict[str, Agent] = {}
        self.clients = {}
        for name, part in parts.items():
            self.add(name, part, make(part))

    def add(self, name: str, part: Part, protocol: Protocol, hello_after: float = 0.01) -> Agent:
        """Connect one agent; its name may differ from its id."""
        client = self.clients[name] = self.network.connect(name, lambda topic, payload: None)
        agent = self.agents[name] = Agent(
            part, protocol, client.publish, self.network.clock, nonce=f"process of {name}"
        )
        switchboard = Switchboard(part.run, [agent])
        client.on_message = switchboard.deliver
        client.subscribe(switchboard.topics())
        self.network.call_later(hello_after, agent.hello)

        def beat() -> None:
            agent.tick(self.network.now)
            self.network.call_later(0.05, beat)

        beat()
        return agent

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
