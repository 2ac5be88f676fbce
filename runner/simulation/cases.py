"""A case: everything that is drawn from one seed."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from node.pacing import CEILING, JITTER
from runner.fate import fate_of
from runner.simulation import networks
from runner.simulation.instances import (
    FREE,
    FREE_TOPOLOGIES,
    POOL,
    TOPOLOGIES,
    WORKLOADS,
    Instance,
    instance,
    workloads,
)
from runner.simulation.stores import EXACT, KINDS
from topologies.faults import Amnesia, BrokerKill, Crash, Faults, Join, Leave, ends, schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from topologies import LoadedScenario
    from topologies.faults import AnyEvent

# How often each is drawn. The large ones are the point, the small ones reach odd corners cheaply.
TOPOLOGY_WEIGHTS = {"tree-31": 4, "er-31": 4, "ring-100": 2, "small": 5, "small-directed": 5}
STORE_WEIGHTS = {"memory": 6, "none": 2, "torn": 3, "full": 1, "disk": 1}

# How long a run may go on once nothing goes wrong any more; docs/simulation.md gives the reasons.
RESEND = CEILING * (1.0 + JITTER)  # the longest pause between two copies
LINGER = 10.0  # the longest an agent stays for a goodbye
WAVES = 4  # hello; the words that are missing; an epoch opened because of them; the goodbye
CALM = 3.0  # how many times as long as a calm one a free run may take, all of it played again
# Out of so many seeds one is for agents that run freely.
FREE_ONE_IN = 6
# Out of so many seeds one is for agents that leave, die for good, or join late.
MEMBERS_ONE_IN = 4
MEMBERS_WEIGHTS = {"tree-31": 2, "er-31": 2, "small": 8}
# Of these, where silence leaves nobody behind and agents keep rounds, this part is for network mechanisms.
LINKED = 0.6
# How long after the faults it may take until wrong suspicions have healed: so many times a grace and the
# longest patience with silence (``node.liveness``); and so many computations on the way.
SUSPICIONS = 10
PATIENCE = 16.0
EPOCHS = 8


@dataclass(frozen=True)
class Case:
    """One run to be simulated.

    Attributes:
        seed: it was drawn from, and of all delays.
        instance: who plays what.
        faults: probabilities and slow agents; its events are in ``events``.
        events: concrete, by ascending time.
        finale: the same, their times counted from when the first agent has finished; no cuts.
        store: kind of the agents' stores.
        snapshot_every: rounds between two snapshots.
        exits: whether an agent's process ends as soon as the agent has left.
        prompt: whether agents look at the clock at their very deadlines, or every 50 ms only.
        spares: whether agents are spared the loss of memory when somebody may already have left: a new
            epoch needs everybody, and whoever has left does not come back (docs/simulation.md).
        members: whether agents leave, die for good, or join late.
    """

    seed: int
    instance: Instance
    faults: Faults
    events: list[AnyEvent]
    finale: list[AnyEvent]
    store: str
    snapshot_every: int
    exits: bool
    prompt: bool
    spares: bool = True
    members: bool = False

    @property
    def quiet(self) -> float:
        """When nothing goes wrong any more: slow agents are no fault but a property."""
        return max(self.faults.until or 0.0, _end(self.events))

    def bound(self, finale_at: float | None = None) -> float:
        """The virtual time by which every agent must have left.

        Args:
            finale_at: when the finale began; None: before it has.
        """
        reference, free = self.instance.reference(), self.instance.free
        slowest = fate_of(self.faults, self.events, free=free).slowest
        quiet = self.quiet if finale_at is None else max(self.quiet, finale_at + _end(self.finale))
        playing = 2 * reference.rounds * slowest
        if free:
            playing = CALM * reference.seconds * max(self.faults.slow.values(), default=1.0)
        if self.members:
            grace = next(iter(self.instance.parts.values())).grace
            quiet += SUSPICIONS * (grace + PATIENCE)
            playing = EPOCHS * (playing + WAVES * (RESEND + 2 * slowest))
        return quiet + WAVES * (RESEND + 2 * slowest) + LINGER + playing

    def describe(self) -> dict[str, Any]:
        """All that was drawn, JSON-able."""
        part = next(iter(self.instance.parts.values()))
        return {
            "seed": self.seed,
            "instance": self.instance.name,
            "agents": len(self.instance.parts),
            "store": self.store,
            "snapshot_every": self.snapshot_every,
            "exits": self.exits,
            "prompt": self.prompt,
            **({"on_down": part.on_down, "grace": part.grace} if self.members else {}),
            "faults": self.faults.model_dump(
                mode="json", exclude={"event", "storm"}, exclude_defaults=True, exclude_none=True
            ),
            "events": [event.model_dump(mode="json") for event in self.events],
            "finale": [event.model_dump(mode="json") for event in self.finale],
        }

    def text(self) -> str:
        """The same as lines to read."""
        drawn = self.describe()
        timed = [(key, event) for key in ("events", "finale") for event in drawn.pop(key)]
        return "\n".join(f"  {key}: {json.dumps(value)}" for key, value in [*drawn.items(), *timed])


def draw(seed: int, scenarios: Sequence[LoadedScenario] = ()) -> Case:
    """The case of a seed.

    Args:
        seed: any.
        scenarios: what to simulate instead of drawn instances; one is chosen by the seed. Its own
            ``[faults]``, if it has any, take the place of drawn ones.
    """
    rng = random.Random(f"case {seed}")
    given = None
    if not scenarios and random.Random(f"members {seed}").randrange(MEMBERS_ONE_IN) == 0:
        return _draw_members(seed)
    if scenarios:
        loaded = scenarios[seed % len(scenarios)]
        chosen, given = of_scenario(loaded), loaded.spec.faults
    else:
        topology = _weighted(rng, TOPOLOGY_WEIGHTS)
        free = topology in FREE_TOPOLOGIES and random.Random(f"free {seed}").randrange(FREE_ONE_IN) == 0
        chosen = instance(topology, rng.choice(workloads(topology, free=free)), rng.randrange(POOL), free)
    agents = sorted(chosen.parts)
    edges = [(i, j) for i in agents for j in chosen.parts[i].hears]
    faults = given.model_copy(update={"seed": seed}) if given is not None else _faults(rng, chosen, seed)
    finale = _finale(rng, seed) if given is None and rng.random() < 0.5 else None
    store = _weighted(rng, STORE_WEIGHTS)
    if store == "disk" and len(agents) > 10:
        store = "memory"  # thousands of real fsyncs would test the disk and not the driver
    events = schedule(faults, agents, edges, seed)
    every, exits = rng.choice((1, 3, 16, 64, 1000)) if store != "disk" else 64, rng.random() < 0.5
    # When a free run ends cannot be foreseen, so nobody can be spared in time: all stay if one may forget.
    exits = exits and not (
        chosen.free and (store not in EXACT or any(isinstance(event, Amnesia) for event in events))
    )
    return Case(
        seed,
        chosen,
        faults.model_copy(update={"event": (), "storm": None}),
        events,
        schedule(finale, agents, edges, seed) if finale is not None else [],
        store,
        every,
        exits,
        # Copies sent within milliseconds are many: on the ring of 100 they would take most of the time.
        len(agents) <= 31 and rng.random() < 0.25,
    )


def _draw_members(seed: int) -> Case:
    """A case in which not everybody is there from the first instant to the last."""
    rng = random.Random(f"who is there {seed}")
    topology = _weighted(rng, MEMBERS_WEIGHTS)
    free = rng.random() < 0.2
    known = [name for name in workloads(topology, free=free) if name not in networks.DRAWS]
    chosen = instance(topology, rng.choice(known), rng.randrange(POOL), free)
    while next(iter(chosen.parts.values())).contract.get("primitive") == "trimmed":
        chosen = instance(topology, "consensus", rng.randrange(POOL), free)  # a graph of few is not robust
    goes_on, grace = rng.random() < 0.8, rng.choice((2.5, 4.0, 8.0))
    if not goes_on and not free and (links := random.Random(f"links {seed}")).random() < LINKED:
        linked = [name for name in workloads(topology, free=False) if name in networks.DRAWS]
        chosen = instance(topology, links.choice(linked), links.randrange(POOL), False)
    agents = sorted(chosen.parts)
    parts = {
        i: replace(chosen.parts[i], on_down="continue" if goes_on else "wait", grace=grace) for i in agents
    }
    playing = Instance(f"{chosen.name}/members", parts, chosen.protocol, chosen.promises, chosen.reference())
    edges = [(i, j) for i in agents for j in parts[i].hears]
    faults = _faults(rng, chosen, seed)
    storm = faults.storm
    assert storm is not None
    end = max(faults.until or 0.0, rng.choice((1.0, 10.0, 3.0 * grace)))
    lasts = rng.choice(((0.01, 0.5), (0.1, 3.0), (1.0, 3.0 * grace)))
    faults = faults.model_copy(
        update={
            "until": end,
            "storm": storm.model_copy(update={"between": (0.0, end), "lasts": lasts}),
            "event": tuple(_comings_and_goings(rng, agents, end, goes_on=goes_on)),
        }
    )
    store = rng.choice(("memory", "memory", "none", "torn"))
    events, finale = (
        [
            event
            for event in schedule(some, agents, edges, seed)
            # Whoever waits hears from the broker alone that a neighbour has left for good.
            if goes_on or not isinstance(event, BrokerKill)
        ]
        for some in (faults, _finale(rng, seed) if rng.random() < 0.3 else Faults())
    )
    return Case(
        seed,
        playing,
        faults.model_copy(update={"event": (), "storm": None}),
        events,
        finale,
        store,
        rng.choice((1, 3, 16, 64)),
        exits=False,  # whoever has left must be there to start again
        prompt=len(agents) <= 31 and rng.random() < 0.25,
        spares=False,
        members=True,
    )


def _comings_and_goings(
    rng: random.Random, agents: Sequence[str], end: float, *, goes_on: bool
) -> Iterator[AnyEvent]:
    """Up to half of the agents leave, die for good or join late; some join and leave again."""
    for name in rng.sample(agents, rng.randint(1, max(1, min(6, len(agents) // 2)))):
        at = round(rng.uniform(0.0, end), 3)
        kind = rng.choice(("leave", "join", "crash") if goes_on else ("leave", "join"))
        if kind == "join":
            yield Join(kind="join", at=at, agents=(name,))
            if rng.random() < 0.7:
                continue
            at, kind = round(at + rng.uniform(0.01, end), 3), "leave"
        if kind == "leave":
            yield Leave(kind="leave", at=at, agents=(name,))
        else:
            yield Crash(kind="crash", at=at, agents=(name,), down="forever")


def of_scenario(loaded: LoadedScenario) -> Instance:
    """A scenario as an instance; equal scenarios share one, and so one run in lockstep."""
    if loaded.hash not in _SCENARIOS:
        parts = loaded.parts("sim")
        workload = (FREE if loaded.spec.synchrony.mode == "free" else WORKLOADS)[loaded.spec.mechanism.name]
        _SCENARIOS[loaded.hash] = Instance(str(loaded.spec.name), parts, workload.protocol, workload.promises)
    return _SCENARIOS[loaded.hash]


def _end(events: Sequence[AnyEvent]) -> float:
    """When the last of them is over; whoever is dead for good is a fact then, and no fault any more."""
    return max((e.at if ends(e) == math.inf else ends(e) for e in events), default=0.0)


def _finale(rng: random.Random, seed: int) -> Faults:
    """Trouble around the end, where an agent may have left while its neighbour is not done."""
    storm = {
        "between": (0.0, rng.choice((0.05, 0.3, 2.0))),
        "crash": rng.choice((0, 1, 3, 8)),
        "pause": rng.choice((0, 0, 1, 3)),
        "broker_kill": rng.choice((0, 0, 0, 1)),
        "lasts": rng.choice(((0.001, 0.1), (0.01, 1.0), (0.1, 5.0))),
    }
    return Faults.model_validate({"seed": seed, "storm": storm})


_SCENARIOS: dict[str, Instance] = {}


def _weighted(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _faults(rng: random.Random, chosen: Instance, seed: int) -> Faults:
    """A storm about as long as the run, so that it strikes at the start, in the middle and at the end."""
    loss = rng.choice((0.0, 0.0, 0.05, 0.1, 0.3))
    # A round takes about the longest of its deliveries, and with losses a retransmission or two.
    reference = chosen.reference()
    expected = reference.seconds * (1.0 + loss) if chosen.free else reference.rounds * (0.02 + 0.3 * loss)
    end = round(expected * rng.uniform(0.3, 2.0), 3)
    maybe: Callable[..., Any] = lambda *choices: rng.choice(choices)  # noqa: E731
    agents = sorted(chosen.parts)
    return Faults.model_validate(
        {
            "seed": seed,
            "loss": loss,
            "duplicate": maybe(0.0, 0.0, 0.2),
            "reorder": maybe(0.0, 0.0, 0.1),
            "delay": maybe(None, None, (0.0, 0.1)),
            "until": end,
            "slow": {rng.choice(agents): maybe(3.0, 10.0)} if rng.random() < 0.15 else {},
            "storm": {
                "between": (0.0, end),
                "crash": maybe(0, 0, 1, 3, 8),
                "amnesia": maybe(0, 0, 0, 1, 2),
                "pause": maybe(0, 0, 1, 3),
                "cut": maybe(0, 0, 1, 3),
                "partition": maybe(0, 0, 1, 2),
                "broker_kill": maybe(0, 0, 0, 1),
                "lasts": maybe((0.01, 0.5), (0.1, 3.0), (1.0, 20.0)),
            },
        }
    )


assert set(STORE_WEIGHTS) == set(KINDS)
assert set(TOPOLOGY_WEIGHTS) == set(TOPOLOGIES)
