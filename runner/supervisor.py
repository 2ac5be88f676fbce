"""Starts again what was killed. The protocol never waits for it: to its neighbours it is just slow."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runner.hosts import Hosts, Message

# A host that dies over and over has a cause that no restart mends.
MOST_RESTARTS = 20


class Supervisor:
    """Restarts hosts that were ended by a signal. One that ended by itself had a reason and stays ended.

    Args:
        hosts: the processes.
        start_message: what to tell a host in its so-manieth life, given (host, life).
        warn: called with a text at every restart.
        ended: called with every restart's task when it has ended.
        before: awaited with a host before it is started again.
    """

    def __init__(
        self,
        hosts: Hosts,
        start_message: Callable[[int, int], Message],
        warn: Callable[[str], None],
        ended: Callable[[asyncio.Task[None]], None],
        before: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._hosts, self._start_message, self._warn, self._before = hosts, start_message, warn, before
        self._ended = ended
        self._lives: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def revive(self, host: int, code: int, back: Callable[[], None] = lambda: None) -> bool:
        """Start a host again if a signal ended it; whether it is being started. ``back`` is called when it
        has been."""
        if code >= 0 or self._lives[host] >= MOST_RESTARTS:
            return False
        self._lives[host] += 1
        task = asyncio.create_task(self._revive(host, code, back), name=f"revive-{host}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._ended)
        return True

    async def close(self) -> None:
        """Start nothing more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _revive(self, host: int, code: int, back: Callable[[], None]) -> None:
        agents = self._start_message(host, self._lives[host])["agents"]
        names = ", ".join([entry["part"]["agent"] for entry in agents][:4])
        self._warn(f"agent {names} was killed by signal {-code} and is started again")
        if self._before is not None:
            await self._before(host)
        await self._hosts.restart(host)
        # Made now: the run may have come to its end meanwhile, and nobody would tell it again.
        self._hosts.send(host, self._start_message(host, self._lives[host]))
        back()
