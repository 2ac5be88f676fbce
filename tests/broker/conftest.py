"""A real broker for a small graph, and clients that are closed whatever happens.

The graph: b hears a (edge b -> a), c hears b and b hears c. So a may not speak as b, and a hears nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest

from broker import access
from broker.embedded import EmbeddedBroker, find_server
from broker.mqtt import make_transport
from broker.transport import Address, BrokerError, Transport, Will

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

RUN = "run1"
# Only what hangs takes so long: a machine that is busy, or a process that stood still, does not.
WAIT = 30.0


class Client:
    """A transport and what reached it."""

    def __init__(self, make: Callable[..., Transport], address: Address, will: Will | None = None) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.lost: list[str] = []
        self.bug: Exception | None = None  # to be raised out of on_message
        self._changed = asyncio.Event()
        self.transport = make(address, secrets.token_hex(8), self._on_message, self._on_lost, will)

    def _on_message(self, topic: str, payload: bytes) -> None:
        self.received.append((topic, payload))
        self._changed.set()
        if self.bug is not None:
            raise self.bug

    def _on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until the condition on what was received holds."""
        async with asyncio.timeout(WAIT):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_received(self, topic: str, payload: bytes) -> None:
        await self.until(lambda: (topic, payload) in self.received)


@pytest.fixture(params=["gmqtt", "aiomqtt"])
def library(request: pytest.FixtureRequest) -> Literal["gmqtt", "aiomqtt"]:
    return request.param


@pytest.fixture(params=["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def server(request: pytest.FixtureRequest) -> Literal["nats", "mosquitto"]:
    try:
        find_server(request.param)
    except BrokerError as error:
        if request.param == "nats":  # pip installed it: its absence is a failure
            raise
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def grants() -> dict[str, access.Grant]:
    return {
        "a": access.agent_grant(RUN, "a", [], ["b"]),
        "b": access.agent_grant(RUN, "b", ["a", "c"], ["c"]),
        "c": access.agent_grant(RUN, "c", ["b"], ["b"]),
        "recorder": access.recorder_grant(RUN),
    }


@pytest.fixture
async def broker(server: Any, grants: dict[str, access.Grant]) -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(list(grants.values()), server) as started:
        yield started


@pytest.fixture
async def make(library: Any) -> AsyncIterator[Callable[..., Client]]:
    """Make clients that are closed after the test."""
    made: list[Client] = []

    def build(address: Address, will: Will | None = None) -> Client:
        made.append(Client(lambda *args: make_transport(library, *args), address, will))
        return made[-1]

    yield build
    for client in made:
        await client.transport.close()


@pytest.fixture
def connect(
    make: Callable[..., Client], broker: EmbeddedBroker, grants: dict[str, access.Grant]
) -> Callable[..., Any]:
    """Open a connection as one of the users; by way of another address if one is given."""

    async def opened(name: str, will: Will | None = None, via: Address | None = None) -> Client:
        grant = grants[name]
        address = replace(via or broker.address, user=grant.user, password=grant.password)
        client = make(address, will)
        await client.transport.open(WAIT)
        return client

    return opened


class Peer(asyncio.Protocol):
    """The server's side of a connection that is not a broker's: accepts, and does nothing unless told to."""

    def __init__(self, answer: bytes | None, then: Literal["wait", "close", "deaf"]) -> None:
        self.answer, self.then = answer, then

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.answer is None and self.then == "close":
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self.answer is not None:
            self.transport.write(self.answer)
            self.answer = None
            if self.then == "close":
                self.transport.close()
            elif self.then == "deaf":
                self.transport.pause_reading()


@contextlib.contextmanager
def nobody() -> Iterator[Address]:
    """An address at which nobody listens, and nobody else can while this lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield Address("127.0.0.1", held.getsockname()[1])


@contextlib.asynccontextmanager
async def fake_server(
    answer: bytes | None = None, then: Literal["wait", "close", "deaf"] = "wait"
) -> AsyncIterator[Address]:
    """A TCP server that answers the first bytes with ``answer``, if any."""
    peers: list[Peer] = []

    def peer() -> Peer:
        peers.append(Peer(answer, then))
        return peers[-1]

    listening = await asyncio.get_running_loop().create_server(peer, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        for each in peers:
            each.transport.abort()
        await listening.wait_closed()


class Wire:
    """A connection that a test can cut: passes bytes on between its own address and a broker."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = Address("127.0.0.1", self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every connection at once, as when a process is killed or a cable pulled."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self.target.host, self.target.port)
        self._writers += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink)))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()
