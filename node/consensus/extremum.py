"""Extremum flooding: a minimum or maximum over all agents, exact and bit-identical everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from node.protocol import Heard, Say

if TYPE_CHECKING:
    from node.part import AgentId

Numbers = tuple[float, ...]
Pick = Callable[[float, float], float]


def minimum(values: Numbers, rounds: int) -> Generator[Say, Heard, Numbers]:
    """The smallest of every component over all agents; see ``_flood`` for the guarantee."""
    return _flood(values, rounds, min, "minimum")


def maximum(values: Numbers, rounds: int) -> Generator[Say, Heard, Numbers]:
    """The largest of every component over all agents; see ``_flood`` for the guarantee."""
    return _flood(values, rounds, max, "maximum")


def _flood(values: Numbers, rounds: int, pick: Pick, kind: str) -> Generator[Say, Heard, Numbers]:
    """Repeat the best heard so far.

    Guarantee: exact at every agent, and the same bits, if ``rounds`` is at least the diameter. All agents
    enter and leave in the same round. Idempotent and independent of order.

    Args:
        values: this agent's numbers, finite; as many as every other agent's.
        rounds: the diameter of the graph or any larger number, the same at every agent.
    """
    width = len(values)

    def accepts(body: object, src: AgentId) -> bool:
        return type(body) is tuple and len(body) == width and all(type(v) is float for v in body)

    best = tuple(float(v) + 0.0 for v in values)  # no -0.0, which equals 0.0 but has other bits
    if not all(map(math.isfinite, best)):
        raise ValueError(f"only finite numbers can be flooded, got {values}")
    for _ in range(rounds):
        heard = yield Say(best, kind=kind, accepts=accepts)
        for other in heard.said.values():
            best = tuple(map(pick, best, other))
    return best
