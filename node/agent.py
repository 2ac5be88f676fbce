"""The driver: turns one protocol into messages on topics, and messages on topics into rounds.

No I/O and no event loop: it is given messages and the time, and calls ``publish``. The same driver runs
under the virtual network and in a process with a broker connection.

Rounds are kept by the local synchroniser (alpha): a round is complete when exactly one message of this
round has come from every neighbour, so a neighbour is never more than one round ahead and two rounds of
storage are enough. The last two rounds' messages are resent until the neighbours have gone on; a
neighbour's message of round k+1 acknowledges mine of round k, receipt alone never does. What the protocol
is sent is therefore the same, bit for bit, under any delay, loss, duplication or order.

On a directed graph the edge i -> j means that i listens to j. The synchroniser needs both directions, so i
answers j with empty messages, pulses, on the private topic ``i/to/j``; contents travel along edges only.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from broker import codec, topics
from broker.codec import Malformed, Message
from node.errors import AgentError, ContractMismatch, DuplicateAgent, Misaligned
from node.protocol import Heard, Protocol, Say
from node.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from node.part import AgentId, Part

# Retransmission time-out: four times the measured round time, between these bounds. The floor is well above
# the scheduling jitter of a loaded machine, which keeps a healthy run free of needless copies.
RTO_START = 0.25
RTO_FLOOR = 0.05
RTO_CEILING = 5.0
RTO_JITTER = 0.2
# How long to stay for neighbours that do not confirm the last round. The result is final by then; all that
# is left is to resend a last message that some neighbour may have lost together with every copy of it.
LINGER = 10.0

JOINING, PLAYING, LINGERING, GONE = "joining", "playing", "lingering", "gone"


def status_payload(state: str, digest: str, nonce: str, incarnation: int = 0) -> bytes:
    """What an agent's status topic holds.

    Args:
        state: ``up``: subscribed; ``done``: the last round is complete, goodbyes are awaited; ``gone``:
            left; ``down``: the last will.
        digest: of the public rules it plays by.
        nonce: of its process.
        incarnation: its life.
    """
    return codec.pack({"inc": incarnation, "state": state, "nonce": nonce, "digest": digest})


class Publish(Interface):
    """Hand a message to the network and return at once."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> None: ...


class Agent:
    """One agent's protocol and its place in the network.

    Args:
        part: id, run, neighbours and public rules.
        protocol: a generator not yet started.
        publish: hands a message to the network.
        clock: seconds, monotonic.
        nonce: tells two processes apart that claim to be the same agent; unguessable.
        incarnation: which life of the agent this is; grows at each restart.

    Attributes:
        state: ``joining`` until all neighbours have said hello, ``playing``, ``lingering`` while some
            neighbour may still need the last message, ``gone``.
        round: the current round, from 0.
        kind: which protocol is being spoken.
        result: what the protocol returned; None before.
        first_round_at: when round 0 was complete, in the clock's seconds; None before.
        rejected: what was dropped, by kind.
        sent, sent_bytes: publishes of rounds, first copies only.
        received, received_bytes: messages of rounds from neighbours, first copies only.
        resent: further copies published.
    """

    def __init__(
        self,
        part: Part,
        protocol: Protocol,
        publish: Publish,
        clock: Callable[[], float],
        nonce: str,
        incarnation: int = 0,
    ) -> None:
        self.id: AgentId = part.agent
        self.run = part.run
        self.state = JOINING
        self.round = 0
        self.kind = ""
        self.result: Any = None
        self.first_round_at: float | None = None
        self.rejected: Counter[str] = Counter()
        self.sent = self.sent_bytes = self.received = self.received_bytes = self.resent = 0
        self.telemetry = Telemetry(part.run, part.agent, incarnation, part.record_every)

        self._protocol, self._publish, self._clock = protocol, publish, clock
        self._nonce, self._incarnation, self._digest = nonce, incarnation, part.digest()
        self._prefix = codec.Prefix(part.run, part.agent, incarnation)
        self._hears = tuple(sorted(part.hears))
        self._peers = tuple(sorted({*part.hears, *part.heard_by}))
        self._listeners = frozenset(part.heard_by)
        self._pulsed = tuple(j for j in self._hears if j not in self._listeners)
        self._to = {j: topics.to(part.run, part.agent, j) for j in self._peers}
        self._say_topic = topics.say(part.run, part.agent)
        self._status_topic = topics.status(part.run, part.agent)

        self._lives = dict.fromkeys(self._peers, 0)
        self._now: dict[AgentId, Message] = {}
        self._next: dict[AgentId, Message] = {}
        self._accepts: Callable[[Any], bool] | None = None
        self._kept: list[list[tuple[str, bytes]]] = []  # what was published in the last two rounds
        self._greeted: set[AgentId] = set()
        self._done: set[AgentId] = set()
        self._echoed = False
        self._round_time = 0.0
        self._late = False
        self._round_start = clock()
        self._rto = RTO_START
        self._resend_at = self._round_start + RTO_START
        self._linger_until = float("inf")
        self._jitter = random.Random(f"{part.run}/{part.agent}")

    # -- what to subscribe to, and hello -------------------------------------------------------------

    def subscriptions(self) -> dict[str, AgentId]:
        """Topic -> who publishes there, for all that this agent reads; nothing else ever reaches it."""
        wanted = {self._status_topic: self.id}
        for j in self._peers:
            wanted[topics.status(self.run, j)] = j
            wanted[topics.to(self.run, j, self.id)] = j
        for j in self._hears:
            wanted[topics.say(self.run, j)] = j
        return wanted

    def hello(self) -> None:
        """Tell the neighbours that this agent listens. To be called once all subscriptions are acknowledged:
        whoever has heard the hello may send its first message at once."""
        self._publish(self._status_topic, self._status("up"), retain=True)

    def _status(self, state: str) -> bytes:
        return status_payload(state, self._digest, self._nonce, self._incarnation)

    # -- what arrives --------------------------------------------------------------------------------

    def reject(self, kind: str) -> None:
        """Count a message that was dropped."""
        self.rejected[kind] += 1

    def receive_status(self, src: AgentId, payload: bytes) -> None:
        """Take in a status of a neighbour or, echoed by the broker, of this agent's own id.

        Raises:
            DuplicateAgent: if another process was this agent before.
            ContractMismatch: if a neighbour plays by other rules.
        """
        if not payload:
            return  # a retained status was cleared
        try:
            status = codec.unpack(payload)
        except Malformed as error:
            return self.reject(error.kind)
        match status:
            case {"inc": int(life), "state": str(state), "nonce": str(nonce), "digest": str(digest)}:
                pass
            case _:
                return self.reject("status")
        if src == self.id:
            self._own_status(life, state, nonce)
        elif src in self._lives:
            self._peer_status(src, state, digest)
        else:
            self.reject("stranger")

    def _own_status(self, life: int, state: str, nonce: str) -> None:
        if nonce == self._nonce:
            self._echoed = True
            self._start_when_ready()
        elif life >= self._incarnation and state == "up":
            if not self._echoed:
                raise DuplicateAgent(
                    f"agent {self.id}: another process already plays this agent in run {self.run} "
                    f"(incarnation {life}); this one leaves"
                )
            # Somebody else claims this id after us. It will leave; our hello must stand.
            self.reject("impostor")
            self.hello()

    def _peer_status(self, src: AgentId, state: str, digest: str) -> None:
        if digest != self._digest:
            raise ContractMismatch(
                f"agent {self.id}: neighbour {src} plays by other rules "
                f"(digest {digest[:32]}, expected {self._digest})"
            )
        if state == "done" and self.state is GONE:
            # It still waits for my goodbye: the network must have lost it.
            self._publish(self._status_topic, self._status("gone"), retain=True)
        if state in ("done", "gone"):
            self._done.add(src)
        if state in ("up", "done", "gone"):
            self._greeted.add(src)
            self._start_when_ready()
        self._leave_when_acknowledged()

    def receive(self, message: Message) -> None:
        """Take in a decoded message whose topic, run and sender have been checked.

        Messages of this round and the next are kept, whatever the state: a neighbour may be faster.

        Raises:
            Misaligned: if a neighbour is in another protocol in the same round.
            AgentError: if this agent's own protocol failed.
        """
        src = message.src
        life = self._lives.get(src)
        if life is None:
            return self.reject("stranger")
        if message.incarnation != life:
            if message.incarnation < life:
                return self.reject("stale-incarnation")
            self._lives[src] = message.incarnation
        if message.epoch:
            return self.reject("epoch")
        if message.round == self.round:
            slot = self._now
        elif message.round == self.round + 1:
            slot = self._next
        else:
            return self.reject("duplicate" if message.round < self.round else "ahead")
        if src in slot:
            return self.reject("duplicate")
        slot[src] = message
        if slot is self._now and len(slot) == len(self._lives):
            self._advance()

    # -- rounds --------------------------------------------------------------------------------------

    def _start_when_ready(self) -> None:
        if self.state is JOINING and self._echoed and len(self._greeted) == len(self._peers):
            self.state = PLAYING
            self._step(None)
            self._advance()

    def _advance(self) -> None:
        """Go on for as long as rounds are complete."""
        while self.state is PLAYING and len(self._now) == len(self._lives) and self._all_accepted():
            now = self._now
            heard = Heard(
                {j: now[j].body for j in self._hears},
                {j: told for j in self._hears if (told := now[j].told) is not None},
            )
            self.received += len(now)
            self.received_bytes += sum(message.size for message in now.values())
            self._now, self._next = self._next, {}
            self._step(heard)

    def _all_accepted(self) -> bool:
        """Drop what the protocol cannot read; the neighbour's copy of it, resent, may be better."""
        for j, message in list(self._now.items()):
            if message.kind != self.kind:
                raise Misaligned(
                    f"agent {self.id}, round {self.round}: neighbour {j} speaks {message.kind[:64]!r}, "
                    f"expected {self.kind!r}"
                )
        if self._accepts is not None:
            for j in self._hears:
                if not self._accepts(self._now[j].body):
                    del self._now[j]
                    self.reject("body")
        return len(self._now) == len(self._lives)

    def _step(self, heard: Heard | None) -> None:
        try:
            say = next(self._protocol) if heard is None else self._protocol.send(heard)
        except StopIteration as stop:
            return self._finish(stop.value)
        except AgentError:
            raise
        except Exception as error:
            # The protocol is the user's code: whatever it raises ends this agent, named.
            raise AgentError(
                f"agent {self.id}, round {self.round} ({self.kind}): {type(error).__name__}: {error}"
            ) from error
        now = self._clock()
        if heard is not None:
            self.round += 1
            if self.round == 1:
                self.first_round_at = now
            if not self._late:  # a round that needed copies says nothing about the network's own speed
                took = now - self._round_start
                self._round_time += 0.1 * (took - self._round_time) if self._round_time else took
        self._late = False
        self._round_start = now
        self._rto = (
            min(max(RTO_FLOOR, 4.0 * self._round_time), RTO_CEILING) if self._round_time else RTO_START
        )
        self._resend_at = now + self._rto
        self.kind, self._accepts = say.kind, say.accepts
        if say.record is not None:
            self.telemetry.add(max(self.round - 1, 0), say.record)
        outgoing = self._outgoing(say)
        for topic, payload in outgoing:
            self._publish(topic, payload)
            self.sent_bytes += len(payload)
        self.sent += len(outgoing)
        self._kept = [*self._kept[-1:], outgoing]

    def _outgoing(self, say: Say) -> list[tuple[str, bytes]]:
        """This round's messages: one broadcast, or one a neighbour if some of it is private."""
        encode = codec.encode
        if say.to:
            return [
                (
                    self._to[j],
                    encode(
                        self._prefix,
                        0,
                        self.round,
                        say.kind,
                        say.body if j in self._listeners else None,
                        say.to.get(j),
                    ),
                )
                for j in self._peers
            ]
        outgoing = []
        if self._listeners:
            outgoing.append((self._say_topic, encode(self._prefix, 0, self.round, say.kind, say.body)))
        if self._pulsed:
            pulse = encode(self._prefix, 0, self.round, say.kind, None)
            outgoing.extend((self._to[j], pulse) for j in self._pulsed)
        return outgoing

    def _finish(self, result: Any) -> None:
        self.result, self.state = result, LINGERING
        # Says that the last round is complete here, which acknowledges the neighbours' last messages.
        self._publish(self._status_topic, self._status("done"), retain=True)
        self._rto, now = RTO_START, self._clock()
        self._resend_at, self._linger_until = now + RTO_START, now + LINGER
        self._leave_when_acknowledged()

    def _leave_when_acknowledged(self) -> None:
        if self.state is LINGERING and len(self._done) == len(self._peers):
            self._leave()

    def _leave(self) -> None:
        self.state = GONE
        self._publish(self._status_topic, self._status("gone"), retain=True)

    # -- time ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When ``tick`` has something to do unless a round completes before; in the clock's seconds."""
        return self._resend_at

    def tick(self, now: float) -> None:
        """Resend the last two rounds' messages if a neighbour has kept us waiting for too long."""
        if now < self._resend_at or self.state is GONE:
            return
        self._late = True
        self._rto = min(2.0 * self._rto, RTO_CEILING)
        self._resend_at = now + self._rto * (1.0 + RTO_JITTER * self._jitter.uniform(-1.0, 1.0))
        if self.state is JOINING or (self.state is PLAYING and not self.round):
            # A neighbour that missed the hello has not started, so it has sent no message that would
            # have let this agent leave round 0.
            self.hello()
        elif self.state is LINGERING:
            if now >= self._linger_until:
                return self._leave()
            self._publish(self._status_topic, self._status("done"), retain=True)
        for outgoing in self._kept:
            for topic, payload in outgoing:
                self._publish(topic, payload)
            self.resent += len(outgoing)

    def waiting_for(self) -> tuple[AgentId, ...]:
        """The neighbours whose hello, message or goodbye is awaited."""
        seen: Set[AgentId] = {
            JOINING: self._greeted,
            PLAYING: self._now.keys(),
            LINGERING: self._done,
            GONE: self._lives.keys(),
        }[self.state]
        return tuple(j for j in self._peers if j not in seen)
