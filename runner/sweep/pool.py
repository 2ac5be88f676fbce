"""Cells over processes. Rows come as they are ready; a killed process takes its cell along, not the sweep."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Any

from runner.errors import Interrupted
from runner.sweep.cell import COLUMNS, METRICS, work

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from concurrent.futures import Future

    from runner.sweep.cell import Plan, Row
    from runner.sweep.grid import Cell

# Cells handed out beyond those that are being played, so that no process waits for its next one.
AHEAD = 1

_stop: Any = None


def play_all(plan: Plan, cells: Iterable[Cell], jobs: int) -> Iterator[tuple[Cell, Row]]:
    """Play every cell; yields each with its row as it ends.

    A process that is killed (by the system, for memory, say) breaks the pool: the cells it may have held are
    played again one at a time, and the one that kills its process again has that as its error.

    Args:
        plan: what is the same for all.
        cells: in the order in which they are begun.
        jobs: processes; 1 plays in this one.
    """
    if jobs == 1:
        for cell in cells:
            yield cell, work(plan, cell)
        return
    left = iter(cells)
    suspects: list[Cell] = []
    while True:
        ended = yield from _pool(plan, left, jobs, suspects)
        for cell in suspects:
            alone: list[Cell] = []
            yield from _pool(plan, iter([cell]), 1, alone)
            if alone:
                yield cell, _killed()
        suspects.clear()
        if ended:
            return


def _pool(
    plan: Plan, left: Iterator[Cell], jobs: int, lost: list[Cell]
) -> Generator[tuple[Cell, Row], None, bool]:
    """Play what is left in one pool; whether it came to the end. If the pool breaks, ``lost`` gets the cells
    that it held."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(jobs, context, _begin, (stop,))
    waiting: dict[Future[Row], Cell] = {}
    try:
        while True:
            for cell in itertools.islice(left, jobs * (1 + AHEAD) - len(waiting)):
                try:
                    waiting[executor.submit(_work, plan, cell)] = cell
                except BrokenProcessPool:
                    lost.append(cell)
                    raise
            if not waiting:
                return True
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                cell = waiting[future]
                row = future.result()
                del waiting[future]
                yield cell, row
    except BrokenProcessPool:
        # Some may have ended just before.
        for future, cell in waiting.items():
            if future.done() and future.exception() is None:
                yield cell, future.result()
            else:
                lost.append(cell)
        return False
    finally:
        # Also on Ctrl-C, and if whoever takes the rows fails: nobody plays on for minutes.
        stop.set()
        executor.shutdown(cancel_futures=True)


def _begin(stop: Any) -> None:
    global _stop
    _stop = stop
    # Ctrl-C reaches the whole group; the parent tells the others to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot tell anybody, and this process would wait for its next cell for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _work(plan: Plan, cell: Cell) -> Row:
    try:
        return work(plan, cell, _stop.is_set)
    except Interrupted:
        return _killed()  # nobody waits for it any more


def _killed() -> Row:
    error = "the process that played it was killed, twice"
    return {**dict.fromkeys(METRICS), **dict.fromkeys(COLUMNS), "error": error}
