"""Free-running time: every agent ticks on its own, and hears the newest message of each neighbour.

There is no barrier: at each tick the protocol is sent what is newest of every neighbour heard so far, be it
new or not, and what it says goes out at once. So a lost message is healed by the next one, and a slow
neighbour holds nobody up. What a protocol is sent depends on timing; it must be one that bears that
(``node.consensus.ratio``, ``flow``, ``flooding``; a best response that contracts in a maximum norm), and what
needs rounds keeps rounds of its own (``node.combinators.in_rounds``).

Messages of one neighbour are ordered by epoch, incarnation and the sender's count of ticks.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from broker import codec
from node.states import GONE
from node.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from broker.codec import Message
    from node.agent import Agent
    from node.part import AgentId
    from node.store import Saved

# Spreads the ticks of agents that were started together.
JITTER = 0.2
# An agent that has left tells its last words to a neighbour that still speaks once in so many of its ticks.
ANSWER_EVERY = 0.5


class Free(Timekeeper):
    """The ticks of one agent. See ``Timekeeper``.

    Args:
        agent: whose time it keeps.
        period: seconds between two ticks, > 0; each varies by ``JITTER``, drawn from run and agent.
    """

    barrier = False

    def __init__(self, agent: Agent, period: float) -> None:
        super().__init__(agent)
        if not 0.0 < period < math.inf:
            raise ValueError(f"agent {agent.id}: expected a tick > 0 s, got {period}")
        self._period = period
        self._jitter = random.Random(f"{agent.run}/{agent.id}")
        self._newest: dict[AgentId, Message] = {}
        self._unlogged: set[AgentId] = set()  # whose newest message the log does not hold yet
        self._gone: tuple[AgentId, ...] = ()  # since the last tick
        self._answered: dict[AgentId, float] = {}  # who was told the last words once more, and when
        self._deadline = math.inf

    @property
    def deadline(self) -> float:
        """The next tick."""
        return self._deadline

    def clear(self) -> None:
        """See ``Timekeeper``."""
        self._newest, self._unlogged, self._gone = {}, set(), ()

    def replay(self, left: Saved) -> None:
        """See ``Timekeeper``. An entry of the log holds what had become newest since the one before."""
        self._note(left.newest)
        for gone, *payloads in left.log:
            self._note(payloads)
            if lost := codec.unpack(gone):
                self.agent.forget(dict.fromkeys(lost, "has been absent before"))
                self.lose(lost)
            self.agent.conversation.replay(self._newest, lost)
        self._gone = ()

    def _note(self, payloads: Iterable[bytes]) -> None:
        for message in map(codec.decode, payloads):
            self._newest[message.src] = message

    def lose(self, names: tuple[AgentId, ...]) -> None:
        """See ``Timekeeper``."""
        self._gone = tuple(sorted({*self._gone, *names}))
        for j in names:
            self._newest.pop(j, None)
            self._unlogged.discard(j)

    def remember(self, saved: Saved) -> None:
        """See ``Timekeeper``."""
        saved.newest = tuple(self._newest[j].raw for j in sorted(self._newest))

    def said(self, now: float) -> None:
        """See ``Timekeeper``."""
        if not self.agent.round:
            # What came before the protocol could tell whether it can read it.
            for j in [j for j, message in self._newest.items() if not self._readable(message)]:
                del self._newest[j]
                self._unlogged.discard(j)
                self.agent.reject("body")
        self._wait(now)

    def resume(self, now: float) -> None:
        """See ``Timekeeper``."""
        if self.agent.joined:
            self._wait(now)
            self.again()

    def finished(self, now: float) -> None:
        """See ``Timekeeper``."""
        self._wait(now)

    def take(self, message: Message) -> None:
        """Keep a message if it is newer than what is there and can be read; else the older one stays."""
        agent, src = self.agent, message.src
        known = self._newest.get(src)
        if known is not None:
            if message.incarnation > known.incarnation:
                if message.since < known.round:
                    # It has forgotten what others have built upon, and would go on differently from there.
                    return agent.open_epoch() if agent.may_restart(src) else None
            elif message.round <= known.round:
                return agent.reject("duplicate" if message.round == known.round else "overtaken")
        if not self._readable(message):
            return agent.reject("body")
        self._newest[src] = message
        self._unlogged.add(src)
        traffic = agent.traffic
        traffic.received += 1
        traffic.heard_from[src] += 1
        traffic.received_bytes += len(message.raw)
        if agent.state is GONE and src not in agent.neighbours.done:
            self._answer(src)

    def _answer(self, src: AgentId) -> None:
        """It still speaks, and may lack my last words. They are the same ever after: nobody answers them. Nor
        are they told as often as it likes."""
        agent, now = self.agent, self.agent.clock()
        if now - self._answered.get(src, -math.inf) >= ANSWER_EVERY * self._period:
            self._answered[src] = now
            topic, payloads = agent.conversation.said_to(src)
            agent.repeat([(topic, payload) for payload in payloads])

    def _readable(self, message: Message) -> bool:
        heard = message.src in self.agent.hears
        return self.agent.conversation.accepts(message, heard=heard)

    def advance(self) -> None:
        """See ``Timekeeper``: nothing happens before the next tick."""

    def tick(self, now: float) -> None:
        """Let the protocol hear what is newest, and say what comes of it; or repeat its last words."""
        agent = self.agent
        self._wait(now)
        if not agent.playing:
            if not agent.leaves_alone(now):
                self.again()
            return
        gone, self._gone = self._gone, ()
        if agent.memory:
            news = [self._newest[j].raw for j in sorted(self._unlogged)]
            agent.memory.append([codec.pack(gone), *news])
        self._unlogged = set()
        if not agent.conversation.hear(self._newest, gone):
            return agent.finish()
        agent.speak()
        if agent.memory:
            agent.keep_snapshot()

    def _wait(self, now: float) -> None:
        self._deadline = now + self._period * (1.0 + JITTER * self._jitter.uniform(-1.0, 1.0))

    def awaited(self) -> Collection[AgentId]:
        """Those not heard yet, and those that seem to be down; nobody else is waited for."""
        suspects = self.agent.neighbours.suspects()
        return [j for j in self.agent.peers if j not in self._newest or j in suspects]
