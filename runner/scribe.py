"""The recorder process as the runner sees it. Whatever happens to it, the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner.ledger import Mark

# Half a second, most of it imports; on an overloaded machine twenty times that.
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
# One that dies over and over has a cause that no restart mends.
MOST_RESTARTS = 20
_LINE_LIMIT = 1 << 20


class Scribe:
    """Starts ``runner.recorder``, waits until it listens, and lets it finish.

    Args:
        config: the recorder's configuration, see ``runner.recorder``.
        warn: called with a text when the record will be incomplete.
        restart: whether one that a signal has killed is started again. It goes on where the receipts end.
        recorded: called with receipts: which rows are on file.
        again: called when the recorder listens once more: what was published meanwhile it has not heard.
        over: called when nothing more will be recorded: all is on file, or the recorder is lost.

    Attributes:
        recording: whether receipts may still come.
    """

    def __init__(
        self,
        config: dict[str, Any],
        warn: Callable[[str], None],
        *,
        restart: bool = False,
        recorded: Callable[[Sequence[Mark]], None] = lambda marks: None,
        again: Callable[[], None] = lambda: None,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self.recording = True
        self._late = False
        self._config, self._warn, self._restarts = config, warn, MOST_RESTARTS if restart else 0
        self._recorded, self._again, self._over = recorded, again, over
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._ready, self._stopping = asyncio.Event(), False
        self._closed: dict[str, Any] | None = None
        self._failed = False
        self._marks: dict[tuple[str, int, int], int] = {}

    async def start(self) -> None:
        """Start the recorder and wait until it has subscribed, has failed to, or is late.

        One that is late is asked no more: the run goes on, and when it listens agents say again what it has
        not heard.
        """
        await self._spawn()
        self._life = asyncio.create_task(self._live(), name="recorder")
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            self._late = True
            self._warn(
                f"the recorder is not ready after {READY_TIMEOUT:g} s; the run goes on without it so far"
            )

    async def stop(self) -> None:
        """Let the recorder write what has arrived and end it. Safe to call twice, and to cancel."""
        if self._process is None or self._life is None:
            return
        self._stopping = True
        if self._late and not self._ready.is_set():
            self._warn("the recorder never got ready; the run is not recorded")
            self._end_at_once()
        elif not self._ready.is_set():
            # Called off while everything starts: nobody has published anything that could be lost.
            self._end_at_once()
        else:
            self._order_to_stop()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await asyncio.shield(self._life)
        except TimeoutError:
            self._end_at_once()
            await self._life
            self._warn("the recorder did not end; the record may be incomplete")
        except asyncio.CancelledError:
            self._end_at_once()  # who is asked twice does not leave a process behind
            raise
        self._process = None
        if self._closed is None:
            return
        if missing := self._closed.get("missing"):
            names = ", ".join(missing[:8]) + (" ..." if len(missing) > 8 else "")
            self._warn(f"the record is incomplete: the last batch of {names} did not arrive")
        if lost := self._closed.get("lost"):
            names = ", ".join(list(lost)[:8]) + (" ..." if len(lost) > 8 else "")
            self._warn(
                f"the record is incomplete: {sum(lost.values())} rows of {names} are missing; too much was "
                "waiting while the recorder could not be reached"
            )

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "runner.recorder",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # ended already; its exit code will tell
            self._process.stdin.write(json.dumps(self._config).encode() + b"\n")

    def _end_at_once(self) -> None:
        assert self._process is not None
        self._failed = True  # its end is no news, and nobody takes its place
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _order_to_stop(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(b'{"event": "stop"}\n')
            self._process.stdin.close()

    async def _live(self) -> None:
        """Listen to the recorder, and to the next one if it was killed, until there is none."""
        while True:
            code = await self._listen()
            if self._closed is not None or self._failed:
                break
            if code >= 0 or not self._restarts:
                self._warn(f"the recorder ended with code {code}; the run goes on, its record is incomplete")
                break
            self._restarts -= 1
            self._warn(f"the recorder was killed by signal {-code} and is started again")
            marks = [(*stream, rows) for stream, rows in self._marks.items()]
            self._config = {**self._config, "marks": marks, "patient": True}
            await self._spawn()
            if self._stopping:
                self._order_to_stop()
        self.recording = False
        self._over()
        self._ready.set()

    async def _listen(self) -> int:
        """Take in what one recorder says; returns its exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if not line.endswith(b"\n"):
                break  # killed in the middle of it
            event = json.loads(line)
            match event.get("event"):
                case "ready" if not self._ready.is_set():
                    self._ready.set()
                    if self._late:
                        self._again()
                case "ready":
                    self._again()
                case "recorded":
                    self._marks |= {(agent, epoch, origin): n for agent, epoch, origin, n in event["marks"]}
                    self._recorded(event["marks"])
                case "failed":
                    self._failed = True
                    self._warn(f"the recorder failed: {event['error']}; the run goes on unrecorded")
                case "closed":
                    self._closed = event
        return await self._process.wait()
