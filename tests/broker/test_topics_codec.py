"""Laws of topics and codec: inverse functions, and nothing but their own error for anything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from broker import codec, topics
from broker.codec import Malformed, Prefix, decode, encode, pack, unpack
from broker.topics import BadTopic, Topic
from node import report as reports
from node import status

level = st.text("abzABZ019_-", min_size=1, max_size=64)
topic = st.one_of(
    st.builds(Topic, level, level, st.sampled_from([topics.SAY, topics.STATUS, topics.TELEMETRY])),
    st.builds(Topic, level, level, st.just(topics.TO), level),
)
array = hnp.arrays(
    np.dtype("<f8"),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=64),
)
integer = st.integers(-(2**63), 2**64 - 1)
scalar = st.one_of(st.none(), st.booleans(), integer, st.floats(allow_nan=False), st.text(), st.binary())
value = st.recursive(
    st.one_of(scalar, array),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
count = st.integers(0, codec.COUNT_LIMIT - 1)


def same(a: object, b: object) -> bool:
    """Equal in type and in every bit."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@given(topic)
def test_topic_parses_to_itself(each):
    assert Topic.parse(str(each)) == each


@given(level, level, level)
def test_builders_agree_with_parse(run, src, dst):
    assert Topic.parse(topics.say(run, src)) == Topic(run, src, topics.SAY)
    assert Topic.parse(topics.status(run, src)) == Topic(run, src, topics.STATUS)
    assert Topic.parse(topics.telemetry(run, src)) == Topic(run, src, topics.TELEMETRY)
    assert Topic.parse(topics.report(run, src)) == Topic(run, src, topics.REPORT)
    assert Topic.parse(topics.to(run, src, dst)) == Topic(run, src, topics.TO, dst)


@given(st.one_of(st.text(), st.lists(st.text("ab/+#. \n-to", max_size=6)).map("/".join)))
@example("r/a/say\n")
@example("r/a/say/")
@example("r/a/to")
@example("r//say")
@example("r/+/say")
def test_any_text_parses_or_is_a_bad_topic(text):
    try:
        parsed = Topic.parse(text)
    except BadTopic:
        return
    assert str(parsed) == text


@given(value)
def test_value_unpacks_to_itself(each):
    assert same(each, unpack(pack(each)))


@given(level, level, count, count, count, count, st.text(max_size=20), value, value)
def test_message_decodes_to_itself(run, src, incarnation, since, epoch, round_, kind, body, told):
    prefix = Prefix(run, src, incarnation, since)
    if not (codec.finite(body) and codec.finite(told)):
        with pytest.raises(ValueError, match="not finite"):
            encode(prefix, epoch, round_, kind, body, told)
        return
    payload = encode(prefix, epoch, round_, kind, body, told)
    message = decode(payload)
    assert (message.run, message.src, message.incarnation, message.since) == (run, src, incarnation, since)
    assert (message.epoch, message.round, message.kind) == (epoch, round_, kind)
    assert same(message.body, body)
    assert same(message.told, told)
    assert message.raw == payload


def survives(payload: bytes) -> None:
    try:
        decode(payload)
    except Malformed as error:
        assert error.kind in {"oversized", "undecodable", "header", "not-finite"}  # noqa: PT017 - either way is right


@given(st.binary(max_size=200))
@example(b"\x91" * 100_000)  # nesting
@example(b"\xdd\xff\xff\xff\xff")  # four thousand million values, none there
@example(b"\x81\x80\x00")  # a map as a key
@example(b"\xd4\x01\x05")  # an array of five dimensions
@example(b"\xc7\x05\x01\x01\x00\x00\x00\x20")  # values missing
@example(b"\xd6\xff\x00\x00\x00\x00")  # a timestamp
@example(b"\xc7\x0c\xff" + b"\xff" * 12)  # an impossible timestamp
@example(b"\xc7\x11\x01\x04" + b"\x00\x00\x00\x00" + b"\xff" * 12)  # empty, with huge sides
@example(b"\xa2\xff\xfe")  # not UTF-8
@example(b"")
def test_any_bytes_decode_or_are_malformed(payload):
    survives(payload)


@given(
    st.builds(
        encode, st.builds(Prefix, level, level, count), count, count, level, value.filter(codec.finite)
    ),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4),
    st.integers(0, 10_000),
)
def test_damaged_message_decodes_or_is_malformed(payload, damage, cut):
    damaged = bytearray(payload)
    for position, byte in damage:
        damaged[position % len(damaged)] = byte
    survives(bytes(damaged))
    survives(bytes(damaged[: cut % (len(damaged) + 1)]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "wrap", [float, lambda x: np.full(5, x), lambda x: (1.0, {"k": (np.array([1.0, x]),)})]
)
def test_number_that_is_not_finite_is_malformed(bad, wrap):
    with pytest.raises(Malformed) as error:
        decode(pack(("r", "a", 0, 0, 0, 0, "k", wrap(bad), None)))
    assert error.value.kind == "not-finite"


def test_huge_finite_numbers_are_finite():
    huge = np.full(100, 1.7e308)
    assert same(decode(encode(Prefix("r", "a", 0), 0, 0, "k", huge)).body, huge)


def test_oversized_is_malformed_before_it_is_read():
    with pytest.raises(Malformed) as error:
        decode(b"\xc1" * (codec.SIZE_LIMIT + 1))
    assert error.value.kind == "oversized"


@pytest.mark.parametrize("value", [object(), np.float32(1), np.arange(3), {1, 2}, 1j, np.zeros((1,) * 5)])
def test_what_is_no_plain_value_is_not_packed(value):
    with pytest.raises(TypeError):
        pack(value)


def test_decoded_arrays_are_read_only():
    decoded = unpack(pack(np.arange(3.0)))
    with pytest.raises(ValueError, match="read-only"):
        decoded[0] = 1.0


def test_what_every_receiver_would_drop_is_not_said():
    me = Prefix("r", "a", 0)
    with pytest.raises(ValueError, match="not finite"):
        encode(me, 0, 0, "", np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="not finite"):
        encode(me, 0, 0, "", None, float("inf"))
    with pytest.raises(ValueError, match="at most 1048576 are read"):
        encode(me, 0, 0, "", np.zeros(1 << 17))


@pytest.mark.parametrize("at", [2, 3, 4, 5])
@pytest.mark.parametrize("number", [-1, codec.COUNT_LIMIT, 2**64 - 1])
def test_a_count_out_of_range_is_malformed(at, number):
    values = ["r", "a", 0, 0, 0, 0, "kind", None, None]
    values[at] = number
    with pytest.raises(codec.Malformed) as caught:
        decode(pack(tuple(values)))
    assert caught.value.kind == "header"


@given(st.booleans(), st.lists(st.integers(0, 9), min_size=1, max_size=2))
def test_messages_said_again_decode_to_themselves(asks, rounds):
    payloads = [encode(Prefix("r", "a", 0), 0, k, "k", (k, 0.5)) for k in rounds]
    messages, asked = codec.decode_all(codec.encode_again(asks, payloads))
    assert asked is asks
    assert [m.raw for m in messages] == payloads
    assert all(m.again for m in messages)
    (first,), asked = codec.decode_all(payloads[0])
    assert (first.raw, first.again, asked) == (payloads[0], False, False)


@pytest.mark.parametrize(
    "values",
    [
        (True,),
        (True, True),
        (1, b""),
        (True, "text"),
        (True, pack(())),
        (True, codec.encode_again(False, [encode(Prefix("r", "a", 0), 0, 0, "k", 1)])),
        (True, encode(Prefix("r", "a", 0), 0, 0, "k", 1), None),
        (True, b"", b"", b""),
    ],
)
def test_what_is_no_flag_with_one_or_two_messages_is_malformed(values):
    with pytest.raises(Malformed):
        codec.decode_all(pack(values))


def test_two_of_the_largest_messages_can_be_said_again_and_more_is_malformed():
    room = codec.SIZE_LIMIT - len(encode(Prefix("r", "a", 0), 0, 0, "k", b"x" * 65536)) + 65536
    largest = encode(Prefix("r", "a", 0), 0, 0, "k", b"x" * room)
    assert len(largest) == codec.SIZE_LIMIT
    messages, _ = codec.decode_all(codec.encode_again(True, [largest, largest]))
    assert [len(m.raw) for m in messages] == [codec.SIZE_LIMIT] * 2
    with pytest.raises(Malformed) as error:
        codec.decode_all(pack((True, b"x" * codec.AGAIN_LIMIT)))
    assert error.value.kind == "oversized"


# -- nesting as an attack -------------------------------------------------------------------------------


def nested(opening: bytes, depth: int) -> bytes:
    return opening * depth + b"\x01"


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a"], ids=["arrays", "maps"])
def test_values_nested_too_deeply_are_malformed_wherever_they_stand(opening):
    """Python's stack ends between 300 and 1,000 levels, MessagePack's own at 1,024."""
    for depth in (codec.NEST_LIMIT + 1, 200, 400, 800, 1000, 1020, 1500, 100_000):
        value = nested(opening, depth)
        in_body = b"\x99\xa1r\xa1a\0\0\0\0\xa1k" + value + b"\xc0"
        told = b"\x99\xa1r\xa1a\0\0\0\0\xa1k\xc0" + value
        header = b"\x99" + value + b"\xa1a\0\0\0\0\xa1k\xc0\xc0"
        for payload, kinds in (
            (in_body, ["undecodable"]),
            (told, ["undecodable"]),
            (header, ["header", "undecodable"]),
            (b"\x92\xc3" + value, ["header", "undecodable"]),
        ):
            with pytest.raises(codec.Malformed) as refused:
                codec.decode_all(payload)
            assert refused.value.kind in kinds
        with pytest.raises(codec.Malformed):
            status.read(value)
        for report in (value, b"\x93\x02\xa6failed\x82\xa5error\xa1x\xa1y" + value):
            with pytest.raises(codec.Malformed):
                reports.read(report, "a")


def test_values_nested_less_deeply_pass_and_what_nobody_would_read_is_not_said():
    prefix = codec.Prefix("r", "a", 0)
    body = 1.0
    for _ in range(codec.NEST_LIMIT - 1):
        body = (body,)
    assert codec.decode(codec.encode(prefix, 0, 0, "k", body)).body == body
    with pytest.raises(ValueError, match="nested deeper than 64"):
        codec.encode(prefix, 0, 0, "k", ((body,),))
