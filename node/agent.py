"""The driver: turns one protocol into messages on topics, and messages on topics into rounds.

No I/O and no event loop: it is given messages and the time, and calls ``publish``. The same driver runs
under the virtual network and in a process with a broker connection.

Rounds are kept by the local synchroniser (alpha): a round is complete when exactly one message of this
round has come from every neighbour, so a neighbour is never more than one round ahead and two rounds of
storage are enough. The last two rounds' messages are resent until the neighbours have gone on; a
neighbour's message of round k+1 acknowledges mine of round k, receipt alone never does. What the protocol
is sent is therefore the same, bit for bit, under any delay, loss, duplication or order.

With a store the same holds for crashes: what was heard is durable before anything that depends on it is
said, so an agent comes back at the very round it left. One that comes back without its memory opens a new
epoch, in which all agents start again from their inputs.

On a directed graph the edge i -> j means that i listens to j. The synchroniser needs both directions, so i
answers j with empty messages, pulses, on the private topic ``i/to/j``; contents travel along edges only.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from broker import topics
from broker.codec import Malformed, Message
from node import status
from node.conversation import Conversation, Links, payloads_of
from node.errors import ContractMismatch, DuplicateAgent, Misaligned
from node.liveness import HEARTBEAT, LOOK_EVERY, Liveness
from node.pacing import Pacer
from node.status import DONE, DOWN, JOIN, LEFT, UP, Status
from node.store import Saved, Store
from node.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from node.part import AgentId, Part
    from node.protocol import Factory

# How long to stay for neighbours that do not confirm the last round and are silent. The result is final by
# then; all that is left is to resend a last message that some neighbour may have lost with every copy of it.
LINGER = 10.0
# Rounds between two snapshots. A longer log costs disk and a slower return, a snapshot costs three fsyncs.
SNAPSHOT_EVERY = 64

# Seconds between two answers to neighbours that ask for this agent's status.
TELL_EVERY = 0.05

JOINING, PLAYING, LINGERING, GONE = "joining", "playing", "lingering", "gone"


class Publish(Interface):
    """Hand a message to the network and return at once."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> None: ...


class Agent:
    """One agent's protocol and its place in the network.

    Args:
        part: id, run, neighbours and public rules.
        factory: makes the protocol, from a snapshot or from the start.
        publish: hands a message to the network.
        clock: seconds, monotonic.
        nonce: tells two processes apart that claim to be the same agent; a later one has a larger nonce.
        incarnation: which life of the agent this is at least; the store may know of a later one.
        forgotten: the life to take if the store knows of none before, for an agent that is started again.
        store: what it must not forget; None forgets all.
        snapshot_every: rounds between two snapshots, for protocols that offer them.

    Attributes:
        state: ``joining`` until all neighbours have said hello, ``playing``, ``lingering`` while some
            neighbour may still need the last message, ``gone``.
        incarnation: which life of the agent this is.
        conversation: the protocol under way: its round, words and result.
        first_round_at: when round 0 was complete, in the clock's seconds; None before.
        rejected: what was dropped, by kind.
        sent, sent_bytes: publishes of rounds, first copies only.
        received, received_bytes: messages of rounds from neighbours, first copies only.
        resent: further copies published.
        not_durable: why the store no longer keeps its promise; None while it does.
    """

    def __init__(
        self,
        part: Part,
        factory: Factory,
        publish: Publish,
        clock: Callable[[], float],
        nonce: str,
        incarnation: int = 0,
        forgotten: int = 0,
        store: Store | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.id: AgentId = part.agent
        self.run = part.run
        self.state = JOINING
        self.first_round_at: float | None = None
        self.rejected: Counter[str] = Counter()
        self.sent = self.sent_bytes = self.received = self.received_bytes = self.resent = 0
        self.not_durable: str | None = None

        self._factory, self._publish, self._clock = factory, publish, clock
        self._nonce, self._digest = nonce, part.digest()
        self._store, self._snapshot_every = store, snapshot_every
        self.incarnation, left = self._remember(incarnation, forgotten)
        # A later life without a memory: the others have gone on, and only a new epoch brings all together.
        self._amnesic = self.incarnation > 0 and left is None
        self._links = Links(part, self.incarnation)
        self._peers = self._links.peers
        self._status_topic = topics.status(part.run, part.agent)
        self.telemetry = Telemetry(part.run, part.agent, self.incarnation, part.record_every)

        self._lives = dict.fromkeys(self._peers, 0)
        self._epochs = dict.fromkeys(self._peers, 0)
        self._greeted: set[AgentId] = set()
        self._done: set[AgentId] = set()
        self._echoed = False
        self._pacer = Pacer(f"{part.run}/{part.agent}", clock())
        self._liveness = Liveness(self._peers, clock())
        self._said_at = self._look_at = clock()
        self._told_at = -TELL_EVERY
        self._answered = dict.fromkeys(self._peers, -1)  # in which round
        self._now: dict[AgentId, Message] = {}
        self._next: dict[AgentId, Message] = {}
        epoch = left.epoch if left is not None else 0
        try:
            if left is not None:
                self.telemetry.restore(left.telemetry)
            self.conversation = Conversation(self.id, self._links, factory, epoch, left)
            for measured in self.conversation.remade:
                self.telemetry.add(*measured)
            self.conversation.remade.clear()
        except Malformed:
            # Whole by its checksum and yet not readable: written by something else. As good as none.
            self._amnesic = True
            self.conversation = Conversation(self.id, self._links, factory, 0)

    # -- what it is doing ----------------------------------------------------------------------------

    @property
    def round(self) -> int:
        """The current round, from 0."""
        return self.conversation.round

    @property
    def epoch(self) -> int:
        """The computation this is; grows when an agent has lost its memory."""
        return self.conversation.epoch

    @property
    def kind(self) -> str:
        """Which protocol is being spoken."""
        return self.conversation.kind

    @property
    def result(self) -> Any:
        """What the protocol returned; None before."""
        return self.conversation.result

    # -- memory --------------------------------------------------------------------------------------

    def _remember(self, incarnation: int, forgotten: int) -> tuple[int, Saved | None]:
        if self._store is None:
            return max(incarnation, forgotten), None
        try:
            last, left = self._store.load()
        except OSError as error:
            last, left = -1, None
            self._not_durable(error)
        life = max(incarnation, last + 1 if last >= 0 else forgotten)
        self._durably(lambda store: store.begin(life))
        if not life:
            # Now, and not when the first word is said: a later life must be able to tell that nothing
            # had been said from having forgotten it.
            self._durably(lambda store: store.reset(Saved()))
        return life, left

    def _durably(self, action: Callable[[Store], None]) -> None:
        """Do something with the store; if that fails, say so and promise nothing more."""
        if self._store is None or self.not_durable is not None:
            return
        try:
            action(self._store)
        except OSError as error:
            self._not_durable(error)

    def _not_durable(self, error: OSError) -> None:
        self.not_durable = f"agent {self.id} is no longer durable: {error.strerror or error}"

    # -- what to subscribe to, and hello -------------------------------------------------------------

    def subscriptions(self) -> dict[str, AgentId]:
        """Topic -> who publishes there, for all that this agent reads; nothing else ever reaches it."""
        wanted = {self._status_topic: self.id}
        for j in self._peers:
            wanted[topics.status(self.run, j)] = j
            wanted[topics.to(self.run, j, self.id)] = j
        for j in self._links.hears:
            wanted[topics.say(self.run, j)] = j
        return wanted

    def hello(self) -> None:
        """Tell the neighbours that this agent listens. To be called once all subscriptions are acknowledged:
        whoever has heard it may send at once."""
        self._tell(self._standing())

    def reconnected(self) -> None:
        """The connection is there, for the first time or again: say hello, and what may have been lost."""
        self.hello()
        self._pacer.restart(self._clock())
        self.telemetry.again()
        if self.state is not JOINING:
            self._resend()

    def will(self) -> bytes:
        """The last will: what the broker is to publish as this agent's status if the connection breaks."""
        return self._status(DOWN).pack()

    def _standing(self) -> str:
        return {JOINING: JOIN, PLAYING: UP, LINGERING: DONE, GONE: LEFT}[self.state]

    def _tell(self, state: str) -> None:
        self._told_at = self._clock()
        self._publish(self._status_topic, self._status(state).pack(), retain=True)

    def _tell_again(self) -> None:
        """Tell a neighbour that asks. One that has asked since the last time will hear that time's answer,
        or ask again; so a neighbour that asks without end makes nobody speak without end."""
        if self._clock() >= self._told_at + TELL_EVERY:
            self._tell(self._standing())

    def _status(self, state: str) -> Status:
        return Status(state, self.incarnation, self.epoch, self._digest, self._nonce)

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
            heard = status.read(payload)
        except Malformed as error:
            return self.reject(error.kind)
        if src == self.id:
            self._own_status(heard)
        elif src in self._lives:
            self._peer_status(src, heard)
        else:
            self.reject("stranger")

    def _own_status(self, heard: Status) -> None:
        if heard.nonce == self._nonce:
            self._echoed = True
            self._start_when_ready()
        elif heard.incarnation >= self.incarnation and heard.state in (JOIN, UP):
            # The later process leaves, by an order that both see alike, whatever reaches whom first.
            if heard.nonce < self._nonce:
                raise DuplicateAgent(
                    f"agent {self.id}: another process already plays this agent in run {self.run} "
                    f"(incarnation {heard.incarnation}); this one leaves"
                )
            # Somebody else claims this id after us. It will leave; our hello must stand.
            self.reject("impostor")
            self.hello()
        elif heard.state == DOWN and self._echoed:
            # The broker noticed the end of our last connection only now; we are back already.
            self.hello()

    def _peer_status(self, src: AgentId, heard: Status) -> None:
        if heard.digest != self._digest:
            raise ContractMismatch(
                f"agent {self.id}: neighbour {src} plays by other rules "
                f"(digest {heard.digest[:32]}, expected {self._digest})"
            )
        if heard.incarnation < self._lives[src]:
            return self.reject("stale-incarnation")
        self._lives[src] = heard.incarnation
        self._epochs[src] = max(self._epochs[src], heard.epoch)
        if heard.state == DOWN:
            return self._liveness.will(src, self._clock())
        if self._liveness.heard(src, self._clock()):
            self._welcome_back(src)
        if heard.epoch > self.epoch and not self._amnesic:
            self._jump(heard.epoch)
        if heard.state in (DONE, LEFT) and heard.epoch == self.epoch:
            if heard.state == DONE and self.state is GONE:
                self._tell_again()  # it still waits for my goodbye: the network must have lost it
            self._done.add(src)
        if heard.state == JOIN and self.state is not JOINING:
            self._tell_again()  # it may have missed my hello
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
        if self._liveness.heard(src, self._clock()):
            self._welcome_back(src)
        now = self.conversation
        if message.epoch != now.epoch:
            if message.epoch < now.epoch:
                return self.reject("stale-epoch")
            self._epochs[src] = message.epoch
            if self._amnesic:
                return self.reject("stale-epoch")  # the epoch that is about to be opened is newer still
            self._jump(message.epoch)
            now = self.conversation
        if message.round == now.round:
            slot = self._now
        elif message.round == now.round + 1:
            slot = self._next
        elif message.round < now.round:
            if message.round == now.round - 1 and src not in self._now:
                self._answer(src)  # a copy: it waits, perhaps for what I said and it did not hear
            return self.reject("duplicate")
        else:
            self.reject("ahead")
            if self.incarnation and self.state is PLAYING:
                # My memory is older than what I said before I lost it: nobody keeps what I would need.
                self._open_epoch()
            return
        if src in slot:
            return self.reject("duplicate")
        slot[src] = message
        if slot is self._next and src not in self._now:
            self._pacer.overtaken()
        if slot is self._now and len(slot) == len(self._lives):
            self._advance()

    def _welcome_back(self, src: AgentId) -> None:
        """A neighbour that was suspected is heard again. What was said to it meanwhile may be lost, and the
        pause between copies has grown long; so say it now."""
        for topic, payload in self.conversation.again(src):
            self._publish(topic, payload)
            self.resent += 1
        self._pacer.restart(self._clock())

    # -- epochs --------------------------------------------------------------------------------------

    def _open_epoch(self) -> None:
        """Make everybody start again: nobody has what this agent would need to go on."""
        self._jump(1 + max(self.epoch, *self._epochs.values()))

    def _jump(self, epoch: int) -> None:
        """Drop the computation and start again from the inputs, in a newer epoch."""
        self.conversation.close()
        self.conversation = Conversation(self.id, self._links, self._factory, epoch)
        self.telemetry.begin(epoch)
        self._durably(lambda store: store.reset(Saved(epoch, telemetry=self.telemetry.state())))
        self._now, self._next = {}, {}
        self._done.clear()
        if self.state is not JOINING:
            self.state = PLAYING
            self._hear_first()
            self.hello()

    # -- rounds --------------------------------------------------------------------------------------

    def _start_when_ready(self) -> None:
        if self.state is not JOINING or not self._echoed:
            return
        # Whoever is back with its result needs nobody; its neighbours may have left.
        if len(self._greeted) < len(self._peers) and not self.conversation.finished:
            return
        if self._amnesic:
            self._amnesic = False
            self._open_epoch()
        self.state = PLAYING
        self._tell(UP)
        if self.conversation.saying is None:
            self._hear_first()
        else:  # back from the store: what was said last may never have left
            self._pacer.restart(self._clock())
            self._resend()
            if self.conversation.finished:
                self._finish()
        self._advance()

    def _hear_first(self) -> None:
        """Start the protocol and say the first word of the computation."""
        self.conversation.hear(None)
        self._speak()

    def _advance(self) -> None:
        """Go on for as long as rounds are complete."""
        while self.state is PLAYING and len(self._now) == len(self._lives) and self._all_accepted():
            now = self._now
            if self._store is not None:
                heard = payloads_of(now, self._peers)
                self._durably(lambda store: store.append(heard))  # noqa: B023 - called at once
            self.received += len(now)
            self.received_bytes += sum([len(message.raw) for message in now.values()])
            self._now, self._next = self._next, {}
            if not self.conversation.hear(now):
                return self._finish()
            self._speak()
            if self._store is not None and (saved := self.conversation.snapshot(self._snapshot_every)):
                saved.telemetry = self.telemetry.state()
                self._durably(lambda store: store.reset(saved))

    def _all_accepted(self) -> bool:
        """Drop what the protocol cannot read; the neighbour's copy of it, resent, may be better."""
        kind = self.conversation.kind
        for j, message in self._now.items():
            if message.kind != kind:
                raise Misaligned(
                    f"agent {self.id}, round {self.round}: neighbour {j} speaks {message.kind[:64]!r}, "
                    f"expected {kind!r}"
                )
        saying = self.conversation.saying
        if saying is not None:
            accepts, accepts_told = saying.accepts, saying.accepts_told
            for j in self._links.hears:
                message = self._now[j]
                if (accepts is not None and not accepts(message.body, j)) or (
                    message.told is not None
                    and accepts_told is not None
                    and not accepts_told(message.told, j)
                ):
                    del self._now[j]
                    self.reject("body")
        return len(self._now) == len(self._lives)

    def _speak(self) -> None:
        """Publish what was just said."""
        now, conversation = self._clock(), self.conversation
        if conversation.round:
            self._pacer.round_complete(now)
            if self.first_round_at is None:
                self.first_round_at = now
        else:
            self._pacer.restart(now)
        self._said_at = now
        for topic, payload in conversation.kept[-1]:
            self._publish(topic, payload)
            self.sent_bytes += len(payload)
        self.sent += len(conversation.kept[-1])
        if (measured := conversation.measured) is not None:
            self.telemetry.add(*measured)

    def _finish(self) -> None:
        self.state = LINGERING
        # Says that the last round is complete here, which acknowledges the neighbours' last messages.
        self._tell(DONE)
        self._pacer.restart(self._clock())
        self._leave_when_acknowledged()

    def _leave_when_acknowledged(self) -> None:
        if self.state is LINGERING and len(self._done) == len(self._peers):
            self._leave()

    def _leave(self) -> None:
        self.state = GONE
        self._tell(LEFT)

    # -- time ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When ``tick`` has something to do unless a round completes before; in the clock's seconds."""
        return min(self._pacer.deadline, self._look_at, self._said_at + HEARTBEAT)

    @property
    def eager(self) -> bool:
        """Whether messages have been lost lately: ``deadline`` then wants to be kept to the millisecond."""
        return self._pacer.eager and self.state is not GONE

    def tick(self, now: float) -> None:
        """Say that this agent is there if it has been silent for a heartbeat, and resend the last two rounds'
        messages if a neighbour has kept it waiting for too long."""
        if self.state is GONE:
            return
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._liveness.look(now)
        if now >= self._said_at + HEARTBEAT:
            self._said_at = now
            self._publish(self._status_topic, self._status(self._standing()).pack())
        if now < self._pacer.deadline:
            return
        self._pacer.back_off(now)
        if self.state is LINGERING and self._liveness.silence(self.waiting_for(), now) > LINGER:
            return self._leave()
        if self.state is not PLAYING or not self.round:
            # A neighbour that missed the hello has not started, so it has sent no message that would have
            # let this agent leave round 0; one that missed the goodbye waits for it.
            self.hello()
        self._resend()

    def _resend(self) -> None:
        for outgoing in self.conversation.kept:
            for topic, payload in outgoing:
                self._publish(topic, payload)
            self.resent += len(outgoing)

    def _answer(self, j: AgentId) -> None:
        """Say the last two rounds again to one neighbour; once a round, or answers would be answered."""
        if self._answered[j] == self.round:
            return
        self._answered[j] = self.round
        for topic, payload in self.conversation.again(j):
            self._publish(topic, payload)
            self.resent += 1

    def suspects(self) -> dict[AgentId, str]:
        """The neighbours that seem not to be there: ``suspect``, or ``down`` after a while."""
        return self._liveness.suspects()

    def waiting_for(self) -> Sequence[AgentId]:
        """The neighbours whose hello, message or goodbye is awaited."""
        seen: Set[AgentId] = {
            JOINING: self._greeted,
            PLAYING: self._now.keys(),
            LINGERING: self._done,
            GONE: self._lives.keys(),
        }[self.state]
        return tuple(j for j in self._peers if j not in seen)
