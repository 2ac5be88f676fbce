"""The transport of the hot path: gmqtt with a shorter way in and out.

gmqtt carries a received packet through a StreamReader, a reading coroutine, a Package object, logging
calls, a property parser and an inspection of the callback; and it writes every packet by itself. Here
PUBLISH packets go from the socket's callback straight to ``on_message``, and all that is published in one
turn of the event loop leaves in one write. Everything else of MQTT (CONNECT, SUBSCRIBE, keep-alive) stays
gmqtt's. This leans on gmqtt's internals, hence the upper bound on its version in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import gmqtt
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.constants import MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.mqtt.package import Package
from gmqtt.mqtt.protocol import MQTTProtocol

from broker import tls
from broker.transport import (
    PACKET_LIMIT,
    TURN,
    WRITE_LIMIT,
    BrokerRefused,
    BrokerUnreachable,
    NotPermitted,
    OnLost,
    OnMessage,
    Transport,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

# After 1.5 times this many seconds without a packet of ours the broker publishes the will.
KEEPALIVE = 30
# CONNACK code of a broker that is starting or stopping: ask again later.
_UNAVAILABLE = 3
# How long a goodbye may wait for a peer that does not read.
CLOSE_TIMEOUT = 5.0

# What gmqtt logs as errors is raised here as exceptions; unconfigured logging would print it as well.
_QUIET = logging.getLogger(f"{__name__}.gmqtt")
_QUIET.setLevel(logging.CRITICAL)


class GmqttTransport(Transport):
    """``Transport`` on gmqtt, MQTT 3.1.1.

    An exception out of ``on_message`` goes to the event loop's exception handler and ends the connection,
    of which ``on_lost`` tells: it is a bug, and going on would hide it.
    """

    _client: _Client | None = None
    _link: _Link | None = None  # the open connection

    async def open(self, timeout: float = 5.0) -> None:
        """See ``Transport``."""
        client = _Client(self)
        secured = tls.context(self.address) if self.address.tls else False
        hint = tls.HANGS_UP if self.address.tls else ""
        try:
            async with asyncio.timeout(timeout):
                await client.connect(self.address.host, self.address.port, secured, KEEPALIVE, MQTTv311)
            if (reason := client.link.lost) is not None:
                # A broker that wants another client certificate says so only now.
                bad = tls.explained(reason, self.address) if self.address.tls else None
                raise bad or BrokerUnreachable(
                    f"{self.address}: connection lost before CONNACK: {reason}{hint}"
                )
            self._client, self._link = client, client.link
            self._link.on_lost = self._lost
        except TimeoutError:
            raise BrokerUnreachable(f"{self.address}: no answer within {timeout:g} s") from None
        except OSError as error:
            bad = tls.explained(error, self.address) if self.address.tls else None
            hint = hint if isinstance(error, ConnectionResetError) else ""
            raise bad or BrokerUnreachable(f"{self.address}: {error}{hint}") from None
        except MQTTConnectError as error:
            refused = BrokerRefused(f"{self.address}, user {self.address.user!r}: {error.message}")
            refused.transient = error._code == _UNAVAILABLE
            raise refused from None
        finally:
            if self._link is None:
                await client.link.abort()

    async def subscribe(self, topics: Sequence[str], timeout: float = 5.0) -> None:
        """See ``Transport``."""
        if not topics:
            return  # a SUBSCRIBE without filters would break the protocol
        client, link = self._client, self._link
        if client is None or link is None or link.lost is not None:
            raise BrokerUnreachable(f"{self.address}: cannot subscribe, not connected")
        answer: asyncio.Future[Sequence[int]] = asyncio.get_running_loop().create_future()
        mid = client.subscribe([gmqtt.Subscription(topic) for topic in topics])
        client.awaited[mid] = answer
        try:
            async with asyncio.timeout(timeout):
                codes = await answer
        except TimeoutError:
            raise BrokerUnreachable(f"{self.address}: SUBSCRIBE unanswered for {timeout:g} s") from None
        finally:
            client.awaited.pop(mid, None)
        if refused := [topic for topic, code in zip(topics, codes, strict=True) if code >= 0x80]:
            raise NotPermitted(
                f"{self.address}: user {self.address.user!r} may not subscribe to {', '.join(refused)}"
            )

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """See ``Transport``."""
        if self._link is None or not self._link.publish(topic, payload, retain):
            self.dropped += 1

    async def close(self) -> None:
        """See ``Transport``."""
        client, link = self._client, self._link
        if client is None or link is None:
            return
        self._client = self._link = None
        link.on_lost = None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await link.goodbye()
        except TimeoutError:
            pass  # the peer does not read: what is still buffered is lost
        finally:
            await link.abort()

    def _lost(self, reason: str) -> None:
        for answer in self._client.awaited.values() if self._client is not None else ():
            if not answer.done():
                answer.set_exception(BrokerUnreachable(f"{self.address}: connection lost: {reason}"))
        if self.on_lost is not None:
            self.on_lost(f"{self.address}: {reason}")


class _Client(gmqtt.Client):  # type: ignore[misc]  # gmqtt ships no types
    """gmqtt's client on our connection class, without its reconnection.

    Attributes:
        link: the connection; also while it is being made.
        awaited: packet id of each SUBSCRIBE sent -> its answer.
    """

    def __init__(self, owner: GmqttTransport) -> None:
        will = owner.will
        message = gmqtt.Message(will.topic, will.payload, qos=0, retain=True) if will is not None else None
        super().__init__(owner.client_id, clean_session=True, will_message=message, logger=_QUIET)
        if owner.address.user is not None:
            self.set_auth_credentials(owner.address.user, owner.address.password)
        self.awaited: dict[int, asyncio.Future[Sequence[int]]] = {}
        self.on_subscribe = _Client._acknowledged
        self.link = _Link(self, owner.on_message)

    def _acknowledged(self, mid: int, codes: Sequence[int], properties: object) -> None:
        answer = self.awaited.get(mid)
        if answer is not None and not answer.done():
            answer.set_result(codes)

    async def _create_connection(
        self, host: str, port: int, ssl: ssl.SSLContext | bool, clean_session: bool, keepalive: int
    ) -> MQTTConnection:
        await asyncio.get_running_loop().create_connection(lambda: self.link, host, port, ssl=ssl)
        self.link.made = True
        return self.link.connection

    async def reconnect(self, delay: bool = False) -> None:
        """Nothing: by the contract a lost connection stays lost."""


class _Link(MQTTProtocol):  # type: ignore[misc]  # gmqtt ships no types
    """One connection, from the first byte to the last.

    Attributes:
        lost: why the connection ended; None before that.
        made: whether the event loop has handed it over.
        on_lost: called with ``lost`` when it does.
    """

    def __init__(self, client: _Client, on_message: OnMessage) -> None:
        super().__init__(
            connection_state=client._connection_state, id_generator=client._package_handler.id_generator
        )
        self.lost: str | None = None
        self.made = False
        self.on_lost: OnLost | None = None
        self._client = client
        self._on_message = on_message
        self._incomplete = bytearray()  # read and not handed on: a packet that is not whole, or too many
        self._expected = 0  # its length, as far as known
        self._out: list[bytes] = []  # published in this turn of the loop
        self._room = 0  # bytes that may still be published in this turn
        self._reading = self._paused = False

    @property
    def connection(self) -> Any:
        """gmqtt's view of this connection: keep-alive and the dispatch of everything but PUBLISH."""
        return self._connection

    def connection_made(self, transport: asyncio.Transport) -> None:
        # gmqtt's own would start the reading coroutine.
        self._transport = transport
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        MQTTConnection(transport, self, True, KEEPALIVE, self._client._package_handler, _QUIET)

    def data_received(self, data: bytes) -> None:
        self._connection._last_data_in = time.monotonic()
        if self._paused:  # read before the pause took hold
            self._incomplete += data
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        # What on_message publishes in answer is written at the end of this read: one turn of the loop less.
        self._reading = True
        self._dispatch(data)
        self._reading = False
        self.flush()

    def _pause(self, rest: bytes) -> None:
        """Leave the rest for the next turn of the loop, and read no more until then."""
        self._incomplete += rest
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()  # does nothing the second time
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self.lost is not None:
            return
        data, self._paused = bytes(self._incomplete), False
        self._incomplete.clear()
        try:
            self._take(data)
        except BaseException:
            self._transport.abort()  # as the loop does when data_received raises
            raise
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _dispatch(self, data: bytes) -> None:
        """Hand on every whole packet, ``TURN`` at most; keep the rest."""
        if self._incomplete:
            self._incomplete += data
            if len(self._incomplete) < self._expected:
                return  # a large packet is put together once, not once per read
            data = bytes(self._incomplete)
            self._incomplete.clear()
        on_message, left = self._on_message, TURN
        start, end = 0, len(data)
        self._expected = 0
        while end - start >= 2:
            # Fixed header: type and flags, then the length, seven bits a byte, lowest first.
            size = data[start + 1]
            body = start + 2
            if size >= 0x80:
                size &= 0x7F
                for shift in (7, 14, 21):
                    if body == end:
                        self._incomplete += data[start:]
                        return
                    size |= (data[body] & 0x7F) << shift
                    body += 1
                    if data[body - 1] < 0x80:
                        break
                else:
                    return self._break("the broker sent a packet of impossible length")
            stop = body + size
            if stop > end:
                if size > PACKET_LIMIT:
                    return self._break(
                        f"the broker sent a packet of {size} bytes, at most {PACKET_LIMIT} are read"
                    )
                self._expected = stop - start
                break
            if not left:
                return self._pause(data[start:])
            left -= 1
            kind = data[start]
            if kind & 0xF6 == 0x30:  # PUBLISH at QoS 0, retained or not: the only QoS we subscribe at
                text = body + 2
                payload = text + (data[body] << 8 | data[body + 1]) if size >= 2 else stop + 1
                if payload > stop:
                    return self._break("the broker sent a malformed PUBLISH")
                on_message(data[text:payload].decode("utf-8", "replace"), data[payload:stop])
            else:
                self._connection.put_package(Package(kind, data[body:stop]))
            start = stop
        if start < end:
            self._incomplete += data[start:]

    def eof_received(self) -> None:
        """The broker closed its side; returning None closes ours."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost is None:
            self.lost = str(exc) if exc is not None else "the broker closed the connection"
        self._out.clear()
        self._connection._keep_connection_callback.cancel()
        if not self._closed.done():
            self._closed.set_result(None)
        # Client.connect waits for nothing else, and would wait for ever.
        self._client._connack_received.set()
        if self.on_lost is not None:
            self.on_lost(self.lost)

    def publish(self, topic: str, payload: bytes, retain: bool) -> bool:
        """Send at QoS 0 by the end of this turn of the loop; False if it was dropped."""
        if self.lost is not None:
            return False
        out = self._out
        if not out:
            self._room = WRITE_LIMIT - self._transport.get_write_buffer_size()
            if not self._reading:
                self._loop.call_soon(self.flush)
        head = _publish_head(topic, len(payload), retain)
        room = self._room - len(head) - len(payload)
        if room < 0:
            return False
        self._room = room
        out.append(head)
        out.append(payload)
        return True

    def flush(self) -> None:
        """Write what was published in this turn of the loop."""
        if self._out:
            self._connection._last_data_out = time.monotonic()
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def write_data(self, data: bytes) -> None:
        """Write one of gmqtt's own packets, after what was published before it."""
        if self.lost is None:
            self._out.append(bytes(data))
            self.flush()

    async def goodbye(self) -> None:
        """Say DISCONNECT after all that was published, and wait until the broker has closed the connection.

        Closing a socket that still has unread input makes the kernel reset the connection, and the broker
        then drops what it has not read yet. So we only close our half, and read on.
        """
        if self.lost is None:
            self._connection.send_disconnect()
            if self._transport.can_write_eof():
                try:
                    self._transport.write_eof()
                except OSError:
                    return  # reset by the peer, which the event loop has not told yet: nobody is left to hear
            await asyncio.shield(self._closed)

    async def abort(self) -> None:
        """Cut the connection, if there is one, without a goodbye."""
        if self._transport is not None and not self._closed.done():
            self._transport.abort()
            if self.made:  # uvloop never tells of the end of a connection that was cancelled in the making
                await self._closed

    def _break(self, reason: str) -> None:
        self.lost = reason
        self._transport.abort()


# Few topics and few lengths make up nearly all messages of a run.
@functools.lru_cache(maxsize=4096)
def _publish_head(topic: str, payload_size: int, retain: bool) -> bytes:
    """All of a QoS 0 PUBLISH packet that comes before the payload."""
    name = topic.encode()
    size = 2 + len(name) + payload_size
    head = bytearray([0x31 if retain else 0x30])
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head + len(name).to_bytes(2, "big") + name)
