"""What durability costs: rounds per second of neighbour exchange for ``durable`` none, snapshot and round.

python -m benchmarks.durability [--repeats K] [--graph tree|er] [--hosts H] [--connections agent|host]

``none`` keeps nothing; ``snapshot`` has all that was heard on file before an agent speaks; ``round`` on
the disk, by fdatasync. The settings run in turn, so that a machine whose speed drifts treats them alike;
medians count, and ratios to ``none`` of the same repetition more than they. Stores are in the folder for
temporary files (TMPDIR): on a memory file system a sync costs nothing, which is no measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import SCENARIOS, measure

SETTINGS = ("none", "snapshot", "round")


def sync_seconds(count: int = 200) -> float:
    """How long this disk takes to acknowledge one small write, in the median."""
    with tempfile.TemporaryDirectory() as directory:
        fd = os.open(Path(directory) / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        times = []
        try:
            for _ in range(count):
                began = time.perf_counter()
                os.write(fd, bytes(600))
                getattr(os, "fdatasync", os.fsync)(fd)
                times.append(time.perf_counter() - began)
        finally:
            os.close(fd)
    return statistics.median(times)


def main() -> None:
    """Measure in turn and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--graph", choices=SCENARIOS, default="tree")
    parser.add_argument("--hosts", type=int)
    parser.add_argument("--connections", choices=("agent", "host"), default="agent")
    parser.add_argument("--rounds", type=int, default=1500)
    chosen = parser.parse_args()
    print(json.dumps({**vars(chosen), "stores": tempfile.gettempdir(), "sync_seconds": sync_seconds()}))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in SETTINGS}
    for _ in range(chosen.repeats):
        for name in SETTINGS:
            sets = [f"recovery.durable={name}"]
            found = measure(chosen.graph, chosen.hosts, chosen.connections, chosen.rounds, sets)
            runs[name].append(found)
            print(json.dumps({"durable": name, **found}), flush=True)
    for name, done in runs.items():
        pairs = zip(done, runs["none"], strict=True)
        ratios = [each["rounds_per_second"] / none["rounds_per_second"] for each, none in pairs]
        summary = {
            "durable": name,
            "rounds_per_second": statistics.median(each["rounds_per_second"] for each in done),
            "of_none": statistics.median(ratios),
            "agent_us_per_message": statistics.median(each["agent_us_per_message"] for each in done),
        }
        print(json.dumps({"summary": True, **summary}), flush=True)


if __name__ == "__main__":
    main()
