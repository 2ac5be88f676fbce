"""Free-running agents in synchronous ticks: the newest message of each neighbour, under a seeded network.

No drivers, no bytes and no time but ticks, unlike ``runner.testing.Network``: generators alone, so that
rounds can be counted as they are specified. Every agent speaks once a tick. A message may be lost,
may take some ticks and may come twice; its reader hears the newest it has by (life, tick), as the driver's
free mode does. Agents may crash, come back with or without a snapshot, and be declared gone.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.protocol import Protocol


class Lossy:
    """A network of protocols.

    Args:
        protocols: agent -> a generator not yet started.
        hears: agent -> the agents it listens to.
        loss: probability that a message is lost, independent for each directed link and tick.
        seed: of all that is random.
        delay: messages take 0 to so many ticks; 0: they are heard in the tick they are said.
        twice: probability that a message comes a second time, later.

    Attributes:
        says: agent -> what it said last.
        results: agent -> what its protocol returned; it goes on resending what it said last.
        left: agent -> ticks until then.
        ticks: so far.
        rejected: messages that ``accepts`` refused.
    """

    def __init__(
        self,
        protocols: Mapping[str, Protocol],
        hears: Mapping[str, Sequence[str]],
        loss: float = 0.0,
        seed: int = 0,
        delay: int = 0,
        twice: float = 0.0,
    ) -> None:
        self.protocols = {i: protocols[i] for i in sorted(protocols)}
        self.hears = {i: sorted(hears[i]) for i in self.protocols}
        self.loss, self.delay, self.twice = loss, delay, twice
        self.says: dict[str, Say] = {i: next(protocol) for i, protocol in self.protocols.items()}
        self.results: dict[str, Any] = {}
        self.left: dict[str, int] = {}
        self.ticks = self.rejected = 0
        self.down: set[str] = set()
        self._lives = dict.fromkeys(self.protocols, 0)
        self._newest: dict[str, dict[str, tuple[tuple[int, int], Say]]] = {i: {} for i in self.protocols}
        self._gone: dict[str, list[str]] = {i: [] for i in self.protocols}
        self._late: deque[list[tuple[str, str, tuple[int, int], Say]]] = deque(
            [[] for _ in range(2 * delay + 3)]
        )
        self._random = random.Random(seed)

    def step(self) -> None:
        """One tick: everybody speaks, messages arrive, everybody up hears its newest ones."""
        chance, arriving = self._random.random, self._late.popleft()
        self._late.append([])
        for i, neighbours in self.hears.items():
            for j in neighbours:
                if j in self.down or (self.loss and chance() < self.loss):
                    continue
                mail = (j, i, (self._lives[j], self.ticks), self.says[j])
                late = self._random.randint(0, self.delay) if self.delay else 0
                (self._late[late - 1] if late else arriving).append(mail)
                if self.twice and chance() < self.twice:
                    self._late[late + self._random.randint(0, self.delay + 1)].append(mail)
        for j, i, stamp, say in arriving:
            if i in self.down or j not in self.hears[i]:
                continue
            inbox, accepts = self._newest[i], self.says[i].accepts
            if j not in inbox or stamp > inbox[j][0]:
                if accepts is not None and not accepts(say.body, j):
                    self.rejected += 1
                else:
                    inbox[j] = (stamp, say)
        following = {}
        for i, protocol in self.protocols.items():
            if i in self.down or i in self.results:
                continue
            inbox, gone = self._newest[i], tuple(self._gone[i])
            self._gone[i] = []
            heard = Heard(
                {j: inbox[j][1].body for j in self.hears[i] if j in inbox},
                {
                    j: told
                    for j in self.hears[i]
                    if j in inbox and (told := inbox[j][1].to.get(i)) is not None
                },
                gone,
            )
            try:
                following[i] = protocol.send(heard)
            except StopIteration as stop:
                self.results[i], self.left[i] = stop.value, self.ticks + 1
        self.says.update(following)
        self.ticks += 1

    def crash(self, agent: str) -> None:
        """The agent neither speaks nor hears from now on, and its memory of messages is lost."""
        self.down.add(agent)
        self._newest[agent] = {}

    def restart(self, agent: str, protocol: Protocol) -> None:
        """The agent is back, with a generator not yet started."""
        self.down.discard(agent)
        self._lives[agent] += 1
        self.protocols[agent] = protocol
        self.says[agent] = next(protocol)

    def remove(self, agent: str) -> None:
        """The agent has gone for good, and its neighbours are told so."""
        self.crash(agent)
        del self.protocols[agent], self.says[agent]
        for i in self.hears:
            if agent in self.hears[i]:
                self.hears[i].remove(agent)
                self._newest[i].pop(agent, None)
                self._gone[i].append(agent)
        del self.hears[agent]
