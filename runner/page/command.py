"""The command line of ``vicinal page``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import Interrupted, RunFailed, UserError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine
    from typing import Any

    UntilSignal = Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]]

DESCRIPTION = """Serve a page on this machine that shows a run: the graph, the agents' states and allocations,
convergence as it happens, faults on a time line, and a slider that replays what is recorded. A run that still
goes on is followed; it does not notice. Ends with Ctrl-C."""
EXAMPLES = """examples:
  vicinal page runs/binary-tree-31-20260801-120000-1a2b   # a recorded run, or one that still goes on
  vicinal page runs                                       # the newest one
  vicinal page --live erdos-renyi-31                      # start a run and follow it
  vicinal page --live star-9 -- --hosts 2 --seed 3        # what follows -- is for `vicinal run`
"""
PORT = 8230
# A directory that is being followed must be there by then.
APPEAR = 30.0


class _NotBegunError(Exception):
    """The run that was to be shown ended before there was anything to be seen."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="the directory of a run; of a folder of such, the newest run"
    )
    parser.add_argument(
        "--live", metavar="SCENARIO|RUN", help="start this scenario and follow it, or follow this run"
    )
    parser.add_argument("options", nargs="*", metavar="-- OPTION", help="for `vicinal run`, after --")
    parser.add_argument("--port", type=int, default=PORT, metavar="P", help=f"default: {PORT}; 0: any")
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen (default: 127.0.0.1); another address only makes sense inside a container, "
        "whose port is published on this machine alone",
    )
    parser.add_argument("--quiet", action="store_true", help="only say where the page is")


def page(arguments: argparse.Namespace, until_signal: UntilSignal) -> int:
    """Serve until interrupted; that is how it ends, and no failure."""
    target, options = _target(arguments)
    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: expected 0 to 65535")
    from runner.page.server import listen

    with contextlib.closing(listen(arguments.bind, arguments.port)) as sock:
        try:
            asyncio.run(until_signal(_page(target, options, sock, arguments)))
        except _NotBegunError as error:
            return error.code  # the run has said why
        except Interrupted:
            pass
    return 0


def _target(arguments: argparse.Namespace) -> tuple[str, list[str] | None]:
    """What is to be shown; and the options of the run that is to be started, None for none."""
    # With --live everything else belongs to the run that is started.
    rest = [*([arguments.run] if arguments.run is not None else []), *arguments.options]
    if arguments.live is None:
        if len(rest) != 1:
            raise UserError("page: expected the directory of one run, or --live and a scenario")
        return rest[0], None
    if (Path(arguments.live) / "meta.json").exists():
        if rest:
            raise UserError(f"page: {arguments.live} is a run already; nothing to be done with {rest[0]!r}")
        return arguments.live, None
    return arguments.live, rest


async def _page(target: str, options: list[str] | None, sock: Any, arguments: argparse.Namespace) -> None:
    from runner.page import scene
    from runner.page.follow import Follower
    from runner.page.server import serve

    def say(text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    async with contextlib.AsyncExitStack() as stack:
        if options is not None:
            run_dir = await _started(stack, target, options, quiet=arguments.quiet)
        else:
            run_dir = newest(Path(target))
        read = await asyncio.to_thread(scene.read, run_dir)
        follower = Follower(read)
        await asyncio.to_thread(follower.open)
        if not follower.live and follower.outcome is None:
            sys.stderr.write(f"warning: {run_dir}: the run did not end; its record is what there is of it\n")
        await serve(follower, sock, lambda url: say(f"page: {url}  ({run_dir}; Ctrl-C ends it)"))


def newest(path: Path) -> Path:
    """The directory of the run that began last in a folder of runs; of anything else, that itself."""
    if (path / "meta.json").exists() or not path.is_dir():
        return path
    runs = [(meta.stat().st_mtime, meta.parent) for meta in path.glob("*/meta.json")]
    return max(runs)[1] if runs else path


async def _started(
    stack: contextlib.AsyncExitStack, scenario: str, options: list[str], *, quiet: bool
) -> Path:
    """Start a run of a scenario in a process of its own; its directory, once it is described."""
    from runner.directory import new_run_id
    from topologies import ScenarioError, load_scenario

    try:
        name = str(load_scenario(scenario).spec.name)
    except ScenarioError as error:
        raise UserError(str(error)) from None
    if any(option.partition("=")[0] == "--out" for option in options):
        out = Path(_value(options, "--out"))
    else:
        out = Path("runs") / new_run_id(name)
        options = [*options, "--out", str(out)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "runner.cli",
        "run",
        scenario,
        "--quiet",
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL if quiet else None,
    )
    stack.push_async_callback(_end, process)
    deadline = time.monotonic() + APPEAR
    while not (out / "live.json").exists() and not (out / "result.json").exists():
        if process.returncode is not None:
            raise _NotBegunError(process.returncode)
        if time.monotonic() > deadline:
            raise RunFailed(f"{out}: the run did not begin within {APPEAR:g} s")
        await asyncio.sleep(0.02)
    return out


def _value(options: list[str], name: str) -> str:
    for k, option in enumerate(options):
        given, equals, value = option.partition("=")
        if given == name:
            return value if equals else options[k + 1] if k + 1 < len(options) else ""
    return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a run that was started here, in order: it ends its agents itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
