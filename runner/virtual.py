"""A run in one process and in virtual time: the same agents over the virtual network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from broker.virtual import Fate, Stalled
from node.errors import AgentError
from node.host import describe, progress
from node.protocols.registry import protocol_of
from node.store import MemoryStore
from runner.errors import Interrupted, RunFailed
from runner.fate import RECORDER, fate_of
from runner.record import PartWriter, decode_batch
from runner.world import BEAT, World
from topologies.faults import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from node.part import Part
    from runner.world import ProtocolOf
    from topologies.faults import Faults

# Virtual seconds between two batches of telemetry.
TELEMETRY_EVERY = 1.0


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
    Returns:
        What every agent reports of itself, and the virtual seconds it took.
    Raises:
        RunFailed: naming the agent that cannot go on, or who waits for whom.
        Interrupted: if ``stopped()``.
    """
    run = next(iter(parts.values())).run
    writer = PartWriter(directory, run) if directory is not None else None
    edges = [(i, j) for i, part in parts.items() for j in part.hears]
    events = schedule(faults, tuple(parts), edges, seed) if faults is not None else []
    world = World(
        parts,
        protocol,
        seed,
        fate=fate_of(faults, events) if fate is None and faults is not None else fate,
        store=(lambda name: MemoryStore()) if durable and events else None,
    )
    network = world.network

    on_the_way: dict[tuple[str, bytes], None] = {}  # telemetry that has not reached the recorder, in order

    def take_in(topic: str, payload: bytes) -> None:
        on_the_way.pop((topic, payload), None)
        if writer is not None:
            try:
                writer.append(decode_batch(payload, topics.Topic.parse(topic).src))
            except Malformed as error:
                raise AssertionError(f"our own telemetry is malformed: {error}") from error

    recorder = network.connect(RECORDER, take_in)
    if writer is not None:
        recorder.subscribe([topics.all_telemetry(run)])

    def publish_telemetry(*, last: bool) -> None:
        for life in world.lives.values():
            for batch in life.agent.telemetry.take(last=last):
                on_the_way[life.agent.telemetry.topic, batch] = None
                life.publish(life.agent.telemetry.topic, batch)

    def report() -> None:
        if stopped():
            raise Interrupted("stopped")
        publish_telemetry(last=False)
        if watch is not None:
            for name, agent in world.agents.items():
                watch(name, progress(agent))
        network.call_later(TELEMETRY_EVERY, report)

    try:
        world.start(events)
        network.call_later(TELEMETRY_EVERY + BEAT / 2, report)
        world.run(limit)
        took = network.now
        publish_telemetry(last=True)
        network.run(lambda: network.now > took + 1.0, limit + 2.0)
    except AgentError as error:
        # Time stands still now, but nothing that was measured is to be lost.
        publish_telemetry(last=True)
        for topic, payload in list(on_the_way):
            take_in(topic, payload)
        raise RunFailed(str(error)) from error
    except Stalled as error:
        raise RunFailed(str(error)) from error
    finally:
        if writer is not None:
            writer.flush()
    return {name: describe(agent) for name, agent in world.agents.items()}, took
