"""Values of a scenario file: numbers, lists of them, ids, distributions; what sections are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainValidator, Tag, field_validator
from pydantic_core import PydanticCustomError

from broker.topics import LEVEL
from topologies.generators import Section

ID_RULE = "1 to 64 of the characters A-Z a-z 0-9 _ -"


def _agent_id(value: Any) -> str:
    if not isinstance(value, str) or not LEVEL.match(value):
        raise PydanticCustomError("agent_id", "not an agent id")
    return value


def _edge(value: Any) -> tuple[str, str]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(end, str) for end in value)
    ):
        raise PydanticCustomError("edge", "not a pair of agent ids")
    return (value[0], value[1])


def number(value: Any) -> float:
    """A finite number of the file, as a float.

    Raises:
        PydanticCustomError: if it is none.
    """
    # bool is an int to Python; in a scenario file `true` where a number belongs is a mistake.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("number", "not a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise PydanticCustomError("number", "not finite")
    return result


def _per_good(value: Any) -> float | tuple[float, ...]:
    if not isinstance(value, list | tuple):
        return number(value)
    if not value:
        raise PydanticCustomError("per_good", "empty")
    return tuple(number(item) for item in value)


Number = Annotated[float, PlainValidator(number)]
AgentId = Annotated[str, PlainValidator(_agent_id)]
Edge = Annotated[tuple[str, str], PlainValidator(_edge)]
PerGood = Annotated[float | tuple[float, ...], PlainValidator(_per_good)]


class Uniform(Section):
    """A seeded uniform distribution, ``{uniform = [lo, hi]}``, lo <= hi; drawn from [lo, hi)."""

    uniform: Annotated[tuple[Number, Number], Field(strict=False)] = Field(
        description="[lo, hi], two finite numbers with lo <= hi"
    )

    @field_validator("uniform")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1] or not math.isfinite(value[1] - value[0]):
            raise PydanticCustomError("range", "not a range")
        return value


def which_distribution(value: Any) -> str:
    """Whether a parameter is drawn or fixed: pydantic's tag for it."""
    return "uniform" if isinstance(value, dict | Uniform) else "fixed"


Parameter = Annotated[
    Annotated[Uniform, Tag("uniform")] | Annotated[PerGood, Tag("fixed")], Discriminator(which_distribution)
]


def crossed(key: str, value: Any, expected: str) -> PydanticCustomError:
    """The error of a key whose value is wrong only because of another key of its table."""
    return PydanticCustomError("crossed", "{expected}", {"key": key, "value": value, "expected": expected})
