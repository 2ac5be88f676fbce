"""The proxy between real clients and a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from broker import access
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from broker.proxy import Proxy
from broker.transport import BrokerUnreachable, Will
from broker.weather import AT_ONCE, Weather
from tests.broker.conftest import RUN, WAIT, Client, fake_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SAY, STATUS = f"{RUN}/a/say", f"{RUN}/a/status"
SPEAKER, READER = access.agent_grant(RUN, "a", [], ["b"]), access.agent_grant(RUN, "b", ["a"], [])


class Net:
    """A broker, a proxy in front of it, speaker a and reader b behind it."""

    def __init__(self, broker: EmbeddedBroker, proxy: Proxy) -> None:
        self.broker, self.proxy, self.clients = broker, proxy, list[Client]()

    async def connect(self, grant: access.Grant, *topics: str, will: Will | None = None) -> Client:
        address = replace(self.proxy.address, user=grant.user, password=grant.password)
        client = Client(partial(make_transport, "gmqtt"), address, will)
        self.clients.append(client)
        await client.transport.open()
        await client.transport.subscribe(topics)
        return client


@asynccontextmanager
async def net(**how: Any) -> AsyncIterator[Net]:
    async with EmbeddedBroker([SPEAKER, READER]) as broker, Proxy(broker.address, **how) as proxy:
        made = Net(broker, proxy)
        try:
            yield made
        finally:
            for client in made.clients:
                await client.transport.close()


def only_down(weather: Weather) -> Any:
    return lambda rng, client, up, topic: AT_ONCE if up or topic != SAY else weather.delays(rng)


async def say(net: Net, count: int, last: bytes = b"end") -> list[bytes]:
    """What b hears of so many messages of a; the last one goes on a topic that nothing befalls."""
    b = await net.connect(READER, SAY, STATUS)
    a = await net.connect(SPEAKER)
    for k in range(count):
        a.transport.publish(SAY, b"%d" % k)
    a.transport.publish(STATUS, last)
    await b.until_received(STATUS, last)
    return [payload for topic, payload in b.received if topic == SAY]


async def test_without_faults_everything_passes_in_its_order():
    async with net() as n:
        assert await say(n, 500) == [b"%d" % k for k in range(500)]
        assert n.proxy.counts["lost"] == 0


async def test_lost_messages_are_drawn_from_the_seed():
    heard = []
    for _ in range(2):
        async with net(fate=only_down(Weather(loss=0.3)), seed=5) as n:
            heard.append(await say(n, 400))
    assert heard[0] == heard[1]
    assert 200 < len(heard[0]) < 360


async def test_on_the_way_up_messages_are_lost_as_well():
    async with net(fate=lambda rng, client, up, topic: () if up and topic == SAY else AT_ONCE) as n:
        assert await say(n, 20) == []
        assert n.proxy.counts["lost"] == 20


async def test_a_duplicate_comes_twice():
    async with net(fate=only_down(Weather(duplicate=1.0))) as n:
        assert await say(n, 3) == [b"0", b"0", b"1", b"1", b"2", b"2"]


async def test_delayed_messages_overtake_one_another_and_all_arrive():
    async with net(fate=only_down(Weather(delay=(0.0, 0.05))), seed=3) as n:
        b = await n.connect(READER, SAY)
        a = await n.connect(SPEAKER)
        for k in range(50):
            a.transport.publish(SAY, b"%d" % k)
        await b.until(lambda: len(b.received) == 50)
        heard = [int(payload) for _, payload in b.received]
        assert sorted(heard) == list(range(50))
        assert heard != sorted(heard)


async def test_what_was_said_before_a_goodbye_arrives_before_it():
    async with net(fate=lambda rng, client, up, topic: (0.05,) if up else AT_ONCE) as n:
        b = await n.connect(READER, SAY, STATUS)
        a = await n.connect(SPEAKER, will=Will(STATUS, b"down"))
        a.transport.publish(SAY, b"last words")
        await a.transport.close()
        await b.until_received(SAY, b"last words")
        a = await n.connect(SPEAKER)
        a.transport.publish(STATUS, b"up")
        await b.until_received(STATUS, b"up")
        assert (STATUS, b"down") not in b.received  # the goodbye arrived, too: no will


async def test_faults_change_while_clients_are_connected():
    async with net() as n:
        b = await n.connect(READER, SAY)
        a = await n.connect(SPEAKER)
        lost = asyncio.Event()

        def lose(rng: Any, client: Any, up: bool, topic: str) -> tuple[float, ...]:
            if topic == STATUS:
                lost.set()
            return ()

        n.proxy.fate = lose
        a.transport.publish(SAY, b"lost")
        a.transport.publish(STATUS, b"lost as well")
        await lost.wait()
        n.proxy.fate = only_down(Weather())
        a.transport.publish(SAY, b"heard")
        await b.until_received(SAY, b"heard")
        assert (SAY, b"lost") not in b.received


async def test_a_cut_connection_is_seen_on_both_sides():
    async with net() as n:
        b = await n.connect(READER, STATUS)
        a = await n.connect(SPEAKER, will=Will(STATUS, b"down"))
        n.proxy.cut()
        await a.until(lambda: a.lost)
        b = await n.connect(READER, STATUS)
        await b.until_received(STATUS, b"down")  # retained: the broker published the will


async def test_a_killed_broker_is_seen_through_the_proxy_and_found_again():
    async with net() as n:
        a = await n.connect(SPEAKER)
        os.kill(n.broker.pid, signal.SIGKILL)
        await a.until(lambda: a.lost)
        await n.broker.wait_ended()
        with pytest.raises(BrokerUnreachable):
            await n.connect(SPEAKER)
        await n.broker.restart()
        assert await say(n, 3) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("keep", [True, False])
async def test_a_broker_comes_back_with_its_store_or_without(keep):
    async with net() as n:
        a = await n.connect(SPEAKER)
        a.transport.publish(STATUS, b"kept", retain=True)
        b = await n.connect(READER, STATUS)
        await b.until_received(STATUS, b"kept")
        os.kill(n.broker.pid, signal.SIGKILL)
        await n.broker.wait_ended()
        await n.broker.restart(keep_store=keep)
        b = await n.connect(READER, STATUS)
        a = await n.connect(SPEAKER)
        a.transport.publish(STATUS, b"new")
        await b.until_received(STATUS, b"new")
        assert ((STATUS, b"kept") in b.received) is keep


@asynccontextmanager
async def raw(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that speaks whatever the test makes it speak."""
    reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_client_that_stands_still_before_its_first_packet_is_let_in():
    user, password = SPEAKER.user.encode(), SPEAKER.password.encode()
    fields = b"".join(len(field).to_bytes(2, "big") + field for field in (b"late", user, password))
    body = b"\x00\x04MQTT\x04\xc2\x00\x1e" + fields
    async with net() as n, raw(n.proxy) as (reader, writer):
        await asyncio.sleep(2.5)  # the server's own limit would be 2 s
        writer.write(b"\x10" + bytes([len(body)]) + body)
        assert await asyncio.wait_for(reader.readexactly(4), WAIT) == b"\x20\x02\x00\x00"


async def test_whoever_does_not_speak_mqtt_is_cut_off():
    async with fake_server() as target, Proxy(target) as proxy, raw(proxy) as (reader, writer):
        writer.write(b"\x30\xff\xff\xff\xff\xff\xff")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(1), WAIT) == b""
        assert proxy.counts["broken"] == 1


async def test_what_is_held_back_is_bounded(monkeypatch):
    monkeypatch.setattr("broker.proxy.HELD_BYTES", 1000)
    async with net(fate=only_down(Weather(delay=(30.0, 30.0)))) as n:
        assert await say(n, 500) == []
        assert 0 < n.proxy.counts["delayed"] < 100
        assert n.proxy.counts["overflow"] == 500 - n.proxy.counts["delayed"]


async def test_whoever_sends_to_a_reader_that_does_not_read_has_to_wait():
    acknowledgements = b"\x40\x02\x00\x00" * 16384  # packets that pass untouched
    pong = b"\xd0\x00"
    async with (
        fake_server(pong, then="deaf") as target,
        Proxy(target) as proxy,
        raw(proxy) as (reader, writer),
    ):
        writer.write(acknowledgements)
        assert await asyncio.wait_for(reader.readexactly(2), WAIT) == pong
        writer.write(acknowledgements * 400)
        # 26 MB: more than the sockets hold. The rest waits here and not in the proxy.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        assert sum(end._transport.get_write_buffer_size() for end in proxy._ends) < 1 << 20
