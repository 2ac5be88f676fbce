"""A proxy between MQTT clients and their broker that loses, delays, repeats and reorders messages.

It reads the framing of MQTT 3.1.1 and touches PUBLISH packets at QoS 0 only; every other packet passes as it
came and in its order. What becomes of a PUBLISH a ``Fate`` decides, which may be exchanged at any time. For
tests and for faults on purpose: it listens on the loopback interface only.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from broker.transport import Address

if TYPE_CHECKING:
    from types import TracebackType

CONNECT, PUBLISH, DISCONNECT = 1, 3, 14
# A longer packet is no message of ours, whose payloads the broker limits to 4 MiB.
PACKET_LIMIT = 8 * 1024 * 1024
# What one direction of one connection may hold back. Beyond it packets are lost and counted: as in a network
# whose buffers are full.
HELD_BYTES = 16 * 1024 * 1024
# How much later a reordered packet leaves, in seconds: some rounds' worth of others overtake it.
REORDER = (0.001, 0.02)
CONNECT_TIMEOUT = 5.0


class BadStream(Exception):
    """Bytes that are not a sequence of MQTT packets."""


class Splitter:
    """Cuts a stream of bytes into whole MQTT packets."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces: list[bytes] = []
        self._missing = 0  # bytes until the packet that has begun may be whole

    def feed(self, data: bytes) -> list[bytes]:
        """Every packet that is complete with this.

        Raises:
            BadStream: if the bytes so far cannot be the beginning of a packet, or only of an oversized one.
        """
        if self._missing > len(data):
            # A large packet is put together once, not once per read.
            self._pieces.append(data)
            self._missing -= len(data)
            return []
        if self._rest or self._pieces:
            data = b"".join((self._rest, *self._pieces, data))
            self._pieces.clear()
        packets, start, end = [], 0, len(data)
        self._missing = 0
        while end - start >= 2:
            size, body, shift = data[start + 1] & 0x7F, start + 2, 7
            while data[body - 1] & 0x80 and body < end and shift <= 21:
                size |= (data[body] & 0x7F) << shift
                body, shift = body + 1, shift + 7
            if data[body - 1] & 0x80:
                if shift > 21:
                    raise BadStream("a packet of impossible length")
                break
            if size > PACKET_LIMIT:
                raise BadStream(f"a packet of {size} bytes, at most {PACKET_LIMIT} pass")
            if body + size > end:
                self._missing = body + size - end
                break
            packets.append(data[start : body + size])
            start = body + size
        self._rest = data[start:]
        return packets


def _body(packet: bytes) -> int:
    """Where the variable header of a whole packet begins."""
    body = 2
    while packet[body - 1] & 0x80:
        body += 1
    return body


def _text(packet: bytes, start: int) -> tuple[str, int]:
    """A length-prefixed string and where it ends.

    Raises:
        BadStream: if the packet ends before it.
    """
    end = start + 2 + int.from_bytes(packet[start : start + 2], "big")
    if end > len(packet):
        raise BadStream("a string longer than its packet")
    return packet[start + 2 : end].decode("utf-8", "replace"), end


def topic_of(packet: bytes) -> str:
    """The topic of a whole PUBLISH packet.

    Raises:
        BadStream: if it has none.
    """
    return _text(packet, _body(packet))[0]


def client_of(packet: bytes) -> Client:
    """Who a whole CONNECT packet says it is from.

    Raises:
        BadStream: if it cannot be read.
    """
    _, start = _text(packet, _body(packet))  # the protocol's name
    if start + 4 > len(packet):
        raise BadStream("a CONNECT packet that is too short")
    flags = packet[start + 1]
    client_id, start = _text(packet, start + 4)  # level, flags and keep-alive lie between
    if flags & 0x04:  # a will: topic and payload
        _, start = _text(packet, start)
        _, start = _text(packet, start)
    return Client(client_id, _text(packet, start)[0] if flags & 0x80 else None)


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a connection, by its own account."""

    client_id: str
    user: str | None = None


# (generator, client, whether it goes up to the broker, topic) -> the delays, in seconds, of every copy that
# arrives; none is a loss, two are a duplicate. The generator belongs to this client and direction.
Fate = Callable[[random.Random, Client, bool, str], Sequence[float]]
AT_ONCE = (0.0,)


def unharmed(rng: random.Random, client: Client, up: bool, topic: str) -> Sequence[float]:
    """The fate of a network without faults."""
    return AT_ONCE


@dataclass(frozen=True, slots=True)
class Weather:
    """Independent probabilities for every message.

    Attributes:
        loss: that it does not arrive.
        duplicate: that it arrives twice.
        reorder: that it is held back while others overtake it.
        delay: (lo, hi), seconds, drawn for each copy; None: as fast as can be.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay: tuple[float, float] | None = None

    def delays(self, rng: random.Random) -> Sequence[float]:
        """What happens to one message."""
        if self.loss and rng.random() < self.loss:
            return ()
        copies = 1 + (self.duplicate > 0 and rng.random() < self.duplicate)
        if copies == 1 and self.delay is None and not self.reorder:
            return AT_ONCE
        return [self._delay(rng) for _ in range(copies)]

    def _delay(self, rng: random.Random) -> float:
        late = rng.uniform(*self.delay) if self.delay is not None else 0.0
        if self.reorder and rng.random() < self.reorder:
            late += rng.uniform(*REORDER)
        return late

    def everywhere(self, rng: random.Random, client: Client, up: bool, topic: str) -> Sequence[float]:
        """The ``Fate`` of a network with this weather on every connection, in both directions."""
        return self.delays(rng)


class Proxy:
    """Listens on the loopback interface and connects every client to the broker; an async context manager.

    A client of the broker's own kind notices nothing but the faults: if one side closes its connection or
    dies, the other side's is closed.

    Args:
        target: the broker; no TLS, which could not be read.
        fate: of every PUBLISH at QoS 0.
        seed: with it, the k-th PUBLISH of a user in one direction draws the same numbers in every run.
        host: a loopback address to listen on.

    Attributes:
        fate: may be exchanged at any time.
        counts: ``passed``, ``lost``, ``delayed``, ``repeated``: what became of PUBLISH packets; ``overflow``:
            lost because too much was held back; ``broken``: connections cut because they did not speak MQTT.
    Raises:
        ValueError: if the broker is behind TLS or ``host`` is not a loopback address.
    """

    def __init__(
        self, target: Address, fate: Fate = unharmed, *, seed: int = 0, host: str = "127.0.0.1"
    ) -> None:
        if target.tls:
            raise ValueError(f"{target}: the proxy cannot read what is encrypted; expected mqtt://")
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"the proxy listens on loopback addresses only, not on {host}")
        self.target, self.fate, self.counts = target, fate, Counter[str]()
        self._seed, self._host = seed, host
        self._server: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._generators: dict[tuple[str, bool], random.Random] = {}

    async def start(self) -> Address:
        """Listen on a free port; returns where, without user and password."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self, up=True), self._host, 0)
        return Address(self._host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Cut every connection and listen no longer. Safe to call twice."""
        if self._server is None:
            return
        self._server.close()
        for end in list(self._ends):
            end.abort()
        tasks = list(self._connecting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        self.address = await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def cut(self) -> None:
        """Break every connection at once, as when a cable is pulled."""
        for end in list(self._ends):
            end.abort()

    # -- for connections -----------------------------------------------------------------------------

    def _accepted(self, client: _End) -> None:
        self._ends.add(client)
        client.peer = _End(self, up=False)
        client.peer.peer = client
        task = asyncio.create_task(self._connect(client), name="proxy-connect")
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _End) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(lambda: client.peer, self.target.host, self.target.port)
        except OSError:  # a TimeoutError is one
            client.abort()

    def _generator(self, client: Client, up: bool) -> random.Random:
        # Kept from one connection to the next, or each would begin with the same losses.
        name = client.user if client.user is not None else client.client_id
        if (name, up) not in self._generators:
            self._generators[name, up] = random.Random(f"{self._seed} {name} {up}")
        return self._generators[name, up]


class _End(asyncio.Protocol):
    """One end of one connection: reads, and has its peer write.

    Args:
        up: whether what is read here goes to the broker.
    """

    peer: _End

    def __init__(self, proxy: Proxy, *, up: bool) -> None:
        self._proxy, self._up = proxy, up
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._splitter = Splitter()
        self._client = Client("")
        self._rng: random.Random | None = None
        # To be written by the peer: (when, order, packet).
        self._held: list[tuple[float, int, bytes]] = []
        self._held_bytes = self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._up:
            transport.pause_reading()  # until the broker is there
            self._proxy._accepted(self)
        else:
            self._proxy._ends.add(self)
            if self.peer._closed:
                transport.abort()
            elif self.peer._transport is not None:
                self.peer._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        out: list[bytes] = []
        try:
            for packet in self._splitter.feed(data):
                self._treat(packet, out)
        except BadStream:
            self._proxy.counts["broken"] += 1
            self.abort()
            self.peer.abort()
            return
        if out:
            self.peer._write(b"".join(out))

    def _treat(self, packet: bytes, out: list[bytes]) -> None:
        """Append what is to leave at once; hold what is to leave later."""
        kind = packet[0] >> 4
        if kind == PUBLISH and not packet[0] & 0x06:
            proxy = self._proxy
            if self._rng is None:
                self._rng = proxy._generator(self._client, self._up)
            delays = proxy.fate(self._rng, self._client, self._up, topic_of(packet))
            proxy.counts["passed" if delays else "lost"] += 1
            if len(delays) > 1:
                proxy.counts["repeated"] += 1
            for delay in delays:
                if delay > 0:
                    self._hold(packet, delay)
                else:
                    out.append(packet)
            return
        if kind == CONNECT and self._up:
            self._client = self.peer._client = client_of(packet)
        if kind == DISCONNECT and self._held:
            # A goodbye does not overtake what was said before it.
            self._hold(packet, max(self._held)[0] - self._loop.time() + 1e-4)
        else:
            out.append(packet)

    def _hold(self, packet: bytes, delay: float) -> None:
        if self._held_bytes + len(packet) > HELD_BYTES:
            self._proxy.counts["overflow"] += 1
            return
        self._proxy.counts["delayed"] += 1
        self._held_bytes += len(packet)
        self._order += 1
        heapq.heappush(self._held, (self._loop.time() + delay, self._order, packet))
        self._set_timer()

    def _set_timer(self) -> None:
        due = self._held[0][0]
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._release)

    def _release(self) -> None:
        self._timer = None
        now, out = self._loop.time(), []
        while self._held and self._held[0][0] <= now:
            out.append(heapq.heappop(self._held)[2])
            self._held_bytes -= len(out[-1])
        self.peer._write(b"".join(out))
        if self._held:
            self._set_timer()
        elif self._closed:
            self.peer._close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._closed:
            self._transport.write(data)

    # A peer that does not read fast enough is not read for either: the proxy buffers no more than one write
    # buffer and what it holds back on purpose.
    def pause_writing(self) -> None:
        if self.peer._transport is not None:
            self.peer._transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer._transport is not None and not self.peer._closed:
            self.peer._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._proxy._ends.discard(self)
        self.peer._drop_held()
        if not self._held:  # what is under way to the other side still arrives, then the end
            self.peer._close()

    def _drop_held(self) -> None:
        """Forget what would have gone to the peer, which has gone."""
        self._held.clear()
        self._held_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut this end of the connection."""
        if self._transport is not None:
            self._transport.abort()
