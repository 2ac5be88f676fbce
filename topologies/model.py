"""The scenario file format: sections, keys, types and ranges. docs/scenarios.md is its reference.

The description of a field completes the sentence "expected ..." in the message about a wrong value; a test
holds every field to having one. What can be said about a value by itself is checked here; what needs the
graph or the draws is checked in ``topologies.graphs`` and ``topologies.valuations``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from topologies.families import AnyUtilities, QuadraticFamily
from topologies.faults import Faults  # noqa: TC001 - pydantic reads the annotation
from topologies.generators import AnyGenerator, Section
from topologies.network.sections import FromLinks, NetworkEnvironment, NetworkMechanism
from topologies.values import ID_RULE, AgentId, Edge, Number, PerGood, Uniform, crossed


class Explicit(Section):
    """Agents and edges one by one. Edge [i, j] of a directed graph means "i listens to j"."""

    nodes: Annotated[tuple[AgentId, ...], Field(strict=False)] = Field(
        description=f"a list of at least 3 different agent ids, each {ID_RULE}"
    )
    edges: Annotated[tuple[Edge, ...], Field(strict=False)] = Field(
        description="a list of pairs [i, j] of different agent ids"
    )
    directed: bool = Field(default=False, description="true or false")


class GraphFile(Section):
    """A graph file, its path relative to the scenario file; the suffix names the format."""

    file: str = Field(min_length=1, description="the path of a graph file")
    directed: bool | None = Field(default=None, description="true or false; without it the file decides")


def _which(value: Any) -> str | None:
    if isinstance(value, dict):
        for key, tag in (
            ("generator", "generated"),
            ("file", "file"),
            ("nodes", "explicit"),
            ("edges", "explicit"),
            ("links", "links"),
        ):
            if key in value:
                return tag
    return None


Topology = Annotated[
    Annotated[AnyGenerator, Field(discriminator="generator"), Tag("generated")]
    | Annotated[Explicit, Tag("explicit")]
    | Annotated[GraphFile, Tag("file")]
    | Annotated[FromLinks, Tag("links")],
    Discriminator(_which, custom_error_type="topology", custom_error_message="no kind of topology"),
]


KINDS = '"private-goods", "public-goods", "consensus" or "network"'
MECHANISMS = '"private-goods", "public-goods", "summary", "consensus", "unicast", "multicast" or "linear"'
ETA = "a finite number > 1; curvatures lie between 1/eta and eta"


class Environment(Section):
    """What is to be shared, and what all agents know about everybody's curvature (spec 04, section 0)."""

    kind: Literal["private-goods"] = Field(default="private-goods", description=KINDS)
    capacities: Annotated[tuple[Number, ...], Field(strict=False, min_length=1)] = Field(
        description="a list of finite numbers, one per good, at least one"
    )
    eta: float = Field(default=25.0, gt=1, description=ETA)


class PublicEnvironment(Section):
    """What is to be decided for all alike: P features of one public good."""

    kind: Literal["public-goods"] = Field(description=KINDS)
    features: int = Field(default=1, ge=1, description="a whole number >= 1")
    eta: float = Field(default=25.0, gt=1, description=ETA)


def _values(value: Any) -> str:
    return (
        "drawn"
        if isinstance(value, Uniform) or (isinstance(value, dict) and [*value] == ["uniform"])
        else "given"
    )


class ConsensusEnvironment(Section):
    """Private values, one or several numbers an agent, and something that all of them want to know of all."""

    kind: Literal["consensus"] = Field(description=KINDS)
    values: Annotated[
        Annotated[Uniform, Tag("drawn")] | Annotated[dict[AgentId, PerGood], Tag("given")],
        Discriminator(_values),
    ] = Field(
        default=Uniform(uniform=(0.0, 1.0)),
        description="{ uniform = [lo, hi] }, or one finite number or a list of them for every agent id",
    )
    seed: int | None = Field(
        default=None, ge=0, description="a whole number >= 0; without it the scenario's seed"
    )

    @model_validator(mode="after")
    def _one_way(self) -> ConsensusEnvironment:
        if self.seed is not None and not isinstance(self.values, Uniform):
            raise crossed("seed", self.seed, "no such key beside environment.values that are given")
        return self


def _told_by(key: str) -> Discriminator:
    """Which of several kinds a table is, by the value of a key; the kind that was there first needs none."""

    def of(value: Any) -> Any:
        first = "private-goods"
        return value.get(key, first) if isinstance(value, dict) else getattr(value, key, first)

    return Discriminator(of)


AnyEnvironment = Annotated[
    Annotated[Environment, Tag("private-goods")]
    | Annotated[PublicEnvironment, Tag("public-goods")]
    | Annotated[ConsensusEnvironment, Tag("consensus")]
    | Annotated[NetworkEnvironment, Tag("network")],
    _told_by("kind"),
]


class Mechanism(Section):
    """The contract. xi and delta follow from the network (spec 04, section 4) unless given."""

    name: Literal["private-goods", "public-goods"] = Field(default="private-goods", description=MECHANISMS)
    parameters: Literal["tuned", "eta", "proof", "explicit"] = Field(
        default="tuned", description='"tuned", "eta", "proof" or "explicit"'
    )
    xi: float | None = Field(
        default=None, gt=0, lt=1, description='a number in (0, 1), with parameters = "explicit"'
    )
    delta: float | None = Field(
        default=None, gt=0, description='a finite number > 0, with parameters = "explicit"'
    )
    unguaranteed: bool = Field(
        default=False,
        description="true or false: whether agents play although no bound proves that play converges",
    )

    @model_validator(mode="after")
    def _explicit(self) -> Mechanism:
        for key in ("xi", "delta"):
            value = getattr(self, key)
            if self.parameters == "explicit" and value is None:
                raise crossed(key, None, 'a number, because mechanism.parameters = "explicit"')
            if self.parameters != "explicit" and value is not None:
                raise crossed(key, value, f'no such key, because mechanism.parameters = "{self.parameters}"')
        return self


class ConsensusMechanism(Section):
    """One primitive of gossip as a run of its own (docs/consensus.md)."""

    name: Literal["consensus"] = Field(description=MECHANISMS)
    primitive: Literal[
        "minimum", "maximum", "set", "tree", "diameter", "ratio", "metropolis", "flow", "trimmed"
    ] = Field(
        description='"minimum", "maximum", "set", "tree", "diameter", "ratio", "metropolis", "flow" or '
        '"trimmed"'
    )
    rho: float | None = Field(
        default=None, ge=0, lt=1, description='a number in [0, 1), with primitive = "metropolis"'
    )
    f: int | None = Field(
        default=None, ge=0, description='a whole number >= 0 of liars, with primitive = "trimmed"'
    )
    diameter: int | None = Field(
        default=None, ge=1, description="a whole number >= 1: the diameter or more; without it agents find it"
    )
    unguaranteed: bool = Field(
        default=False,
        description="true or false: whether agents play although nothing proves that the graph bears f liars",
    )

    @model_validator(mode="after")
    def _belongs(self) -> ConsensusMechanism:
        if self.rho is not None and self.primitive != "metropolis":
            raise crossed("rho", self.rho, f'no such key, because mechanism.primitive = "{self.primitive}"')
        if self.f is not None and self.primitive != "trimmed":
            raise crossed("f", self.f, f'no such key, because mechanism.primitive = "{self.primitive}"')
        if self.diameter is not None and self.primitive == "diameter":
            raise crossed("diameter", self.diameter, "no such key: it is what is to be found")
        if self.f is None and self.primitive == "trimmed":
            raise crossed("f", None, 'a whole number >= 0 of liars, because mechanism.primitive = "trimmed"')
        return self


class SummaryMechanism(Section):
    """The summary contract on a spanning tree that the agents build (docs/summary.md); for private and public
    goods, whatever ``environment.kind`` says."""

    name: Literal["summary"] = Field(description=MECHANISMS)
    variant: Literal["anchored", "weighted", "plain"] = Field(
        default="anchored", description='"anchored", or for private goods "weighted" or "plain"'
    )
    parameters: Literal["tuned", "eta", "explicit"] = Field(
        default="tuned", description='"tuned", "eta" or "explicit"'
    )
    cap: float | None = Field(
        default=None,
        gt=0,
        lt=0.5,
        description='a number in (0, 0.5), at least 1/N, with variant = "weighted"; without it 0.45',
    )
    delta: float | None = Field(
        default=None, gt=0, description='a finite number > 0, with parameters = "explicit"'
    )
    unguaranteed: bool = Field(
        default=False,
        description="true or false: whether agents play although no bound proves that play converges",
    )

    @model_validator(mode="after")
    def _belongs(self) -> SummaryMechanism:
        if self.cap is not None and self.variant != "weighted":
            raise crossed("cap", self.cap, f'no such key, because mechanism.variant = "{self.variant}"')
        if self.parameters == "explicit" and self.delta is None:
            raise crossed("delta", None, 'a number, because mechanism.parameters = "explicit"')
        if self.parameters != "explicit" and self.delta is not None:
            expected = f'no such key, because mechanism.parameters = "{self.parameters}"'
            raise crossed("delta", self.delta, expected)
        return self


AnyMechanism = Annotated[
    Annotated[Mechanism, Tag("private-goods")]
    | Annotated[Mechanism, Tag("public-goods")]
    | Annotated[SummaryMechanism, Tag("summary")]
    | Annotated[ConsensusMechanism, Tag("consensus")]
    | Annotated[NetworkMechanism, Tag("unicast")]
    | Annotated[NetworkMechanism, Tag("multicast")]
    | Annotated[NetworkMechanism, Tag("linear")],
    _told_by("name"),
]


class Learning(Section):
    """How agents form beliefs from what they heard (docs/learning.md)."""

    dynamics: str = Field(
        default="cournot",
        pattern=r"^(cournot|k-period|exponential|fictitious|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$",
        description='"cournot", "k-period", "exponential", "fictitious" or "module:Class"',
    )
    k: int | None = Field(
        default=None, ge=1, description='a whole number >= 1 of rounds, with dynamics = "k-period"'
    )

    @model_validator(mode="after")
    def _window(self) -> Learning:
        if self.dynamics == "k-period" and self.k is None:
            raise crossed("k", None, 'a whole number >= 1 of rounds, because learning.dynamics = "k-period"')
        if self.dynamics != "k-period" and self.k is not None:
            raise crossed("k", self.k, f'no such key, because learning.dynamics = "{self.dynamics}"')
        return self


# Seconds between two ticks of a free-running agent. With a process for each of 31 agents on two cores a tick
# every 20 ms takes a quarter of their time.
TICK = 0.02


class Synchrony(Section):
    """How agents keep step: in rounds, or each on ticks of its own."""

    mode: Literal["rounds", "free"] = Field(default="rounds", description='"rounds" or "free"')
    tick: float | None = Field(
        default=None, gt=0, le=3600, description='a number of seconds in (0, 3600], with mode = "free"'
    )

    @model_validator(mode="after")
    def _belongs(self) -> Synchrony:
        if self.mode == "rounds" and self.tick is not None:
            raise crossed("tick", self.tick, 'no such key, because synchrony.mode = "rounds"')
        return self

    @property
    def period(self) -> float | None:
        """Seconds between two ticks; None in rounds mode."""
        if self.mode == "rounds":
            return None
        return TICK if self.tick is None else self.tick


class Stopping(Section):
    """When to stop. ``tolerance`` is the accuracy promised for the allocation, relative to ``scale``."""

    rule: Literal["counters", "windows", "proof", "observed"] = Field(
        default="counters", description='"counters" or "windows"; of networks "proof" or "observed"'
    )
    tolerance: float = Field(default=1e-6, gt=0, lt=1, description="a number in (0, 1)")
    scale: float | None = Field(
        default=None, gt=0, description="a finite number > 0; without it max |capacity| / N"
    )
    max_rounds: int | None = Field(default=None, ge=1, description="a whole number >= 1; without it no limit")


class Broker(Section):
    """Which MQTT broker carries the messages, and how agents connect to it."""

    server: Literal["nats", "mosquitto"] = Field(default="nats", description='"nats" or "mosquitto"')
    client: Literal["gmqtt", "aiomqtt"] = Field(default="gmqtt", description='"gmqtt" or "aiomqtt"')
    connections: Literal["agent", "host"] = Field(default="agent", description='"agent" or "host"')
    port: int = Field(default=0, ge=0, le=65535, description="a port number, 0 to 65535; 0 takes a free one")
    url: str | None = Field(
        default=None,
        description="mqtt://[USER:PASSWORD@]HOST[:PORT] or mqtts://...; without it a broker is started",
    )
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="the path of a PEM file, whom the broker's certificate is to be signed by",
    )
    cert: str | None = Field(
        default=None, min_length=1, description="the path of a PEM file, a client certificate; with key"
    )
    key: str | None = Field(
        default=None, min_length=1, description="the path of a PEM file, the private key of cert"
    )

    @field_validator("url")
    @classmethod
    def _mqtt(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            try:
                good = parts.scheme in ("mqtt", "mqtts") and parts.hostname and parts.port != 0
            except ValueError:  # a port that is no number
                good = False
            if not good or parts.path not in ("", "/") or parts.query or parts.fragment:
                raise PydanticCustomError("url", "not a broker URL")
        return value


class Recovery(Section):
    """What happens when processes die, and what an agent must not forget."""

    restart: bool = Field(
        default=False, description="true or false: whether killed processes are started again"
    )
    durable: Literal["none", "snapshot", "round"] = Field(
        default="none", description='"none", "snapshot" or "round"'
    )
    on_down: Literal["wait", "continue"] = Field(default="wait", description='"wait" or "continue"')
    grace: float = Field(default=10.0, ge=1, le=86_400, description="a number of seconds from 1 to 86400")

    @model_validator(mode="after")
    def _belongs(self) -> Recovery:
        if self.on_down == "wait" and "grace" in self.model_fields_set:
            raise crossed("grace", self.grace, 'no such key, because recovery.on_down = "wait"')
        return self


class Record(Section):
    """What is kept of a run."""

    every: int = Field(
        default=1, ge=0, description="a whole number >= 0: rounds between two rows; 0 records nothing"
    )
    agents: int = Field(
        default=1000, ge=1, description="a whole number >= 1: how many agents are recorded at most"
    )
    plot: bool = Field(default=True, description="true or false")


class Scenario(Section):
    """A whole scenario file. Only ``topology`` and ``environment`` have to be there."""

    name: AgentId | None = Field(default=None, description=f"a name of {ID_RULE}; without it the file's name")
    title: str = Field(default="", description="one line of text")
    seed: int = Field(default=0, ge=0, description="a whole number >= 0")
    topology: Topology = Field(
        description="a table with `generator`, with `nodes` and `edges`, with `file`, "
        "or, of a network, with `links`"
    )
    environment: AnyEnvironment = Field(
        description="a table with `capacities` and optionally `kind`, `eta`; other kinds have other keys"
    )
    utilities: AnyUtilities = Field(default_factory=QuadraticFamily, description="a table")
    mechanism: AnyMechanism = Field(default_factory=Mechanism, description="a table")
    learning: Learning = Field(default_factory=Learning, description="a table")
    synchrony: Synchrony = Field(default_factory=Synchrony, description="a table")
    stopping: Stopping = Field(default_factory=Stopping, description="a table")
    broker: Broker = Field(default_factory=Broker, description="a table")
    recovery: Recovery = Field(default_factory=Recovery, description="a table")
    faults: Faults | None = Field(default=None, description="a table; without it nothing goes wrong")
    record: Record = Field(default_factory=Record, description="a table")

    @model_validator(mode="before")
    @classmethod
    def _mechanism_follows(cls, data: Any) -> Any:
        """Without a name the mechanism is that of the environment."""
        match data:
            case {"environment": {"kind": "private-goods" | "public-goods" | "consensus" as kind}}:
                mechanism = data.get("mechanism", {})
                if isinstance(mechanism, dict):
                    return {**data, "mechanism": {"name": kind, **mechanism}}
        return data
