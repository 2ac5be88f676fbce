"""MQTT 3.1.1 as far as a proxy must understand it: whole packets out of bytes, their topics, who connects."""

from __future__ import annotations

from dataclasses import dataclass

from broker.transport import PACKET_LIMIT

CONNECT, PUBLISH, DISCONNECT = 1, 3, 14


class BadStream(Exception):
    """Bytes that are not a sequence of MQTT packets."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of a connection, by its own account."""

    client_id: str
    user: str | None = None


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
