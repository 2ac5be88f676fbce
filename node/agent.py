"""The driver: turns one protocol into messages on topics, and messages on topics into what it hears.

No I/O and no event loop: it is given messages and the time, and calls ``publish``. The same driver runs
under the virtual network and in a process with a broker connection.

Here is who speaks: statuses, incarnations, epochs, memory, and how an agent comes and leaves. When the
protocol goes on, and with which messages, is the business of a ``Timekeeper``: ``node.rounds`` or
``node.free``. Which neighbours there are to play with is known to ``node.neighbours``.

With a store what was heard is durable before anything that depends on it is said, so an agent comes back
from any crash as the one that it was. One that comes back without its memory opens a new epoch, in which
all agents start again from their inputs; so does one that plays on without a neighbour, or with one again.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

from broker import topics
from broker.codec import Malformed, Message
from node import status
from node.conversation import Conversation, Links, Outgoing
from node.errors import ContractMismatch, DuplicateAgent
from node.free import Free
from node.liveness import HEARTBEAT, LOOK_EVERY
from node.memory import Memory
from node.neighbours import Neighbours
from node.pacing import pace_of
from node.rounds import Rounds
from node.status import DONE, DOWN, JOIN, LEFT, QUIT, UP, Status
from node.store import Saved, Store
from node.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.part import AgentId, Part
    from node.protocol import Protocol
    from node.timekeeper import Timekeeper

    ProtocolOf = Callable[[Part, Any], Protocol]

# How long to stay for neighbours that do not confirm the last round and are silent. The result is final by
# then; all that is left is to resend a last message that some neighbour may have lost with every copy of it.
LINGER = 10.0
# Rounds between two snapshots. A longer log costs disk and a slower return, a snapshot costs three fsyncs.
SNAPSHOT_EVERY = 64

# An agent that waits for a neighbour that seems to be away asks the broker so often, in seconds, for the
# status that it keeps: that the neighbour has left for good is said only once, and may have been lost.
ASK_EVERY = 2.0
# So long after asking, what says that the neighbour is there may be what the broker keeps.
ASKED = 1.0
# Seconds between two answers to neighbours that ask for this agent's status.
TELL_EVERY = 0.05

JOINING, PLAYING, LINGERING, GONE = "joining", "playing", "lingering", "gone"


class Publish(Interface):
    """Hand a message to the network and return at once."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> None: ...


class Agent:
    """One agent's protocol and its place in the network.

    Args:
        part: id, run, neighbours, public rules, whether it runs freely and goes on without others.
        factory: makes the protocol for a part, from a snapshot or from the start. The part has the neighbours
            that are there to be played with.
        publish: hands a message to the network.
        clock: seconds, monotonic.
        nonce: tells two processes apart that claim to be the same agent; a later one has a larger nonce.
        incarnation: which life of the agent this is at least; the store may know of a later one.
        forgotten: the life to take if the store knows of none before, for an agent that is started again.
        store: what it must not forget; None forgets all.
        snapshot_every: rounds between two snapshots, for protocols that offer them.
        crowd: how many agents share its process, itself included.
        ask: subscribes once more to these topics, so that what is retained there is told again.

    Attributes:
        state: ``joining`` until it may play, ``playing``, ``lingering`` while some neighbour may still need
            the last message, ``gone``.
        incarnation: which life of the agent this is.
        conversation: the protocol under way: its round, words and result.
        neighbours: what it knows of each neighbour, and which of them it plays with.
        hears, peers: of those the ones it listens to, and these with those that listen to it; ascending.
        quitted: whether it has left for good.
        first_round_at: when round 0 was complete, in the clock's seconds; None before.
        rejected: what was dropped, by kind.
        sent, sent_bytes: publishes of rounds, first copies only.
        received, received_bytes: messages of rounds from neighbours, first copies only.
        heard_from: of whom they were, and how many.
        resent: further copies published.
        memory: what it remembers through.
        crowd, pace: how many share its process, and by how much less often it says heartbeats for that.
    """

    def __init__(
        self,
        part: Part,
        factory: ProtocolOf,
        publish: Publish,
        clock: Callable[[], float],
        nonce: str,
        incarnation: int = 0,
        forgotten: int = 0,
        store: Store | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
        crowd: int = 1,
        ask: Callable[[Sequence[str]], None] = lambda names: None,
    ) -> None:
        self.id: AgentId = part.agent
        self.crowd, self.pace = crowd, pace_of(crowd)
        self.run = part.run
        self.state = JOINING
        self.first_round_at: float | None = None
        self.rejected: Counter[str] = Counter()
        self.sent = self.sent_bytes = self.received = self.received_bytes = self.resent = 0
        self.heard_from: Counter[AgentId] = Counter()

        self.clock = clock
        self._part, self._factory, self._publish = part, factory, publish
        self._nonce, self._digest = nonce, part.digest()
        self._snapshot_every = snapshot_every
        self.memory = Memory(self.id, store)
        self.incarnation, left = self.memory.begin(incarnation, forgotten)
        # A later life without a memory: the others have gone on, and only a new epoch brings all together.
        self._amnesic = self._forgot = self.incarnation > 0 and left is None
        now = clock()
        self.neighbours = Neighbours(part, now, self.pace, () if left is None else left.absent)
        self.quitted = False
        self._since = 0 if left is None else left.round + len(left.log)
        self._relink()
        self._status_topic = topics.status(part.run, part.agent)
        self.telemetry = Telemetry(part.run, part.agent, self.incarnation, part.record_every)

        self._echoed = False
        self._said_at = self._look_at = self._called_at = now
        self._told_at, self._asked_at, self._ask = -TELL_EVERY, now - ASK_EVERY, ask
        self.keeper: Timekeeper = self.make_keeper()
        try:
            if left is not None:
                self.telemetry.restore(left.telemetry)
            self.conversation = self._converse(left.epoch if left is not None else 0, left)
            if left is not None:
                self.keeper.replay(left)
            for measured in self.conversation.remade:
                self.telemetry.add(*measured)
            self.conversation.remade.clear()
        except Malformed:
            # Whole by its checksum and yet not readable: written by something else. As good as none.
            self._amnesic = self._forgot = True
            self._start_afresh(0)

    def make_keeper(self) -> Timekeeper:
        """How this agent keeps time."""
        return Rounds(self) if self._part.tick is None else Free(self, self._part.tick)

    def _converse(self, epoch: int, left: Saved | None = None) -> Conversation:
        factory = partial(self._factory, self.neighbours.part)
        return Conversation(self.id, self._links, factory, epoch, left, free=self.free)

    def _start_afresh(self, epoch: int) -> None:
        """A computation from the inputs, as if nothing had ever been said in this epoch."""
        self._since = 0
        self.neighbours.renew(self.clock())
        self._relink()
        self.conversation = self._converse(epoch)
        self.keeper.clear()

    def _relink(self) -> None:
        """Speak to those that are there to be played with, and to nobody else."""
        neighbours = self.neighbours
        self.hears, self.peers = neighbours.hears, neighbours.peers
        exclusive = bool(neighbours.absent)
        self._links = Links(neighbours.part, self.incarnation, self._since, exclusive=exclusive)

    # -- what it is doing ----------------------------------------------------------------------------

    @property
    def round(self) -> int:
        """The current round, from 0; in free mode the ticks so far."""
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

    @property
    def free(self) -> bool:
        """Whether it runs freely instead of keeping rounds."""
        return self._part.free

    @property
    def playing(self) -> bool:
        """Whether the protocol is under way."""
        return self.state is PLAYING

    @property
    def joined(self) -> bool:
        """Whether it has begun to play, in whatever state it is since."""
        return self.state is not JOINING

    @property
    def gone(self) -> bool:
        """Whether it has left."""
        return self.state is GONE

    @property
    def not_durable(self) -> str | None:
        """Why its memory no longer keeps its promise; None while it does."""
        return self.memory.failure

    def suspects(self) -> dict[AgentId, str]:
        """The neighbours that seem not to be there, of those it plays with: ``suspect``, or ``down`` after a
        while."""
        found, absent = self.neighbours.liveness.suspects(), self.neighbours.absent
        return {j: how for j, how in found.items() if j not in absent} if absent else found

    def _awaited_by_all_means(self) -> Sequence[AgentId]:
        """The neighbours that seem to be away and are waited for; nobody where all go on without them."""
        return tuple(self.suspects()) if self._part.on_down == "wait" else ()

    def absentees(self) -> dict[AgentId, str]:
        """The neighbours that it plays without -> why."""
        return dict(sorted(self.neighbours.absent.items()))

    def waiting_for(self) -> Sequence[AgentId]:
        """The neighbours whose hello, message or goodbye is awaited."""
        if self.state is PLAYING:
            return tuple(self.keeper.awaited())
        known = self.neighbours
        there = {JOINING: known.greeted, LINGERING: known.done, GONE: known.lives.keys()}[self.state]
        return known.waiting_for(there)

    # -- what to subscribe to, and hello -------------------------------------------------------------

    def subscriptions(self) -> dict[str, AgentId]:
        """Topic -> who publishes there, for all that this agent reads; nothing else ever reaches it."""
        wanted = {self._status_topic: self.id}
        for j in self.neighbours.everybody:
            wanted[topics.status(self.run, j)] = j
            wanted[topics.to(self.run, j, self.id)] = j
        for j in self._part.hears:
            wanted[topics.say(self.run, j)] = j
        return wanted

    def hello(self) -> None:
        """Tell the neighbours that this agent listens. To be called once all subscriptions are acknowledged:
        whoever has heard it may send at once."""
        self.neighbours.hello(self.clock())
        self._tell(self._standing())

    def reconnected(self) -> None:
        """The connection is there, for the first time or again: say hello, and what may have been lost."""
        self.hello()
        if self.quitted:
            return
        self.telemetry.again()
        self.keeper.resume(self.clock())

    def will(self) -> bytes:
        """The last will: what the broker is to publish as this agent's status if the connection breaks."""
        return self._status(DOWN).pack()

    def quit(self) -> None:
        """Leave for good. Neighbours that are not done go on without this agent."""
        self.quitted = True
        self.conversation.close()
        self.state = GONE
        self._tell(QUIT)

    def _standing(self) -> str:
        if self.quitted:
            return QUIT
        return {JOINING: JOIN, PLAYING: UP, LINGERING: DONE, GONE: LEFT}[self.state]

    def _tell(self, state: str) -> None:
        self._told_at = self.clock()
        self._publish(self._status_topic, self._status(state).pack(), retain=True)

    def _tell_again(self) -> None:
        """Tell a neighbour that asks. One that has asked since the last time will hear that time's answer,
        or ask again; so a neighbour that asks without end makes nobody speak without end."""
        if self.clock() >= self._told_at + TELL_EVERY:
            self._tell(self._standing())

    def _beat(self, now: float) -> None:
        """Say that this agent is there."""
        self._said_at = now
        self._publish(self._status_topic, self._status(self._standing(), beat=True).pack())

    def _status(self, state: str, *, beat: bool = False) -> Status:
        known = self.neighbours
        without = known.without() if known.absent else ()
        hears = known.heard_absent(self.clock()) if without else ()
        return Status(state, self.incarnation, self.epoch, self._digest, self._nonce, without, hears, beat)

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
        if not payload or self.quitted:
            return  # a retained status was cleared, or nothing concerns this agent any more
        try:
            heard = status.read(payload)
        except Malformed as error:
            return self.reject(error.kind)
        if src == self.id:
            self._own_status(heard)
        elif src in self.neighbours.lives:
            self._peer_status(src, heard)
        else:
            self.reject("stranger")

    def _own_status(self, heard: Status) -> None:
        if heard.nonce == self._nonce:
            self.neighbours.liveness.myself(self.clock())
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
        known, now = self.neighbours, self.clock()
        if heard.incarnation < known.lives[src]:
            return self.reject("stale-incarnation")
        if heard.incarnation > known.lives[src]:
            known.reborn(src, heard.incarnation)
        known.epochs[src] = max(known.epochs[src], heard.epoch)
        if heard.state == DOWN:
            return known.liveness.will(src, now)
        if heard.state == QUIT:
            return self._parted(src)
        if now < self._asked_at + ASKED and self._may_be_old(src, heard):
            return None
        if known.liveness.heard(src, now) and src not in known.absent:
            self.keeper.welcome_back(src, now)
        if src in known.absent:
            if not known.may_return(heard):
                self._tell_again()  # it does not hear me: perhaps it will hear this
                return
            self._admit(src, heard.epoch if self.id not in heard.without else -1)
        elif heard.epoch > self.epoch and not self._amnesic:
            self._jump(heard.epoch)
        if heard.epoch == self.epoch:
            known.note(src, heard, now)
        if heard.state in (DONE, LEFT) and heard.epoch == self.epoch:
            if heard.state == DONE and self.state is GONE:
                self._tell_again()  # it still waits for my goodbye: the network must have lost it
            known.done.add(src)
        if heard.state == JOIN and self.state is not JOINING:
            self._tell_again()  # it may have missed my hello
        known.greeted.add(src)
        self._start_when_ready()
        self._leave_when_acknowledged()

    def _may_be_old(self, src: AgentId, heard: Status) -> bool:
        """Whether a status may be what the broker has kept; if it is not, a heartbeat will say the same."""
        return not heard.beat and heard.state in (JOIN, UP) and src in self.suspects()

    def receive(self, message: Message) -> None:
        """Take in a decoded message whose topic, run and sender have been checked, whatever the state.

        Raises:
            Misaligned: if a neighbour is in another protocol in the same round.
            AgentError: if this agent's own protocol failed.
        """
        src, known = message.src, self.neighbours
        if self.quitted:
            return
        life = known.lives.get(src)
        if life is None:
            return self.reject("stranger")
        if message.incarnation != life:
            if message.incarnation < life:
                return self.reject("stale-incarnation")
            known.reborn(src, message.incarnation)
        if known.liveness.heard(src, self.clock()) and src not in known.absent:
            self.keeper.welcome_back(src, self.clock())
        if src in known.absent:
            # It speaks to me, so it counts me present: it was slow, or away, and not dead.
            return self._admit(src, message.epoch)
        epoch = self.conversation.epoch
        if message.epoch != epoch:
            if message.epoch < epoch:
                return self.reject("stale-epoch")
            known.epochs[src] = message.epoch
            if self._amnesic:
                return self.reject("stale-epoch")  # the epoch that is about to be opened is newer still
            self._jump(message.epoch)
        self.keeper.take(message)

    def asked(self, newest: Message) -> None:
        """A neighbour has said its last words again, this one the newest, because it lacks mine."""
        src, known = newest.src, self.neighbours
        if newest.epoch == self.epoch and src in known.lives and src not in known.absent and not self.quitted:
            self.keeper.asked(src, newest.round)

    # -- whom to play with ---------------------------------------------------------------------------

    def _parted(self, src: AgentId) -> None:
        """A neighbour has left for good."""
        self.neighbours.quits(src)
        if src in self.neighbours.absent:
            return
        if self.state in (LINGERING, GONE):
            # My result stands. Whoever lacks its last words will make all start again without it.
            self.neighbours.done.add(src)
            self._leave_when_acknowledged()
        else:
            self._go_on_without({src: "has left for good"})

    def _go_on_without(self, who: dict[AgentId, str]) -> None:
        """Some neighbours are not there to be played with."""
        self.neighbours.drop(who, self.clock())
        if self.state is JOINING and self.conversation.saying is None:
            self.conversation.close()
            self._relink()  # nothing has been said yet that counted on them
            self.conversation = self._converse(self.epoch)
            self.keeper.clear()  # who has left may have spoken before; the others will say theirs again
            if not self._amnesic:  # a next life must know with whom this one has spoken
                self._remember_afresh()
            self._start_when_ready()
        elif self.free and self.conversation.saying is not None and self.conversation.saying.survives:
            self.forget({})
            self.keeper.lose(tuple(sorted(who)))
        else:
            self.open_epoch()

    def forget(self, who: dict[AgentId, str]) -> None:
        """Neither speak to these any more nor hear them, in the computation under way."""
        if who:
            self.neighbours.drop(who, self.clock())
        self._relink()
        self.conversation.relink(self._links)

    def _admit(self, src: AgentId, epoch: int) -> None:
        """An absent neighbour is there again.

        Args:
            src: the neighbour.
            epoch: that it is in and counts this agent present in; -1 if it does not.
        """
        self.neighbours.epochs[src] = max(self.neighbours.epochs[src], epoch)
        self.neighbours.admit(src)
        if epoch > self.epoch and not self._forgot:
            self._jump(epoch)
        else:
            # One that has forgotten may have spoken in that epoch before, among others.
            self.open_epoch()

    # -- epochs --------------------------------------------------------------------------------------

    def open_epoch(self) -> None:
        """Make everybody start again: nobody has what some agent would need to go on."""
        self._jump(1 + max(self.epoch, *self.neighbours.epochs.values()))

    def _jump(self, epoch: int) -> None:
        """Drop the computation and start again from the inputs, in a newer epoch."""
        self.conversation.close()
        self._start_afresh(epoch)
        self.telemetry.begin(epoch)
        self._remember_afresh()
        if self.state is not JOINING:
            self.state = PLAYING
            self._begin()
            self.hello()
            self.keeper.advance()  # whoever has no neighbours left waits for nobody

    def _remember_afresh(self) -> None:
        """Put the computation, of which nothing has been heard yet, in the place of what the store holds."""
        absent = tuple(self.neighbours.absent)
        self.memory.reset(Saved(self.epoch, telemetry=self.telemetry.state(), absent=absent))

    # -- the computation, from its first word to its end ---------------------------------------------

    def _start_when_ready(self) -> None:
        if self.state is not JOINING or not self._echoed:
            return
        # Whoever is back with its result needs nobody; its neighbours may have left. An epoch that is new
        # to all can be told only by who has heard of all.
        if (
            not self.neighbours.complete
            and (self.keeper.barrier or self._amnesic)
            and not self.conversation.finished
        ):
            return
        if self._amnesic:
            self._amnesic = False
            self.open_epoch()
        self.state = PLAYING
        self._tell(UP)
        if self.conversation.saying is None:
            self._begin()
        else:  # back from the store
            self.keeper.resume(self.clock())
            if self.conversation.finished:
                self.finish()
        self.keeper.advance()

    def _begin(self) -> None:
        """Start the protocol and say the first word of the computation."""
        if self.conversation.hear(None):
            self.speak()
        else:
            self.finish()

    def speak(self) -> None:
        """Publish what the protocol has just said."""
        now, conversation = self.clock(), self.conversation
        self.keeper.said(now)
        if conversation.round and self.first_round_at is None:
            self.first_round_at = now
        self._said_at = now
        for topic, payload in conversation.kept[-1]:
            self._publish(topic, payload)
            self.sent_bytes += len(payload)
        self.sent += len(conversation.kept[-1])
        if (measured := conversation.measured) is not None:
            self.telemetry.add(*measured)

    def repeat(self, messages: Outgoing) -> None:
        """Publish further copies of messages."""
        for topic, payload in messages:
            self._publish(topic, payload)
        self.resent += len(messages)

    def keep_snapshot(self) -> None:
        """Put a snapshot in the place of what the store holds, if there is one and it is time for it."""
        saved = self.conversation.snapshot(self._snapshot_every)
        if saved is not None:
            saved.telemetry = self.telemetry.state()
            saved.absent = tuple(self.neighbours.absent)
            self.keeper.remember(saved)
            self.memory.reset(saved)

    def finish(self) -> None:
        """The protocol has returned: stay for neighbours that may need the last words."""
        self.state = LINGERING
        # Says that the last round is complete here, which acknowledges the neighbours' last messages.
        self._tell(DONE)
        self.keeper.finished(self.clock())
        self._leave_when_acknowledged()

    def leaves_alone(self, now: float) -> bool:
        """Leave if nobody whose goodbye is awaited has been heard for long; whether it has left."""
        silence = self.neighbours.liveness.silence
        if self.state is LINGERING and silence(self.waiting_for(), now) > LINGER * self.pace:
            self._leave()
        return self.state is GONE

    def _leave_when_acknowledged(self) -> None:
        if self.state is LINGERING and self.neighbours.done.issuperset(self.peers):
            self._leave()

    def _leave(self) -> None:
        self.state = GONE
        self._tell(LEFT)

    # -- time ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When ``tick`` has something to do unless a round completes before; in the clock's seconds."""
        if self.state is GONE:
            return self._said_at + HEARTBEAT * self.pace if self.still_calling else math.inf
        return min(self.keeper.deadline, self._look_at, self._said_at + HEARTBEAT * self.pace)

    @property
    def eager(self) -> bool:
        """Whether ``deadline`` wants to be kept to the millisecond."""
        return self.keeper.eager and self.state is not GONE

    @property
    def still_calling(self) -> bool:
        """Whether it has left, and yet there may be somebody with whom all would have to start again."""
        return self.state is GONE and not self.quitted and self.neighbours.incomplete

    def tick(self, now: float) -> None:
        """Do what is due: look who is there, say that this agent is if it has been silent for a heartbeat,
        and let the timekeeper do its part."""
        heartbeat = HEARTBEAT * self.pace
        if self.state is GONE:
            if self.still_calling and now >= self._said_at + heartbeat:
                self._beat(now)
            return
        calling = False
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY * self.pace
            self.neighbours.liveness.look(now)
            # Who is thought away does not hear what is said to the others; and only an own word that comes
            # back tells that anything at all arrives here.
            calling = self.neighbours.calling and now >= self._called_at + heartbeat
            joining = self.state is JOINING
            if self.state in (JOINING, PLAYING) and (
                overdue := self.neighbours.overdue(now, joining=joining)
            ):
                self._go_on_without(overdue)
            elif now >= self._asked_at + ASK_EVERY * self.pace and (missing := self._awaited_by_all_means()):
                self._asked_at = now
                self._ask([topics.status(self.run, j) for j in missing])
        if calling or now >= self._said_at + heartbeat:
            self._called_at = now
            self._beat(now)
        if now >= self.keeper.deadline:
            self.keeper.tick(now)
