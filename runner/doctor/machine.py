"""What the machine allows and how fast it is: descriptors, processes, folders, disk, clock."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

from runner.doctor.finding import Finding

if TYPE_CHECKING:
    from pathlib import Path

# Open files beside those that grow with the processes or agents: libraries, event loop, guard, recorder; the
# runner and the broker were seen with 13 and 15.
_SPARE = 32
_BLOCK = 4096  # bytes: some rounds' messages
_WRITES = 20
_SLOW_DISK = 0.02  # s: a round of a small network takes as long
_ROOM = 100e6  # bytes; the record of 31 agents takes some kB a round
_SLOW_CLOCK = 1e-3  # s: time-outs are tens of them


def descriptors(connections: int, processes: int) -> Finding:
    """The limit on open files, against what the runner needs (two a process while it starts them: a pair of
    sockets each) and the broker (one a connection).

    Args:
        connections: one an agent, unless a process has one for all of its own.
        processes: that carry the agents.
    """
    needed = max(2 * processes, connections) + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{_limit(soft)}; {processes:,} processes with {connections:,} connections need {needed:,}"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return Finding("open files", "ok", found)
    if hard == resource.RLIM_INFINITY or hard >= needed:
        return Finding("open files", "broken", found, f"ulimit -n {needed}")
    todo = f'the hard limit is {hard:,}: --hosts 2, with broker.connections = "host"'
    return Finding("open files", "broken", found, todo)


def processes(count: int) -> Finding:
    """The limit on processes, and how many of them share a core."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{count:,} on {cores} cores; limit {_limit(soft)}"
    if soft != resource.RLIM_INFINITY and soft < count + 8:
        return Finding("processes", "broken", found, f"ulimit -u {count + 64}, or --hosts {cores}")
    if count > 100 * cores:
        return Finding("processes", "poor", found, f"expect slow rounds: --hosts {cores}, or --virtual")
    return Finding("processes", "ok", found)


def _limit(number: int) -> str:
    return "no limit" if number == resource.RLIM_INFINITY else f"{number:,}"


def folder(name: str, path: Path, use: str) -> Finding:
    """Whether files can be made in a folder (or in the first one above that is there), and the room in it."""
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        room = os.statvfs(there)
    except OSError as error:
        return Finding(name, "broken", f"{path}: {error.strerror}", f"{use}: a folder that can be written")
    free = room.f_bavail * room.f_frsize
    found = f"{path}, {free / 1e9:,.1f} GB free"
    if free < _ROOM:
        return Finding(name, "poor", found, f"{use}: make room")
    return Finding(name, "ok", found)


def disk(path: Path) -> Finding:
    """How long it takes until 4 kB are on the disk: what every round costs with durable = "round".

    Raises nothing: a folder that cannot be written is ``folder``'s to report.
    """
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            taken = []
            for _ in range(_WRITES):
                began = time.perf_counter()
                file.write(os.urandom(_BLOCK))
                file.flush()
                os.fsync(file.fileno())
                taken.append(time.perf_counter() - began)
    except OSError as error:
        return Finding("disk", "poor", f"{path}: {error.strerror}", "not measured")
    median = statistics.median(taken)
    found = f"{1e3 * median:.2f} ms to the disk for 4 kB, median of {_WRITES}"
    if median > _SLOW_DISK:
        return Finding("disk", "poor", found, 'recovery.durable = "snapshot" rather than "round"')
    return Finding("disk", "ok", found)


def clock() -> Finding:
    """The steps of the clock that time-outs go by."""
    info = time.get_clock_info("monotonic")
    began = time.monotonic()
    step = 0.0
    while step == 0.0:
        step = time.monotonic() - began
    found = f"steps of {1e9 * max(step, info.resolution):,.0f} ns"
    if max(step, info.resolution) > _SLOW_CLOCK:
        return Finding("clock", "poor", found, "agents find out late that messages are lost")
    return Finding("clock", "ok", found)
