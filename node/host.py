"""One operating-system process that carries one agent or many: the shell around the drivers.

The process learns its agents' parts from one socket, its control socket, whose other end the runner holds,
and from nowhere else. Over it go lines of JSON: ``start`` in; ``progress``, ``result``, ``left``, ``failed``
and ``bye`` out; ``leave`` in for agents that are to leave for good, and ``end`` once every agent has its
result. When the other end closes, the runner has gone and the process ends. On SIGTERM all its agents leave
for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import secrets
import signal
import time
import traceback
from collections.abc import Callable, Collection, Coroutine
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.transport import Address, Will
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

if TYPE_CHECKING:
    import socket

# The heartbeat of a process: retransmissions, telemetry and progress are looked after this often. No longer
# than the shortest retransmission time-out, long against a round, which needs no heartbeat at all.
BEAT = 0.05
# The same while messages are being lost: the shortest retransmission time-out of ``node.pacing``.
HASTE = 0.004
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
# A start message carries every part of a host's agents: 10,000 of them fit.
TELL_LIMIT = 1 << 20
LINE_LIMIT = 64 * 1024 * 1024

ProtocolOf = Callable[[Part, Any], Protocol]
# The protocol of a run, as ``module:function`` taking a Part and a snapshot or None, unless the start message
# names another one.
PROTOCOL = "node.protocols.registry:protocol_of"


class Host:
    """The agents of one process, their connections and the line to the runner.

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
            hurry = free < len(self._agents) and any(agent.eager for agent in self._agents)
            await asyncio.sleep(pace * (HASTE if hurry else BEAT))


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


def progress(agent: Agent) -> dict[str, Any]:
    """Where an agent stands, for whoever watches."""
    return {
        "state": agent.state,
        "round": agent.round,
        "kind": agent.conversation.kind,
        "free": agent.free,
        "record": agent.telemetry.latest,
        "waiting_for": agent.waiting_for()[:5],
        "suspects": agent.suspects(),
        "absent": dict(sorted(agent.neighbours.absent.items())),
        "not_durable": agent.memory.failure,
        "epoch": agent.epoch,
        **counts(agent),
    }


def counts(agent: Agent) -> dict[str, Any]:
    """What an agent has counted in this life."""
    return {
        "incarnation": agent.incarnation,
        "sent": agent.sent,
        "sent_bytes": agent.sent_bytes,
        "received": agent.received,
        "received_bytes": agent.received_bytes,
        "resent": agent.resent,
        "heard_from": dict(agent.heard_from),
        "rejected": dict(agent.rejected),
        "first_round_at": agent.first_round_at,
    }


def describe(agent: Agent) -> dict[str, Any]:
    """An agent's result, among whom it was found, and what it took, as plain data."""
    result = None if agent.result is None else asdict(agent.result)
    return {
        "agent": agent.id,
        "result": result,
        "component_size": None if result is None else result.get("agents"),
        "stranded": agent.conversation.stranded,
        "rounds": agent.round + 1,
        "epoch": agent.epoch,
        "neighbours": agent.peers,
        "absent": dict(sorted(agent.neighbours.absent.items())),
        "replayed": agent.conversation.replayed,
        "not_durable": agent.memory.failure,
        **counts(agent),
    }


async def _serve(control: socket.socket) -> int:
    """Wait for the start message, play, report. Returns the exit code."""
    reader, writer = await asyncio.open_connection(sock=control, limit=LINE_LIMIT)

    def tell(message: dict[str, Any]) -> None:
        # A runner that stands still must not make its agents grow; progress can be left out.
        full = writer.transport.get_write_buffer_size() > TELL_LIMIT and message["type"] == "progress"
        if not writer.is_closing() and not full:
            writer.write(json.dumps(message).encode() + b"\n")

    async def runner_has_gone() -> None:
        with contextlib.suppress(ConnectionError):  # gone all the same
            while line := await reader.readline():
                message = json.loads(line)
                if host is None:
                    continue
                if message["type"] == "end":
                    host.released = True
                elif message["type"] == "leave":
                    host.leave(message["agents"])
                else:
                    host.take_receipts(message)

    start: dict[str, Any] = {}
    while start.get("type") != "start":  # what the runner says to all may come before
        line = await reader.readline()
        if not line:
            return 1  # the runner has gone before it said anything
        start = json.loads(line)
    names = [entry["part"]["agent"] for entry in start["agents"]]
    runner_gone = asyncio.create_task(runner_has_gone(), name="runner-gone")
    playing: asyncio.Task[None] | None = None
    host: Host | None = None
    try:
        host = Host(start, tell)
        # Whoever ends this process lets its agents say goodbye, so that nobody waits for them.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, host.leave)
        playing = asyncio.create_task(host.play(), name="play")
        await asyncio.wait({playing, runner_gone}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            return 1
        playing.result()
        tell({"type": "bye"})
        await writer.drain()
        return 0
    except Exception as error:
        # The process boundary: whatever stopped an agent is told to the runner, which names it.
        tell(
            {
                "type": "failed",
                "agents": names,
                "error": str(error) or repr(error),
                "kind": type(error).__name__,
                "named": isinstance(error, AgentError),  # these name the agent themselves
                "traceback": traceback.format_exc(),
            }
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        return 1
    finally:
        for task in (playing, runner_gone):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        writer.close()


def main(control: socket.socket) -> int:
    """Be a host until its agents have left or the runner has gone. Returns the exit code."""
    return run(_serve(control))


def run(serving: Coroutine[Any, Any, int]) -> int:
    """Run a host's main coroutine under the collector and in the event loop that suit it."""
    # What was imported before stays for ever; a round's garbage has no cycles. Looking for them less often
    # saves a tenth of the CPU of a round.
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serving)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.environ.get("VICINAL_LOOP", "uvloop") != "uvloop":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
