"""Connections of one process: kept, and not made all at once."""

from __future__ import annotations

import asyncio

from broker.transport import Address, BrokerUnreachable
from node.connection import Connection


class Doors:
    """Counts the transports that are between knocking and being let in."""

    def __init__(self, *, fails: int = 0):
        self.knocking = self.most = self.opened = 0
        self.fails = fails

    def make(self, *_):
        return self

    async def open(self):
        self.knocking += 1
        self.most = max(self.most, self.knocking)
        await asyncio.sleep(0.001)
        self.knocking -= 1
        if self.fails:
            self.fails -= 1
            raise BrokerUnreachable("not yet")

    async def subscribe(self, topics):
        self.opened += 1

    async def close(self):
        pass


async def connected(doors, count, gate):
    connections = [
        Connection("gmqtt", Address("h", 1), str(k), lambda topic, payload: None, doors.make)
        for k in range(count)
    ]
    everybody, left = asyncio.Event(), count

    def on_open():
        nonlocal left
        left -= 1
        if not left:
            everybody.set()

    tasks = [asyncio.create_task(c.keep(["t"], on_open, patient=True, gate=gate)) for c in connections]
    await asyncio.wait_for(everybody.wait(), 60)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(connection.is_open for connection in connections)


async def test_no_more_connections_are_made_at_a_time_than_the_gate_lets_through():
    doors = Doors()
    await connected(doors, 40, asyncio.Semaphore(3))
    assert (doors.most, doors.opened) == (3, 40)


async def test_without_a_gate_all_are_made_at_once():
    doors = Doors()
    await connected(doors, 40, None)
    assert doors.most == 40


async def test_an_attempt_that_failed_leaves_the_gate_open_for_others():
    doors = Doors(fails=5)
    await connected(doors, 8, asyncio.Semaphore(2))
    assert (doors.most, doors.opened) == (2, 8)
