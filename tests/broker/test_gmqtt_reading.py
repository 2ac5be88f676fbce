"""The short way in: packets come out whole however the bytes were cut."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
from gmqtt.mqtt.utils import pack_variable_byte_integer
from hypothesis import given
from hypothesis import strategies as st

from broker.gmqtt_client import GmqttTransport, _Client, _publish_head
from broker.transport import PACKET_LIMIT, TURN, Address

PINGRESP = b"\xd0\x00"
messages = st.lists(
    st.tuples(
        st.text("abc/-ü", min_size=1, max_size=12),
        st.one_of(st.binary(max_size=40), st.integers(100, 40_000).map(lambda n: b"\xf0" * n)),
        st.booleans(),
    ),
    max_size=6,
)


class Socket:
    """Just enough of an asyncio transport."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


async def read(chunks: list[bytes]) -> tuple[list[tuple[str, bytes]], Socket]:
    received: list[tuple[str, bytes]] = []
    transport = GmqttTransport(Address("h", 1), "id", lambda *message: received.append(message))
    link, sock = _Client(transport).link, Socket()
    link.connection_made(sock)
    try:
        for chunk in chunks:
            link.data_received(chunk)
    finally:
        link.connection_lost(None)
    return received, sock


def packet(topic: str, payload: bytes, retain: bool) -> bytes:
    return _publish_head(topic, len(payload), retain) + payload


@given(messages, st.data())
def test_any_cut_gives_the_same_messages(sent, data):
    stream = PINGRESP.join(packet(*message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    chunks = [stream[i:j] for i, j in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    received, _ = asyncio.run(read([chunk for chunk in chunks if chunk]))
    assert received == [(topic, payload) for topic, payload, _ in sent]


@given(messages)
def test_byte_by_byte(sent):
    stream = b"".join(packet(topic, payload[:300], retain) for topic, payload, retain in sent)
    received, _ = asyncio.run(read([bytes([byte]) for byte in stream]))
    assert received == [(topic, payload[:300]) for topic, payload, _ in sent]


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
def test_packet_head_agrees_with_gmqtt(size):
    head = _publish_head("t", size, True)
    assert head == b"\x31" + pack_variable_byte_integer(size + 3) + b"\x00\x01t"


@pytest.mark.parametrize(
    "stream",
    [b"\x30\xff\xff\xff\xff\x01", b"\x30\x00", b"\x30\x01\x00", b"\x30\x03\x00\x05a"],
    ids=["length of five bytes", "empty", "half a length", "topic longer than packet"],
)
async def test_malformed_packet_ends_the_connection(stream):
    received, sock = await read([stream + packet("t", b"x", False)])
    assert sock.aborted
    assert received == []


@given(st.binary(max_size=60))
def test_garbage_raises_nothing(garbage):
    async def quietly() -> Any:
        return await read([garbage])

    asyncio.run(quietly())


async def test_publishes_of_one_turn_leave_in_one_write():
    transport = GmqttTransport(Address("h", 1), "id", lambda *_: None)
    link, sock = _Client(transport).link, Socket()
    link.connection_made(sock)
    writes: list[bytes] = []
    sock.write = writes.append
    sent = [("a/b", b"1", False), ("a/c", b"", True)]
    for message in sent:
        assert link.publish(*message)
    assert writes == []
    await asyncio.sleep(0)
    assert writes == [b"".join(packet(*message) for message in sent)]
    link.connection_lost(None)


async def test_answers_given_while_reading_leave_with_the_read():
    writes: list[bytes] = []
    transport = GmqttTransport(
        Address("h", 1), "id", lambda topic, payload: link.publish("re", payload, False)
    )
    link, sock = _Client(transport).link, Socket()
    link.connection_made(sock)
    sock.write = writes.append
    link.data_received(packet("a", b"1", False) + packet("a", b"2", False))
    assert writes == [packet("re", b"1", False) + packet("re", b"2", False)]
    link.connection_lost(None)


async def test_a_flood_is_handed_on_in_turns_of_the_loop_and_in_its_order():
    received: list[bytes] = []
    transport = GmqttTransport(Address("h", 1), "id", lambda topic, payload: received.append(payload))
    link, sock = _Client(transport).link, Socket()
    link.connection_made(sock)
    sent = [b"%d" % k for k in range(3 * TURN + 5)]
    stream = b"".join(packet("t", payload, False) for payload in sent)
    seen = []
    link.data_received(stream[:-3])
    while not sock.reading:
        seen.append(len(received))
        link.data_received(b"")  # what was read before the pause took hold
        await asyncio.sleep(0)
    link.data_received(stream[-3:])
    assert seen == [TURN, 2 * TURN, 3 * TURN]
    assert received == sent
    link.connection_lost(None)


async def test_what_raises_in_a_later_turn_ends_the_connection_as_in_the_first():
    def refuse(topic: str, payload: bytes) -> None:
        if payload == b"last":
            raise LookupError(payload)

    failed: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    link, sock = _Client(GmqttTransport(Address("h", 1), "id", refuse)).link, Socket()
    link.connection_made(sock)
    link.data_received(packet("t", b"x", False) * TURN + packet("t", b"last", False))
    await asyncio.sleep(0)
    assert sock.aborted
    assert isinstance(failed[0]["exception"], LookupError)
    link.connection_lost(None)


async def test_a_packet_longer_than_is_read_ends_the_connection_before_it_is_taken_in():
    link, sock = _Client(GmqttTransport(Address("h", 1), "id", lambda *message: None)).link, Socket()
    link.connection_made(sock)
    link.data_received(b"\x30" + pack_variable_byte_integer(PACKET_LIMIT + 1) + bytes(1000))
    assert sock.aborted
    assert f"at most {PACKET_LIMIT} are read" in link.lost
    link.connection_lost(None)


async def test_cancellation_that_comes_with_the_answer_is_not_lost():
    transport = GmqttTransport(Address("h", 1), "id", lambda topic, payload: None)
    client, sock = _Client(transport), Socket()
    client.link.connection_made(sock)  # type: ignore[arg-type]
    client._connection = client.link.connection
    transport._client, transport._link = client, client.link
    task = asyncio.create_task(transport.subscribe(["a"]))
    while not client.awaited:  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
    (answer,) = client.awaited.values()
    answer.set_result([0])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    client.link.connection_lost(None)


async def test_goodbye_to_a_peer_that_has_just_reset_the_connection():
    class Reset(Socket):
        def can_write_eof(self) -> bool:
            return True

        def write_eof(self) -> None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    transport = GmqttTransport(Address("h", 1), "id", lambda topic, payload: None)
    client, sock = _Client(transport), Reset()
    client.link.connection_made(sock)  # type: ignore[arg-type]
    transport._client, transport._link = client, client.link
    await transport.close()
    assert sock.aborted
    client.link.connection_lost(None)
