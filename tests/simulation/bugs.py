"""Drivers with known mistakes, each of which was made once in this kind of program."""

from __future__ import annotations

from dataclasses import replace

from node.agent import PLAYING, Agent


class OneRound(Agent):
    """Keeps the newest round's messages only: a neighbour one round behind never gets what it lost."""

    def _resend(self):
        self.conversation.kept = self.conversation.kept[-1:]
        super()._resend()


class AcknowledgesReceipt(Agent):
    """Takes delivery for acknowledgement: what a neighbour received and lost in a crash never comes again."""

    delivered: set = set()  # noqa: RUF012 - of all agents of the run, like the wire

    def receive(self, message):
        self.delivered.add((message.src, self.id, message.epoch, message.round))
        super().receive(message)

    def _resend(self):
        kept, now = self.conversation.kept, self.round
        needed = [
            outgoing
            for round_, outgoing in zip(range(now - len(kept) + 1, now + 1), kept, strict=True)
            if any((self.id, j, self.epoch, round_) not in self.delivered for j in self._peers)
        ]
        self.conversation.kept = needed
        super()._resend()
        self.conversation.kept = kept


class ForgetsPrevious(Agent):
    """Comes back with its newest words only, not with those of the round before."""

    def _remember(self, incarnation, forgotten):
        life, left = super()._remember(incarnation, forgotten)
        return life, replace(left, previous=None) if left is not None else None


class MixesEpochs(Agent):
    """Takes the words of an older computation for this one's."""

    def receive(self, message):
        super().receive(replace(message, epoch=self.epoch) if message.epoch < self.epoch else message)


class SpeaksFirst(Agent):
    """Says what depends on a round before that round is durable."""

    def _durably(self, action):
        waiting, self._waiting = getattr(self, "_waiting", None), action
        if waiting is not None:
            super()._durably(waiting)


class GivesUp(Agent):
    """Leaves as soon as it has its result, whoever may still need its last words."""

    def tick(self, now):
        if self.state is not PLAYING and self.conversation.finished:
            self._leave()
        super().tick(now)


class Raises(Agent):
    """Cannot bear a message of a round that is over."""

    def reject(self, kind):
        if kind == "duplicate":
            raise KeyError(kind)
        super().reject(kind)
