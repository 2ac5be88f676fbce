"""The recorder process as the runner sees it. Whatever happens to it, the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

READY_TIMEOUT = 10.0
STOP_TIMEOUT = 15.0


class Scribe:
    """Starts ``runner.recorder``, waits until it listens, and lets it finish.

    Args:
        config: the recorder's configuration, see ``runner.recorder``.
        warn: called with a text when the record will be incomplete.
    """

    def __init__(self, config: dict[str, Any], warn: Callable[[str], None]) -> None:
        self._config, self._warn = config, warn
        self._process: asyncio.subprocess.Process | None = None
        self._events: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._closed: dict[str, Any] | None = None

    async def start(self) -> None:
        """Start the recorder and wait until it has subscribed, or has failed to."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "runner.recorder",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._config).encode() + b"\n")
        self._events = asyncio.create_task(self._listen(), name="recorder")
        try:
            await asyncio.wait_for(self._ready.wait(), READY_TIMEOUT)
        except TimeoutError:
            self._warn(f"the recorder did not get ready within {READY_TIMEOUT:g} s; the run is not recorded")

    async def stop(self) -> None:
        """Let the recorder write what has arrived and end it. Safe to call twice."""
        if self._process is None or self._events is None:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(b'{"event": "stop"}\n')
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            self._warn("the recorder did not end; the record may be incomplete")
        await self._events
        if self._closed is not None and not self._closed.get("complete", True):
            missing = ", ".join(self._closed.get("missing", ())[:8])
            self._warn(f"the record is incomplete: the last batch of {missing} did not arrive")
        self._process = None

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        failed = False
        while line := await self._process.stdout.readline():
            event = json.loads(line)
            match event.get("event"):
                case "ready":
                    self._ready.set()
                case "failed":
                    failed = True
                    self._warn(f"the recorder failed: {event['error']}; the run goes on unrecorded")
                case "closed":
                    self._closed = event
        code = await self._process.wait()
        if self._closed is None and not failed:
            self._warn(f"the recorder ended with code {code}; the run goes on, its record is incomplete")
        self._ready.set()
