"""The proxy's pure part: packets out of bytes, and what becomes of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.packets import BadStream, Client, Splitter, client_of, topic_of
from broker.proxy import Proxy
from broker.transport import PACKET_LIMIT, Address
from broker.weather import Weather


def length(size: int) -> bytes:
    out = bytearray()
    while True:
        size, low = size >> 7, size & 0x7F
        out.append(low | (0x80 if size else 0))
        if not size:
            return bytes(out)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + length(len(body)) + body


packets = st.builds(
    packet, st.integers(0x10, 0xFF), st.integers(0, 40_000).map(bytes) | st.binary(max_size=200)
)


@given(sent=st.lists(packets, max_size=6), data=st.data())
def test_however_the_bytes_arrive_the_same_packets_come_out(sent, data):
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    splitter, got = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += splitter.feed(stream[start:end])
    assert got == sent


def test_one_byte_at_a_time_is_enough():
    stream = packet(0x30, bytes(300)) + packet(0xC0, b"")
    splitter = Splitter()
    got = [p for k in range(len(stream)) for p in splitter.feed(stream[k : k + 1])]
    assert got == [packet(0x30, bytes(300)), packet(0xC0, b"")]


@pytest.mark.parametrize(
    "stream", [b"\x30\xff\xff\xff\xff\x01", b"\x30" + length(PACKET_LIMIT + 1)], ids=["length", "oversized"]
)
def test_bytes_that_are_no_packet_are_refused(stream):
    with pytest.raises(BadStream):
        Splitter().feed(stream)


def test_the_topic_of_a_publish_is_found_whatever_its_length():
    assert topic_of(packet(0x30, text("r/a/say") + b"x")) == "r/a/say"
    assert topic_of(packet(0x31, text("r/a/say") + bytes(70_000))) == "r/a/say"
    with pytest.raises(BadStream):
        topic_of(packet(0x30, b"\x00\x09short"))


@pytest.mark.parametrize("will", [False, True])
@pytest.mark.parametrize("user", [None, "agent-a"])
def test_a_client_is_known_by_what_it_says_when_it_connects(will, user):
    flags = 0x02 | (0x24 if will else 0) | (0xC0 if user else 0)
    body = text("MQTT") + bytes([4, flags]) + (30).to_bytes(2, "big") + text("agent-a-1")
    body += (text("r/a/status") + text(b"down")) if will else b""
    body += (text(user) + text("secret")) if user else b""
    assert client_of(packet(0x10, body)) == Client("agent-a-1", user)


def test_weather_keeps_its_probabilities():
    rng = random.Random(1)
    fates = [Weather(loss=0.3, duplicate=0.2).delays(rng) for _ in range(20_000)]
    # Four standard deviations of a binomial of 20,000 are 0.013.
    assert sum(not fate for fate in fates) / 20_000 == pytest.approx(0.3, abs=0.013)
    assert sum(len(fate) == 2 for fate in fates) / 20_000 == pytest.approx(0.7 * 0.2, abs=0.013)
    assert all(0.1 <= d <= 0.2 for d in Weather(delay=(0.1, 0.2)).delays(rng))
    assert list(Weather().delays(rng)) == [0.0]


def test_the_proxy_refuses_what_it_cannot_read_and_to_be_seen_from_outside():
    with pytest.raises(ValueError, match="encrypted"):
        Proxy(Address("127.0.0.1", 1, tls=True))
    with pytest.raises(ValueError, match="loopback"):
        Proxy(Address("127.0.0.1", 1), host="0.0.0.0")
