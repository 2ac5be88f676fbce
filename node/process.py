"""The process of a host: its line to the runner, and its event loop.

The process learns its agents' parts from one socket, its control socket, whose other end the runner holds,
and from nowhere else. Over it go lines of JSON: ``start`` in; ``progress``, ``result``, ``left``, ``failed``
and ``bye`` out; ``leave`` in for agents that are to leave for good, and ``end`` once every agent has its
result. When the other end closes, the runner has gone and the process ends. On SIGTERM all its agents leave
for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

from node.errors import AgentError
from node.host import Host

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

# So many bytes may wait for a runner that does not read; beyond that, progress is left out.
TELL_LIMIT = 1 << 20
# A start message carries every part of a host's agents: 10,000 of them fit.
LINE_LIMIT = 64 * 1024 * 1024


async def _serve(control: socket.socket) -> int:
    """Wait for the start message, play, report. Returns the exit code."""
    reader, writer = await asyncio.open_connection(sock=control, limit=LINE_LIMIT)

    def tell(message: dict[str, Any]) -> None:
        # A runner that stands still must not make its agents grow; progress can be left out.
        full = writer.transport.get_write_buffer_size() > TELL_LIMIT and message["type"] == "progress"
        if not writer.is_closing() and not full:
            writer.write(json.dumps(message).encode() + b"\n")

    async def runner_has_gone() -> None:
        with contextlib.suppress(ConnectionError):  # gone all the same
            while line := await reader.readline():
                message = json.loads(line)
                if host is None:
                    continue
                if message["type"] == "end":
                    host.released = True
                elif message["type"] == "leave":
                    host.leave(message["agents"])
                else:
                    host.take_receipts(message)

    start: dict[str, Any] = {}
    while start.get("type") != "start":  # what the runner says to all may come before
        line = await reader.readline()
        if not line:
            return 1  # the runner has gone before it said anything
        start = json.loads(line)
    names = [entry["part"]["agent"] for entry in start["agents"]]
    runner_gone = asyncio.create_task(runner_has_gone(), name="runner-gone")
    playing: asyncio.Task[None] | None = None
    host: Host | None = None
    try:
        host = Host(start, tell)
        # Whoever ends this process lets its agents say goodbye, so that nobody waits for them.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.leave)
        playing = asyncio.create_task(host.play(), name="play")
        await asyncio.wait({playing, runner_gone}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            return 1
        playing.result()
        tell({"type": "bye"})
        await writer.drain()
        return 0
    except Exception as error:
        # The process boundary: whatever stopped an agent is told to the runner, which names it.
        tell(
            {
                "type": "failed",
                "agents": names,
                "error": str(error) or repr(error),
                "kind": type(error).__name__,
                "named": isinstance(error, AgentError),  # these name the agent themselves
                "traceback": traceback.format_exc(),
            }
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return 1
    finally:
        for task in (playing, runner_gone):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        writer.close()


def main(control: socket.socket) -> int:
    """Be a host until its agents have left or the runner has gone. Returns the exit code."""
    return run(_serve(control))


def run(serving: Coroutine[Any, Any, int]) -> int:
    """Run a host's main coroutine under the collector and in the event loop that suit it."""
    # What was imported before stays for ever; a round's garbage has no cycles. Looking for them less often
    # saves a tenth of the CPU of a round.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serving)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.environ.get("VICINAL_LOOP", "uvloop") != "uvloop":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
