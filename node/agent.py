"""The driver: turns one protocol into messages on topics, and messages on topics into what it hears.

No I/O and no event loop: it is given messages and the time, and calls ``publish``. The same driver runs
under the virtual network and in a process with a broker connection.

Here is the computation from its first word to its end: incarnations, epochs, memory, and how an agent comes
and leaves. When the protocol goes on, and with which messages, is the business of a ``Timekeeper``:
``node.rounds`` or ``node.free``. What the agent tells of itself is in ``node.announcer``, what it makes of
its neighbours' statuses and silence in ``node.membership``, what it knows of them in ``node.neighbours``.

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
from node.announcer import Announcer
from node.conversation import Conversation, Links, Outgoing
from node.free import Free
from node.membership import Membership
from node.memory import Memory
from node.neighbours import Neighbours
from node.pacing import pace_of
from node.restarts import FAR, Restarts
from node.rounds import Rounds
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.store import Saved, Store
from node.telemetry import Telemetry
from node.traffic import Traffic

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
        keeper: decides when the conversation goes on.
        announcer: says that the agent is there.
        neighbours: what it knows of each neighbour, and which of them it plays with.
        membership: decides that.
        hears, peers: of those the ones it listens to, and these with those that listen to it; ascending.
        quitted: whether it has left for good.
        forgot: whether this life has begun without a memory of those before.
        amnesic: whether all must start again for that, and have not yet been told.
        first_round_at: when round 0 was complete, in the clock's seconds; None before.
        rejected: what was dropped, by kind.
        restarts: how often which neighbour made it start again.
        traffic: what was sent and received, counted.
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
        self.restarts = Restarts(clock(), self.pace)
        self.traffic = Traffic()

        self.clock = clock
        self._part, self._factory, self._publish = part, factory, publish
        self._snapshot_every = snapshot_every
        self.memory = Memory(self.id, store)
        self.incarnation, left = self.memory.begin(incarnation, forgotten)
        # A later life without a memory: the others have gone on, and only a new epoch brings all together.
        self.amnesic = self.forgot = self.incarnation > 0 and left is None
        self.neighbours = Neighbours(part, clock(), self.pace, () if left is None else left.absent)
        self.quitted = False
        self._since = 0 if left is None else left.round + len(left.log)
        self.telemetry = Telemetry(part.run, part.agent, self.incarnation, part.record_every)

        digest = part.digest()
        self.announcer = Announcer(self, publish, digest, nonce)
        self.membership = Membership(self, digest, ask)
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
            self.amnesic = self.forgot = True
            self._start_afresh(0)

    def make_keeper(self) -> Timekeeper:
        """How this agent keeps time."""
        return Rounds(self) if self._part.tick is None else Free(self, self._part.tick)

    def _converse(self, epoch: int, left: Saved | None = None) -> Conversation:
        """A conversation with those that are there to be played with."""
        links = self._relink()
        factory = partial(self._factory, self.neighbours.part)
        return Conversation(self.id, links, factory, epoch, left, free=self.free)

    def _relink(self) -> Links:
        """Speak to those that are there to be played with, and to nobody else."""
        neighbours = self.neighbours
        self.hears, self.peers = neighbours.hears, neighbours.peers
        exclusive = bool(neighbours.absent)
        return Links(neighbours.part, self.incarnation, self._since, exclusive=exclusive)

    def _start_afresh(self, epoch: int) -> None:
        """A computation from the inputs, as if nothing had ever been said in this epoch."""
        self._since = 0
        self.neighbours.renew(self.clock())
        self.conversation = self._converse(epoch)
        self.keeper.clear()

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

    def suspects(self) -> dict[AgentId, str]:
        """The neighbours that seem not to be there, of those it plays with: ``suspect``, or ``down`` after a
        while."""
        return self.neighbours.suspects()

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
        wanted = {self.announcer.topic: self.id}
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
        self.announcer.tell()

    def reconnected(self) -> None:
        """The connection is there, for the first time or again: say hello, and what may have been lost."""
        self.hello()
        if self.quitted:
            return
        self.telemetry.again()
        self.keeper.resume(self.clock())

    def quit(self) -> None:
        """Leave for good. Neighbours that are not done go on without this agent."""
        self.quitted = True
        self.conversation.close()
        self.state = GONE
        self.announcer.tell()

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
            if self.announcer.echo(heard):
                self.start_when_ready()
        elif src in self.neighbours.lives:
            self.membership.heard(src, heard)
        else:
            self.reject("stranger")

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
        if self.far(message.epoch):
            return self.reject("far-epoch")
        if message.incarnation != life:
            if message.incarnation < life:
                return self.reject("stale-incarnation")
            known.reborn(src, message.incarnation)
        if known.liveness.heard(src, self.clock()) and src not in known.absent:
            self.keeper.welcome_back(src, self.clock())
        if src in known.absent:
            # It speaks to me, so it counts me present: it was slow, or away, and not dead.
            return self.membership.admit(src, message.epoch)
        epoch = self.conversation.epoch
        if message.epoch != epoch:
            if message.epoch < epoch:
                return self.reject("stale-epoch")
            known.speaks(src, message.epoch)
            if self.amnesic:
                return self.reject("stale-epoch")  # the epoch that is about to be opened is newer still
            if not self.may_restart(src):
                return None
            self.enter_epoch(message.epoch)
        self.keeper.take(message)

    def asked(self, newest: Message) -> None:
        """A neighbour has said its last words again, this one the newest, because it lacks mine."""
        src, known = newest.src, self.neighbours
        if newest.epoch == self.epoch and src in known.lives and src not in known.absent and not self.quitted:
            self.keeper.asked(newest)

    # -- whom to play with ---------------------------------------------------------------------------

    def go_on_without(self, who: dict[AgentId, str]) -> None:
        """Some neighbours are not there to be played with."""
        self.neighbours.drop(who, self.clock())
        if self.state is JOINING and self.conversation.saying is None:
            self.conversation.close()  # nothing has been said yet that counted on them
            self.conversation = self._converse(self.epoch)
            self.keeper.clear()  # who has left may have spoken before; the others will say theirs again
            if not self.amnesic:  # a next life must know with whom this one has spoken
                self._remember_afresh()
            self.start_when_ready()
        elif self.free and self.conversation.saying is not None and self.conversation.saying.survives:
            self.forget({})
            self.keeper.lose(tuple(sorted(who)))
        else:
            self.open_epoch()

    def forget(self, who: dict[AgentId, str]) -> None:
        """Neither speak to these any more nor hear them, in the computation under way."""
        if who:
            self.neighbours.drop(who, self.clock())
        self.conversation.relink(self._relink())

    # -- epochs --------------------------------------------------------------------------------------

    def far(self, epoch: int) -> bool:
        """Whether an epoch is too far ahead to be one of an honest network: it is to leave no trace."""
        return epoch > self.epoch + FAR

    def may_restart(self, src: AgentId) -> bool:
        """Whether to start again for what a neighbour says; counted either way. What is dropped for that
        reason is said again by whoever means it."""
        if self.restarts.allows(src, self.clock()):
            return True
        self.reject("epoch-storm")
        return False

    def open_epoch(self) -> None:
        """Make everybody start again: nobody has what some agent would need to go on."""
        self.enter_epoch(1 + max(self.epoch, *self.neighbours.epochs.values()))

    def enter_epoch(self, epoch: int) -> None:
        """Drop the computation and start again from the inputs, in this newer epoch."""
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

    def start_when_ready(self) -> None:
        """Begin to play, or go on where a former life has stopped, if nothing is missing for that."""
        if self.state is not JOINING or not self.announcer.echoed:
            return
        # Whoever is back with its result needs nobody; its neighbours may have left. An epoch that is new
        # to all can be told only by who has heard of all.
        if (
            not self.neighbours.complete
            and (self.keeper.barrier or self.amnesic)
            and not self.conversation.finished
        ):
            return
        if self.amnesic:
            self.amnesic = False
            self.open_epoch()
        self.state = PLAYING
        self.announcer.tell()
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
        now, conversation, traffic = self.clock(), self.conversation, self.traffic
        self.keeper.said(now)
        if conversation.round and self.first_round_at is None:
            self.first_round_at = now
        self.announcer.spoken(now)
        for topic, payload in conversation.kept[-1]:
            self._publish(topic, payload)
            traffic.sent_bytes += len(payload)
        traffic.sent += len(conversation.kept[-1])
        if (measured := conversation.measured) is not None:
            self.telemetry.add(*measured)

    def repeat(self, messages: Outgoing) -> None:
        """Publish further copies of messages."""
        for topic, payload in messages:
            self._publish(topic, payload)
        self.traffic.resent += len(messages)

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
        self.announcer.tell()
        self.keeper.finished(self.clock())
        self.leave_when_acknowledged()

    def leaves_alone(self, now: float) -> bool:
        """Leave if nobody whose goodbye is awaited has been heard for long; whether it has left."""
        silence = self.neighbours.liveness.silence
        if self.state is LINGERING and silence(self.waiting_for(), now) > LINGER * self.pace:
            self._leave()
        return self.state is GONE

    def leave_when_acknowledged(self) -> None:
        """Leave once all have confirmed the last words."""
        if self.state is LINGERING and self.neighbours.done.issuperset(self.peers):
            self._leave()

    def _leave(self) -> None:
        self.state = GONE
        self.announcer.tell()

    # -- time ----------------------------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When ``tick`` has something to do unless a round completes before; in the clock's seconds."""
        if self.state is GONE:
            return self.announcer.due if self.still_calling else math.inf
        return min(self.keeper.deadline, self.membership.look_at, self.announcer.due)

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
        if self.state is GONE:
            if self.still_calling and now >= self.announcer.due:
                self.announcer.beat(now)
            return
        wanted = now >= self.membership.look_at and self.membership.look(now)
        self.announcer.tick(now, wanted=wanted)
        if now >= self.keeper.deadline:
            self.keeper.tick(now)
