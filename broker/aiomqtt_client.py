"""The transport on aiomqtt 2.5: the widespread client, at several times the CPU of the other adapter.

aiomqtt makes a task for every message that is awaited, so messages are taken where they enter its queue.
Its ``publish`` is a coroutine, so one sender task feeds it, in order and one call at a time: it warns of more
than ten. Its sockets collect small writes unless told otherwise. It does not notice a connection that is
closed before CONNACK, nor close one whose CONNACK did not come; both are mended here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import aiomqtt

from broker import tls
from broker.transport import (
    WRITE_LIMIT,
    BrokerRefused,
    BrokerUnreachable,
    NotPermitted,
    OnMessage,
    Transport,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from broker.transport import Address

# After 1.5 times this many seconds without a packet of ours the broker publishes the will.
KEEPALIVE = 30
# What a message in the outbox takes beside its text: without it, empty ones would be without bound.
OVERHEAD = 100
# How long what was published, and then the goodbye, may wait for a peer that does not read.
CLOSE_TIMEOUT = 5.0

# What aiomqtt and paho log as errors is raised here as exceptions.
_QUIET = logging.getLogger(f"{__name__}.aiomqtt")
_QUIET.setLevel(logging.CRITICAL)


class AiomqttTransport(Transport):
    """``Transport`` on aiomqtt, MQTT 3.1.1.

    An exception out of ``on_message`` goes to the event loop's exception handler and ends the connection,
    of which ``on_lost`` tells: it is a bug, and going on would hide it.
    """

    _client: _Client | None = None
    _sender: asyncio.Task[None] | None = None
    _watcher: asyncio.Task[None] | None = None
    _lost = False

    async def open(self, timeout: float = 5.0) -> None:
        """See ``Transport``. Connecting and CONNACK have ``timeout`` seconds each."""
        client = _Client(self, timeout)
        try:
            await client.__aenter__()
            self._client = client
        except aiomqtt.exceptions.MqttConnectError as error:
            raise BrokerRefused(f"{self.address}, user {self.address.user!r}: {error}") from None
        except aiomqtt.MqttError as error:
            # aiomqtt hides what it is about behind its own error.
            cause = error.__context__ or error
            bad = tls.explained(cause, self.address) if self.address.tls else None
            hangs_up = isinstance(cause, ConnectionResetError) or "before CONNACK" in str(error)
            hint = tls.HANGS_UP if self.address.tls and hangs_up else ""
            raise bad or BrokerUnreachable(f"{self.address}: {error} (within {timeout:g} s){hint}") from None
        finally:
            if self._client is None:
                await client.cut()
        self._outbox: asyncio.Queue[tuple[str, bytes, bool] | None] = asyncio.Queue()
        self._waiting = 0  # bytes in the outbox
        self._sender = asyncio.create_task(self._send(client), name=f"{self.client_id}-sender")
        self._watcher = asyncio.create_task(self._watch(client), name=f"{self.client_id}-watcher")

    async def subscribe(self, topics: Sequence[str], timeout: float = 5.0) -> None:
        """See ``Transport``. A connection lost meanwhile shows when the time is over."""
        if not topics:
            return
        if self._client is None or self._lost:
            raise BrokerUnreachable(f"{self.address}: cannot subscribe, not connected")
        try:
            codes = await self._client.subscribe([(topic, 0) for topic in topics], timeout=timeout)
        except aiomqtt.MqttError as error:
            raise BrokerUnreachable(f"{self.address}: SUBSCRIBE failed: {error}") from None
        numbers = [code if isinstance(code, int) else code.value for code in codes]
        if refused := [topic for topic, code in zip(topics, numbers, strict=True) if code >= 0x80]:
            raise NotPermitted(
                f"{self.address}: user {self.address.user!r} may not subscribe to {', '.join(refused)}"
            )

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """See ``Transport``."""
        size = len(topic) + len(payload) + OVERHEAD
        if self._client is None or self._lost or self._waiting + size > WRITE_LIMIT:
            self.dropped += 1
            return
        self._waiting += size
        self._outbox.put_nowait((topic, payload, retain))

    async def close(self) -> None:
        """See ``Transport``."""
        client, sender, watcher = self._client, self._sender, self._watcher
        if client is None or sender is None or watcher is None:
            return
        self._client = None
        try:
            if not self._lost:
                self._outbox.put_nowait(None)
                await asyncio.wait(
                    {sender, watcher}, timeout=CLOSE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
                )
            self._lost = True  # from here on the end of the connection is no news
            sender.cancel()
            watcher.cancel()
            await asyncio.wait({sender, watcher})
            with contextlib.suppress(aiomqtt.MqttError):  # broken meanwhile, or the peer does not read
                await client.__aexit__(None, None, None)
        finally:
            await client.cut()

    async def _send(self, client: _Client) -> None:
        while (message := await self._outbox.get()) is not None:
            topic, payload, retain = message
            try:
                await client.publish(topic, payload, qos=0, retain=retain, timeout=math.inf)
            except aiomqtt.MqttError:
                self.dropped += 1  # the connection is gone; the watcher will say so
            self._waiting -= len(topic) + len(payload) + OVERHEAD

    async def _watch(self, client: _Client) -> None:
        try:
            async for _ in client.messages:  # its queue stays empty: this waits for the end
                pass
        except aiomqtt.MqttError as error:
            if self._lost:
                return
            self._lost = True
            cause = error.__cause__
            if client.failure is not None:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "on_message raised", "exception": client.failure}
                )
                cause = client.failure
            if self._sender is not None:
                self._sender.cancel()
            await client.cut()
            if self.on_lost is not None:
                self.on_lost(f"{self.address}: {cause or error}")


def _secured(address: Address, timeout: float, sock: socket.socket) -> ssl.SSLSocket:
    """TLS over a connection that stands. paho's own forgets to close it when the handshake fails."""
    secured = tls.context(address).wrap_socket(
        sock, server_hostname=address.host, do_handshake_on_connect=False
    )
    try:
        secured.settimeout(timeout)
        secured.do_handshake()
    except BaseException:
        secured.close()
        raise
    return secured


class _Client(aiomqtt.Client):
    """aiomqtt's client with the settings and the two mends that this adapter needs.

    Attributes:
        failure: what ``on_message`` raised, if it did.
    """

    def __init__(self, owner: AiomqttTransport, timeout: float) -> None:
        address, will = owner.address, owner.will
        self.failure: Exception | None = None
        super().__init__(
            address.host,
            address.port,
            username=address.user,
            password=address.password,
            identifier=owner.client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, qos=0, retain=True) if will is not None else None,
            clean_session=True,
            timeout=timeout,
            keepalive=KEEPALIVE,
            tls_context=tls.context(address) if address.tls else None,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            queue_type=self._inbox(owner.on_message),
            logger=_QUIET,
        )
        # aiomqtt connects in a thread, which nothing can interrupt: it has to give up by itself.
        self._client.connect_timeout = timeout
        if address.tls:
            self._client._ssl_wrap_socket = partial(_secured, address, timeout)  # type: ignore[method-assign]

    def _inbox(self, on_message: OnMessage) -> type[asyncio.Queue[aiomqtt.Message]]:
        client = self

        class Inbox(asyncio.Queue[aiomqtt.Message]):
            """A queue that passes on at once what is put into it."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                if client.failure is not None:
                    return
                try:
                    on_message(item.topic.value, bytes(item.payload))
                except Exception as error:
                    # Not raised: paho would read the same packet again, for ever. The watcher reports it.
                    client.failure = error
                    client.shut()

        return Inbox

    def _on_disconnect(self, *args: Any, **kwargs: Any) -> None:
        super()._on_disconnect(*args, **kwargs)
        # The lock is held from __aenter__ on. Without this, it waits for CONNACK on a closed connection.
        if self._lock.locked() and not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("connection closed before CONNACK"))

    def shut(self) -> None:
        """Break the connection, if there is one; paho then reads the end of it and cleans up."""
        if isinstance(sock := self._client.socket(), socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    async def cut(self) -> None:
        """Break the connection, if there is one, and wait until paho has cleaned up."""
        self.shut()
        if self._misc_task is not None:
            await asyncio.wait({self._misc_task}, timeout=CLOSE_TIMEOUT)
