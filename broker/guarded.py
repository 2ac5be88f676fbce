"""A server process under guard: the owner's side of ``broker/guard.py``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from broker import place
from broker.transport import BrokerError

if TYPE_CHECKING:
    from broker.transport import Address

# The guard itself kills a server 3 s after it was told to stop it.
_STOP_TIMEOUT = 6.0
_LOG_QUOTED = 2000


class GuardedServer:
    """One server and its guard, from start to end. It dies with this process, however this process ends.

    Attributes:
        address: where it listens.
        directory: its private directory; the guard removes it.
        pid: the server's process id.
        ended: done when the server has ended; the reason.
        unstored: done when the server has said that it cannot write its store; its words.

    Args:
        address: where it is to listen.
        avoid: a place where its directory should rather not be.
    Raises:
        BrokerError: if there is no place for its directory.
    """

    def __init__(self, address: Address, avoid: Path | None = None) -> None:
        self.address = address
        self.directory = place.make(avoid)
        self.pid = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.unstored: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._guard: asyncio.subprocess.Process | None = None
        self._lifeline = -1
        self._watch: asyncio.Task[None] | None = None

    @property
    def log(self) -> str:
        text = ""
        for name in ("log.before", "log"):
            with contextlib.suppress(OSError):
                text += (self.directory / name).read_text(errors="replace")
        return text

    @property
    def log_end(self) -> str:
        return self.log[-_LOG_QUOTED:].strip() or "(it printed nothing)"

    async def start(self, command: list[str], **environment: str) -> None:
        """Start the guard, and it the server.

        Args:
            command: the server's binary and arguments.
            environment: defaults for its environment variables; our own go before.
        Raises:
            BrokerError: if the binary cannot be executed.
        """
        guard = str(Path(__file__).with_name("guard.py"))
        end, self._lifeline = os.pipe()
        _lifelines.add(self._lifeline)
        try:
            spawning = asyncio.ensure_future(
                asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-S", guard, str(self.directory), *command),
                    stdin=end,
                    stdout=asyncio.subprocess.PIPE,
                    env={**environment, **os.environ},
                    # A session of its own: Ctrl-C in the terminal is for the runner, which ends the broker
                    # last.
                    start_new_session=True,
                )
            )
            try:
                # Cancelled half-way, asyncio would kill the guard, and the server it had started would stay.
                self._guard = await asyncio.shield(spawning)
            except asyncio.CancelledError:
                self._guard = await spawning
                raise
        finally:
            os.close(end)
        said = await self._hear()
        if said[0] != "pid":
            raise BrokerError(f"cannot start the broker: {said[1]}")
        self.pid = int(said[1])
        self._watch = asyncio.create_task(self._watch_guard(), name="embedded-broker")

    async def quit(self) -> None:
        """Stop the server if it runs and wait for that; its directory stays."""
        if not self.ended.done():
            _kill(self.pid)
            async with asyncio.timeout(_STOP_TIMEOUT):
                await asyncio.wait({self.ended})

    async def end(self) -> None:
        """Stop the server if it runs, wait for that, and remove its directory."""
        if self._lifeline >= 0:
            _lifelines.discard(self._lifeline)
            os.close(self._lifeline)  # the guard sees its standard input end
            self._lifeline = -1
        try:
            if self._guard is not None:
                async with asyncio.timeout(_STOP_TIMEOUT):
                    if self._watch is not None:
                        await self._watch
                    await self._guard.wait()
        except TimeoutError:
            for pid in (self.pid, self._guard.pid if self._guard is not None else 0):
                _kill(pid)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
            if not self.ended.done():
                self.ended.set_result("it was stopped")

    async def _watch_guard(self) -> None:
        said, what = await self._hear()
        while said == "unstored":
            if not self.unstored.done():
                self.unstored.set_result(what)
            said, what = await self._hear()
        if self._lifeline < 0:
            reason = "it was stopped"
        elif said == "exit":
            reason = f"it ended with exit code {what}; the end of its log:\n{self.log_end}"
        else:
            reason = "its guard process was killed"
            _kill(self.pid)
        self.ended.set_result(reason)

    async def _hear(self) -> tuple[str, str]:
        """The next word and its argument from the guard; ("", ...) if it has ended."""
        assert self._guard is not None
        assert self._guard.stdout is not None
        word, _, argument = (await self._guard.stdout.readline()).decode().strip().partition(" ")
        return word, argument or "its guard process ended"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGKILL)


# Write ends of the pipes that keep the guards waiting. A forked child must not hold one: it would keep the
# broker alive after the owner's death. (Children by exec do not inherit them.)
_lifelines: set[int] = set()


def _close_lifelines() -> None:
    for end in _lifelines:
        os.close(end)
    _lifelines.clear()


os.register_at_fork(after_in_child=_close_lifelines)
