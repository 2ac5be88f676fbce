"""Flooded tables against convergecast of sums on one link: rounds, words and numbers carried.

python -m benchmarks.network_exchange [--mechanism unicast|linear] [--whole] [AGENTS ...]

With linear constraints every tenth agent shares a public good with the one after it. ``--whole``: whole runs
around a hub instead, in virtual time, to a proof at 1e-4, two price moves a step.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from node import lockstep
from node.protocols.network.life import network
from runner import run
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.protocol import Say

STEPS = 5
# Of whole runs. A narrow range: with linear constraints the optimum has to be above every floor, (A2).
VALUATIONS = "[environment.valuations]\nw = { uniform = [3.0, 5.0] }\n"


def scenario(
    mechanism: str,
    agents: int,
    pattern: str,
    exchange: str,
    moves: int = 1,
    stopping: str = f"max_rounds = {STEPS}",
    valuations: str = "",
) -> str:
    """The scenario's text."""
    names = [f"a{k:04d}" for k in range(agents)]
    ids = ", ".join(f'"{name}"' for name in names)
    pairs = [names[k : k + 2] for k in range(0, agents - 1, 10)] if mechanism == "linear" else []
    groups = "".join(f'g{k} = ["{one}", "{two}"]\n' for k, (one, two) in enumerate(pairs))
    return (
        f'[topology]\nlinks = "{pattern}"\n[environment]\nkind = "network"\n[environment.links.one]\n'
        f"capacity = {agents / 3}\nagents = [{ids}]\n[environment.groups]\n{groups}"
        f"{valuations}"
        f'[mechanism]\nname = "{mechanism}"\nmoves = {moves}\n'
        f'exchange = "{exchange}"\n[stopping]\n{stopping}\n'
    )


def measure(
    mechanism: str, agents: int, pattern: str, exchange: str
) -> tuple[int, int, int, dict[str, float]]:
    """(rounds of an exchange, words, numbers carried in all, allocations)."""
    words = numbers = 0

    def observe(round_: int, says: Mapping[str, Say]) -> None:
        nonlocal words, numbers
        for say in says.values():
            if say.kind == "tables":
                words += len(say.to)
                numbers += sum(_numbers(told) for told in say.to.values())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "link.toml"
        path.write_text(scenario(mechanism, agents, pattern, exchange))
        parts = load_scenario(path).parts("exchange")
    hears = {i: part.hears for i, part in parts.items()}
    ended = lockstep.run({i: network(part) for i, part in parts.items()}, hears, observe)
    depth = next(iter(ended.results.values())).depth
    return depth, words, numbers, {i: result.allocation for i, result in ended.results.items()}


def whole(mechanism: str, agents: int, exchange: str) -> tuple[int, int, int]:
    """Rounds, messages and bytes of a run to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "link.toml"
        path.write_text(scenario(mechanism, agents, "hub", exchange, 2, "tolerance = 1e-4", VALUATIONS))
        result = run(path, virtual=True, plot=False, out=Path(folder) / "run")
    assert result.kept_promise, result.verdict
    return result.rounds, result.messages, result.bytes


def _numbers(told: Any) -> int:
    return sum(map(_numbers, told)) if isinstance(told, tuple) else int(isinstance(told, float))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agents", nargs="*", type=int, default=[5, 20, 100])
    parser.add_argument("--mechanism", choices=("unicast", "linear"), default="unicast")
    parser.add_argument("--whole", action="store_true", help="whole runs")
    chosen = parser.parse_args()
    if chosen.whole:
        print(
            "| agents | exchange | rounds | messages | bytes | bytes a message |\n|---|---|---|---|---|---|"
        )
        for agents in chosen.agents:
            for way in ("flood", "convergecast"):
                rounds, messages, size = whole(chosen.mechanism, agents, way)
                print(f"| {agents} | {way} | {rounds} | {messages:,} | {size:,} | {size / messages:.0f} |")
        return
    print("| agents | graph | exchange | rounds | words a step | numbers a step |\n|---|---|---|---|---|---|")
    for agents in chosen.agents:
        for pattern in ("hub", "ring", "complete"):
            found = {
                way: measure(chosen.mechanism, agents, pattern, way) for way in ("flood", "convergecast")
            }
            assert found["flood"][3] == found["convergecast"][3], "the two ways differ"
            for way, (depth, words, numbers, _) in found.items():
                print(
                    f"| {agents} | {pattern} | {way} | {depth} | {words // STEPS:,} | {numbers // STEPS:,} |"
                )


if __name__ == "__main__":
    main()
