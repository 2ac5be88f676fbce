"""All figures of benchmarks/README.md in one go: ``python -m benchmarks [--repeats K]``.

Compared settings run interleaved, so that a machine whose speed drifts treats them alike; medians count.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import measure
from runner import run

# name -> (graph, hosts, connections, rounds, scenario settings)
CELLS: dict[str, tuple[str, int | None, str, int, list[str]]] = {
    "tree, 31 processes": ("tree", None, "agent", 2000, []),
    "tree, 2 hosts, shared connections": ("tree", 2, "host", 6000, []),
    "ER(0.3), 2 hosts, shared connections": ("er", 2, "host", 4000, []),
    "ER(0.3), 31 processes": ("er", None, "agent", 1200, []),
    "tree, 31 processes, Mosquitto": ("tree", None, "agent", 2000, ["broker.server=mosquitto"]),
    "tree, 31 processes, aiomqtt": ("tree", None, "agent", 1000, ["broker.client=aiomqtt"]),
}
COLUMNS = ("rounds_per_second", "agent_us_per_message", "broker_us_per_message", "process_mib")


def exchange(repeats: int) -> None:
    """Neighbour exchange, every cell."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CELLS}
    for _ in range(repeats):
        for name, cell in CELLS.items():
            runs[name].append(measure(*cell))
    print("\nneighbour exchange, 33 float64 a message")
    print(f"{'':40}{'rounds/s':>10}{'agents us':>11}{'broker us':>11}{'MiB':>7}   all rounds/s")
    for name, results in runs.items():
        medians = [statistics.median(result[column] for result in results) for column in COLUMNS]
        spread = ", ".join(f"{result['rounds_per_second']:.0f}" for result in results)
        print(
            f"{name:40}{medians[0]:>10.0f}{medians[1]:>11.1f}{medians[2]:>11.1f}{medians[3]:>7.1f}   {spread}"
        )


def main_job(repeats: int) -> None:
    """The main job over the embedded broker, one process per agent."""
    for name in ("binary-tree-31", "erdos-renyi-31"):
        seconds, first = [], []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as directory:
                result = run(name, out=Path(directory) / "run", plot=False)
            seconds.append(result.seconds)
            first.append(result.first_round_seconds or 0.0)
        print(
            f"\n{name}: {result.rounds} rounds in {statistics.median(seconds):.2f} s, first round complete "
            f"after {statistics.median(first):.2f} s; allocation error {result.allocation_error:.1e}, "
            f"|sum of taxes| / sum |tax| {abs(result.tax_sum) / result.tax_scale:.1e}, "
            f"1 - welfare ratio {1 - result.welfare / result.optimal_welfare:.1e}"
        )


def start_up(repeats: int) -> None:
    """How long the command line takes to answer."""
    script = str(Path(sys.executable).with_name("vicinal"))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([script, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    print(f"\nvicinal --help: {statistics.median(times):.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    start_up(repeats)
    main_job(repeats)
    exchange(repeats)


if __name__ == "__main__":
    main()
