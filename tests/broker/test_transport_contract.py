"""The transport's contract, the same for every client on every broker."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import replace

import pytest

from broker import topics
from broker.codec import AGAIN_LIMIT, SIZE_LIMIT
from broker.gmqtt_client import GmqttTransport
from broker.mqtt import make_transport
from broker.transport import (
    TURN,
    WRITE_LIMIT,
    Address,
    BrokerRefused,
    BrokerUnreachable,
    NotPermitted,
    Will,
)
from tests.broker.conftest import RUN, WAIT, Wire, fake_server, nobody

pytestmark = pytest.mark.broker

SAY_A, SAY_B = topics.say(RUN, "a"), topics.say(RUN, "b")
CONNACK = b"\x20\x02\x00\x00"


async def test_payload_arrives_bit_exact(connect):
    a, b = await connect("a"), await connect("b")
    payload = bytes(range(256)) + b"\x00\xff" * 100
    await b.transport.subscribe([SAY_A])
    for each in (payload, b"", b"\x00"):
        a.transport.publish(SAY_A, each)
        await b.until_received(SAY_A, each)
    assert a.transport.dropped == 0


async def test_large_payloads_arrive_whole(connect):
    a, b = await connect("a"), await connect("b")
    await b.transport.subscribe([SAY_A])
    sent = [os.urandom(size) for size in (200 * 1024, 127, 128, 16_383, 16_384, SIZE_LIMIT + 1)]
    for payload in sent:
        a.transport.publish(SAY_A, payload)
    await b.until(lambda: len(b.received) == len(sent))
    assert [payload for _, payload in b.received] == sent


async def test_a_question_of_the_largest_size_put_three_times_at_once_arrives_three_times(connect):
    a, b = await connect("a"), await connect("b")
    await b.transport.subscribe([SAY_A])
    question = os.urandom(AGAIN_LIMIT)
    for _ in range(3):
        a.transport.publish(SAY_A, question)
    await b.until(lambda: len(b.received) == 3)
    assert {payload for _, payload in b.received} == {question}
    assert a.transport.dropped == 0


async def test_burst_of_1000_arrives_in_order(connect):
    a, b = await connect("a"), await connect("b")
    await b.transport.subscribe([SAY_A])
    sent = [b"%d" % i + b"." * 250 for i in range(1000)]
    for payload in sent:
        a.transport.publish(SAY_A, payload)
    await b.until(lambda: len(b.received) == len(sent))
    assert [payload for _, payload in b.received] == sent


async def test_late_joiner_hears_the_newest_retained_message(connect):
    status = topics.status(RUN, "a")
    a, watcher = await connect("a"), await connect("recorder")
    await watcher.transport.subscribe([status])
    a.transport.publish(status, b"hello", retain=True)
    a.transport.publish(status, b"ready", retain=True)
    await watcher.until_received(status, b"ready")
    b = await connect("b")
    await b.transport.subscribe([SAY_A, status])
    await b.until(lambda: b.received)
    assert b.received == [(status, b"ready")]


async def test_will_is_published_when_the_connection_breaks(connect, broker):
    status = topics.status(RUN, "a")
    b = await connect("b")
    await b.transport.subscribe([status])
    async with Wire(broker.address) as wire:
        a = await connect("a", will=Will(status, b"down"), via=wire.address)
        wire.cut()
        await b.until_received(status, b"down")
        await a.until(lambda: a.lost)
    c = await connect("b")
    await c.transport.subscribe([status])
    await c.until_received(status, b"down")  # retained


async def test_no_will_after_a_goodbye_and_what_was_published_before_it_arrives(connect):
    status = topics.status(RUN, "a")
    b = await connect("b")
    await b.transport.subscribe([SAY_A, status])
    a = await connect("a", will=Will(status, b"down"))
    for i in range(100):
        a.transport.publish(SAY_A, b"%d" % i + b"." * 2000)
    await a.transport.close()
    assert not a.lost
    # Not before all is there: Mosquitto lets a second connection of a user cut off what the first has sent.
    await b.until(lambda: len(b.received) == 100)
    again = await connect("a")
    again.transport.publish(SAY_A, b"end")
    await b.until_received(SAY_A, b"end")
    assert (status, b"down") not in b.received


async def test_wrong_password_is_refused_in_the_brokers_words(make, broker, grants):
    client = make(replace(broker.address, user=grants["a"].user, password="wrong"))
    with pytest.raises(BrokerRefused, match=r"(?i)127.0.0.1:\d+.*agent-a.*not authori[sz]ed"):
        await client.transport.open()


async def test_anonymous_is_refused(make, broker):
    with pytest.raises(BrokerRefused):
        await make(broker.address).transport.open()


async def test_forbidden_publish_does_not_arrive(connect):
    a, b = await connect("a"), await connect("b")
    await b.transport.subscribe([SAY_A, topics.say(RUN, "c"), topics.to(RUN, "c", "b")])
    for forged in (topics.say(RUN, "c"), topics.to(RUN, "c", "b"), topics.status(RUN, "c")):
        a.transport.publish(forged, b"forged")
        a.transport.publish(forged, b"forged", retain=True)
    a.transport.publish(SAY_A, b"marker")  # a sender's messages keep their order
    await b.until_received(SAY_A, b"marker")
    assert b.received == [(SAY_A, b"marker")]
    assert not a.lost


@pytest.mark.parametrize("snoop", ["#", "+/+/say", f"{RUN}/#", f"{RUN}/+/say", f"{RUN}/a/say", "$SYS/#"])
async def test_forbidden_subscription_brings_nothing(connect, server, snoop):
    a, b, c = await connect("a"), await connect("b"), await connect("c")
    await c.transport.subscribe([SAY_B])
    if server == "nats":
        with pytest.raises(NotPermitted, match=r"agent-c.*subscribe to") as error:
            await c.transport.subscribe([snoop])
        assert snoop in str(error.value)
    else:  # Mosquitto acknowledges, and filters when it delivers
        await c.transport.subscribe([snoop])
    a.transport.publish(SAY_A, b"secret")
    a.transport.publish(topics.status(RUN, "a"), b"secret", retain=True)
    a.transport.publish(topics.telemetry(RUN, "a"), b"secret")
    a.transport.publish(topics.to(RUN, "a", "b"), b"secret")
    await b.transport.subscribe([SAY_A])
    a.transport.publish(SAY_A, b"secret, too")
    await b.until_received(SAY_A, b"secret, too")
    b.transport.publish(SAY_B, b"marker")
    await c.until_received(SAY_B, b"marker")
    assert set(c.received) == {(SAY_B, b"marker")}


@pytest.mark.parametrize("server", ["nats"], indirect=True)  # Mosquitto refuses no subscription
async def test_only_the_refused_filters_are_named(connect):
    c = await connect("c")
    with pytest.raises(NotPermitted) as error:
        await c.transport.subscribe([SAY_B, SAY_A, topics.status(RUN, "b")])
    assert SAY_A in str(error.value)
    assert SAY_B not in str(error.value)


async def test_recorder_hears_everything_and_says_nothing(connect):
    recorder, a, b = await connect("recorder"), await connect("a"), await connect("b")
    await recorder.transport.subscribe([topics.everything_of(RUN)])
    await b.transport.subscribe([SAY_A])
    recorder.transport.publish(SAY_A, b"forged")
    sent = [
        (SAY_A, b"1"),
        (topics.telemetry(RUN, "a"), b"2"),
        (topics.to(RUN, "a", "b"), b"3"),
        (topics.status(RUN, "a"), b"4"),
    ]
    for topic, payload in sent:
        a.transport.publish(topic, payload)
    await recorder.until(lambda: len(recorder.received) == 4)
    assert recorder.received == sent
    await b.until(lambda: b.received)
    assert b.received == [(SAY_A, b"1")]


async def test_loss_is_reported_once_and_later_publishes_count_as_dropped(connect, broker):
    a = await connect("a")
    await broker.stop()
    await a.until(lambda: a.lost)
    for _ in range(3):
        a.transport.publish(SAY_A, b"late")
    assert a.transport.dropped == 3
    with pytest.raises(BrokerUnreachable):
        await a.transport.subscribe([SAY_A])
    await a.transport.close()
    assert len(a.lost) == 1
    assert str(broker.address) in a.lost[0]


async def test_close_is_safe_twice_and_before_open(connect, make, broker):
    unopened = make(broker.address)
    await unopened.transport.close()
    unopened.transport.publish(SAY_A, b"too early")
    assert unopened.transport.dropped == 1
    a = await connect("a")
    await a.transport.close()
    await a.transport.close()
    a.transport.publish(SAY_A, b"too late")
    assert a.transport.dropped == 1
    assert not a.lost


async def test_error_in_on_message_is_reported_and_ends_the_connection(connect):
    a, b = await connect("a"), await connect("b")
    await b.transport.subscribe([SAY_A])
    reports: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    b.bug = RuntimeError("bug")
    a.transport.publish(SAY_A, b"x")
    await b.until(lambda: b.lost)
    assert [report["exception"] for report in reports] == [b.bug]


async def test_nobody_listening(make):
    with nobody() as address, pytest.raises(BrokerUnreachable, match=str(address)):
        await make(address).transport.open()


async def test_silent_server(make):
    async with fake_server() as address:
        with pytest.raises(BrokerUnreachable, match=r"within 0\.1 s"):
            await make(address).transport.open(timeout=0.1)


@pytest.mark.parametrize("answer", [None, b"\x20"])
async def test_server_that_hangs_up_before_connack(make, answer):
    async with fake_server(answer, then="close") as address:
        with pytest.raises(BrokerUnreachable):
            async with asyncio.timeout(WAIT):  # found out, not waited out
                await make(address).transport.open(timeout=10 * WAIT)


@pytest.mark.parametrize("then", ["close", "wait"])
async def test_server_that_refuses(make, then):
    async with fake_server(b"\x20\x02\x00\x03", then) as address:
        with pytest.raises(BrokerRefused, match=r"(?i)unavailable"):
            await make(address).transport.open()


async def test_a_broker_that_is_not_ready_yet_may_be_asked_again():
    async with fake_server(b"\x20\x02\x00\x03", "close") as address:
        with pytest.raises(BrokerRefused) as caught:
            await GmqttTransport(address, "x", lambda topic, payload: None).open()
        assert caught.value.transient


async def test_unanswered_subscription(make):
    async with fake_server(CONNACK) as address:
        client = make(address)
        await client.transport.open()
        with pytest.raises(BrokerUnreachable):
            await client.transport.subscribe([SAY_A], timeout=0.1)


async def test_what_exceeds_the_write_limit_is_dropped_and_counted(make, library, monkeypatch):
    monkeypatch.setattr(f"broker.{library}_client.CLOSE_TIMEOUT", 0.1)
    async with fake_server(CONNACK, then="deaf") as address:
        client = make(address)
        await client.transport.open()
        payload = bytes(1024 * 1024)
        count = 3 * WRITE_LIMIT // len(payload)
        for _ in range(count):
            client.transport.publish(SAY_A, payload)
            await asyncio.sleep(0)
        assert 0 < client.transport.dropped < count
        async with asyncio.timeout(WAIT):
            await client.transport.close()


async def test_cancelled_open_leaves_nothing_behind(make):
    async with fake_server() as address:
        opening = asyncio.create_task(make(address).transport.open())
        done, _ = await asyncio.wait({opening}, timeout=0.05)
        assert not done
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


def test_address_does_not_show_the_password():
    assert "hush" not in repr(Address("h", 1, "u", "hush"))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_flood_on_one_connection_leaves_the_loop_to_everything_else(library, loop):
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    one, many = b"\x30\x04\x00\x01tx", 20 * TURN

    async def play() -> None:
        turn, heard_in = 0, Counter[int]()
        quietly, all_heard = asyncio.Event(), asyncio.Event()

        async def count_turns() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        def heard(topic: str, payload: bytes) -> None:
            heard_in[turn] += 1
            if heard_in.total() == many:
                all_heard.set()

        async with fake_server(CONNACK + many * one) as loud, fake_server(CONNACK + one) as quiet:
            flooded = make_transport(library, loud, "flooded", heard)
            other = make_transport(library, quiet, "other", lambda topic, payload: quietly.set())
            counting = asyncio.create_task(count_turns())
            try:
                async with asyncio.timeout(WAIT):
                    await asyncio.gather(flooded.open(), other.open(), quietly.wait(), all_heard.wait())
            finally:
                counting.cancel()
                await flooded.close()
                await other.close()
        # What is left of a read, and the first turn of the next one.
        assert max(heard_in.values()) <= 2 * TURN

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(play())


async def test_even_messages_without_content_are_bounded_while_the_broker_does_not_read(
    make, library, monkeypatch
):
    monkeypatch.setattr(f"broker.{library}_client.WRITE_LIMIT", 10_000)
    monkeypatch.setattr(f"broker.{library}_client.CLOSE_TIMEOUT", 0.1)
    async with fake_server(CONNACK, then="deaf") as address:
        client = make(address)
        await client.transport.open()
        for _ in range(20_000):
            client.transport.publish("t", b"")
        assert client.transport.dropped > 10_000
