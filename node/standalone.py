"""``python -m node --part FILE``: the agents of one process without a runner, as in a container.

FILE holds what a runner would say first, a ``start`` message (see ``node.host.Host``), and is all that the
process is told. How far each agent is and, retained, what came of it is published on
``<run>/<agent>/report``, where only a judge reads; results are also printed, a line of JSON each. Nobody
tells the process when to stop: it leaves when its agents have left, or with ``--stay`` waits for SIGTERM, so
that a neighbour that was killed and lost its memory still finds somebody to start again with.

Exit codes: 0: every agent has its result; 1: something failed, or SIGTERM came first; 2: FILE or a
certificate cannot be used, or the broker refuses the user. Errors are one line on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.mqtt import make_transport
from broker.transport import Address, BadCertificate, BrokerError, BrokerRefused
from node import process, report
from node.account import progress
from node.errors import AgentError
from node.host import Host

if TYPE_CHECKING:
    from collections.abc import Sequence

# Publishing is at most once, and a broker may have forgotten: reports are made again this often.
REPEAT = 3.0
ALIVE_EVERY = 2.0
_KEYS = {"run", "client", "protocol", "broker", "shared", "agents"}


class BadPart(ValueError):
    """FILE is not what it should be; the text names it."""


def main(arguments: Sequence[str]) -> int:
    """Play the parts of one file. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        start = read(options.part)
        if options.lives is not None:
            start["life"] = _count(options.lives)
        return process.run(Standalone(start, options.alive, stay=options.stay, quiet=options.quiet).play())
    except (BadPart, BadCertificate, BrokerRefused) as error:
        return _say(error, 2)
    except (AgentError, BrokerError) as error:
        return _say(error, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m node",
        description="Play the agents of one part file over its broker, without a runner.",
    )
    parser.add_argument("--part", metavar="FILE", type=Path, required=True, help="the start message, JSON")
    parser.add_argument("--stay", action="store_true", help="do not leave before SIGTERM")
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument("--alive", metavar="FILE", type=Path, help="touched every 2 s, for a health check")
    parser.add_argument(
        "--lives",
        metavar="FILE",
        type=Path,
        help="counts starts: an agent started again says so to its neighbours",
    )
    return parser


def read(path: Path) -> dict[str, Any]:
    """Read a start message.

    Raises:
        BadPart: naming the file and what is wrong with it.
    """
    try:
        start = json.loads(path.read_bytes())
    except OSError as error:
        raise BadPart(f"part file {path}: {error.strerror}") from None
    except ValueError as error:
        raise BadPart(f"part file {path}: not JSON: {error}") from None
    if not isinstance(start, dict) or (missing := _KEYS - set(start)):
        found = f"missing keys {sorted(missing)}" if isinstance(start, dict) else "not an object"
        raise BadPart(f"part file {path}: {found}; expected a start message, as `vicinal compose` writes it")
    return start


class Standalone:
    """One host that nobody watches.

    Args:
        start: the start message.
        alive: a file to be touched for as long as the event loop turns, or None.
        stay: whether to wait for SIGTERM once the agents have left.
        quiet: whether to print nothing but errors.
    """

    def __init__(self, start: dict[str, Any], alive: Path | None, *, stay: bool, quiet: bool) -> None:
        self._start, self._alive, self._stay, self._quiet = start, alive, stay, quiet
        self._results: dict[str, bytes] = {}
        self._news = asyncio.Event()
        self._stopped = asyncio.Event()

    async def play(self) -> int:
        """Play until the agents have left, or until SIGTERM. Returns the exit code.

        Raises:
            AgentError, BrokerError: the first thing that stopped an agent.
            BadPart: if the start message cannot be used.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        try:
            self._host = Host(self._start, self._tell)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadPart(f"start message: {type(error).__name__}: {error}") from None
        if self._alive is not None:
            _touch(self._alive)
        playing = asyncio.create_task(self._host.play(), name="play")
        stopped = asyncio.create_task(self._stopped.wait(), name="stopped")
        others = [stopped, asyncio.create_task(self._report(), name="report")]
        if self._alive is not None:
            others.append(asyncio.create_task(_keep_touching(self._alive), name="alive"))
        try:
            await asyncio.wait({playing, *others}, return_when=asyncio.FIRST_COMPLETED)
            for task in (playing, *others):
                if task.done():
                    task.result()
        except BrokerError:
            raise  # there is nobody to tell
        except Exception as error:
            # Whatever it was: whoever judges the run is told, and it is raised again.
            await self._tell_failure(error)
            raise
        finally:
            for task in (playing, *others):
                task.cancel()
            await asyncio.gather(playing, *others, return_exceptions=True)
        missing = [agent for agent in self._host.outlets if agent not in self._results]
        if missing:
            return _say(f"ended by a signal before {', '.join(missing[:5])} had a result", 1)
        return 0

    def _tell(self, message: dict[str, Any]) -> None:
        """What a runner would be told."""
        if message["type"] != "result":
            return
        agent, connection = self._host.outlets[message["agent"]]
        # The last row is in: whoever records need not wait for the end of this process.
        for batch in agent.telemetry.take(time.monotonic(), last=True):
            connection.publish(agent.telemetry.topic, batch)
        self._results[agent.id] = report.pack(report.RESULT, message)
        self._news.set()
        if not self._quiet:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    async def _report(self) -> None:
        """Report now and then, and at once when there is a result; let the host leave once all are out."""
        run, said, due = self._start["run"], set[str](), 0.0
        while True:
            self._news.clear()
            if again := time.monotonic() >= due:
                due = time.monotonic() + REPEAT
            for agent, connection in self._host.outlets.values():
                result, topic = self._results.get(agent.id), topics.report(run, agent.id)
                if not connection.is_open:
                    continue
                if result is not None and (again or agent.id not in said):
                    connection.publish(topic, result, retain=True)
                    said.add(agent.id)
                elif result is None and again:
                    connection.publish(topic, report.pack(report.PROGRESS, progress(agent)))
            if not self._stay and len(said) == len(self._host.outlets):
                self._host.released = True
                self._host.recorded = False  # a recorder may not publish, so there is no receipt to wait for
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(due - time.monotonic()):
                    await self._news.wait()

    async def _tell_failure(self, error: Exception) -> None:
        """Publish that this process cannot go on; the connection that its agents had is closed by now."""
        first = self._start["agents"][0]
        access, name = self._start["shared"] or first["access"], first["part"]["agent"]
        address = Address.at(self._start["broker"], access["user"], access["password"])
        transport = make_transport(
            self._start["client"], address, access["client_id"], lambda topic, payload: None
        )
        try:
            await transport.open()
        except BrokerError:
            return  # the same broker may be what failed; standard error still tells
        text = str(error) or type(error).__name__
        failure = report.pack(report.FAILED, {"error": text[:2000]})
        transport.publish(topics.report(self._start["run"], name), failure, retain=True)
        await transport.close()


async def _keep_touching(path: Path) -> None:
    while True:
        await asyncio.sleep(ALIVE_EVERY)
        _touch(path)


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        raise BadPart(f"alive file {path}: {error.strerror}; expected one that can be written") from None


def _count(path: Path) -> int:
    """How often this process was started before; counts this time."""
    try:
        before = int(path.read_text("ascii")) if path.exists() else 0
        path.write_text(str(before + 1), "ascii")
    except (OSError, ValueError) as error:
        raise BadPart(
            f"lives file {path}: {error}; expected one that can be written and holds a number"
        ) from None
    return before


def _say(error: object, code: int) -> int:
    sys.stderr.write(f"vicinal agent: {error}\n")
    return code
