"""A proxy between MQTT clients and their broker that loses, delays, repeats and reorders messages.

It reads the framing of MQTT 3.1.1 (``broker.packets``) and touches PUBLISH packets at QoS 0 only; every other
packet passes as it came and in its order. What becomes of a PUBLISH a ``Fate`` decides (``broker.weather``),
which may be exchanged at any time. For tests and for faults on purpose: it listens on the loopback interface
only.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import random
from collections import Counter
from typing import TYPE_CHECKING, Self

from broker.packets import CONNECT, DISCONNECT, PUBLISH, BadStream, Client, Splitter, client_of, topic_of
from broker.transport import Address
from broker.weather import unharmed

if TYPE_CHECKING:
    from types import TracebackType

    from broker.weather import Fate

# What one direction of one connection may hold back. Beyond it packets are lost and counted: as in a network
# whose buffers are full.
HELD_BYTES = 16 * 1024 * 1024
CONNECT_TIMEOUT = 5.0


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
