"""Ticks of many agents in one process: each at its own deadline, and the event loop stays free.

Played in a time of its own, so that what is counted does not depend on what else the machine has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import selectors

import pytest

from node.liveness import LOOK_EVERY
from node.states import GONE, PLAYING
from node.ticking import SLICE, ticking


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose clock stands unless everybody sleeps; then it is later at once."""

    def __init__(self):
        super().__init__(Jumping(self))
        self.now = 0.0

    def time(self):
        return self.now


class Jumping(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        found = super().select(0.0)
        if not found and timeout is not None:
            self.loop.now += timeout
        return found


@pytest.fixture
def loop():
    with contextlib.closing(VirtualTime()) as made:
        yield made


class Ticker:
    """An agent as far as its ticks go."""

    def __init__(self, period, loop, cost=0.0, seed=0):
        self.state, self.period, self.loop, self.cost = PLAYING, period, loop, cost
        self.due = self.first = loop.time() + random.Random(seed).uniform(0.0, period)
        self.late, self.asked = [], 0

    @property
    def deadline(self):
        self.asked += 1
        return self.due

    def tick(self, now):
        self.late.append(now - self.due)
        self.loop.now += self.cost
        self.due = now + self.period


async def tick_for(agents, seconds):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ticking(agents, agents[0].loop.time)


def test_a_thousand_agents_tick_each_at_its_own_period_for_little(loop):
    agents = [Ticker(0.2 + 0.001 * (k % 100), loop, seed=k) for k in range(1000)]
    loop.run_until_complete(tick_for(agents, 1.5))
    for agent in agents:
        assert len(agent.late) == 1 + int((1.5 - agent.first) / agent.period)
        assert 0.0 <= min(agent.late) <= max(agent.late) < 1e-6
        # Before and after each tick, and once more at the beginning: nobody is asked over and over.
        assert agent.asked == 2 * (1 + len(agent.late))


def test_ticks_that_are_too_dear_do_not_keep_the_loop_from_reading(loop):
    agents = [Ticker(0.01, loop, cost=0.001, seed=k) for k in range(100)]
    gaps = []

    async def read():
        while True:
            before = loop.time()
            await asyncio.sleep(0)
            gaps.append(loop.time() - before)
            loop.now += 1e-5  # reading takes some time as well

    async def both():
        reading = asyncio.create_task(read())
        await tick_for(agents, 0.5)
        reading.cancel()
        await asyncio.wait({reading})

    loop.run_until_complete(both())
    assert max(gaps) < SLICE + 2.5 * 0.001  # the tick that uses it up, and one more before that shows
    assert sum(gap > SLICE for gap in gaps) > 0.5 / SLICE / 2
    assert max(len(agent.late) for agent in agents) - min(len(agent.late) for agent in agents) <= 2


def test_an_agent_that_has_left_is_not_asked_and_one_that_a_new_epoch_brings_back_ticks_again(loop):
    agent = Ticker(0.01, loop)
    agent.state, agent.due = GONE, 1e9

    def back():
        agent.state, agent.due = PLAYING, loop.time()

    loop.call_later(0.1, back)
    loop.run_until_complete(tick_for([agent], 0.3 + LOOK_EVERY))
    assert len(agent.late) == 30
    assert agent.late[0] == pytest.approx(LOOK_EVERY - 0.1)


def test_what_a_tick_raises_ends_the_task(loop):
    class Broken(Ticker):
        def tick(self, now):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(tick_for([Broken(0.01, loop)], 5.0))
