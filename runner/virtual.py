"""A run in one process and in virtual time: the same agents over the virtual network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.codec import Malformed
from broker.virtual import Fate, Stalled, VirtualNetwork
from node.agent import GONE, Agent
from node.errors import AgentError
from node.host import describe, progress
from node.protocols.allocate import allocate
from node.switchboard import Switchboard
from runner.errors import RunFailed
from runner.record import PartWriter, decode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from node.part import Part

# Virtual seconds between two looks at the clock of every agent, and between two batches of telemetry.
BEAT = 0.05
TELEMETRY_EVERY = 1.0
# An agent says hello so many virtual seconds after the start at the latest: nobody starts at once.
STAGGER = 0.05


def run_virtual(
    parts: Mapping[str, Part],
    seed: int,
    directory: Path | None = None,
    watch: Callable[[str, dict[str, Any]], None] | None = None,
    fate: Fate | None = None,
    limit: float = 1e6,
) -> tuple[dict[str, dict[str, Any]], float]:
    """Let the agents of a scenario play over a seeded virtual network.

    Args:
        parts: agent -> its part.
        seed: of all delays.
        directory: where the record goes; None records nothing.
        watch: called with (agent, progress) now and then.
        fate: how deliveries fare; default: once each, after a random delay.
        limit: virtual seconds after which the run has failed.
    Returns:
        What every agent reports of itself, and the virtual seconds it took.
    Raises:
        RunFailed: naming the agent that cannot go on, or who waits for whom.
    """
    network = VirtualNetwork(seed, fate)
    agents: dict[str, Agent] = {}
    writer = PartWriter(directory, next(iter(parts.values())).run) if directory is not None else None

    def take_in(topic: str, payload: bytes) -> None:
        if writer is not None:
            try:
                writer.append(decode_batch(payload, topics.Topic.parse(topic).src))
            except Malformed as error:
                raise AssertionError(f"our own telemetry is malformed: {error}") from error

    recorder = network.connect("recorder", take_in)
    if writer is not None:
        recorder.subscribe([topics.all_telemetry(next(iter(parts.values())).run)])
    clients = {}
    for k, (name, part) in enumerate(sorted(parts.items())):
        client = clients[name] = network.connect(name, lambda topic, payload: None)
        agent = agents[name] = Agent(part, partial(allocate, part), client.publish, network.clock, nonce=name)
        switchboard = Switchboard(part.run, [agent])
        client.on_message = switchboard.deliver
        client.subscribe(switchboard.topics())
        network.call_later(STAGGER * k / len(parts), agent.hello)

    beats = 0

    def publish_telemetry(*, last: bool) -> None:
        for name, agent in agents.items():
            for batch in agent.telemetry.take(last=last):
                clients[name].publish(agent.telemetry.topic, batch)

    def beat() -> None:
        nonlocal beats
        beats += 1
        for agent in agents.values():
            agent.tick(network.now)
        if beats % round(TELEMETRY_EVERY / BEAT) == 0:
            publish_telemetry(last=False)
            if watch is not None:
                for name, agent in agents.items():
                    watch(name, progress(agent))
        network.call_later(BEAT, beat)

    network.call_later(BEAT, beat)
    remaining = set(agents)

    def all_gone() -> bool:
        # Asked after every event, so it must not look at every agent every time.
        while remaining:
            name = next(iter(remaining))
            if agents[name].state is not GONE:
                return False
            remaining.discard(name)
        return True

    try:
        network.run(all_gone, limit)
        took = network.now
        publish_telemetry(last=True)
        network.run(lambda: network.now > took + 1.0, limit + 2.0)
    except AgentError as error:
        raise RunFailed(str(error)) from error
    except Stalled as error:
        waiting = {name: agent.waiting_for() for name, agent in agents.items() if agent.state is not GONE}
        first = next(iter(sorted(waiting.items())), ("none", ()))
        raise RunFailed(f"{error}; agent {first[0]} waits for {', '.join(first[1])}") from error
    finally:
        if writer is not None:
            writer.flush()
    return {name: describe(agent) for name, agent in agents.items()}, took
