"""One computation of one protocol: what round it is in, and what was said in it and in the round before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker import codec, topics
from node.errors import AgentError, TooFew
from node.protocol import Factory, Heard, Protocol, Say
from node.store import ENTRY_LIMIT, Saved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.codec import Message
    from node.part import AgentId, Part

Outgoing = list[tuple[str, bytes]]
# No agent that plays says a larger number: it gives up before (``node.protocols.play.DIVERGED``).
HUGE = 1e100
# Of messages: one that passes on what it has heard may become too long itself.
LONG = codec.SIZE_LIMIT // 4


class Links:
    """The topics of one agent's links, and how its words are spread over them.

    Args:
        part: id, run and neighbours.
        incarnation: the life that speaks.
        since: the round of the present epoch in which it began.
        exclusive: whether somebody may listen who is not to hear: words then go to each neighbour alone.

    Attributes:
        hears: the agents it listens to, ascending.
        peers: these and the agents that listen to it, ascending.
    """

    def __init__(self, part: Part, incarnation: int, since: int = 0, *, exclusive: bool = False) -> None:
        self._exclusive = exclusive
        self.hears = tuple(sorted(part.hears))
        self.peers = tuple(sorted({*part.hears, *part.heard_by}))
        self._listeners = frozenset(part.heard_by)
        self._pulsed = tuple(j for j in self.hears if j not in self._listeners)
        self._to = {j: topics.to(part.run, part.agent, j) for j in self.peers}
        self._say = topics.say(part.run, part.agent)
        self._prefix = codec.Prefix(part.run, part.agent, incarnation, since)

    def private(self, j: AgentId) -> str:
        """The topic that only j reads."""
        return self._to[j]

    def outgoing(self, say: Say, epoch: int, round_: int) -> Outgoing:
        """A round's messages: one broadcast, or one a neighbour if listeners are told something private."""

        def encode(body: Any, told: Any = None) -> bytes:
            return codec.encode(self._prefix, epoch, round_, say.kind, body, told)

        if self._exclusive or not self._listeners.isdisjoint(say.to):
            return [
                (self._to[j], encode(say.body if j in self._listeners else None, say.to.get(j)))
                for j in self.peers
            ]
        messages = []
        if self._listeners:
            messages.append((self._say, encode(say.body)))
        if self._pulsed:
            pulse = encode(None)
            messages.extend(
                (self._to[j], encode(None, say.to[j]) if j in say.to else pulse) for j in self._pulsed
            )
        return messages


class Conversation:
    """A protocol under way. Knows rounds and words; publishes nothing.

    Args:
        agent: whose it is, for errors.
        links: where words go.
        factory: makes the protocol.
        epoch: which computation of the run this is.
        left: what a store gave back, to go on from there; None: from the start. What was heard since is to
            be replayed.
        free: whether neighbours need the last message only, and those it does not listen to may tell it
            something; in rounds they need the last two.

    Attributes:
        round: the current round, from 0.
        saying: what is said in it; None before the protocol has started.
        result: what the protocol returned.
        finished: whether it has.
        stranded: why it ended without a result, because too few agents are left; None otherwise.
        kept: the messages that neighbours may still need, newest last.
        replayed: rounds gone through again on the way here.
        remade: what was measured in these rounds: (round, measurements).
    """

    def __init__(
        self,
        agent: AgentId,
        links: Links,
        factory: Factory,
        epoch: int,
        left: Saved | None = None,
        *,
        free: bool = False,
    ) -> None:
        self.epoch, self.round, self.replayed = epoch, 0, 0
        self.saying: Say | None = None
        self.result: Any = None
        self.finished = False
        self.stranded: str | None = None
        self.kept: list[Outgoing] = []
        self.remade: list[tuple[int, Mapping[str, float]]] = []
        self._agent, self._links, self._keeps = agent, links, 1 if free else 2
        self._told_by = links.peers if free else links.hears
        self._previous: Say | None = None
        self._saved_round = 0
        snapshot = None if left is None or left.snapshot is None else codec.unpack(left.snapshot, ENTRY_LIMIT)
        self._protocol: Protocol = factory(snapshot)
        if left is not None:
            self._restore(left)

    @property
    def measured(self) -> tuple[int, Mapping[str, float]] | None:
        """The measurements that came with what is being said, and the round they are of."""
        if self.saying is None or self.saying.record is None:
            return None
        return max(self.round - 1, 0), self.saying.record

    @property
    def kind(self) -> str:
        """Which protocol is being spoken."""
        return self.saying.kind if self.saying is not None else ""

    def relink(self, links: Links) -> None:
        """From now on speak to, and hear, others."""
        self._links, self._told_by = links, links.peers if self._keeps == 1 else links.hears

    def hear(self, messages: Mapping[AgentId, Message] | None, gone: tuple[AgentId, ...] = ()) -> bool:
        """Let the protocol go on; None starts it.

        Args:
            messages: neighbour -> its message; one that is missing has not been heard.
            gone: neighbours that are no longer there.
        Returns:
            Whether it said something; otherwise it has finished.
        Raises:
            AgentError: whatever the protocol raised, with agent and round.
        """
        said: Mapping[AgentId, Message] = {}
        try:
            if messages is None:
                say = next(self._protocol)
            else:
                hears: Sequence[AgentId] = self._links.hears
                told_by: Sequence[AgentId] = self._told_by
                if len(messages) < len(self._links.peers):
                    hears = [j for j in hears if j in messages]
                    told_by = [j for j in told_by if j in messages]
                said = messages
                say = self._protocol.send(
                    Heard(
                        {j: messages[j].body for j in hears},
                        {j: told for j in told_by if (told := messages[j].told) is not None},
                        gone,
                    )
                )
                self.round += 1
        except StopIteration as stop:
            self.result, self.finished = stop.value, True
            return False
        except TooFew as few:
            self.stranded, self.finished = f"agent {self._agent}: {few}", True
            return False
        except Exception as error:
            raise self._failed(error, said) from error
        try:
            outgoing = self._links.outgoing(say, self.epoch, self.round)
        except (TypeError, ValueError) as error:
            raise self._failed(error, said) from error
        self._previous, self.saying = self.saying, say
        self.kept = [*self.kept, outgoing][-self._keeps :]
        return True

    def replay(self, messages: Mapping[AgentId, Message], gone: tuple[AgentId, ...] = ()) -> None:
        """Hear again what a former life has heard."""
        if self.hear(messages, gone):
            self._remake()
        self.replayed += 1

    def accepts(self, message: Message, *, heard: bool = True) -> bool:
        """Whether the protocol can read a message, of an agent that it listens to unless not ``heard``."""
        say = self.saying
        if say is None:
            return True
        if heard and say.accepts is not None and not say.accepts(message.body, message.src):
            return False
        told, accepts_told = message.told, say.accepts_told
        return told is None or accepts_told is None or accepts_told(told, message.src)

    def _failed(self, error: Exception, said: Mapping[AgentId, Message] | None = None) -> AgentError:
        """The protocol is the user's code: whatever it raises or says wrongly ends this agent, named; so is
        a neighbour that has just said what explains it, a number or a length."""
        if isinstance(error, AgentError):
            return error
        text = f"agent {self._agent}, round {self.round} ({self.kind}): {type(error).__name__}: {error}"
        largest = {j: codec.largest((message.body, message.told)) for j, message in (said or {}).items()}
        why = [f"{j} said {size:.3g}" for j, size in sorted(largest.items()) if size > HUGE]
        if isinstance(error, ValueError) and said:
            lengths = {j: len(message.raw) for j, message in sorted(said.items())}
            why += [f"{j} said {length} bytes" for j, length in lengths.items() if length > LONG]
        return AgentError(f"{text}; {', '.join(why[:3])}" if why else text)

    def said_to(self, j: AgentId) -> tuple[str, list[bytes]]:
        """(the topic that one neighbour alone reads, what it may still need to read there, oldest first)."""
        topic = self._links.private(j)
        # A broadcast's payload is what it would have read; whoever does not listen has messages of its own.
        return topic, [dict(outgoing).get(topic, outgoing[0][1]) for outgoing in self.kept if outgoing]

    def snapshot(self, every: int) -> Saved | None:
        """What a store needs to resume here, if so many rounds have passed since the last one.

        Only a snapshot of the outermost generator describes everything; one that came up through ``yield
        from`` leaves out the variables of its callers, and without any the log alone is as correct.
        """
        say, previous = self.saying, self._previous
        if (
            say is None
            or say.snapshot is None
            or self.round - self._saved_round < every
            or getattr(self._protocol, "gi_yieldfrom", None) is not None
        ):
            return None
        self._saved_round = self.round
        needed = previous is not None and self._keeps > 1
        words = codec.pack((previous.kind, previous.body, dict(previous.to))) if needed and previous else None
        try:
            return Saved(self.epoch, self.round, codec.pack(say.snapshot), words)
        except TypeError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """End the protocol."""
        self._protocol.close()

    def _restore(self, left: Saved) -> None:
        self.round = self._saved_round = left.round
        if left.previous is not None:
            kind, body, to = codec.unpack(left.previous, ENTRY_LIMIT)
            self._previous = Say(body, to=to, kind=kind)
            self.kept = [self._links.outgoing(self._previous, self.epoch, self.round - 1)]
        self.hear(None)
        if left.snapshot is None:  # with one, this was measured before it was taken
            self._remake()

    def _remake(self) -> None:
        if (measured := self.measured) is not None:
            self.remade.append(measured)
