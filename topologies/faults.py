"""The ``[faults]`` section: what is to go wrong in a run, by probability, by schedule, or by a seeded storm.

docs/faults.md says what each fault means in the virtual network and over a real broker. Times are seconds
since the agents were let go, virtual or of the wall; a link ``[i, j]`` is what i says to j. ``schedule``
turns schedule and storm into one list of concrete events, the same for whoever makes them happen.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, field_validator, model_validator
from pydantic_core import PydanticCustomError

from broker.topics import LEVEL
from topologies.errors import Invalid, Problem, listed, shown
from topologies.generators import Section
from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    Edge = tuple[str, str]


def _agent_id(value: Any) -> str:
    if not isinstance(value, str) or not LEVEL.match(value):
        raise PydanticCustomError("agent_id", "not an agent id")
    return value


def _link(value: Any) -> tuple[str, str]:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(e, str) for e in value):
        raise PydanticCustomError("link", "not a pair of agent ids")
    return (value[0], value[1])


def _range(value: Any) -> tuple[float, float]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value)
        or not 0 <= value[0] <= value[1] < float("inf")
    ):
        raise PydanticCustomError("range", "not a range of seconds")
    return (float(value[0]), float(value[1]))


def _some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise PydanticCustomError("empty", "empty")
    return value


AgentId = Annotated[str, PlainValidator(_agent_id)]
Link = Annotated[tuple[str, str], BeforeValidator(_link)]
Range = Annotated[tuple[float, float], BeforeValidator(_range)]
Agents = Annotated[tuple[AgentId, ...], Field(strict=False), AfterValidator(_some)]
Links = Annotated[tuple[Link, ...], Field(strict=False), AfterValidator(_some)]
At = Annotated[float, Field(ge=0, description="a number of seconds >= 0, since the agents were let go")]
Lasting = Annotated[float, Field(gt=0, description="a number of seconds > 0")]
Probability = Annotated[float, Field(ge=0, le=1, description="a probability in [0, 1]")]
Seconds = Annotated[
    Range | None, Field(description="[lo, hi], two finite numbers of seconds with 0 <= lo <= hi")
]
Count = Annotated[int, Field(ge=0, le=10_000, description="a whole number from 0 to 10000")]

_KINDS = "crash, amnesia, pause, cut, partition, broker-kill, leave or join"
_AGENTS = "a list of agent ids, at least one"
_LINKS = "a list of pairs [i, j] of neighbours, at least one; what i says to j"


class Crash(Section):
    """Agents are killed, and come back with what their stores hold; or never."""

    kind: Literal["crash"] = Field(description=_KINDS)
    at: At
    agents: Agents = Field(description=_AGENTS)
    down: Annotated[
        Annotated[float, Field(gt=0)] | Literal["forever"],
        Field(description='a number of seconds > 0, or "forever"'),
    ] = 1.0

    @property
    def seconds(self) -> float:
        """For how long they are dead."""
        return math.inf if self.down == "forever" else self.down


class Amnesia(Section):
    """Agents are killed, and come back without their stores."""

    kind: Literal["amnesia"] = Field(description=_KINDS)
    at: At
    agents: Agents = Field(description=_AGENTS)
    down: Lasting = 1.0


class Pause(Section):
    """Agents stand still; what reaches them meanwhile waits."""

    kind: Literal["pause"] = Field(description=_KINDS)
    at: At
    agents: Agents = Field(description=_AGENTS)
    lasts: Lasting


class Cut(Section):
    """Nothing passes some links, in the one direction named."""

    kind: Literal["cut"] = Field(description=_KINDS)
    at: At
    links: Links = Field(description=_LINKS)
    lasts: Lasting


class Partition(Section):
    """Nothing passes between groups; agents in no group form one more."""

    kind: Literal["partition"] = Field(description=_KINDS)
    at: At
    groups: Annotated[tuple[Agents, ...], Field(strict=False), AfterValidator(_some)] = Field(
        description="a list of lists of agent ids; the agents in none of them form one more group"
    )
    lasts: Lasting


class BrokerKill(Section):
    """The broker dies and comes back: all connections break; ``forget``: what it retained is lost."""

    kind: Literal["broker-kill"] = Field(description=_KINDS)
    at: At
    down: Lasting = 1.0
    forget: bool = Field(default=False, description="true or false")


class Leave(Section):
    """Agents leave for good, and say so."""

    kind: Literal["leave"] = Field(description=_KINDS)
    at: At
    agents: Agents = Field(description=_AGENTS)


class Join(Section):
    """Agents start only now."""

    kind: Literal["join"] = Field(description=_KINDS)
    at: At
    agents: Agents = Field(description=_AGENTS)


AnyEvent = Crash | Amnesia | Pause | Cut | Partition | BrokerKill | Leave | Join
EVENTS: dict[str, type[Section]] = {
    "crash": Crash,
    "amnesia": Amnesia,
    "pause": Pause,
    "cut": Cut,
    "partition": Partition,
    "broker-kill": BrokerKill,
    "leave": Leave,
    "join": Join,
}


class LinkFaults(Section):
    """Other probabilities for some links; what is left out is as for all links."""

    links: Links = Field(description=_LINKS)
    loss: Probability | None = Field(default=None, description="a probability in [0, 1]")
    duplicate: Probability | None = Field(default=None, description="a probability in [0, 1]")
    reorder: Probability | None = Field(default=None, description="a probability in [0, 1]")
    delay: Seconds = None


class Storm(Section):
    """So many events of each kind, at times, of agents and for durations drawn from the seed."""

    between: Range = Field(description="[lo, hi], two finite numbers of seconds with 0 <= lo <= hi")
    crash: Count = 0
    amnesia: Count = 0
    pause: Count = 0
    cut: Count = 0
    partition: Count = 0
    broker_kill: Count = 0
    lasts: Range = Field(
        default=(0.1, 3.0), description="[lo, hi], two finite numbers of seconds with 0 < lo <= hi"
    )

    @field_validator("lasts")
    @classmethod
    def _lasting(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] <= 0:
            raise PydanticCustomError("range", "not a range of durations")
        return value


class Faults(Section):
    """Everything that is to go wrong. The probabilities hold from the start until ``until``."""

    seed: int | None = Field(
        default=None, ge=0, description="a whole number >= 0; without it the scenario's seed"
    )
    loss: Probability = 0.0
    duplicate: Probability = 0.0
    reorder: Probability = 0.0
    delay: Seconds = None
    until: float | None = Field(
        default=None, ge=0, description="a number of seconds >= 0; without it they never cease"
    )
    slow: dict[AgentId, Annotated[float, Field(ge=1)]] = Field(
        default_factory=dict, description="a table: agent id -> how many times slower it is, >= 1"
    )
    link: Annotated[tuple[LinkFaults, ...], Field(strict=False)] = Field(
        default=(), description="tables [[faults.link]] with `links` and what is different there"
    )
    event: Annotated[tuple[Annotated[AnyEvent, Field(discriminator="kind")], ...], Field(strict=False)] = (
        Field(default=(), description="tables [[faults.event]] with `kind` and `at`")
    )
    storm: Storm | None = Field(default=None, description="a table with `between` and counts by kind")

    @property
    def lasting(self) -> bool:
        """Whether something may happen to messages by probability."""
        return bool(self.loss or self.duplicate or self.reorder or self.delay or self.link)

    @model_validator(mode="after")
    def _loss_ends(self) -> Faults:
        if self.loss == 1 and self.until is None:
            raise PydanticCustomError(
                "crossed",
                "{expected}",
                {
                    "key": "loss",
                    "value": 1.0,
                    "expected": "less than 1, or faults.until: nothing would arrive",
                },
            )
        return self


def check(faults: Faults, agents: Sequence[str], edges: Iterable[Edge]) -> None:
    """Refuse faults of agents or links that the graph does not have.

    Args:
        faults: as read.
        agents: all ids.
        edges: of the graph; a link goes both ways along each, for the synchroniser needs both.
    Raises:
        Invalid: with one problem for each mistake.
    """
    known = set(agents)
    linked = {pair for i, j in edges for pair in ((i, j), (j, i))}
    problems = list(_problems(faults, known, linked))
    if problems:
        raise Invalid(*problems)


def _problems(faults: Faults, known: set[str], linked: set[Edge]) -> Iterator[Problem]:
    expected = f"one of {listed(sorted(known))}"
    for agent in faults.slow:
        if agent not in known:
            yield Problem(f"faults.slow.{agent}", "no such agent", expected + did_you_mean(agent, known))
    for k, override in enumerate(faults.link):
        yield from _bad_links(f"faults.link[{k}].links", override.links, linked, known)
    for k, event in enumerate(faults.event):
        key = f"faults.event[{k}]"
        match event:
            case Crash() | Amnesia() | Pause() | Leave() | Join():
                for m, agent in enumerate(event.agents):
                    if agent not in known:
                        yield Problem(
                            f"{key}.agents[{m}]", f"got {shown(agent)}", expected + did_you_mean(agent, known)
                        )
            case Cut():
                yield from _bad_links(f"{key}.links", event.links, linked, known)
            case Partition():
                seen: set[str] = set()
                for g, group in enumerate(event.groups):
                    for m, agent in enumerate(group):
                        where = f"{key}.groups[{g}][{m}]"
                        if agent not in known:
                            yield Problem(where, f"got {shown(agent)}", expected + did_you_mean(agent, known))
                        elif agent in seen:
                            yield Problem(
                                where, f"got {shown(agent)} a second time", "each agent in one group"
                            )
                        seen.add(agent)


def _bad_links(
    key: str, links: Sequence[Edge], linked: set[Edge], known: Collection[str]
) -> Iterator[Problem]:
    for k, link in enumerate(links):
        strangers = [agent for agent in link if agent not in known]
        for agent in strangers:
            expected = f"one of {listed(sorted(known))}{did_you_mean(agent, known)}"
            yield Problem(
                f"{key}[{k}]", f"got {shown(list(link))}; there is no agent {shown(agent)}", expected
            )
        if not strangers and link not in linked:
            yield Problem(f"{key}[{k}]", f"got {shown(list(link))}", "two neighbours [i, j]")


def schedule(faults: Faults, agents: Sequence[str], edges: Iterable[Edge], seed: int = 0) -> list[AnyEvent]:
    """All events of a run, those of the storm drawn, by ascending time.

    Args:
        faults: as checked.
        agents: all ids.
        edges: of the graph.
        seed: the scenario's, for faults without one of their own.
    Returns:
        The same list for the same arguments, whatever their order.
    """
    events = list(faults.event)
    if faults.storm is not None:
        rng = random.Random(f"storm {faults.seed if faults.seed is not None else seed}")
        links = sorted({pair for i, j in edges for pair in ((i, j), (j, i))})
        events.extend(_drawn(faults.storm, rng, sorted(agents), links))
    return sorted(events, key=lambda event: event.at)


def standstill(events: Iterable[AnyEvent]) -> float:
    """For how many seconds these events together may keep everybody from going on."""
    lasting = (ends(event) - event.at for event in events)
    waiting = (event.at for event in events if isinstance(event, Join))
    return sum(seconds for seconds in lasting if seconds < math.inf) + max(waiting, default=0.0)


def ends(event: AnyEvent) -> float:
    """When an event is over; infinity for agents that are dead for good."""
    lasts = event.seconds if isinstance(event, Crash) else getattr(event, "down", 0.0)
    return float(event.at + lasts + getattr(event, "lasts", 0.0))


def _drawn(storm: Storm, rng: random.Random, agents: list[str], links: list[Edge]) -> Iterator[AnyEvent]:
    def at() -> float:
        return round(rng.uniform(*storm.between), 3)

    def lasting() -> float:
        return max(round(rng.uniform(*storm.lasts), 3), 0.001)

    for _ in range(storm.crash):
        yield Crash(kind="crash", at=at(), agents=(rng.choice(agents),), down=lasting())
    for _ in range(storm.amnesia):
        yield Amnesia(kind="amnesia", at=at(), agents=(rng.choice(agents),), down=lasting())
    for _ in range(storm.pause):
        yield Pause(kind="pause", at=at(), agents=(rng.choice(agents),), lasts=lasting())
    for _ in range(storm.cut):
        several = rng.sample(links, min(len(links), rng.randint(1, 3)))
        yield Cut(kind="cut", at=at(), links=tuple(several), lasts=lasting())
    for _ in range(storm.partition):
        group = rng.sample(agents, rng.randint(1, max(1, len(agents) // 2)))
        yield Partition(kind="partition", at=at(), groups=(tuple(sorted(group)),), lasts=lasting())
    for _ in range(storm.broker_kill):
        yield BrokerKill(kind="broker-kill", at=at(), down=lasting(), forget=rng.random() < 0.5)
