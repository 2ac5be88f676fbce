"""Drivers with known mistakes, each of which was made once in this kind of program."""

from __future__ import annotations

from dataclasses import replace

from node.agent import Agent
from node.free import Free
from node.membership import Membership
from node.rounds import Rounds
from node.states import JOINING, PLAYING


class OneRound(Agent):
    """Keeps the newest round's messages only: a neighbour one round behind never gets what it lost."""

    class Keeper(Rounds):
        def _repeat(self, *what):
            conversation = self.agent.conversation
            conversation.kept = conversation.kept[-1:]
            super()._repeat(*what)

    def make_keeper(self):
        return self.Keeper(self)


class AcknowledgesReceipt(Agent):
    """Takes delivery for acknowledgement: what a neighbour received and lost in a crash never comes again."""

    delivered: set = set()  # noqa: RUF012 - of all agents of the run, like the wire

    class Keeper(Rounds):
        def _repeat(self, *what):
            agent = self.agent
            kept, newest = agent.conversation.kept, agent.round
            agent.conversation.kept = [
                outgoing
                for round_, outgoing in zip(range(newest - len(kept) + 1, newest + 1), kept, strict=True)
                if (agent.id, what[0], agent.epoch, round_) not in agent.delivered
            ]
            super()._repeat(*what)
            agent.conversation.kept = kept

    def make_keeper(self):
        return self.Keeper(self)

    def receive(self, message):
        self.delivered.add((message.src, self.id, message.epoch, message.round))
        super().receive(message)


class Around:
    """A store that does something else than it is told, around one that does it."""

    def __init__(self, store):
        self.store = store

    def load(self):
        return self.store.load()

    def begin(self, incarnation):
        self.store.begin(incarnation)

    def reset(self, saved):
        self.store.reset(saved)

    def append(self, heard):
        self.store.append(heard)


class ForgetsPrevious(Agent):
    """Comes back with its newest words only, not with those of the round before."""

    class Store(Around):
        def load(self):
            life, left = super().load()
            return life, replace(left, previous=None) if left is not None else None

    def __init__(self, *args, store=None, **how):
        super().__init__(*args, store=store and self.Store(store), **how)


class MixesEpochs(Agent):
    """Takes the words of an older computation for this one's."""

    def receive(self, message):
        super().receive(replace(message, epoch=self.epoch) if message.epoch < self.epoch else message)


class SpeaksFirst(Agent):
    """Says what depends on a round before that round is durable."""

    class Store(Around):
        def __init__(self, store):
            super().__init__(store)
            self.waiting = None

        def later(self, action):
            waiting, self.waiting = self.waiting, action
            if waiting is not None:
                waiting()

        def begin(self, incarnation):
            self.later(lambda: self.store.begin(incarnation))

        def reset(self, saved):
            self.later(lambda: self.store.reset(saved))

        def append(self, heard):
            self.later(lambda: self.store.append(heard))

    def __init__(self, *args, store=None, **how):
        super().__init__(*args, store=store and self.Store(store), **how)


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


class Trusting(Agent):
    """Runs freely and believes a neighbour that has come back, whatever it may have forgotten."""

    class Keeper(Free):
        def take(self, message):
            super().take(replace(message, since=2**60))

    def make_keeper(self):
        return self.Keeper(self, self._part.tick)


class Silent(Agent):
    """Runs freely and says nothing more once it has its result."""

    class Keeper(Free):
        def again(self):
            if self.agent.playing:
                super().again()

    def make_keeper(self):
        return self.Keeper(self, self._part.tick)


class KeepsOldWords(Agent):
    """Goes on without a neighbour in the epoch under way: the others still count on it there."""

    def go_on_without(self, who):
        self.neighbours.drop(who, self.clock())
        self.conversation.relink(self._relink())
        for slot in (self.keeper._now, self.keeper._next) if not self.free else ():
            for j in who:
                slot.pop(j, None)
        self.keeper.advance()


class ForgetsWhoDidNotJoin(Agent):
    """Begins without somebody who has not come, and does not write that down: its next life counts on it."""

    dropping = False

    def go_on_without(self, who):
        self.dropping = self.state is JOINING
        super().go_on_without(who)
        self.dropping = False

    def _remember_afresh(self):
        if not self.dropping:
            super()._remember_afresh()


class NeverTakesBack(Agent):
    """Takes a suspicion for the truth."""

    class Membership(Membership):
        def admit(self, src, epoch):
            pass

    def __init__(self, part, *args, ask, **how):
        super().__init__(part, *args, ask=ask, **how)
        self.membership = self.Membership(self, part.digest(), ask)
