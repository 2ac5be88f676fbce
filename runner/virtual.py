"""A run in one process and in virtual time: the same agents over the virtual network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.codec import Malformed
from broker.virtual import Fate, Stalled
from node.account import counts, describe, progress
from node.errors import AgentError
from node.protocols.registry import protocol_of
from node.store import MemoryStore
from runner.errors import Interrupted, RunFailed
from runner.fate import fate_of, slowed
from runner.ledger import Ledger
from runner.lives import Lives
from runner.record import PartWriter, RecordError, decode_batch
from runner.world import BEAT, World
from topologies.faults import schedule, standstill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from node.agent import Agent
    from node.part import Part
    from runner.components import Roll
    from runner.world import ProtocolOf
    from topologies.faults import AnyEvent, Faults

# Virtual seconds between two looks at what was measured.
TELEMETRY_EVERY = 1.0
# Free-running agents tick for ever, so a run in which somebody is away for good would never come to an end:
# after so many virtual seconds on top of what the faults may take it is given up.
STALL_TIMEOUT = 60.0


def run_virtual(
    parts: Mapping[str, Part],
    seed: int,
    directory: Path | None = None,
    watch: Callable[[str, dict[str, Any]], None] | None = None,
    fate: Fate | None = None,
    limit: float = 1e6,
    *,
    faults: Faults | None = None,
    durable: bool = True,
    protocol: ProtocolOf = protocol_of,
    stopped: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = lambda text: None,
    roll: Roll | None = None,
    happens: Callable[[AnyEvent], None] = lambda event: None,
) -> tuple[dict[str, dict[str, Any]], float]:
    """Let the agents of a scenario play over a seeded virtual network.

    Args:
        parts: agent -> its part.
        seed: of all delays, and of faults without a seed of their own.
        directory: where the record goes; None records nothing.
        watch: called with (agent, progress) now and then.
        fate: how deliveries fare; default: as ``faults`` say, else once each, after a random delay.
        limit: virtual seconds after which the run has failed.
        faults: what is to go wrong; None: nothing.
        durable: whether agents that crash remember; those with amnesia never do.
        protocol: what every agent plays.
        stopped: asked every virtual second whether to give up.
        warn: called with what the user should know and the run survives.
        roll: is told who was not there all the time.
        happens: called with every fault when it is made to happen.
    Returns:
        What every agent reports of itself, counters over all its lives, and the virtual seconds it took. An
        agent that is gone has a report if it had a result.
    Raises:
        RunFailed: naming the agent that cannot go on, or who waits for whom.
        Interrupted: if ``stopped()``.
    """
    run = next(iter(parts.values())).run
    edges = [(i, j) for i, part in parts.items() for j in part.hears]
    events = schedule(faults, tuple(parts), edges, seed) if faults is not None else []
    lives = Lives()

    reports: dict[str, dict[str, Any]] = {}

    def killed(agent: Agent) -> None:
        lives.heard(agent.id, counts(agent))
        if agent.id not in world.lost:
            lives.restarted(agent.id)
        elif agent.conversation.finished:
            reports[agent.id] = describe(agent)

    free = any(part.free for part in parts.values())
    world = World(
        slowed(parts, faults) if faults is not None else parts,
        protocol,
        seed,
        fate=fate_of(faults, events, free=free) if fate is None and faults is not None else fate,
        store=(lambda name: MemoryStore()) if durable and events else None,
        killed=killed,
        happens=happens,
    )
    network = world.network
    record = _Record(directory, run, parts, warn)

    all_there = [0.0]  # when nobody was last thought away
    patience = STALL_TIMEOUT + standstill(events)

    def report() -> None:
        if stopped():
            raise Interrupted("stopped")
        if not free or not any(agent.suspects() for agent in world.agents.values()):
            all_there[0] = network.now
        elif network.now - all_there[0] > patience:
            raise RunFailed(f"no progress for {patience:g} virtual s: {world.waiting()}")
        record.take(world.agents, network.now)
        if watch is not None:
            for name, agent in world.agents.items():
                watch(name, progress(agent))
        network.call_later(TELEMETRY_EVERY, report)

    try:
        world.start(events)
        network.call_later(TELEMETRY_EVERY + BEAT / 2, report)
        world.run(limit)
    except (AgentError, Stalled) as error:
        raise RunFailed(str(error)) from error
    finally:
        # Whatever ended it, what was measured until then is not lost.
        record.take(world.agents, network.now, last=True)
        record.close()
    for name, agent in world.agents.items():
        lives.heard(name, counts(agent))
        reports[name] = describe(agent)
    if roll is not None:
        roll.left, roll.died, roll.joined = world.roll.left, world.roll.died, world.roll.joined
        roll.accounts = {name: lives.total(name) for name in sorted(world.lost)}
    return {name: {**reports[name], **lives.total(name)} for name in sorted(reports)}, network.now


class _Record:
    """Takes in what agents measured, straight from them: the recorder is no part of the simulated network.

    Args:
        directory: where to; None records nothing.
        run: the run's id.
        agents: whose measurements.
        warn: called with a text if the record cannot be written; the run goes on without.
    """

    def __init__(
        self, directory: Path | None, run: str, agents: Iterable[str], warn: Callable[[str], None]
    ) -> None:
        self._writer = PartWriter(directory, run) if directory is not None else None
        self._ledger, self._warn = Ledger(agents), warn

    def take(self, agents: Mapping[str, Agent], now: float, *, last: bool = False) -> None:
        """Take in what is new."""
        try:
            for name, agent in agents.items():
                if self._writer is None:
                    agent.telemetry.discard()
                    continue
                for payload in agent.telemetry.take(now, last=last):
                    if (batch := self._ledger.accept(decode_batch(payload, name))) is not None:
                        self._writer.append(batch)
            for name, epoch, origin, rows in self._ledger.receipts():
                if name in agents:
                    agents[name].telemetry.recorded((epoch, origin), rows)
        except Malformed as error:
            raise AssertionError(f"our own telemetry is malformed: {error}") from error
        except RecordError as error:
            self._lost(error)

    def close(self) -> None:
        """Write what is left."""
        try:
            if self._writer is not None:
                self._writer.flush()
        except RecordError as error:
            self._lost(error)

    def _lost(self, error: RecordError) -> None:
        self._writer = None
        self._warn(f"the record is incomplete: {error}; the run goes on unrecorded")
