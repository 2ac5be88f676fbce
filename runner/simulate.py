"""``vicinal simulate``: seeds through random networks and storms, in virtual time; safety and liveness."""

from __future__ import annotations

import gc
import multiprocessing
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from broker.virtual import Stalled
from node.agent import Agent
from runner.fate import fate_of, slowed
from runner.simulation.cases import Case, draw
from runner.simulation.free import FreeWatch
from runner.simulation.members import MembersWatch
from runner.simulation.stores import EXACT, Stores
from runner.simulation.watch import RoundsWatch, Violated, Watch
from runner.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from runner.simulation.instances import Reference
    from topologies import LoadedScenario


@dataclass(frozen=True)
class Verdict:
    """How one seed went.

    Attributes:
        seed: the seed.
        instance: what was played.
        violations: what did not hold, in words; empty if all is well.
        drawn: everything drawn from the seed, as text.
        trace: hash of the trace.
        ended: virtual seconds until all had left, or until the run was given up.
        quiet: when the faults ceased; bound: when all must have left.
        rounds: of the reference.
        steps: deliveries and ticks.
        epochs: computations begun anew because something was forgotten.
        faults: events that struck, by kind.
        seconds: CPU time it took, the reference excluded.
    """

    seed: int
    instance: str
    violations: list[str]
    drawn: str
    trace: str
    ended: float
    quiet: float
    bound: float
    rounds: int
    steps: int
    epochs: int
    faults: dict[str, int]
    seconds: float


def simulate(
    case: Case,
    *,
    make_agent: Callable[..., Agent] = Agent,
    trace: Callable[[str], None] | None = None,
) -> Verdict:
    """Run one case and judge it. Never raises for what the run does: that is a violation.

    Args:
        case: of ``cases.draw``.
        make_agent: the driver.
        trace: called with every line of the trace.
    """
    reference = case.instance.reference()
    started = time.process_time()
    watch = _watch(case, trace)
    for broken in reference.broken:
        watch.violations.append(f"in lockstep already: {broken}")
    bound, ended, epochs = case.bound(), 0.0, 0
    stores = Stores(case.store, case.seed)
    collecting = gc.isenabled()
    gc.disable()  # a run makes millions of small objects and hardly any cycle
    try:
        if reference.results:  # otherwise there is nothing to compare with
            world = _world(case, watch, stores, make_agent)
            try:
                world.start(case.events)
                world.run(bound, lambda: watch.finished_at is not None)
                bound = case.bound(world.network.now)
                world.strike(case.finale)
                world.run(bound)
                watch.at_the_end(world)
                if isinstance(watch, MembersWatch) and not watch.whole(world):
                    # They have ended in parts, each rightly. Now that nothing is amiss any more they must
                    # come together.
                    world.run(bound, partial(watch.whole, world))
                    watch.at_the_end(world)
            except Stalled as error:
                watch.violations.append(f"liveness: {error}; faults ceased at {case.quiet:.3f} s")
            except Violated:
                pass
            ended, epochs = world.network.now, max((a.epoch for a in world.agents.values()), default=0)
    except Exception as error:
        # Whatever it is, it has escaped from an agent: that is a finding, and the next seed goes on.
        last = traceback.extract_tb(error.__traceback__)[-1]
        watch.violations.append(f"escaped: {type(error).__name__}: {error} ({last.filename}:{last.lineno})")
    finally:
        stores.close()
        if collecting:
            gc.enable()
    return Verdict(
        seed=case.seed,
        instance=case.instance.name,
        violations=watch.violations,
        drawn=case.text(),
        trace=watch.digest(),
        ended=ended,
        quiet=case.quiet,
        bound=bound,
        rounds=reference.rounds,
        steps=watch.steps,
        epochs=epochs,
        faults=dict(Counter(event.kind for event in (*case.events, *case.finale))),
        seconds=time.process_time() - started,
    )


def _watch(case: Case, trace: Callable[[str], None] | None) -> Watch:
    if case.members:
        return MembersWatch(case, trace)
    return FreeWatch(case, trace) if case.instance.free else RoundsWatch(case, trace)


def _world(case: Case, watch: Watch, stores: Stores, make_agent: Callable[..., Agent]) -> World:
    reference, free = case.instance.reference(), case.instance.free
    world = World(
        slowed(case.instance.parts, case.faults),
        case.instance.protocol,
        case.seed,
        fate=fate_of(case.faults, case.events, free=free),
        store=stores.make,
        loses_memory=case.store not in EXACT,
        snapshot_every=case.snapshot_every,
        watcher=watch,
        exit_when_gone=case.exits,
        prompt=case.prompt,
        may_forget=(lambda name: _before_the_end(world, reference)) if case.spares and not free else None,
        make_agent=make_agent,
    )
    watch.attach(world)
    return world


def _before_the_end(world: World, reference: Reference) -> bool:
    """Whether nobody can finish before an agent that forgets now has opened a new epoch."""
    newest = max((a.epoch for a in world.agents.values()), default=0)
    front = max((a.round for a in world.agents.values() if a.epoch == newest), default=0)
    return front + reference.diameter + 2 < reference.rounds


@dataclass
class Tally:
    """Verdicts added up."""

    seeds: int = 0
    failed: list[Verdict] = field(default_factory=list)
    rounds: int = 0
    steps: int = 0
    epochs: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, -1)
    tightest: tuple[float, int] = (0.0, -1)
    instances: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: Verdict) -> None:
        """Count one more."""
        self.seeds += 1
        if verdict.violations:
            self.failed.append(verdict)
        self.rounds += verdict.rounds
        self.steps += verdict.steps
        self.epochs += verdict.epochs
        self.virtual_seconds += verdict.ended
        self.cpu_seconds += verdict.seconds
        self.slowest = max(self.slowest, (verdict.seconds, verdict.seed))
        self.tightest = max(self.tightest, (verdict.ended / verdict.bound, verdict.seed))
        self.instances["/".join(verdict.instance.split("/")[:2])] += 1
        self.faults.update(verdict.faults)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return {
            **asdict(self),
            "failed": [asdict(v) for v in sorted(self.failed, key=lambda v: v.seed)],
            "instances": dict(sorted(self.instances.items())),
            "faults": dict(sorted(self.faults.items())),
        }


def run_seed(seed: int, scenarios: Sequence[LoadedScenario] = ()) -> Verdict:
    """Draw and simulate one seed."""
    return simulate(draw(seed, scenarios))


def sweep(seeds: Iterable[int], jobs: int = 1, scenarios: Sequence[LoadedScenario] = ()) -> Iterator[Verdict]:
    """Simulate many seeds, in ``jobs`` processes; verdicts come as they are ready."""
    work = partial(run_seed, scenarios=scenarios)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(work, seeds, chunksize=4)
