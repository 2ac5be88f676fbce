"""Unicast on a backbone of 100 nodes: rounds, messages and CPU time for 50 to 500 flows, in virtual time.

    python -m benchmarks.network_scale [FLOWS ...] [--rule proof]

Random 4-regular backbone; every source and destination has two flows, by the shortest path; logarithmic and
square-root utilities; capacity proportional to the flows; accuracy 1e-3.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import networkx as nx

from runner import run

NODES, DEGREE, SEED = 100, 4, 7


def scenario(flows: int, rule: str) -> str:
    """The scenario's text."""
    rng = random.Random(SEED)
    graph = nx.random_regular_graph(DEGREE, NODES, seed=SEED)
    edges = ", ".join(f'["n{a:02d}", "n{b:02d}"]' for a, b in sorted(graph.edges))
    lines = [
        f"seed = {SEED}",
        '[topology]\nlinks = "hub"',
        '[environment]\nkind = "network"',
        f"[environment.backbone]\ncapacity = {flows / 10}\nedges = [{edges}]",
        "[environment.flows]",
    ]
    ends = [0, 0]
    for k in range(flows):
        if k % 2 == 0:
            ends = rng.sample(range(NODES), 2)
        lines.append(f'f{k:03d} = {{ from = "n{ends[0]:02d}", to = "n{ends[1]:02d}" }}')
    lines += [
        '[environment.valuations]\nfamilies = ["log", "square-root"]\nw = { uniform = [5.0, 20.0] }',
        '[mechanism]\nname = "unicast"',
        f'[stopping]\nrule = "{rule}"\ntolerance = 1e-3',
        "[record]\nevery = 0",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flows", nargs="*", type=int, default=[50, 100, 200, 500])
    parser.add_argument("--rule", choices=("observed", "proof"), default="observed")
    arguments = parser.parse_args()
    for flows in arguments.flows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"scale-{flows}.toml"
            path.write_text(scenario(flows, arguments.rule))
            cpu, wall = time.process_time(), time.perf_counter()
            result = run(path, virtual=True, out=Path(folder) / "run", plot=False)
            print(
                f"{flows} flows: {result.steps} steps, {result.rounds} rounds, {result.messages:,} messages, "
                f"error {result.allocation_error:.1e}, {time.process_time() - cpu:.0f} s CPU, "
                f"{time.perf_counter() - wall:.0f} s"
            )


if __name__ == "__main__":
    main()
