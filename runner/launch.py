"""A run over a broker: one operating-system process per agent, or a few that carry them between them."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import access, topics
from broker.embedded import EmbeddedBroker, PortInUse
from broker.mqtt import make_transport
from broker.transport import BrokerError
from node.host import PROTOCOL
from runner.components import Roll
from runner.directory import announce
from runner.errors import RunFailed, UserError
from runner.hosts import Hosts, Message, distribute
from runner.journal import Journal
from runner.launched import Launched, Warn, Watch
from runner.scribe import Scribe
from runner.start import start_message
from runner.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.transport import Address
    from node.part import Part
    from runner.chaos import Chaos
    from runner.ledger import Mark
    from topologies import LoadedScenario

# Without any progress for so long the run is stuck; the error says who waits for whom.
STALL_TIMEOUT = 60.0
# After their results agents stay for neighbours that may need a last message; how long they get for that.
GOODBYE_TIMEOUT = 20.0
PROBE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What a launch needs besides the scenario.

    Attributes:
        hosts: number of processes; None: one per agent.
        broker: a broker to use, with the one user that it is used as; None starts the embedded one.
        directory: the run's directory.
        watch: called with (agent, progress).
        warn: called with what the user should know and the run survives.
        stall_timeout: seconds without progress after which the run is given up.
        protocol: what every agent plays, as ``module:function`` taking a Part and a snapshot or None.
        import_path: folders in which agents look for modules, after everywhere else.
        roll: is told who was not there all the time.
    """

    hosts: int | None
    broker: Address | None
    directory: Path
    watch: Watch
    warn: Warn
    stall_timeout: float = STALL_TIMEOUT
    protocol: str = PROTOCOL
    import_path: tuple[str, ...] = ()
    roll: Roll = field(default_factory=Roll)


async def run_processes(
    loaded: LoadedScenario, parts: Mapping[str, Part], run: str, settings: Settings
) -> tuple[dict[str, Message], float, float]:
    """Launch every agent's process, wait for their results and end everything that was started.

    Returns:
        What every agent reports of itself, counters over all its lives, of those that are gone if they had a
        result; the wall time in seconds; and the monotonic time of the launch.
    Raises:
        UserError: if the broker cannot be used as asked.
        RunFailed: naming the agent and the cause.
    """
    launched_at = time.monotonic()
    spec = loaded.spec.broker
    shares = distribute(loaded.agents, settings.hosts or len(loaded.agents))
    shared = spec.connections == "host"
    grants = _grants(run, parts, shares, shared)
    async with AsyncExitStack() as stack:
        stores = _stores(stack, loaded)
        journal = Journal(settings.directory, settings.warn)
        chaos = _chaos(loaded, settings, shares, stores, journal)
        if settings.broker is not None:
            try:
                # Before there is any process of an agent.
                await _probe(settings.broker, spec.client, run)
            except BrokerError as error:
                raise UserError(str(error)) from None
        goes_on = loaded.spec.recovery.on_down == "continue"
        launched = Launched(shares, settings.watch, settings.warn, settings.roll, goes_on)
        hosts = Hosts(
            len(shares),
            launched.heard,
            launched.ended,
            lambda reason: launched.fail(RunFailed(reason)),
        )
        stack.push_async_callback(hosts.close)
        # The fork server imports while the broker starts.
        starting = asyncio.create_task(hosts.start(), name="hosts")
        stack.push_async_callback(asyncio.wait, {starting})  # what was begun must be whole to be closed
        address, own = await _broker(stack, settings, loaded, grants, launched, chaos, journal)
        if own:  # the one user of somebody else's broker may write, and is not to be found in a file
            observer = _access(grants["observer"], address, own)
            announce(settings.directory, client=spec.client, broker=address.place(), observer=observer)
        await asyncio.shield(starting)
        if not own:
            stack.push_async_callback(_clean_up, address, spec.client, loaded.agents, run, settings.warn)
        via = await chaos.interpose(stack, address) if chaos else address
        recorder = _access(grants["recorder"], address, own)
        scribe: Scribe | None = None
        if loaded.spec.record.every:
            config = {
                "run": run,
                "directory": str(settings.directory),
                "client": spec.client,
                **recorder,
                "place": address.place(),
                "agents": sorted(loaded.recorded),
                "patient": own,
            }
            scribe = Scribe(
                config, settings.warn, restart=loaded.spec.recovery.restart, **_receipts(hosts, shares)
            )
            stack.push_async_callback(scribe.stop)
            await scribe.start()
        # Last in, first out: the agents end before the recorder that hears their last words, and it before
        # the broker.
        stack.push_async_callback(hosts.close)

        def message_for(host: int, life: int) -> Message:
            share = shares[host]
            message = start_message(
                [parts[agent] for agent in share],
                via.place(),
                client=spec.client,
                protocol=settings.protocol,
                access=None if shared else {i: _access(grants[i], address, own) for i in share},
                shared=_access(grants[f"host-{host}"], address, own) if shared else None,
                stores={agent: str(directory) for agent, directory in stores.items()},
                sync=recovery.durable == "round",
                import_path=[str(Path(folder).resolve()) for folder in settings.import_path],
                # Our own broker has answered, and its end would be noticed: a first connection that breaks or
                # takes too long is a machine that stands still. Whoever comes back may find any broker dead.
                patient=own or recovery.restart,
            )
            return {
                **message,
                "life": life,
                "released": launched.outcome.done(),
                "recorded": scribe is not None and scribe.recording,
            }

        recovery = loaded.spec.recovery
        if recovery.restart:
            before = chaos.before_revival if chaos else None
            supervisor = Supervisor(hosts, message_for, settings.warn, partial(_ended, launched), before)
            stack.push_async_callback(supervisor.close)
            launched.revive = partial(_revive, supervisor, journal, shares)
        late = chaos.late if chaos else frozenset()
        launched.began = time.monotonic()

        def join(host: int) -> None:
            settings.roll.joined.update(
                dict.fromkeys(shares[host], round(time.monotonic() - launched.began, 3))
            )
            hosts.send(host, message_for(host, 0))

        for host in range(len(shares)):
            if host not in late:
                hosts.send(host, message_for(host, 0))
        if chaos:
            chaos.begin(stack, hosts, launched.doomed, launched.lose, join)
        await _outcome(launched, settings.stall_timeout + (chaos.standstill() if chaos else 0.0))
        seconds = time.monotonic() - launched_at
        for host in range(len(shares)):
            hosts.send(host, {"type": "end"})
        try:
            async with asyncio.timeout(GOODBYE_TIMEOUT):
                await launched.all_left.wait()
        except TimeoutError:
            settings.warn("some agents did not leave after their result; they are ended now")
    reports = {agent: {**report, **launched.lives.total(agent)} for agent, report in launched.reports.items()}
    settings.roll.accounts = {agent: launched.lives.total(agent) for agent in sorted(settings.roll.gone)}
    return reports, seconds, launched_at


async def _outcome(launched: Launched, stall_timeout: float) -> None:
    """Wait until all agents have reported.

    Raises:
        RunFailed: the first failure, or the stall.
    """
    while not launched.outcome.done():
        await asyncio.wait({launched.outcome}, timeout=1.0)
        if time.monotonic() - launched.moved > stall_timeout:
            launched.fail(RunFailed(f"no progress for {stall_timeout:g} s: {launched.stuck()}"))
    launched.outcome.result()


def _grants(
    run: str, parts: Mapping[str, Part], shares: Sequence[Sequence[str]], shared: bool
) -> dict[str, access.Grant]:
    grants = {"recorder": access.recorder_grant(run), "observer": access.observer_grant(run)}
    if shared:
        for host, share in enumerate(shares):
            grants[f"host-{host}"] = access.host_grant(run, str(host), [parts[agent] for agent in share])
    else:
        for agent, part in parts.items():
            grants[agent] = access.agent_grant(run, agent, part.hears, part.heard_by)
    return grants


def _access(grant: access.Grant, address: Address, own: bool) -> dict[str, str | None]:
    """Credentials of one connection: generated for our own broker, the URL's for anybody else's."""
    # Whoever knows a client id can take over its connection: a random part keeps it from being guessed.
    client_id = f"{grant.user}-{secrets.token_hex(8)}"
    if own:
        return {"user": grant.user, "password": grant.password, "client_id": client_id}
    return {"user": address.user, "password": address.password, "client_id": client_id}


async def _broker(
    stack: AsyncExitStack,
    settings: Settings,
    loaded: LoadedScenario,
    grants: Mapping[str, access.Grant],
    launched: Launched,
    chaos: Chaos | None,
    journal: Journal,
) -> tuple[Address, bool]:
    """The broker's address, and whether it is our own."""
    spec = loaded.spec.broker
    if settings.broker is not None:
        return settings.broker, False
    broker = EmbeddedBroker(list(grants.values()), server=spec.server, port=spec.port)
    try:
        await stack.enter_async_context(broker)
    except PortInUse as error:
        raise UserError(f"broker.port = {spec.port}: {error}; expected a free port, or 0 for any") from None
    except (BrokerError, OSError) as error:
        raise UserError(f"the embedded broker ({spec.server}) cannot be used: {error}") from None

    if chaos:
        chaos.take_broker(broker)

    async def watch() -> None:
        while True:
            reason = await broker.wait_ended()
            if not loaded.spec.recovery.restart:
                return launched.fail(RunFailed(f"the broker ended: {reason}"))
            settings.warn(f"the broker ended and is started again: {reason.partition(';')[0]}")
            journal.note("down", "the broker is down")
            keep_store = await chaos.before_broker() if chaos else True
            try:
                await broker.restart(keep_store=keep_store)
            except BrokerError as error:
                return launched.fail(RunFailed(f"the broker ended and cannot be started again: {error}"))
            journal.note("back", "the broker is back")

    watching = asyncio.create_task(watch(), name="broker-watch")
    watching.add_done_callback(partial(_ended, launched))

    async def stop_watching() -> None:
        watching.cancel()
        await asyncio.wait({watching})

    stack.push_async_callback(stop_watching)
    return broker.address, True


def _receipts(hosts: Hosts, shares: Sequence[Sequence[str]]) -> dict[str, Callable[..., None]]:
    """What to do when the recorder says something that agents have to know."""
    host_of = {agent: host for host, share in enumerate(shares) for agent in share}

    def recorded(marks: Sequence[Mark]) -> None:
        by_host: dict[int, list[Mark]] = {}
        for mark in marks:
            by_host.setdefault(host_of[mark[0]], []).append(mark)
        for host, own in by_host.items():
            hosts.send(host, {"type": "recorded", "marks": own}, if_room=True)

    def to_all(message: Message) -> None:
        for host in range(len(shares)):
            hosts.send(host, message)

    return {
        "recorded": recorded,
        "again": partial(to_all, {"type": "recorder", "state": "listening"}),
        "over": partial(to_all, {"type": "recorder", "state": "over"}),
    }


def _ended(launched: Launched, task: asyncio.Task[None]) -> None:
    """A task of the runner's has ended; if by an error, the run has failed, and not in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        launched.fail(RunFailed(f"{task.get_name()}: {type(error).__name__}: {error}"))


def _revive(
    supervisor: Supervisor, journal: Journal, shares: Sequence[Sequence[str]], host: int, code: int
) -> bool:
    """Start a host again, if that is the thing to do, and write down that it was away; whether it is."""
    share = shares[host]
    names = ", ".join(share[:4]) + (" ..." if len(share) > 4 else "")
    journal.note("down", f"{names} ended by signal {-code}" if code < 0 else f"{names} ended", share)
    return supervisor.revive(host, code, lambda: journal.note("back", f"{names} started again", share))


def _chaos(
    loaded: LoadedScenario,
    settings: Settings,
    shares: Sequence[Sequence[str]],
    stores: Mapping[str, Path],
    journal: Journal,
) -> Chaos | None:
    """Whoever makes the faults of the scenario happen, if it has any."""
    if loaded.spec.faults is None:
        return None
    from runner.chaos import Chaos

    return Chaos(loaded, settings.broker is None, shares, stores, settings.warn, journal.fault)


def _stores(stack: AsyncExitStack, loaded: LoadedScenario) -> dict[str, Path]:
    """A private directory for every agent that is not to forget; removed when the run is over.

    Not in the run's directory: whoever is told a path there can name the files beside it, which hold
    everybody's utility.
    """
    if loaded.spec.recovery.durable == "none":
        return {}
    stores = {}
    for agent in loaded.agents:
        try:
            stores[agent] = Path(tempfile.mkdtemp(prefix="vicinal-store-"))
        except OSError as error:
            raise UserError(
                f"recovery.durable: no store can be made for agent {agent}: {error.strerror or error}; "
                "expected a folder for temporary files (TMPDIR) that can be written"
            ) from None
        stack.callback(shutil.rmtree, stores[agent], ignore_errors=True)
    return stores


async def _probe(address: Address, client: Any, run: str) -> None:
    """Ask a broker of somebody else's whether it delivers: a denied publish looks like success.

    Raises:
        BrokerError: if it cannot be reached, refuses the credentials or delivers nothing.
    """
    arrived = asyncio.Event()
    topic = f"{run}/runner/probe"
    transport = make_transport(
        client, address, f"runner-{secrets.token_hex(8)}", lambda topic, payload: arrived.set()
    )
    await transport.open(PROBE_TIMEOUT)
    try:
        await transport.subscribe([topic])
        transport.publish(topic, b"?")
        async with asyncio.timeout(PROBE_TIMEOUT):
            await arrived.wait()
    except TimeoutError:
        raise BrokerError(
            f"{address}: accepts connections but did not deliver a message on {topic} within "
            f"{PROBE_TIMEOUT:g} s; expected a user that may publish and subscribe under {run}/"
        ) from None
    finally:
        await transport.close()


async def _clean_up(address: Address, client: Any, agents: Sequence[str], run: str, warn: Warn) -> None:
    """Remove the retained statuses of this run from a broker that outlives it."""
    name = f"runner-{secrets.token_hex(8)}"
    transport = make_transport(client, address, name, lambda topic, payload: None)
    try:
        await transport.open(PROBE_TIMEOUT)
    except BrokerError as error:
        return warn(f"statuses of run {run} are left behind: {error}")
    for agent in agents:
        transport.publish(topics.status(run, agent), b"", retain=True)
    await transport.close()
