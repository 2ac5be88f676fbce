"""What the page costs a run, how often it is updated, and how fast it opens: ``python -m benchmarks.page``.

Cost: one run of 31 agents, a process each, that does not end by itself. In turn there is no page, a page with
a reader of its events, and (with --browser) one with a headless Chromium that draws them on the same cores;
each for some seconds, again and again. Rounds per second are counted afterwards, from the run's own record;
medians count. What the page's process and its browser took of the cores is read from /proc, which a busy
machine disturbs less.

Opening: a record of 10,000 rounds of 31 agents, in a headless Chromium, from the navigation until everything
is drawn; and, before, from the command until the page is served.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner import record, run

if TYPE_CHECKING:
    from collections.abc import Iterator

# The main job with constants so cautious that it would take hours.
ENDLESS = ("mechanism.parameters=proof", "environment.eta=1000.0", "stopping.tolerance=1e-9")
OFF, READER, BROWSER = "no page", "page, its events read", "page, drawn by Chromium"
# After a page has come or gone: not counted.
SETTLE = 1.5
TICKS = os.sysconf("SC_CLK_TCK")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]


@dataclass
class Phase:
    """Some seconds under one condition.

    Attributes:
        kind: which.
        begin, end: Unix seconds.
        updates: that arrived.
        cpu: seconds of a core that page process and browser took.
    """

    kind: str
    begin: float = 0.0
    end: float = 0.0
    updates: int = 0
    cpu: dict[str, float] = field(default_factory=dict)


def command(*arguments: str) -> list[str]:
    """A vicinal command of this checkout."""
    return [sys.executable, "-P", "-m", "runner.cli", *arguments]


@contextlib.contextmanager
def page(run_dir: Path) -> Iterator[tuple[str, int]]:
    """A page of a run: its address and its process."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(
        command("page", str(run_dir), "--port", "0"), stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.match(r"page: (\S+)", line)
        assert found, line
        yield found[1], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A page in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path="/usr/bin/chromium",
            headless=True,
            args=FLAGS,
            viewport={"width": 1440, "height": 900},
        )
        yield context.pages[0]
        context.close()


def cpu(pids: list[int]) -> float:
    """Seconds of a core that these processes have taken so far; of those that have ended, nothing."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def chromium() -> list[int]:
    """The processes of the browser that this process has started."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                parents[int(entry.name)] = (int(rest.split()[1]), name)

    def ours(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid][0]
        return False

    return [pid for pid, (_, name) in parents.items() if "chrom" in name and ours(pid)]


def read_events(url: str, stop: threading.Event, phase: Phase) -> None:
    """Be a browser that draws nothing."""
    host = url.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    while not stop.is_set():
        phase.updates += answer.readline().startswith(b"event: news")
    connection.close()


def alternate(run_dir: Path, seconds: float, times: int, kinds: list[str]) -> list[Phase]:
    """Let each condition hold for some seconds, in turn."""
    phases = []
    for _ in range(times):
        for kind in kinds:
            phase = Phase(kind)
            phases.append(phase)
            if kind == OFF:
                time.sleep(SETTLE)
                _measure(phase, seconds, [], [])
                continue
            with page(run_dir) as (url, pid), contextlib.ExitStack() as stack:
                if kind == READER:
                    stop = threading.Event()
                    reader = threading.Thread(target=read_events, args=(url, stop, phase))
                    reader.start()
                    time.sleep(SETTLE)
                    phase.updates = 0
                    _measure(phase, seconds, [pid], [])
                    stop.set()
                    reader.join()
                else:
                    eyes = stack.enter_context(browser())
                    eyes.goto(url)
                    eyes.wait_for_selector("body[data-ready]")
                    time.sleep(SETTLE)
                    before = int(eyes.get_attribute("body", "data-updates") or 0)
                    _measure(phase, seconds, [pid], chromium())
                    phase.updates = int(eyes.get_attribute("body", "data-updates") or 0) - before
    return phases


def _measure(phase: Phase, seconds: float, server: list[int], drawing: list[int]) -> None:
    before = cpu(server), cpu(drawing)
    phase.begin = time.time()
    time.sleep(seconds)
    phase.end = time.time()
    phase.cpu = {"server": cpu(server) - before[0], "browser": cpu(drawing) - before[1]}


def cost(seconds: float, times: int, kinds: list[str]) -> None:
    """Rounds per second with and without a page, in one run."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        settings = [word for setting in ENDLESS for word in ("--set", setting)]
        running = subprocess.Popen(
            command("run", "binary-tree-31", "--quiet", "--out", str(run_dir), *settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        try:
            while not list((run_dir / "telemetry").glob("part-0000[2-9].parquet")):
                assert running.poll() is None, "the run has ended"
                time.sleep(0.2)
            phases = alternate(run_dir, seconds, times, kinds)
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait()
        found = record.read(run_dir)
    mine = (found.agent == 0) & (found.name == found.names.index("residual"))
    clock = np.sort(found.time[mine])
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for phase in phases:
        rounds = np.searchsorted(clock, phase.end) - np.searchsorted(clock, phase.begin)
        rates[phase.kind].append(float(rounds / (phase.end - phase.begin)))
    print(f"binary-tree-31, 31 processes, {times} times {seconds:g} s each, in turn, in one run:")
    base = statistics.median(rates[OFF])
    for kind in kinds:
        own = [phase for phase in phases if phase.kind == kind]
        median = statistics.median(rates[kind])
        updates = statistics.median(phase.updates / (phase.end - phase.begin) for phase in own)
        cores = {
            part: statistics.median(phase.cpu[part] / (phase.end - phase.begin) for phase in own)
            for part in ("server", "browser")
        }
        # Neighbours in time: whatever else the machine did weighs on both.
        ratios = [b / a for a, b in zip(rates[OFF], rates[kind], strict=True)]
        line = f"  {kind:26} {median:7.1f} rounds/s ({100 * (median / base - 1):+.1f} %, "
        line += f"median of pairs {100 * (statistics.median(ratios) - 1):+.1f} %)"
        if kind != OFF:
            line += f", {updates:.1f} updates/s; of a core: page {100 * cores['server']:.1f} %"
            if cores["browser"]:
                line += f", browser {100 * cores['browser']:.1f} %"
        print(line)
        print(f"    each: {', '.join(f'{rate:.0f}' for rate in rates[kind])}")


def opening(rounds: int, times: int) -> None:
    """How long it takes to see a long record."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        run(
            "binary-tree-31",
            overrides=[*ENDLESS, f"stopping.max_rounds={rounds}"],
            lockstep=True,
            out=run_dir,
            plot=False,
        )
        rows = len(record.read(run_dir))
        served, drawn = [], []
        for _ in range(times):
            began = time.monotonic()
            with page(run_dir) as (url, _):
                served.append(time.monotonic() - began)
                with browser() as eyes:
                    eyes.goto(url)
                    eyes.wait_for_selector("body[data-ready]", timeout=60_000)
                    drawn.append(int(eyes.get_attribute("body", "data-ready") or 0) / 1000)
        meta = json.loads((run_dir / "result.json").read_text())
    print(
        f"record of {meta['rounds']:,} rounds, 31 agents, {rows:,} rows: served after "
        f"{statistics.median(served):.2f} s, then opened in {statistics.median(drawn):.2f} s "
        f"({', '.join(f'{value:.2f}' for value in drawn)})"
    )


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of one phase")
    parser.add_argument("--times", type=int, default=7, help="phases of each kind")
    parser.add_argument("--browser", action="store_true", help="with a Chromium on the same cores, too")
    parser.add_argument("--opening", action="store_true", help="only measure how fast a record opens")
    parser.add_argument("--rounds", type=int, default=10_000, help="of the record that is opened")
    arguments = parser.parse_args()
    if not arguments.opening:
        kinds = [OFF, READER, *([BROWSER] if arguments.browser else [])]
        cost(arguments.seconds, arguments.times, kinds)
    opening(arguments.rounds, 3)


if __name__ == "__main__":
    main()
