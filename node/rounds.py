"""Rounds, kept by the local synchroniser (alpha): exactly this round's message of every neighbour.

A round is complete when one message of it has come from every neighbour, so a neighbour is never more than
one round ahead and two rounds of storage are enough. Who lacks a neighbour's message says its own last two
again to that neighbour alone, as one, and asks; the neighbour answers likewise. So a pair in which either
lost something is healed by one exchange, and nobody hears copies that it does not need. What the protocol is
sent is the same, bit for bit, under any delay, loss, duplication or order.

On a directed graph the edge i -> j means that i listens to j. The synchroniser needs both directions, so i
answers j with empty messages, pulses, on the private topic ``i/to/j``; contents travel along edges only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker import codec
from node.errors import Misaligned
from node.pacing import Pacer
from node.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.codec import Message
    from node.agent import Agent
    from node.part import AgentId
    from node.store import Saved


class Rounds(Timekeeper):
    """The synchroniser of one agent. See ``Timekeeper``."""

    barrier = True

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self._pacer = Pacer(f"{agent.run}/{agent.id}", agent.clock(), agent.crowd)
        self._now: dict[AgentId, Message] = {}
        self._next: dict[AgentId, Message] = {}
        self._copied: set[tuple[AgentId, int]] = set()  # (whose, round): a copy came, and not the message yet
        self._repeated: dict[AgentId, tuple[int, float]] = {}  # to whom, in which round, and when

    @property
    def deadline(self) -> float:
        """When to send again unless a round completes before."""
        return self._pacer.deadline

    @property
    def eager(self) -> bool:
        """Whether messages have been lost lately."""
        return self._pacer.eager

    def clear(self) -> None:
        """See ``Timekeeper``."""
        self._now, self._next = {}, {}
        self._copied.clear()

    def replay(self, left: Saved) -> None:
        """See ``Timekeeper``."""
        for payloads in left.log:
            messages = [codec.decode(payload) for payload in payloads]
            self.agent.conversation.replay({message.src: message for message in messages})

    def said(self, now: float) -> None:
        """See ``Timekeeper``."""
        if self.agent.round:
            self._pacer.round_complete(now)
        else:
            self._pacer.begin(now)

    def resume(self, now: float) -> None:
        """See ``Timekeeper``."""
        self._pacer.restart(now)
        if self.agent.joined:
            self.again()

    def welcome_back(self, src: AgentId, now: float) -> None:
        """Say at once what it may lack: the pause between copies has grown long meanwhile."""
        self._repeat_soon(src)
        self._pacer.hasten(now)

    def finished(self, now: float) -> None:
        """See ``Timekeeper``."""
        self._pacer.restart(now)

    def take(self, message: Message) -> None:
        """Keep a message of this round or the next, whatever the state: a neighbour may be faster.

        Raises:
            Misaligned: if a neighbour is in another protocol in the same round.
            AgentError: if this agent's own protocol failed.
        """
        agent, src, pacer = self.agent, message.src, self._pacer
        round_ = agent.conversation.round
        if self._copied and not message.again and (src, message.round) in self._copied:
            self._copied.remove((src, message.round))
            pacer.late()
        if message.round == round_:
            slot = self._now
        elif message.round == round_ + 1:
            slot = self._next
        elif message.round < round_:
            return agent.reject("duplicate")
        else:
            agent.reject("ahead")
            if agent.incarnation and agent.playing and agent.may_restart(src):
                # My memory is older than what I said before I lost it: nobody keeps what I would need.
                agent.open_epoch()
            return
        if src in slot:
            return agent.reject("duplicate")
        if not slot:
            pacer.answered(agent.clock(), ahead=slot is self._next)
        slot[src] = message
        if message.again:
            self._copied.add((src, message.round))
            pacer.copied(agent.clock())
        if slot is self._now:
            if not message.again and src in self._next:
                pacer.late()
            if len(slot) == len(agent.peers):
                self.advance()
        elif src not in self._now and pacer.eager and not pacer.overtaking:
            self._repeat_soon(src)

    def advance(self) -> None:
        """Go on for as long as rounds are complete."""
        agent = self.agent
        while agent.playing and len(self._now) == len(agent.peers) and self._all_accepted():
            now = self._now
            if agent.memory:
                agent.memory.append([now[j].raw for j in agent.peers])
            agent.traffic.hear(now)
            self._now, self._next = self._next, {}
            if self._copied:
                self._give_up_late(agent.round - 1)
            if not agent.conversation.hear(now):
                return agent.finish()
            agent.speak()
            if agent.memory:
                agent.keep_snapshot()

    def _give_up_late(self, last: int) -> None:
        """What has not come in two rounds since its copy came is lost."""
        given_up = {(src, round_) for src, round_ in self._copied if round_ < last}
        if given_up:
            self._copied -= given_up
            self._pacer.lost()

    def _all_accepted(self) -> bool:
        """Drop what the protocol cannot read; the neighbour's copy of it, resent, may be better."""
        agent, conversation = self.agent, self.agent.conversation
        kind = conversation.kind
        for j, message in self._now.items():
            if message.kind != kind:
                raise Misaligned(
                    f"agent {agent.id}, round {agent.round}: neighbour {j} speaks {message.kind[:64]!r}, "
                    f"expected {kind!r}"
                )
        accepts = conversation.accepts
        for j in agent.hears:
            if not accepts(self._now[j]):
                del self._now[j]
                agent.reject("body")
        return len(self._now) == len(agent.peers)

    def tick(self, now: float) -> None:
        """Ask those who have kept this agent waiting for too long."""
        self._pacer.back_off(now)
        agent, missing = self.agent, self.agent.waiting_for()
        if agent.leaves_alone(now):
            pass  # not without a last word to those that were not heard: perhaps they hear
        elif not agent.playing or not agent.round:
            # A neighbour that missed the hello has not started, so it has sent no message that would have
            # let this agent leave round 0; one that missed the goodbye waits for it.
            agent.hello()
        for _ in range(self._pacer.times):  # everybody once before anybody twice: a write may not hold all
            for j in missing:
                self._repeat(j, now)

    def asked(self, newest: Message) -> None:
        """See ``Timekeeper``. What is older was said long ago; but one that has been started again may be so
        far behind: it has forgotten what it said, and learns it from what it cannot have the answer to."""
        behind = self.agent.round - newest.round
        if 0 <= behind <= 1 or (behind > 1 and newest.incarnation):
            self._repeat_soon(newest.src)

    def _repeat(self, j: AgentId, now: float) -> None:
        """Say the last two messages again to one neighbour, and ask for its message if that is missing."""
        agent = self.agent
        self._repeated[j] = agent.round, now
        topic, payloads = agent.conversation.said_to(j)
        if payloads:
            asks = agent.playing and j not in self._now
            agent.repeat([(topic, codec.encode_again(asks, payloads))])

    def _repeat_soon(self, j: AgentId) -> None:
        """The same, unless it was done just now: then it is on its way, and so may be the answer."""
        round_, at = self._repeated.get(j, (-1, 0.0))
        now = self.agent.clock()
        if round_ != self.agent.round or now - at > self._pacer.shortest:
            self._repeat(j, now)

    def awaited(self) -> Collection[AgentId]:
        """Those whose message of this round is missing."""
        return [j for j in self.agent.peers if j not in self._now]
