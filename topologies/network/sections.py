"""The sections of a network scenario: keys, types and ranges. docs/networks.md is their reference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag
from pydantic_core import PydanticCustomError

from topologies.generators import Section
from topologies.values import ID_RULE, Number, Uniform, number
from topologies.values import AgentId as Id

FAMILIES = ("log", "exponential", "square-root", "alpha-fair", "quadratic")


def _edge(value: Any) -> tuple[str, str, float | None]:
    if (
        not isinstance(value, list | tuple)
        or len(value) not in (2, 3)
        or not all(isinstance(end, str) for end in value[:2])
    ):
        raise PydanticCustomError("edge", "not two nodes and a capacity")
    return (value[0], value[1], number(value[2]) if len(value) == 3 and value[2] is not None else None)


def _which(value: Any) -> str:
    return "drawn" if isinstance(value, dict | Uniform) else "fixed"


Drawn = Annotated[Annotated[Uniform, Tag("drawn")] | Annotated[Number, Tag("fixed")], Discriminator(_which)]


class LinkSection(Section):
    """One capacity and who uses it: with coefficients, or ``agents`` with coefficient 1 each."""

    capacity: Number = Field(description="a finite number > 0")
    agents: Annotated[tuple[Id, ...], Field(strict=False)] = Field(
        default=(), description="a list of agent ids, each with coefficient 1"
    )
    coefficients: dict[Id, Number] = Field(
        default_factory=dict, description="a table: agent id = its coefficient, a finite number"
    )
    relays: Annotated[tuple[Id, ...], Field(strict=False)] = Field(
        default=(), description="a list of agent ids that forward for this link without using it"
    )


class Backbone(Section):
    """A physical network: edges with capacities, or a graph file whose edges may have a ``capacity``."""

    edges: Annotated[tuple[Annotated[Any, PlainValidator(_edge)], ...], Field(strict=False)] = Field(
        default=(), description="a list of [node, node, capacity]; the capacity may be left out"
    )
    file: str | None = Field(default=None, description="the path of a graph file")
    capacity: Number | None = Field(
        default=None, description="a finite number > 0: of every edge that has none of its own"
    )
    directed: bool = Field(
        default=False, description="true or false: whether an edge carries one direction only"
    )


class Flow(Section):
    """An agent: traffic from a node to a node, by the k-th shortest path."""

    source: str = Field(alias="from", min_length=1, description="a node of environment.backbone")
    target: str = Field(alias="to", min_length=1, description="a node of environment.backbone")
    path: int = Field(
        default=1, ge=1, le=100, description="a whole number from 1 to 100: 1 takes the shortest path"
    )
    coefficient: Number = Field(default=1.0, description="a finite number > 0, on every link of the path")
    group: Id | None = Field(
        default=None, description="the multicast group whose receiver this is; all of it from one node"
    )


class ValuationSection(Section):
    """One agent's utility."""

    family: Literal["log", "exponential", "square-root", "alpha-fair", "quadratic"] = Field(
        description="one of " + ", ".join(FAMILIES)
    )
    w: Number | None = Field(default=None, description="a finite number > 0; not for quadratic")
    s: Number | None = Field(default=None, description="a finite number > 0; not for quadratic")
    alpha: Number | None = Field(default=None, description="a finite number > 0, for alpha-fair")
    theta: Number | None = Field(default=None, description="a finite number < 0, for quadratic")
    sigma: Number | None = Field(default=None, description="a finite number, for quadratic")


class Valuations(Section):
    """Everybody's utility: families in turn over the agents, parameters fixed or drawn; or agent by agent."""

    families: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = Field(
        default=("log",), description="a list out of " + ", ".join(FAMILIES)
    )
    w: Drawn = Field(
        default=Uniform(uniform=(1.0, 5.0)), description="{ uniform = [lo, hi] } or a number > 0"
    )
    s: Drawn = Field(default=1.0, description="{ uniform = [lo, hi] } or a number > 0")
    alpha: Drawn = Field(default=2.0, description="{ uniform = [lo, hi] } or a number > 0")
    theta: Drawn = Field(default=-1.0, description="{ uniform = [lo, hi] } or a number < 0")
    sigma: Drawn = Field(default=4.0, description="{ uniform = [lo, hi] } or a finite number")
    seed: int | None = Field(
        default=None, ge=0, description="a whole number >= 0; without it the scenario's seed"
    )
    agents: dict[Id, ValuationSection] = Field(
        default_factory=dict, description="a table: agent id = its family and parameters, not drawn"
    )


class NetworkEnvironment(Section):
    """Capacities and who uses them: links by hand, or a backbone with flows; and everybody's utility."""

    kind: Literal["network"] = Field(description='"private-goods", "consensus" or "network"')
    links: dict[Id, LinkSection] = Field(
        default_factory=dict,
        description=f"a table of links, named by {ID_RULE}, each with a capacity and its agents",
    )
    backbone: Backbone | None = Field(default=None, description="a table with edges or a file")
    flows: dict[Id, Flow] = Field(
        default_factory=dict, description="a table: agent id = { from = node, to = node }"
    )
    groups: dict[Id, Annotated[tuple[Id, ...], Field(strict=False)]] = Field(
        default_factory=dict,
        description="a table: group = its agents; multicast groups, or who shares a public good",
    )
    floor: Number | None = Field(
        default=None, description="a finite number > 0: d of chapter 3, below every optimal amount"
    )
    ceilings: dict[Id, Number] = Field(
        default_factory=dict, description="a table: agent id = its largest demand, a finite number > 0"
    )
    valuations: Valuations = Field(default_factory=Valuations, description="a table")


class NetworkMechanism(Section):
    """A network mechanism and how its prices move."""

    name: Literal["unicast", "multicast", "linear"] = Field(
        description='"private-goods", "consensus", "unicast", "multicast" or "linear"'
    )
    balance: Literal["weak", "strong", "equilibrium", "everywhere"] | None = Field(
        default=None,
        description='"weak" or "strong"; for linear "weak", "equilibrium" or "everywhere"',
    )
    eta: float | None = Field(default=None, gt=0, description="a finite number > 0")
    xi: float = Field(default=0.02, gt=0, description="a finite number > 0, for multicast")
    zeta: float = Field(default=1.0, gt=0, description="a finite number > 0")
    prices: Literal["fast", "newton", "padr", "proved", "constant", "strategic"] = Field(
        default="fast", description='"fast", "newton", "padr", "proved", "constant" or "strategic"'
    )
    kappa: float = Field(default=1.0, gt=0, lt=2, description="a number in (0, 2)")
    gamma: float | None = Field(
        default=None, gt=0, description='a finite number > 0, with prices = "constant"'
    )
    start: float = Field(default=1.0, ge=0, description="a finite number >= 0")
    exchange: Literal["flood", "convergecast"] = Field(
        default="flood", description='"flood" or "convergecast"'
    )
    moves: int | None = Field(
        default=None, ge=1, le=1000, description="a whole number from 1 to 1000: price moves in a step"
    )


class FromLinks(Section):
    """The communication graph made from the links: who shares one can reach one another on it."""

    links: Literal["hub", "ring", "complete"] = Field(description='"hub", "ring" or "complete"')
