"""Rounds per second and CPU per delivered message of neighbour exchange over a real broker.

python -m benchmarks.rounds [--graph tree|er] [--hosts H] [--connections agent|host] [--durable D]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.launch import Settings, run_processes
from topologies import load_scenario

SCENARIOS = {"tree": "binary-tree-31", "er": "erdos-renyi-31"}
WARM_UP = 100  # rounds before the first sample
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Meter:
    """Samples (time, slowest round, CPU seconds of agents, of the broker) as progress comes in."""

    agents: int
    rounds: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[float, int, float, float]] = field(default_factory=list)
    memory: dict[int, float] = field(default_factory=dict)

    def watch(self, agent: str, info: dict[str, Any]) -> None:
        """Take in an agent's progress."""
        self.rounds[agent] = info["round"]
        if len(self.rounds) < self.agents or info["state"] != "playing":
            return
        slowest = min(self.rounds.values())
        if slowest >= WARM_UP and (not self.samples or time.monotonic() - self.samples[-1][0] > 0.3):
            hosts, broker = _processes()
            self.samples.append((time.monotonic(), slowest, sum(map(_cpu, hosts)), sum(map(_cpu, broker))))
            self.memory = {pid: _resident(pid) for pid in hosts}


def _processes() -> tuple[list[int], list[int]]:
    """Process ids of the hosts and of the broker among our descendants."""
    parents: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue  # ended meanwhile
            name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
            names[int(entry.name)] = name
            parents.setdefault(int(rest[1]), []).append(int(entry.name))
    hosts, broker = [], []
    for child in parents.get(os.getpid(), []):
        grandchildren = parents.get(child, [])
        for pid in grandchildren:
            (broker if names[pid] in ("nats-server", "mosquitto") else hosts).append(pid)
    return hosts, broker


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def measure(
    graph: str, hosts: int | None, connections: str, rounds: int, sets: list[str]
) -> dict[str, float]:
    """One run; the medians of several are what counts."""
    loaded = load_scenario(SCENARIOS[graph], [f"broker.connections={connections}", "record.every=0", *sets])
    parts = {
        agent: replace(part, contract={"rounds": rounds}) for agent, part in loaded.parts("bench").items()
    }
    meter = Meter(len(parts))
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(
            hosts, None, Path(directory), meter.watch, print, protocol="benchmarks.exchange:exchange"
        )
        reports, _seconds, launched_at = asyncio.run(run_processes(loaded, parts, "bench", settings))
    if len(meter.samples) < 3:
        raise SystemExit(f"too few samples ({len(meter.samples)}): ask for more --rounds")
    (t0, r0, a0, b0), (t1, r1, a1, b1) = meter.samples[0], meter.samples[-1]
    edges = loaded.graph.number_of_edges()
    delivered = (r1 - r0) * edges
    return {
        "rounds_per_second": (r1 - r0) / (t1 - t0),
        "agent_us_per_message": (a1 - a0) / delivered * 1e6,
        "broker_us_per_message": (b1 - b0) / delivered * 1e6,
        "us_per_message": (a1 - a0 + b1 - b0) / delivered * 1e6,
        "process_mib": statistics.median(meter.memory.values()),
        "first_round_seconds": max(r["first_round_at"] for r in reports.values()) - launched_at,
        "resent": float(sum(r["resent"] for r in reports.values())),
    }


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graph", choices=SCENARIOS, default="tree")
    parser.add_argument("--hosts", type=int)
    parser.add_argument("--connections", choices=("agent", "host"), default="agent")
    parser.add_argument("--durable", choices=("none", "snapshot", "round"), default="none")
    parser.add_argument("--rounds", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    chosen = parser.parse_args()
    chosen.sets.append(f"recovery.durable={chosen.durable}")
    runs = [
        measure(chosen.graph, chosen.hosts, chosen.connections, chosen.rounds, chosen.sets)
        for _ in range(chosen.repeats)
    ]
    medians = {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    spread = [round(run["rounds_per_second"], 1) for run in runs]
    print(json.dumps({**vars(chosen), **medians, "all_rounds_per_second": spread}))


if __name__ == "__main__":
    main()
