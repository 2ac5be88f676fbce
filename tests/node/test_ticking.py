"""Ticks of many agents in one process: each at its own deadline, and the event loop stays free."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import pytest

from node.liveness import LOOK_EVERY
from node.states import GONE, PLAYING
from node.ticking import SLICE, ticking


class Ticker:
    """An agent as far as its ticks go."""

    def __init__(self, period, clock, cost=0.0, seed=0):
        self.state, self.period, self.cost = PLAYING, period, cost
        self.deadline = clock() + random.Random(seed).uniform(0.0, period)
        self.late, self.asked = [], 0

    def tick(self, now):
        self.late.append(now - self.deadline)
        if self.cost:
            time.sleep(self.cost)
        self.deadline = now + self.period


async def run_for(agents, seconds):
    task = asyncio.create_task(ticking(agents, time.monotonic))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_thousand_agents_tick_each_at_its_own_period_for_little():
    agents = [Ticker(0.2 + 0.001 * (k % 100), time.monotonic, seed=k) for k in range(1000)]
    began, cpu = time.monotonic(), time.process_time()
    await run_for(agents, 1.5)
    took, cpu = time.monotonic() - began, time.process_time() - cpu
    due = sum(took / agent.period for agent in agents)
    ticks = sum(len(agent.late) for agent in agents)
    assert 0.5 * due < ticks < 1.1 * due
    # A machine with other work to do needs room; polling 1,000 agents every few milliseconds takes more.
    assert cpu / ticks < 2e-4
    assert min(min(agent.late) for agent in agents if agent.late) >= 0.0


async def test_ticks_that_are_too_dear_do_not_keep_the_loop_from_reading():
    agents = [Ticker(0.01, time.monotonic, cost=0.001, seed=k) for k in range(100)]
    gaps, last = [], time.monotonic()

    async def read():
        nonlocal last
        while True:
            await asyncio.sleep(0)
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    reading = asyncio.create_task(read())
    await run_for(agents, 0.5)
    reading.cancel()
    assert len(gaps) > 0.5 / SLICE / 20
    assert max(len(agent.late) for agent in agents) - min(len(agent.late) for agent in agents) <= 2


async def test_an_agent_that_has_left_is_not_asked_and_one_that_a_new_epoch_brings_back_ticks_again():
    agent = Ticker(0.01, time.monotonic)
    agent.state, agent.deadline = GONE, time.monotonic() + 1e9
    asyncio.get_running_loop().call_later(0.1, lambda: setattr(agent, "state", PLAYING))
    asyncio.get_running_loop().call_later(0.1, lambda: setattr(agent, "deadline", 0.0))
    await run_for([agent], 0.3 + LOOK_EVERY)
    assert len(agent.late) > 3


async def test_what_a_tick_raises_ends_the_task():
    class Broken(Ticker):
        def tick(self, now):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(ticking([Broken(0.01, time.monotonic)], time.monotonic), 5.0)
