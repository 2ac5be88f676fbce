"""The section ``[utilities]``, one model a family of utilities: drawn, or given agent by agent.

What can be said about a value by itself is checked here, what needs the number of goods or the common bound
eta in ``topologies.valuations``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, model_validator
from pydantic_core import PydanticCustomError

from topologies.generators import Section
from topologies.values import (
    ID_RULE,
    AgentId,
    Parameter,
    PerGood,
    Uniform,
    crossed,
    number,
    which_distribution,
)

NUMBERS = "a finite number, or a list of them with one per good"
DRAWN = f"{{ uniform = [lo, hi] }}, {NUMBERS}"
_POSITIVE = "a number > 0, or a list of them with one per good"


def _matrix(value: Any) -> tuple[tuple[float, ...], ...]:
    if (
        not isinstance(value, list | tuple)
        or not value
        or not all(isinstance(r, list | tuple) for r in value)
    ):
        raise PydanticCustomError("matrix", "not a matrix")
    rows = tuple(tuple(number(item) for item in row) for row in value)
    if {len(row) for row in rows} != {len(rows)}:
        raise PydanticCustomError("matrix", "not square")
    return rows


def _plain(value: Any) -> Any:
    """A parameter of a user's class: a number, a text, a truth value, or lists of these."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if not isinstance(value, bool | int | float | str) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise PydanticCustomError("plain", "not a plain value")
    return value


Matrix = Annotated[tuple[tuple[float, ...], ...], PlainValidator(_matrix)]
Plain = Annotated[Any, PlainValidator(_plain)]
Argument = Annotated[
    Annotated[Uniform, Tag("uniform")] | Annotated[Plain, Tag("fixed")], Discriminator(which_distribution)
]


class Quadratic(Section):
    """v(x) = sum over goods of theta x^2 + sigma x, for one agent."""

    theta: PerGood = Field(description=NUMBERS)
    sigma: PerGood = Field(description=NUMBERS)


class QuadraticForm(Section):
    """v(x) = x'Hx/2 + sigma'x, for one agent."""

    hessian: Matrix = Field(description="a list of K lists of K finite numbers")
    sigma: PerGood = Field(description=NUMBERS)


class LogCosh(Section):
    """v(x) = sum over goods of sigma x - low x^2/2 - (high - low) width^2 log cosh((x - centre)/width)."""

    low: PerGood = Field(description=_POSITIVE)
    high: PerGood = Field(description=_POSITIVE)
    sigma: PerGood = Field(description=NUMBERS)
    centre: PerGood = Field(default=0.0, description=NUMBERS)
    width: PerGood = Field(default=1.0, description=_POSITIVE)


class Family(Section):
    """What all families share: everybody's utility is drawn, or given agent by agent.

    ``family`` and ``agents`` are narrowed by each of them; what is drawn are its other keys.
    """

    seed: int | None = Field(
        default=None, ge=0, description="a whole number >= 0; without it the scenario's seed"
    )
    drawn: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Family:
        for key in (*self.drawn, "seed"):
            if getattr(self, "agents", None) is not None and (value := getattr(self, key)) is not None:
                value = value.model_dump() if isinstance(value, Uniform) else value
                raise crossed(key, value, "no such key beside [utilities.agents], where nothing is drawn")
        return self


def _agents(parameters: str) -> str:
    return f"one table per agent with {parameters}, its name the agent's id ({ID_RULE})"


class QuadraticFamily(Family):
    """Separable quadratics, those of the thesis' simulations."""

    drawn = ("theta", "sigma")
    family: Literal["quadratic"] = Field(default="quadratic", description='"quadratic"')
    theta: Parameter | None = Field(default=None, description=DRAWN)
    sigma: Parameter | None = Field(default=None, description=DRAWN)
    agents: dict[AgentId, Quadratic] | None = Field(default=None, description=_agents("theta and sigma"))


class QuadraticFormFamily(Family):
    """Quadratics whose goods depend on each other. ``curvature``: the eigenvalues of -H, K for each agent."""

    drawn = ("curvature", "sigma")
    family: Literal["quadratic-form"] = Field(description='"quadratic-form"')
    curvature: Parameter | None = Field(default=None, description=DRAWN)
    sigma: Parameter | None = Field(default=None, description=DRAWN)
    agents: dict[AgentId, QuadraticForm] | None = Field(
        default=None, description=_agents("hessian and sigma")
    )


class LogCoshFamily(Family):
    """Utilities that are steep around a target and flatter away from it."""

    drawn = ("low", "high", "sigma", "centre", "width")
    family: Literal["log-cosh"] = Field(description='"log-cosh"')
    low: Parameter | None = Field(default=None, description=DRAWN)
    high: Parameter | None = Field(default=None, description=DRAWN)
    sigma: Parameter | None = Field(default=None, description=DRAWN)
    centre: Parameter | None = Field(default=None, description=DRAWN)
    width: Parameter | None = Field(default=None, description=DRAWN)
    agents: dict[AgentId, LogCosh] | None = Field(
        default=None, description=_agents("low, high, sigma and optionally centre, width")
    )


class CustomFamily(Family):
    """Utilities of the user's own: an importable class and its arguments."""

    drawn = ("parameters",)
    family: Literal["custom"] = Field(description='"custom"')
    class_: str = Field(
        alias="class",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description='"module:Class", a class with value, gradient and curvature (docs/utilities.md)',
    )
    parameters: dict[str, Argument] | None = Field(
        default=None,
        description="a table of the class's arguments: { uniform = [lo, hi] }, numbers, texts, lists of them",
    )
    agents: dict[AgentId, dict[str, Plain]] | None = Field(
        default=None, description=_agents("the class's arguments: numbers, texts, lists of them")
    )


def which_family(value: Any) -> Any:
    """The family that a table names: pydantic's tag for it."""
    found = value.get("family", "quadratic") if isinstance(value, dict) else "quadratic"
    return getattr(value, "family", found)


FAMILIES: dict[str, type[Family]] = {
    "quadratic": QuadraticFamily,
    "quadratic-form": QuadraticFormFamily,
    "log-cosh": LogCoshFamily,
    "custom": CustomFamily,
}
# The table of one agent; a user's class has arguments of its own.
GIVEN: dict[str, type[Section]] = {
    "quadratic": Quadratic,
    "quadratic-form": QuadraticForm,
    "log-cosh": LogCosh,
    "custom": CustomFamily,
}
AnyFamily = QuadraticFamily | QuadraticFormFamily | LogCoshFamily | CustomFamily
AnyUtilities = Annotated[
    Annotated[QuadraticFamily, Tag("quadratic")]
    | Annotated[QuadraticFormFamily, Tag("quadratic-form")]
    | Annotated[LogCoshFamily, Tag("log-cosh")]
    | Annotated[CustomFamily, Tag("custom")],
    Discriminator(which_family),
]
