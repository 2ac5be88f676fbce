"""The agents of one process, one or many: the shell around the drivers.

Drivers decide; here are the connections that they speak through, the beat at which they look at the clock,
and what becomes of their telemetry and their results. Who starts a host and listens to what it tells is
``node.process`` for a run with a runner, ``node.standalone`` for one without.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from broker import topics
from broker.transport import Address, Will
from node.account import counts, describe, progress
from node.agent import Agent
from node.connection import Connection
from node.errors import AgentError
from node.imports import extend_path, resolve
from node.pacing import pace_of
from node.part import Part
from node.protocol import Protocol
from node.states import GONE, JOINING, LINGERING
from node.store import DiskStore
from node.switchboard import Switchboard
from node.ticking import ticking

# The heartbeat of a process: retransmissions, telemetry and progress are looked after this often. No longer
# than the shortest retransmission time-out, long against a round, which needs no heartbeat at all.
BEAT = 0.05
# While messages are being lost, time-outs are kept to so many seconds, and to so many an agent of the
# process: a quarter of the shortest of ``node.pacing``.
RESOLUTION, CROWDED_RESOLUTION = 0.001, 2.5e-5
# So many connections of a process are made at a time.
AT_ONCE = 16
# Agents of whom an account goes to the runner at once; of more, a part after the other.
ACCOUNTS = 500
PROGRESS_EVERY = 0.2
TELEMETRY_EVERY = 0.25
TELEMETRY_ROWS = 64
# How long to stay, once all is over, for the recorder's receipts of what was measured last.
RECORD_PATIENCE = 5.0
# How long agents that leave for good wait for a broker to say so to.
GOODBYE_PATIENCE = 5.0

ProtocolOf = Callable[[Part, Any], Protocol]
# The protocol of a run, as ``module:function`` taking a Part and a snapshot or None, unless the start message
# names another one.
PROTOCOL = "node.protocols.registry:protocol_of"


class Host:
    """The agents of one process, and their connections.

    Args:
        start: the ``start`` message (see ``runner.launch``): ``run``, ``client``, ``protocol``, ``broker``
            (an ``Address.place``), ``shared`` (user, password, client_id) or None, ``agents``: each with
            ``part`` and, unless shared, its own ``access``; optional ``import_path`` (folders with modules of
            the user's), ``stores`` (agent -> directory), ``sync``, ``life``, how often this host was started
            before, ``patient``, whether the broker may be away at first, and ``recorded``, whether a
            recorder gives receipts.
        tell: sends one message to the runner.

    Attributes:
        outlets: agent -> its driver and the connection that it speaks through.
        released: whether every agent of the run has its result. Until then the process stays: an agent that
            comes back without its memory needs its neighbours, even those that had finished.
        recorded: whether receipts of what was measured may come.
    """

    def __init__(self, start: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self.released = bool(start.get("released"))
        self.recorded = bool(start.get("recorded"))
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._start = start
        extend_path(start.get("import_path", ()))
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._connections: list[tuple[Connection, Switchboard, list[Agent]]] = []
        self._reported: dict[str, int] = {}  # agent -> the epoch of the result that was reported
        self._leaving = asyncio.Event()
        self.outlets: dict[str, tuple[Agent, Connection]] = {}
        self._crowd = len(start["agents"])
        shared = start["shared"]
        parts = [(Part.from_dict(entry["part"]), entry.get("access")) for entry in start["agents"]]
        rules = parts[0][0].contract  # once for all agents, of whom there may be thousands
        parts = [(replace(p, contract=rules) if p.contract == rules else p, own) for p, own in parts]
        if shared is not None:
            self._connect(shared, [part for part, _ in parts])
        else:
            for part, access in parts:
                self._connect(access, [part])
        self._agents = [agent for _, _, agents in self._connections for agent in agents]
        del start["agents"][1:]  # as large as the agents themselves, and not needed again

    def _connect(self, access: dict[str, Any], parts: list[Part]) -> None:
        """Prepare one connection for these agents."""
        broker, run = self._start["broker"], self._start["run"]
        address = Address.at(broker, access["user"], access["password"])

        def deliver(topic: str, payload: bytes) -> None:
            try:
                switchboard.deliver(topic, payload)
            except AgentError as error:
                self._fail(error)
            except Exception as error:
                # A bug, or the user's code: named, and never healed by connecting again.
                names = ", ".join(agent.id for agent in agents[:5])
                failed = AgentError(f"agent {names}: {type(error).__name__}: {error}")
                failed.__cause__ = error
                self._fail(failed)

        connection = Connection(self._start["client"], address, access["client_id"], deliver)
        agents = [self._agent(part, connection) for part in parts]
        self.outlets.update((agent.id, (agent, connection)) for agent in agents)
        if len(agents) == 1:  # a connection has one will; only alone behind it can an agent have its own
            connection.will = Will(topics.status(run, parts[0].agent), agents[0].announcer.will())
        switchboard = Switchboard(run, agents)
        self._connections.append((connection, switchboard, agents))

    def _agent(self, part: Part, connection: Connection) -> Agent:
        """The driver of one agent: new, or back from its store."""
        directory = self._start.get("stores", {}).get(part.agent)
        store = None
        if directory is not None:
            identity = f"{part.run}/{part.agent}/{part.digest()}"
            store = DiskStore(Path(directory), identity, sync=self._start["sync"])
        return Agent(
            part,
            _protocol(self._start["protocol"]),
            connection.publish,
            time.monotonic,
            f"{time.time_ns():016x}{secrets.token_hex(8)}",
            # A later life whose store is lost needs a number that still grows.
            forgotten=time.time_ns() if self._start.get("life", 0) else 0,
            store=store,
            crowd=self._crowd,
            ask=connection.ask,
        )

    async def play(self) -> None:
        """Connect, play until every agent has left, and say goodbye.

        Raises:
            AgentError, BrokerError: the first thing that stopped an agent.
        """
        tasks = [
            asyncio.create_task(self._beat(), name="heartbeat"),
            asyncio.create_task(self._leaving_for_good(), name="leaving"),
        ]
        if free := [agent for agent in self._agents if agent.free]:
            tasks.append(asyncio.create_task(ticking(free, time.monotonic), name="ticks"))
        for connection, switchboard, agents in self._connections:
            joined = partial(_reconnected, agents)
            patient = self._start.get("patient", False)
            keeping = connection.keep(switchboard.topics(), joined, patient=patient, gate=self._gate)
            tasks.append(asyncio.create_task(keeping, name=f"connection-{agents[0].id}"))
        try:
            await asyncio.wait({*tasks, self._failure}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._failure, *tasks):
                if ended.done():
                    ended.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection, _, agents in self._connections:
                for agent in agents:
                    if agent.state is JOINING or not self.recorded:
                        continue  # it has measured nothing, and may not be who it claims to be
                    for batch in agent.telemetry.take(time.monotonic(), last=True):
                        connection.publish(agent.telemetry.topic, batch)
                await connection.close()

    def leave(self, names: Collection[str] | None = None) -> None:
        """Let these agents leave the run for good, or all; the process ends when it has none left."""
        for agent in self._agents:
            if (names is None or agent.id in names) and not agent.quitted:
                self._report(agent)  # a result that is there is not lost
                agent.quit()
                self._tell({"type": "left", "agent": agent.id, **counts(agent)})
        if all(agent.quitted for agent in self._agents):
            self._leaving.set()

    def _report(self, agent: Agent) -> None:
        """Tell the runner an agent's result, once in an epoch: in a later one it has another result."""
        there = agent.state in (LINGERING, GONE) and not agent.quitted
        if there and self._reported.get(agent.id) != agent.epoch:
            self._reported[agent.id] = agent.epoch
            self._tell({"type": "result", **describe(agent)})

    def take_receipts(self, message: dict[str, Any]) -> None:
        """The recorder has written, has missed, or will never hear what these agents measured."""
        by_name = {agent.id: agent for agent in self._agents}
        if message["type"] == "recorded":
            for name, epoch, origin, rows in message["marks"]:
                by_name[name].telemetry.recorded((epoch, origin), rows)
        elif message["state"] == "listening":
            for agent in self._agents:
                agent.telemetry.again()
        else:
            self.recorded = False
            for agent in self._agents:
                agent.telemetry.discard()

    def _fail(self, error: AgentError) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    async def _leaving_for_good(self) -> None:
        """Until every agent has left for good, and has had an opportunity to say so."""
        await self._leaving.wait()
        for _ in range(round(GOODBYE_PATIENCE / BEAT)):
            if all(connection.is_open for connection, _, _ in self._connections):
                return
            await asyncio.sleep(BEAT)

    async def _beat(self) -> None:
        """Resend, publish telemetry, report progress and results, until every agent has left."""
        pairs = [(agent, connection) for connection, _, agents in self._connections for agent in agents]
        free = sum(agent.free for agent in self._agents)
        pace = pace_of(len(self._agents))
        resolution = max(RESOLUTION, CROWDED_RESOLUTION * len(self._agents))
        next_progress = next_telemetry = 0.0
        accounts = 0
        ending: float | None = None
        while True:
            now = time.monotonic()
            flush = now >= next_telemetry
            if flush:
                next_telemetry = now + TELEMETRY_EVERY
            for agent, connection in pairs:
                if not agent.free and now >= agent.deadline:
                    agent.tick(now)
                if not self.recorded:
                    agent.telemetry.discard()
                elif flush or len(agent.telemetry) >= TELEMETRY_ROWS:
                    for batch in agent.telemetry.take(now, last=ending is not None):
                        connection.publish(agent.telemetry.topic, batch)
                self._report(agent)
            if now >= next_progress:
                next_progress = now + PROGRESS_EVERY
                some = self._agents[accounts : accounts + ACCOUNTS]
                accounts = accounts + ACCOUNTS if accounts + ACCOUNTS < len(self._agents) else 0
                self._tell({"type": "progress", "agents": {agent.id: progress(agent) for agent in some}})
            if self.released and all(agent.state is GONE for agent in self._agents):
                if not self.recorded or now - (ending or now) > RECORD_PATIENCE:
                    return
                if ending is None:
                    ending, next_telemetry = now, now  # say that this was all, and wait for the receipt
                elif all(agent.telemetry.settled for agent in self._agents):
                    return
            pause = pace * BEAT
            if free < len(self._agents):
                soon = min((agent.deadline for agent in self._agents if agent.eager), default=math.inf)
                pause = min(pause, max(resolution, soon - time.monotonic()))
            await asyncio.sleep(pause)


def _reconnected(agents: list[Agent]) -> None:
    for agent in agents:
        agent.reconnected()


def _protocol(name: str) -> ProtocolOf:
    """The function behind ``module:function``.

    Raises:
        ValueError: if there is none.
    """
    try:
        found: ProtocolOf = resolve(name)
    except ValueError as error:
        raise ValueError(f"protocol {error}") from error
    return found
