"""What a consensus run should find: the yardstick of whoever knows all values, never used by agents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.part import AgentId

Numbers = tuple[float, ...]


class ConsensusEnvironment:
    """Everybody's private values, and what they amount to.

    Args:
        values: agent -> its numbers, as many for each.
    Attributes:
        sum, mean, minimum, maximum: of every component; sums and means are correctly rounded.
    Raises:
        ValueError: if there are no agents, or their values differ in length or are not finite.
    """

    def __init__(self, values: Mapping[AgentId, Sequence[float]]) -> None:
        self.values = {agent: tuple(map(float, values[agent])) for agent in sorted(values)}
        if len({len(v) for v in self.values.values()}) != 1:
            raise ValueError("expected at least one agent, and equally many values for each")
        if not all(math.isfinite(v) for row in self.values.values() for v in row):
            raise ValueError("expected finite values")
        columns = list(zip(*self.values.values(), strict=True))
        self.sum: Numbers = tuple(math.fsum(column) for column in columns)
        self.mean: Numbers = tuple(total / len(self.values) for total in self.sum)
        self.minimum: Numbers = tuple(map(min, columns))
        self.maximum: Numbers = tuple(map(max, columns))

    def expected(self, primitive: str, diameter: int | None = None) -> Numbers:
        """What a primitive should give; for trimmed averaging the mean, which it only comes near.

        Raises:
            ValueError: for an unknown primitive.
        """
        match primitive:
            case "minimum":
                return self.minimum
            case "maximum":
                return self.maximum
            case "set" | "tree":
                return self.sum
            case "ratio" | "metropolis" | "flow" | "trimmed":
                return self.mean
            case "diameter" if diameter is not None:
                return (float(diameter),)
        raise ValueError(f"unknown primitive {primitive!r}")

    def error(self, primitive: str, value: Sequence[float], diameter: int | None = None) -> float:
        """The largest absolute error of an agent's result; infinite without one.

        Trimmed averaging promises the range of the inputs: its error is the distance from that range.
        """
        if not len(value):
            return math.inf
        if primitive == "trimmed":
            return max(0.0, self.minimum[0] - value[0], value[0] - self.maximum[0])
        expected = self.expected(primitive, diameter)
        return max(abs(a - b) for a, b in zip(value, expected, strict=True))
