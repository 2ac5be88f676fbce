"""Time, memory and messages of the summary mechanism as the network grows, and where the time goes.

    python -m benchmarks.scale [--broker N,N,...] [--lockstep N,N,...] [--tree binary|random]
    python -m benchmarks.scale --profile N

Every run is a process of its own, from start-up to the judged result: over the embedded broker with two hosts
that share a connection each, and in lockstep. Memory is the peak of resident memory (VmHWM) of each process;
"KiB an agent" is that of the hosts beyond what their fork server holds, or of the lockstep process beyond
that of the first line. "growth" is by how much more time a line took than the one before, over the ratio of
N log N: at most 1 if cost grows no faster. Reads /proc: Linux only.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import math
import pstats
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCENARIO = "summary-tree-1023"
TREES = {
    "binary": '{{generator="binary-tree", agents={n}}}',
    # Every agent links to one earlier one, popular ones more likely: a random tree of small diameter.
    "random": '{{generator="scale-free", agents={n}, links=1}}',
}
SAMPLE_EVERY = 0.25  # seconds


@dataclass
class Usage:
    """What a process and its descendants have used at most, sampled while they live.

    Attributes:
        peak: process id -> peak resident memory, KiB.
        cpu: process id -> CPU seconds.
        name: process id -> its command's name.
        parent: process id -> its parent's.
    """

    peak: dict[int, int] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)
    name: dict[int, str] = field(default_factory=dict)
    parent: dict[int, int] = field(default_factory=dict)

    def sample(self, root: int) -> None:
        """Look at a process and all its descendants."""
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat, status = (entry / "stat").read_text(), (entry / "status").read_text()
            except OSError:
                continue  # ended meanwhile
            pid, rest = int(entry.name), stat[stat.rindex(")") + 2 :].split()
            self.parent[pid], self.name[pid] = int(rest[1]), stat[stat.index("(") + 1 : stat.rindex(")")]
            if pid == root or self._descends(pid, root):
                self.cpu[pid] = (int(rest[11]) + int(rest[12])) / 100
                for line in status.splitlines():
                    if line.startswith("VmHWM:"):
                        self.peak[pid] = int(line.split()[1])

    def _descends(self, pid: int, root: int) -> bool:
        seen = 0
        while (pid := self.parent.get(pid, 0)) and seen < 8:
            if pid == root:
                return True
            seen += 1
        return False


def measured(n: int, tree: str, options: list[str]) -> tuple[dict[str, Any], float, Usage, int]:
    """One run: its result, its wall time from start-up to the last line, what it used, its process id."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(sys.executable, "-m", "runner.cli", "run", SCENARIO, "--json", "--quiet"),
            *("--out", str(Path(directory) / "run")),
            *("--set", f"topology={TREES[tree].format(n=n)}"),
            *("--set", f"environment.capacities=[{n}.0]"),
            *("--set", "record.plot=false"),
            *options,
        ]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        usage, over = Usage(), threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLE_EVERY):
                usage.sample(process.pid)

        watching = threading.Thread(target=watch)
        watching.start()
        output, _ = process.communicate()
        seconds = time.monotonic() - began
        over.set()
        watching.join()
        if process.returncode:
            raise SystemExit(f"the run of {n} agents ended with code {process.returncode}")
        return json.loads(output), seconds, usage, process.pid


def over_broker(sizes: list[int], tree: str) -> None:
    """Two hosts over the embedded broker."""
    print("\nover the embedded broker, 2 hosts, a connection each")
    _head("hosts MiB", "KiB an agent", "broker MiB", "hosts CPU s", "broker CPU s", "copies")
    before = None
    for n in sizes:
        result, seconds, usage, pid = measured(n, tree, ["--hosts", "2", "--set", "broker.connections=host"])
        servers = [p for p in usage.peak if usage.name[p] == "nats-server"]
        # The fork server is a child of the runner, and the hosts are its children.
        hosts = [
            p
            for p in usage.peak
            if usage.parent.get(usage.parent[p]) == pid and usage.name[p].startswith("python")
        ]
        fork_server = usage.peak[usage.parent[hosts[0]]]
        host_kib = sum(usage.peak[p] for p in hosts)
        cost = seconds / (n * math.log2(n))
        _row(
            n,
            seconds,
            result,
            cost / (before or cost),
            f"{host_kib / 1024:.0f}",
            # Pages that a fork shares count in both: of few agents this says nothing.
            f"{(host_kib - len(hosts) * fork_server) / n:.1f}" if n >= 1000 else "-",
            f"{sum(usage.peak[p] for p in servers) / 1024:.0f}",
            f"{sum(usage.cpu[p] for p in hosts):.1f}",
            f"{sum(usage.cpu[p] for p in servers):.1f}",
            f"{result['retransmissions']:,}",
        )
        before = cost


def in_lockstep(sizes: list[int], tree: str) -> None:
    """One process, no network."""
    print("\nin lockstep")
    _head("MiB", "KiB an agent", "CPU s", "us/agent-round")
    before = base = None
    for n in sizes:
        result, seconds, usage, pid = measured(n, tree, ["--lockstep"])
        cost = seconds / (n * math.log2(n))
        base = base or usage.peak[pid]
        _row(
            n,
            seconds,
            result,
            cost / (before or cost),
            f"{usage.peak[pid] / 1024:.0f}",
            f"{(usage.peak[pid] - base) / n:.1f}",
            f"{usage.cpu[pid]:.1f}",
            f"{result['seconds'] / n / result['rounds'] * 1e6:.1f}",
        )
        before = cost


def _head(*columns: str) -> None:
    print(
        f"{'N':>8}{'seconds':>9}{'playing':>9}{'D':>4}{'rounds':>8}{'messages':>13}{'error':>10}"
        + "".join(f"{column:>15}" for column in columns)
        + f"{'growth':>9}",
        flush=True,
    )


def _row(n: int, seconds: float, result: dict[str, Any], growth: float, *columns: str) -> None:
    print(
        f"{n:>8,}{seconds:>9.1f}{result['seconds']:>9.1f}{result['diameter']:>4}{result['rounds']:>8}"
        f"{result['messages']:>13,}{result['allocation_error']:>10.1e}"
        + "".join(f"{column:>15}" for column in columns)
        + f"{growth:>9.2f}",
        flush=True,
    )


def profile(n: int, tree: str) -> None:
    """Where the time of a lockstep run goes."""
    from runner.stepped import run_stepped
    from topologies import load_scenario

    overrides = [f"topology={TREES[tree].format(n=n)}", f"environment.capacities=[{n}.0]"]
    parts = load_scenario(SCENARIO, [*overrides, "record.every=0"]).parts("profile")
    profiler = cProfile.Profile()
    profiler.runcall(run_stepped, parts)
    print(f"\nprofile of {n:,} agents in lockstep, by time in the function itself")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--broker", default="100,1000,10000", metavar="N,N,...")
    parser.add_argument("--lockstep", default="100,1000,10000,100000", metavar="N,N,...")
    parser.add_argument("--tree", choices=TREES, default="binary")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="profile so many agents instead")
    chosen = parser.parse_args()
    if chosen.profile:
        return profile(chosen.profile, chosen.tree)
    if chosen.broker:
        over_broker([int(n) for n in chosen.broker.split(",")], chosen.tree)
    if chosen.lockstep:
        in_lockstep([int(n) for n in chosen.lockstep.split(",")], chosen.tree)
    return None


if __name__ == "__main__":
    main()
