"""The operating-system processes of a run: started, heard and ended here; never told what to play."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# How long processes may take to leave by themselves once their sockets are closed; the fork server kills
# whoever is left before.
LEAVE_TIMEOUT = 6.0
_LINE_LIMIT = 16 * 1024 * 1024
# What may wait for a host that does not read, because it stands still. Beyond it receipts are left out: its
# agents publish again what they have no receipt for, and get another one.
SEND_LIMIT = 1 << 20

Message = dict[str, Any]


class Hosts:
    """A fork server and the host processes forked from it, one control socket each.

    Args:
        count: how many hosts.
        on_message: called with (host, message) for every line a host sends.
        on_end: called with (host, exit code) when a host has ended; the code is negative for a signal.
        on_lost: called with a reason when the fork server itself has ended before it was told to.

    Attributes:
        pids: host -> process id, once forked.
        all_forked: set once every host has been.
    """

    def __init__(
        self,
        count: int,
        on_message: Callable[[int, Message], None],
        on_end: Callable[[int, int], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self.pids: dict[int, int] = {}
        self.all_forked = asyncio.Event()
        self._count = count
        self._on_message, self._on_end, self._on_lost = on_message, on_end, on_lost
        self._server: asyncio.subprocess.Process | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._readers: list[asyncio.Task[None]] = []
        self._closing = False
        self._control: socket.socket | None = None

    async def start(self) -> None:
        """Start the fork server; the hosts follow by themselves and wait for ``send``."""
        pairs = [socket.socketpair() for _ in range(self._count + 1)]
        theirs = [pair[1].fileno() for pair in pairs]
        # An agent's arrays are small: threads in the linear algebra library would only fight over the cores.
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "VECLIB_MAXIMUM_THREADS": "1",
        }
        # Where the user stands there may be scenario files, with everybody's utilities: nothing to name to
        # an agent.
        for name in ("PWD", "OLDPWD"):
            environment.pop(name, None)
        try:
            self._server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a folder called `node` where the user happens to stand is not ours
                "-m",
                "node",
                *map(str, theirs),
                pass_fds=theirs,
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the runner, which ends them in order
            )
        finally:
            for _, other in pairs:
                other.close()
        self._control = pairs[0][0].dup()  # descriptors cannot be sent through a stream
        for index, (mine, _) in enumerate(pairs):
            reader, writer = await asyncio.open_connection(sock=mine, limit=_LINE_LIMIT)
            self._writers.append(writer)
            listen = self._listen_to_server(reader) if index == 0 else self._listen(index - 1, reader)
            self._readers.append(asyncio.create_task(listen, name=f"host-{index - 1}"))

    async def restart(self, host: int) -> None:
        """Start a host again that has ended; it waits for ``send``."""
        assert self._control is not None
        mine, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [f"{host}\n".encode()], [theirs.fileno()])
        finally:
            theirs.close()
        self._writers[1 + host].close()
        reader, self._writers[1 + host] = await asyncio.open_connection(sock=mine, limit=_LINE_LIMIT)
        self._readers[1 + host] = asyncio.create_task(self._listen(host, reader), name=f"host-{host}")

    def send(self, host: int, message: Message, *, if_room: bool = False) -> None:
        """Send one message to a host; one that has ended does not get it.

        Args:
            host: which one.
            message: plain data.
            if_room: whether it may be left out when the host has not read for long.
        """
        writer = self._writers[1 + host]
        if writer.is_closing() or (if_room and writer.transport.get_write_buffer_size() > SEND_LIMIT):
            return
        writer.write(json.dumps(message).encode() + b"\n")

    async def close(self) -> None:
        """Close the control sockets, which ends the hosts, and wait until every process has ended.

        Safe to call twice.
        """
        if self._closing:
            return
        self._closing = True
        for writer in self._writers[1:] + self._writers[:1]:
            writer.close()
        if self._control is not None:
            with contextlib.suppress(OSError):  # the fork server has ended before
                self._control.shutdown(socket.SHUT_WR)  # closing one of two descriptors would not end it
            self._control.close()
        if self._server is not None and self._server.returncode is None:
            try:
                async with asyncio.timeout(LEAVE_TIMEOUT):
                    await self._server.wait()
            except TimeoutError:
                self._kill()
                await self._server.wait()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(
            *self._readers, *(w.wait_closed() for w in self._writers), return_exceptions=True
        )

    def _kill(self) -> None:
        for pid in (*self.pids.values(), self._server.pid if self._server else 0):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    async def _listen(self, host: int, reader: asyncio.StreamReader) -> None:
        try:
            async for message in _messages(reader):
                self._on_message(host, message)
        except Exception as error:
            # Of our own callbacks or a line that is no JSON: must not end as silence.
            self._on_lost(f"cannot go on listening to host {host}: {type(error).__name__}: {error}")
            raise

    async def _listen_to_server(self, reader: asyncio.StreamReader) -> None:
        async for message in _messages(reader):
            if message["type"] == "forked":
                self.pids[message["host"]] = message["pid"]
                if len(self.pids) == self._count:
                    self.all_forked.set()
            else:
                self.pids.pop(message["host"], None)
                # What the host said last may still lie in its socket; it is read before the end is told.
                await asyncio.wait({self._readers[1 + message["host"]]}, timeout=1.0)
                self._on_end(message["host"], message["code"])
        if not self._closing:
            assert self._server is not None
            code = await self._server.wait()
            if code or self.pids:
                self._kill()
                self._on_lost(
                    f"the fork server of the agents (process {self._server.pid}) ended with code {code}"
                )


async def _messages(reader: asyncio.StreamReader) -> Any:
    try:
        while line := await reader.readline():
            if line.endswith(b"\n"):  # a process that was killed may leave half a line
                yield json.loads(line)
    except ConnectionError:
        pass  # the same as an end


def distribute(agents: Sequence[str], count: int) -> list[list[str]]:
    """Split agents over hosts in runs of neighbouring ids, sizes as even as possible."""
    size, extra = divmod(len(agents), count)
    shares, start = [], 0
    for host in range(count):
        stop = start + size + (host < extra)
        shares.append(list(agents[start:stop]))
        start = stop
    return shares
