"""One connection to the broker, made again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from broker.mqtt import make_transport
from broker.transport import BrokerError, BrokerRefused, BrokerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.transport import Address, OnLost, OnMessage, Transport, Will

    MakeTransport = Callable[..., Transport]

# Pauses between two attempts, in seconds: doubling from the first to the second.
RETRY = (0.05, 1.0)
# How long a broker may take to answer a further subscription, in seconds.
ASK_TIMEOUT = 1.0


class Connection:
    """Publishes for the agents behind it, and keeps them connected.

    Args:
        client: which MQTT client library.
        address: the broker and this connection's credentials.
        client_id: MQTT client id; a later connection appends its number.
        on_message: called with (topic, payload).
        make: ``broker.mqtt.make_transport`` or a stand-in.

    Attributes:
        will: last will of the connections to come, or None.
        losses: how often an open connection was lost.
    """

    def __init__(
        self,
        client: Any,
        address: Address,
        client_id: str,
        on_message: OnMessage,
        make: MakeTransport = make_transport,
    ) -> None:
        self.will: Will | None = None
        self.losses = 0
        self._client, self._address, self._client_id = client, address, client_id
        self._on_message, self._make_transport = on_message, make
        self._transport: Transport | None = None
        self._asking: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether what is published now reaches the broker, unless the connection breaks."""
        return self._transport is not None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a message to the connection; without one it is lost, as messages may be."""
        if self._transport is not None:
            self._transport.publish(topic, payload, retain=retain)

    async def keep(
        self,
        topics: Sequence[str],
        on_open: Callable[[], None],
        *,
        patient: bool = False,
        on_loss: OnLost = lambda reason: None,
        gate: asyncio.Semaphore | None = None,
    ) -> None:
        """Connect, subscribe, call ``on_open``; again after every loss, for ever.

        Args:
            topics: what to subscribe to.
            on_open: called whenever the connection is there.
            patient: whether the broker may be away at the first attempt, too.
            on_loss: called with a reason whenever an open connection was lost.
            gate: passed while connecting, by whoever has many connections to make: a time limit that 500
                handshakes share is missed by all of them, and then again.
        Raises:
            BrokerError: if the very first attempt fails (unless patient), or the broker says no at any time.
        """
        attempt, pause = 0, RETRY[0]
        while True:
            lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            transport = self._make(attempt, lost)
            try:
                async with gate or contextlib.nullcontext():
                    await transport.open()
                    await transport.subscribe(topics)
            except (BrokerUnreachable, BrokerRefused) as error:
                await transport.close()
                final = isinstance(error, BrokerRefused) and not error.transient
                if final or not (attempt or patient):
                    raise
                await asyncio.sleep(pause)
                pause = min(2.0 * pause, RETRY[1])
            except asyncio.CancelledError:
                await transport.close()
                raise
            else:
                self._transport, since = transport, time.monotonic()
                on_open()
                reason = await lost
                self.losses += 1
                self._transport = None
                on_loss(reason)
                await transport.close()
                # A connection that did not last is no reason for hope.
                pause = RETRY[0] if time.monotonic() - since > RETRY[1] else min(2.0 * pause, RETRY[1])
                await asyncio.sleep(pause)
            attempt += 1

    async def subscribe(self, topics: Sequence[str], timeout: float) -> None:
        """Subscribe once more on the connection as it is; nothing without one.

        Raises: as ``Transport.subscribe``.
        """
        if self._transport is not None:
            await self._transport.subscribe(topics, timeout)

    def ask(self, topics: Sequence[str]) -> None:
        """Subscribe once more, so that the broker tells again what it retains on these topics; if that fails
        the next time counts."""
        task = asyncio.create_task(self._ask(topics), name="ask")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, topics: Sequence[str]) -> None:
        with contextlib.suppress(BrokerError):  # a lost connection is noticed, and mended, elsewhere
            await self.subscribe(topics, ASK_TIMEOUT)

    async def close(self) -> None:
        """Write out what was published and say goodbye."""
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    def _make(self, attempt: int, lost: asyncio.Future[str]) -> Transport:
        # Some brokers refuse a client id for a moment after its connection broke.
        name = f"{self._client_id}-{attempt}" if attempt else self._client_id

        def on_lost(reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        return self._make_transport(self._client, self._address, name, self._on_message, on_lost, self.will)
