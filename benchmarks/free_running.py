"""Free-running play when little is well: ``python -m benchmarks.free_running [--seeds 20] [--jobs 2]``.

The private-goods mechanism in virtual time, on the full binary tree of 31 and on a connected ER(0.3) of 31:
30 % of the messages are lost, the others take up to 20 ticks, and one agent ticks ten times as slowly. Every
seed draws utilities, the graph of ER, the slow agent and the network anew. What is wanted is the allocation
of the central optimum to 1e-6 of the largest share, with all agents stopping in one round of the rule.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from runner import run

TICK = 0.2  # virtual seconds: ticks rather than heartbeats are what is simulated
LOSS, DELAY, SLOW = 0.3, 20, 10
GRAPHS = {"tree": "binary-tree-31", "er": "erdos-renyi-31"}


def play(graph: str, seed: int) -> dict[str, float]:
    """One run: its error, how long it took and how many messages it was."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as directory:
        result = run(
            GRAPHS[graph],
            seed=seed,
            virtual=True,
            plot=False,
            out=Path(directory) / "run",
            overrides=[
                "synchrony.mode=free",
                f"synchrony.tick={TICK}",
                f"faults.loss={LOSS}",
                f"faults.delay=[0, {DELAY * TICK}]",
                f"faults.slow.a{seed % 31:02}={SLOW}",
                "record.every=0",
            ],
        )
    return {
        "error": result.allocation_error,
        "kept": float(result.kept_promise),
        "ticks": result.seconds / TICK,
        "stopped": result.stopped_in_round,
        "published": result.published,
        "cpu": time.process_time() - began,
    }


def main() -> None:
    """Measure and print; exits with 1 if a run is not as exact as wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    failed = 0
    for graph in GRAPHS:
        with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
            runs = pool.map(partial(play, graph), range(options.seeds), chunksize=1)
        right = sum(bool(r["kept"]) and r["error"] <= 1e-6 for r in runs)
        failed += options.seeds - right
        ticks, cpu = [r["ticks"] for r in runs], statistics.median(r["cpu"] for r in runs)
        print(
            f"{graph:5} {right} of {options.seeds} seeds within 1e-6; worst error "
            f"{max(r['error'] for r in runs):.1e}; ticks median {statistics.median(ticks):.0f}, "
            f"{min(ticks):.0f} to {max(ticks):.0f}; CPU {cpu:.0f} s each"
        )
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
