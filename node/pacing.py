"""When to send again what was not answered.

Patient by default: a healthy network loses nothing, and on a loaded machine an early copy only adds to the
load. Eager once messages are known to be lost: a copy of one comes, and the message itself has not. Where
messages have overtaken one another lately, that takes two more rounds to know.

The pauses follow the duration of the *fastest* of the last rounds. An average does not do: with losses most
rounds take a pause or more, and pauses that follow it feed on themselves. Measured on the main job over the
virtual network, delays of 0.5 to 20 ms: 6.4 s without loss, 8.5 s with 30 % loss.

Where messages get lost the fastest rounds take no time at all: while one neighbour's message is asked for,
the others' of the next round come. So the measure is never less than half of the fastest *answer*, the time
from an own word to the first one that was said after it was heard: not even a copy is faster than there and
back. Without that questions cross answers that are on their way, wherever these take longer than 6 ms.
"""

from __future__ import annotations

import math
import random
from array import array
from bisect import insort

# The first pause, before anything is known of the network.
START = 0.1
# Patient: four rounds, and well above the scheduling jitter of a loaded machine.
PATIENT, FLOOR = 4.0, 0.05
# Eager: half as many, and the floor is what a timer of the event loop resolves with a process behind every
# agent.
EAGER, EAGER_FLOOR = 2.0, 0.006
# Before there have been some rounds, eager.
EAGER_START = 0.02
CEILING = 2.0
# Rounds for which a loss is remembered.
REMEMBERED = 64
# The third fastest round of so many, once there are some: the very fastest may have begun complete.
WINDOW, RANK, SOME = 64, 3, 20
# Questions at the eager pause before it grows, and by how much: each is lost as easily as what it asks for.
# Pauses that double stand for seconds after some eight unlucky ones, of which every run has a few.
STEADY, GROWTH = 3, 1.3
PATIENT_GROWTH = 1.5
# The second question in a round is put twice at once, the third and all later ones three times. They travel
# together, so the others cost little, and that all of them get lost is less likely.
AT_ONCE = 3
# Spreads the copies of agents that wait for one another.
JITTER = 0.2
# Where many agents share a process a round takes longer, some 100 microseconds an agent, and several times
# that on a loaded machine. So many seconds an agent the pauses are at least: of copies that nobody waits for
# there would be as many as there are messages, and each takes as long. Crowds of a hundred do not notice.
CROWDED_START, CROWDED_FLOOR, CROWDED_EAGER = 2e-3, 1e-3, 1e-4
# In such a crowd an agent's fastest rounds are those in which it happened to get its turn at once. A quarter
# of the rounds are without loss even where 30 % of the messages of three neighbours get lost.
CROWDED_RANK, CROWDED_FROM = 16, 125
# So many agents say heartbeats, and are looked after, at the full pace; of more each does so less often.
CROWD = 500


def pace_of(crowd: int) -> float:
    """By how much longer heartbeats take where so many agents share a process; at least 1."""
    return max(1.0, crowd / CROWD)


class Pacer:
    """The retransmission timer of one agent.

    Args:
        seed: of the jitter.
        now: seconds, on the clock of all later calls.
        crowd: how many agents share its process.

    Attributes:
        deadline: when to send again.
        pause: how long to wait for an answer to what was sent last.
    """

    __slots__ = (
        "_answer",
        "_answer_before",
        "_at_once",
        "_copies",
        "_durations",
        "_eager_floor",
        "_eager_rounds",
        "_fast",
        "_floor",
        "_jitter",
        "_overtaking_rounds",
        "_rank",
        "_rounds",
        "_said",
        "_said_before",
        "_seed",
        "_since",
        "_start",
        "deadline",
        "pause",
    )

    def __init__(self, seed: str, now: float, crowd: int = 1) -> None:
        self._seed = seed
        self._start = max(START, crowd * CROWDED_START)
        self._floor = max(FLOOR, crowd * CROWDED_FLOOR)
        self._eager_floor = max(EAGER_FLOOR, crowd * CROWDED_EAGER)
        self._jitter: random.Random | None = None  # made when it is needed: it takes 2.5 kB
        self._rank, self._at_once = (RANK, AT_ONCE) if crowd < CROWDED_FROM else (CROWDED_RANK, 1)
        self._durations = array("d")  # the last WINDOW of them, in a ring
        self._rounds = 0
        self._fast: list[float] = []  # the shortest of them, ascending, as many as the rank says
        self._eager_rounds = 0
        self._copies = 0
        self._overtaking_rounds = 0
        self._since = now
        # When the words of this round and of the one before were said, as far as this life has said them.
        self._said = self._said_before = -math.inf
        self._answer = self._answer_before = math.inf  # the fastest in these WINDOW rounds, and those before
        self.pause = self._start
        self.deadline = now + self.pause

    @property
    def eager(self) -> bool:
        """Whether messages have been lost lately."""
        return self._eager_rounds > 0

    def round_complete(self, now: float) -> None:
        """A round has ended, so the next one begins."""
        durations, fast, duration = self._durations, self._fast, now - self._since
        if len(durations) < WINDOW:
            durations.append(duration)
            oldest = math.inf
        else:
            at = self._rounds % WINDOW
            oldest, durations[at] = durations[at], duration
        self._rounds += 1
        if fast and oldest <= fast[-1]:
            self._fast = sorted(durations)[: self._rank]
        elif len(fast) < self._rank or duration < fast[-1]:
            insort(fast, duration)
            del fast[self._rank :]
        if self._eager_rounds:
            self._eager_rounds -= 1
        if self._overtaking_rounds:
            self._overtaking_rounds -= 1
        if self._rounds % WINDOW == 0:
            self._answer_before, self._answer = self._answer, math.inf
        self._since, self._said_before, self._said = now, self._said, now
        self.restart(now)

    def begin(self, now: float) -> None:
        """Round 0 begins, of this computation or of a new one."""
        self._since, self._said_before, self._said = now, -math.inf, now
        self.restart(now)

    def answered(self, now: float, *, ahead: bool) -> None:
        """The first message of a round has come, of this one or of the next: whoever said it had heard this
        agent's of the round before."""
        took = now - (self._said if ahead else self._said_before)
        if took < self._answer:
            self._answer = took

    def hasten(self, now: float) -> None:
        """There is news: pauses begin anew, but what is due is not put off."""
        due = self.deadline
        self.restart(now)
        self.deadline = min(due, self.deadline)

    def restart(self, now: float) -> None:
        """Something was said; wait the shortest pause for an answer."""
        self._copies = 0
        if self._eager_rounds:
            self.pause = self._eager_pause()
        elif not self._durations:
            self.pause = self._start
        else:
            self.pause = min(max(self._floor, PATIENT * self._fastest), self._ceiling)
        self.deadline = now + self.pause

    def copied(self, now: float) -> None:
        """The first that has come of a message is a copy."""
        if not self._overtaking_rounds:
            if not self._eager_rounds:  # pauses may have grown
                self.pause = self._eager_pause()
                self.deadline = min(self.deadline, now + self.pause)
            self._eager_rounds = REMEMBERED

    def lost(self) -> None:
        """Of a message a copy came two rounds ago, and not the message itself."""
        self._eager_rounds = REMEMBERED

    def late(self) -> None:
        """A message came after its copy, or after the one that was said next."""
        if not self._overtaking_rounds:
            self._eager_rounds = 0  # what was thought lost may have been late, too
        self._overtaking_rounds = REMEMBERED

    @property
    def overtaking(self) -> bool:
        """Whether messages have overtaken one another lately: one that is missing may still be on its way."""
        return self._overtaking_rounds > 0

    @property
    def times(self) -> int:
        """How often to put this question at once; to be taken after ``back_off``."""
        return min(self._copies, self._at_once) if self._eager_rounds else 1

    def back_off(self, now: float) -> None:
        """Something was sent again; wait for an answer, longer with every copy."""
        self._copies += 1
        if not self._eager_rounds:
            self.pause = min(PATIENT_GROWTH * self.pause, self._longest)
        elif self._copies > STEADY:
            self.pause = min(GROWTH * self.pause, self._longest)
        if self._jitter is None:
            self._jitter = random.Random(self._seed)
        self.deadline = now + self.pause * (1.0 + JITTER * self._jitter.uniform(-1.0, 1.0))

    @property
    def shortest(self) -> float:
        """The shortest pause that is of use: what comes sooner crosses an answer that is on its way."""
        return self._eager_pause() if self._durations else self._start

    def _eager_pause(self) -> float:
        if len(self._durations) < SOME:
            return EAGER_START / START * self._start
        return min(max(self._eager_floor, EAGER * self._fastest), self._longest)

    @property
    def _fastest(self) -> float:
        if self._rank == RANK:
            fast = self._fast[-1] if len(self._durations) >= SOME else self._fast[0]
        else:
            fast = self._fast[min(len(self._fast) - 1, len(self._durations) * self._rank // WINDOW)]
        answer = min(self._answer, self._answer_before)
        return max(fast, 0.5 * answer) if answer < math.inf else fast

    @property
    def _ceiling(self) -> float:
        # The first rounds may have been slow for reasons of their own: no pause grows out of them.
        return self._longest if len(self._durations) >= SOME else self._start

    @property
    def _longest(self) -> float:
        # Copies that come because a crowd is slow make it slower still: each of them waits longer.
        return max(CEILING, 4.0 * self._start)
