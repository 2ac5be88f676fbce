"""Plays many cases in a few processes, keeps each on disk as soon as it ends, and shows how far they are."""

from __future__ import annotations

import math
import multiprocessing
import queue
import signal
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from runner.errors import Interrupted, RunFailed
from runner.reproduce.play import play

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from runner.reproduce.cases import Case

# Seconds between two looks at what the processes say.
LOOK_EVERY = 0.25

_said: Any = None
_stop: Any = None


def play_all(
    cases: Sequence[Case],
    directory: Path,
    jobs: int,
    limit: int,
    progress: Callable[[str, int, float], None],
) -> None:
    """Play every case and keep its curve in ``directory``.

    Args:
        cases: in the order in which they are begun.
        directory: exists; what has ended stays there whatever happens to the others.
        jobs: processes; 1 plays in this one.
        limit: rounds after which a case is given up.
        progress: called with (name, round, share of the way to the tolerance, 1 at the end).
    Raises:
        RunFailed: naming the case, or if a process is killed.
    """
    if jobs == 1:
        for case in cases:

            def told(round_: int, first: float, off: float, case: Case = case) -> None:
                progress(case.name, round_, _share(case, first, off))

            curve = play(case, told, limit)
            curve.save(directory)
            progress(case.name, curve.played, 1.0)
        return
    context = multiprocessing.get_context("spawn")
    said, stop = context.Queue(), context.Event()
    with ProcessPoolExecutor(jobs, context, _begin, (said, stop)) as executor:
        try:
            waiting = {executor.submit(_work, case, directory, limit) for case in cases}
            while waiting:
                ended, waiting = wait(waiting, LOOK_EVERY, FIRST_COMPLETED)
                _pass_on(said, progress)
                for future in ended:
                    progress(*future.result())
        except BrokenProcessPool as error:
            raise RunFailed(
                "a process that played was killed; what had ended until then is on file"
            ) from error
        finally:
            # Also on Ctrl-C and if a case fails: nobody plays on for minutes.
            stop.set()
            executor.shutdown(cancel_futures=True)


def _begin(said: Any, stop: Any) -> None:
    global _said, _stop
    _said, _stop = said, stop
    # Ctrl-C reaches the whole group; the parent tells the others to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(case: Case, directory: Path, limit: int) -> tuple[str, int, float]:
    def watch(round_: int, first: float, off: float) -> None:
        if _stop.is_set():
            raise Interrupted("stopped")
        if round_ % 512 == 0:
            _said.put((case.name, round_, _share(case, first, off)))

    curve = play(case, watch, limit)
    curve.save(directory)
    return case.name, curve.played, 1.0


def _share(case: Case, first: float, off: float) -> float:
    """How much of the way is behind: distances fall geometrically."""
    way = math.log(first / case.tolerance)
    return min(1.0, max(0.0, math.log(first / off) / way)) if way > 0 and off > 0 else 0.0


def _pass_on(said: Any, progress: Callable[[str, int, float], None]) -> None:
    while True:
        try:
            progress(*said.get_nowait())
        except queue.Empty:
            return


class Display:
    """A context manager: bars on a terminal; elsewhere a line for every case that ends; nothing if quiet.

    Args:
        console: where to; give one on stderr.
        cases: all that will be played.
        quiet: whether to say nothing.
    """

    def __init__(self, console: Console, cases: Sequence[Case], *, quiet: bool = False) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console, self._quiet = console, quiet
        self._left = {case.name for case in cases}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %  round {task.fields[round]:,}"),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._all = self._bars.add_task(f"{len(self._left)} runs", total=len(self._left), round=0)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def update(self, name: str, round_: int, share: float) -> None:
        """A case has come to this round."""
        if share >= 1.0 and name in self._left:
            self._left.remove(name)
            self._bars.update(self._all, advance=1)
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            if not self._quiet and not self._console.is_terminal:
                self._console.print(
                    f"{name}: {round_:,} rounds, {len(self._left)} runs to go", highlight=False
                )
        elif name in self._left:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=1.0, round=round_)
            self._bars.update(self._tasks[name], completed=share, round=round_)
