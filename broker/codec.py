"""Messages as bytes: MessagePack, arrays as one extension value of raw little-endian float64.

``decode`` checks what can be checked without knowing the protocol: size before anything else, then form,
types of the header, and that every number is finite. What it returns is immutable. What it refuses raises
``Malformed`` with a one-word kind that the receiver counts; nothing else is ever raised.
"""

from __future__ import annotations

import functools
import math
import reprlib
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# 1 MiB holds 131,000 numbers: a full routing table of 10,000 agents with room to spare.
SIZE_LIMIT = 1 << 20
# Two of them sent again as one, and what holds them together.
AGAIN_LIMIT = 2 * SIZE_LIMIT + 16
# How these begin: MessagePack's arrays of two and three. A message is one of nine.
_AGAIN = (b"\x92", b"\x93")
# Incarnations, epochs and rounds stay below; clocks in nanoseconds reach it in the year 2116.
COUNT_LIMIT = 1 << 62
_ARRAY = 1  # MessagePack extension code: ndim (u8), dims (u32 each), then the values
_MAX_DIMS = 4
_DIMS = tuple(struct.Struct(f"<{ndim}I").format for ndim in range(_MAX_DIMS + 1))
_FLOAT = np.dtype("<f8")
# Values in values: a body of ours has five levels. Python's own stack ends at some 300 of them, wherever the
# reader stands on it: what is deeper is refused before anybody walks through it.
NEST_LIMIT = 64
_FEW = 16  # numbers up to which a loop is faster than calling NumPy
_every = np.logical_and.reduce  # what ndarray.all calls, a microsecond sooner


class Malformed(Exception):
    """A payload that is not a message of ours.

    Attributes:
        kind: what to count it under: ``oversized``, ``undecodable``, ``header`` or ``not-finite``.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(slots=True)
class Message:
    """One agent's message of one round, as received. Nobody changes it; a frozen dataclass would cost a third
    of what it takes to decode one.

    Attributes:
        run, src: run id and sender, as the sender wrote them; compare with the topic.
        incarnation: which life of the sender speaks; grows at each restart.
        since: the round of the epoch in which this life began; 0 unless it came back from a store.
        epoch: computation within the run; 0 unless the run restarted one.
        round: from 0; in free-running mode the sender's own count of ticks.
        kind: which protocol speaks.
        body: what every listener reads.
        told: what only this reader reads, or None.
        raw: the bytes it was decoded from.
        again: whether it was sent again, not for the first time.
    """

    run: str
    src: str
    incarnation: int
    since: int
    epoch: int
    round: int
    kind: str
    body: Any
    told: Any
    raw: bytes
    again: bool = False


def pack(value: Any) -> bytes:
    """Encode plain values: None, bool, int, float, str, bytes, tuples, lists, dicts and float64 arrays.

    Raises:
        TypeError: for any other type, so that nothing is ever encoded by accident.
    """
    packed: bytes = _LOCAL.packer.pack(value)
    return packed


def unpack(payload: bytes, limit: int = SIZE_LIMIT) -> Any:
    """Inverse of ``pack``; lists come back as tuples, arrays read-only and without a copy.

    Args:
        payload: what ``pack`` returned, or anything at all.
        limit: the largest size that is read, in bytes.
    Raises:
        Malformed: kinds ``oversized``, ``undecodable``.
    """
    if len(payload) > limit:
        raise Malformed("oversized", f"{len(payload)} bytes, at most {limit} are read")
    try:
        return msgpack.unpackb(payload, use_list=False, ext_hook=_unpack_array)
    except Malformed:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        # TypeError: a map with an unhashable key; RecursionError: nesting as an attack.
        raise Malformed("undecodable", f"{type(error).__name__}: {error}") from None


def encode(src: Prefix, epoch: int, round: int, kind: str, body: Any, told: Any = None) -> bytes:
    """One message as bytes; ``decode`` is the inverse.

    Raises:
        ValueError: for what every receiver would drop: a number that is not finite, values nested deeper than
            NEST_LIMIT, or more than SIZE_LIMIT.
        TypeError: for values that ``pack`` does not take.
    """
    if not (finite(body) and (told is None or finite(told))):
        raise ValueError("a number to be said is not finite")
    message = src.head + pack((epoch, round, kind, body, told))[1:]
    if len(message) > SIZE_LIMIT:
        raise ValueError(f"a message of {len(message)} bytes, at most {SIZE_LIMIT} are read")
    return message


def encode_again(asks: bool, payloads: Sequence[bytes]) -> bytes:
    """What was said before, as one message; ``decode_all`` reads it.

    Args:
        asks: whether the sender lacks the reader's message of the round that it is in.
        payloads: one or two encoded messages, oldest first; the last one is of that round.
    """
    return pack((asks, *payloads))


class Prefix:
    """The part of the header that an agent's messages share, packed once."""

    __slots__ = ("head",)

    def __init__(self, run: str, src: str, incarnation: int, since: int = 0) -> None:
        # 0x99: array of nine. The four below and the five of `encode` fill it.
        self.head = b"\x99" + pack(run) + pack(src) + pack(incarnation) + pack(since)


def decode(payload: bytes) -> Message:
    """Read a message.

    Raises:
        Malformed: and nothing else, whatever the bytes are.
    """
    values = unpack(payload)
    if type(values) is not tuple or len(values) != 9:
        raise Malformed("header", "not an array of nine values")
    run, src, incarnation, since, epoch, round_, kind, body, told = values
    if not (
        type(run) is type(src) is type(kind) is str
        and type(incarnation) is type(since) is type(epoch) is type(round_) is int
        and 0 <= incarnation < COUNT_LIMIT
        and 0 <= since < COUNT_LIMIT
        and 0 <= epoch < COUNT_LIMIT
        and 0 <= round_ < COUNT_LIMIT
    ):
        raise Malformed("header", f"header of unexpected types: {reprlib.repr(values[:7])}")
    try:
        sound = finite(body) and (told is None or finite(told))
    except ValueError as error:
        raise Malformed("undecodable", f"{error} (from {src!r:.80}, round {round_})") from None
    if not sound:
        raise Malformed("not-finite", f"a number is not finite (from {src!r:.80}, round {round_})")
    return Message(run, src, incarnation, since, epoch, round_, kind, body, told, payload)


def decode_all(payload: bytes) -> tuple[tuple[Message, ...], bool]:
    """(the messages in a payload, oldest first; whether the sender asks, see ``encode_again``).

    Raises:
        Malformed: and nothing else, whatever the bytes are.
    """
    if payload[:1] not in _AGAIN:
        return (decode(payload),), False
    values = unpack(payload, AGAIN_LIMIT)
    if type(values) is not tuple or type(values[0]) is not bool or {*map(type, values[1:])} != {bytes}:
        raise Malformed("header", "not a flag and one or two messages")
    messages = tuple(map(decode, values[1:]))
    for message in messages:
        message.again = True
    return messages, values[0]


def finite(value: Any, nest: int = NEST_LIMIT) -> bool:
    """Whether every number in a decoded value is finite.

    Raises:
        ValueError: if values are nested deeper than ``nest``.
    """
    if not nest:
        raise ValueError(f"values nested deeper than {NEST_LIMIT}")
    kind = type(value)
    if kind is np.ndarray:
        if value.size <= _FEW:
            return all(map(math.isfinite, value.ravel().tolist()))
        return bool(_every(np.isfinite(value), axis=None))
    if kind is tuple:
        # Most bodies are a few words and numbers in tuples: looked at here, not one call each.
        for item in value:
            kind = type(item)
            if kind is float:
                if item - item != 0.0:
                    return False
            elif kind is not str and kind is not int and item is not None and not finite(item, nest - 1):
                return False
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(finite(item, nest - 1) for pair in value.items() for item in pair)
    return True


def largest(value: Any) -> float:
    """The size of the largest number in a decoded value; 0 if there is none."""
    kind = type(value)
    if kind is np.ndarray:
        return float(np.abs(value).max()) if value.size else 0.0
    if kind is tuple:
        return max(map(largest, value), default=0.0)
    if kind is dict:
        return max(map(largest, value.values()), default=0.0)
    return abs(float(value)) if kind is float or kind is int else 0.0


def _pack_array(value: Any) -> msgpack.ExtType:
    if type(value) is np.ndarray and value.dtype == _FLOAT and value.ndim <= _MAX_DIMS:
        return msgpack.ExtType(_ARRAY, _array_head(value.shape) + value.tobytes())
    raise TypeError(f"cannot encode {type(value).__name__}: {value!r:.100}")


class _Local(threading.local):
    """A packer is made once a thread: making one takes as long as packing a short message."""

    def __init__(self) -> None:
        self.packer = msgpack.Packer(default=_pack_array)


_LOCAL = _Local()


@functools.lru_cache(maxsize=256)
def _array_head(shape: tuple[int, ...]) -> bytes:
    return struct.pack(f"<B{len(shape)}I", len(shape), *shape)


def _unpack_array(code: int, data: bytes) -> NDArray[np.float64]:
    if code != _ARRAY or not data or (ndim := data[0]) > _MAX_DIMS or len(data) < 1 + 4 * ndim:
        raise Malformed("undecodable", f"extension value {code} of {len(data)} bytes is not an array")
    shape = struct.unpack_from(_DIMS[ndim], data, 1)
    if math.prod(shape) * 8 != len(data) - 1 - 4 * ndim:
        raise Malformed("undecodable", f"array of shape {shape} in {len(data)} bytes")
    return np.ndarray(shape, _FLOAT, data, 1 + 4 * ndim)
