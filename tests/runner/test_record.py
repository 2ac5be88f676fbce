"""The record on disk and the passive recorder that writes it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import topics
from broker.access import agent_grant, recorder_grant
from broker.codec import Malformed, pack
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from broker.transport import Address, BrokerUnreachable, Transport
from runner import record as module
from runner import recorder as recorder_module
from runner.record import SCHEMA, Batch, PartWriter, RecordError, decode_batch, merge, read
from runner.recorder import Config, Recorder, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def payload(columns=("allocation", "price"), rounds=(3, 4), values=None, last=False, **other) -> bytes:
    n = len(rounds)
    fields = {
        "version": 2,
        "incarnation": 0,
        "epoch": 0,
        "origin": 0,
        "floor": 0,
        "first": 0,
        "last": last,
        "columns": tuple(columns),
        "rounds": np.array(rounds, float),
        "times": 1e9 + np.arange(n, dtype=float),
        "values": np.arange(n * len(columns), dtype=float).reshape(n, len(columns))
        if values is None
        else values,
        **other,
    }
    return pack(tuple(fields.values()))


def batch(agent: str, rounds, columns=("allocation", "price"), offset=0.0, last=False) -> Batch:
    rounds = np.array(rounds, np.int64)
    values = offset + rounds[:, None] * 10.0 + np.arange(len(columns))
    return Batch(agent, columns, rounds, 1e9 + rounds, values, last)


# --- decoding ---------------------------------------------------------------------------------------------


def test_a_batch_survives_the_wire():
    got = decode_batch(payload(last=True), "n1")
    assert (got.agent, got.columns, got.rounds.tolist(), got.last) == (
        "n1",
        ("allocation", "price"),
        [3, 4],
        True,
    )
    assert got.values.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert got.rows == 4


def test_the_last_batch_may_be_empty():
    got = decode_batch(payload(columns=(), rounds=(), last=True), "n1")
    assert got.last
    assert got.rows == 0


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (b"", "undecodable"),
        (b"\xc1", "undecodable"),
        (b"\x00" * (1 << 20) + b"\x00", "oversized"),
        (pack(None), "header"),
        (pack((1, 2, 3)), "header"),
        (payload(version=1), "header"),
        (payload(epoch=-1), "header"),
        (payload(origin=2**63), "header"),
        (payload(first=1.0), "header"),
        (payload(floor=3, first=2), "header"),
        (payload(incarnation="0"), "header"),
        (payload(last=1), "header"),
        (payload(columns=("a", "a")), "header"),
        (payload(columns=("a", 'drop "table"')), "header"),
        (payload(columns=tuple(f"c{i}" for i in range(65))), "header"),
        (payload(rounds=(0.5, 1)), "header"),
        (payload(rounds=(-1, 1)), "header"),
        (payload(rounds=(1, 2.0**53)), "header"),
        (payload(rounds=(1, 2), values=[[1.0, 2.0], [3.0, 4.0]]), "header"),
        (payload(values=np.zeros((3, 2))), "shape"),
        (payload(values=np.zeros(4)), "shape"),
        (payload(times=np.zeros(3)), "shape"),
        (payload(values=np.array([[1.0, math.nan], [0.0, 0.0]])), "not-finite"),
        (payload(rounds=(1, math.inf)), "not-finite"),
    ],
)
def test_a_wrong_batch_is_refused_by_kind(wrong: bytes, kind: str):
    with pytest.raises(Malformed) as caught:
        decode_batch(wrong, "n1")
    assert caught.value.kind == kind


@given(st.binary(max_size=300), st.integers(0, 200))
def test_garbage_raises_nothing_but_malformed(garbage: bytes, cut: int):
    for wrong in (garbage, payload()[:cut], payload()[:cut] + garbage):
        with contextlib.suppress(Malformed):
            decode_batch(wrong, "n1")


# --- writing and reading ----------------------------------------------------------------------------------


def test_an_empty_directory_is_an_empty_record(tmp_path: Path):
    for directory in (tmp_path, tmp_path / "nothing"):
        got = read(directory)
        assert len(got) == 0
        rounds, values, agents = got.series("allocation")
        assert (rounds.shape, values.shape, agents) == ((0,), (0, 0), ())
        assert got.goods("allocation")[1].shape == (0, 0, 1)
        assert merge(directory) is None


def test_parts_follow_the_schema_and_stand_alone(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("b", [0, 1]))
    first = writer.flush()
    writer.append(batch("a", [2]))
    second = writer.flush()
    assert (first, second) == tuple(tmp_path / "telemetry" / f"part-0000{i}.parquet" for i in (0, 1))
    assert writer.flush() is None
    for path, rows in ((first, 4), (second, 2)):
        table = pq.read_table(path)
        assert table.column_names == list(SCHEMA)
        assert table.num_rows == rows
        assert pq.read_metadata(path).row_group(0).column(6).compression == "ZSTD"
        assert str(table.schema.field("agent").type).startswith("dictionary")
    assert set(os.listdir(tmp_path / "telemetry")) == {"part-00000.parquet", "part-00001.parquet"}


def test_series_put_agents_in_order_and_nan_where_nothing_was_measured(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("b", [0, 1]))
    writer.flush()
    writer.append(batch("a", [1, 2], offset=5.0))
    writer.append(batch("c", [9], columns=("xi",)))
    writer.flush()
    got = read(tmp_path)
    assert (got.run, got.agents, got.names) == ("r1", ("a", "b", "c"), ("allocation", "price", "xi"))
    rounds, values, agents = got.series("allocation")
    assert rounds.tolist() == [0, 1, 2]
    assert agents == ("a", "b", "c")
    np.testing.assert_array_equal(
        values, [[math.nan, 0.0, math.nan], [15.0, 10.0, math.nan], [25.0, math.nan, math.nan]]
    )
    assert got.latest("allocation") == {"a": 25.0, "b": 10.0}
    assert got.latest("xi") == {"c": 90.0}


def test_several_goods_become_one_array(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [4, 5], columns=("price.0", "price.1", "price.2")))
    writer.flush()
    rounds, values, _ = read(tmp_path).goods("price")
    assert rounds.tolist() == [4, 5]
    assert values.tolist() == [[[40.0, 41.0, 42.0]], [[50.0, 51.0, 52.0]]]


def test_the_writer_flushes_by_itself_at_its_limit(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1", limit=6)
    for k in range(7):
        writer.append(batch("a", [k]))
    assert (writer.parts, writer.rows) == (2, 2)
    assert len(read(tmp_path)) == 12


def test_a_second_writer_continues_the_numbering(tmp_path: Path):
    for k in range(2):
        writer = PartWriter(tmp_path, "r1")
        writer.append(batch("a", [k]))
        writer.flush()
    assert read(tmp_path).series("price")[0].tolist() == [0, 1]


def test_merge_sorts_drops_repetitions_and_removes_the_parts(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    for one in (batch("b", [1, 0]), batch("a", [0, 1]), batch("b", [1], offset=7.0)):
        writer.append(one)
        writer.flush()
    before = read(tmp_path)
    path = merge(tmp_path)
    assert path == tmp_path / "telemetry.parquet"
    assert not (tmp_path / "telemetry").exists()
    after = read(tmp_path)
    for name in before.names:
        np.testing.assert_array_equal(before.series(name)[1], after.series(name)[1])
    rows = pq.read_table(path).to_pylist()
    keys = [(row["round"], row["agent"], row["name"]) for row in rows]
    assert keys == sorted(set(keys))
    assert after.series("allocation")[1][1].tolist() == [10.0, 17.0]
    assert merge(tmp_path) == path


def test_a_record_keeps_every_epoch_and_shows_the_last_one(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [0, 1, 2]))
    writer.append(replace(batch("a", [0, 1], offset=5.0), epoch=1))
    writer.append(replace(batch("b", [0, 1]), epoch=1))
    writer.append(batch("b", [0, 1, 2]))  # of the epoch before, and later
    writer.flush()
    for _ in range(2):
        got = read(tmp_path)
        assert len(got) == 20
        rounds, values, _ = got.series("allocation")
        assert (rounds.tolist(), values.tolist()) == ([0, 1], [[5.0, 0.0], [15.0, 10.0]])
        merge(tmp_path)


def test_records_of_the_same_rows_are_equal_but_for_time(tmp_path: Path):
    tables = []
    for place, order in (("one", (0, 1, 2)), ("two", (2, 0, 1))):
        (tmp_path / place).mkdir()
        writer = PartWriter(tmp_path / place, "r1")
        for k in order:
            writer.append(batch("abc"[k], [0, 1, 2]))
            writer.flush()
        path = merge(tmp_path / place)
        assert path is not None
        tables.append(pq.read_table(path).drop_columns(["time"]))
    assert tables[0].to_pylist() == tables[1].to_pylist()


def test_a_merge_killed_before_it_removed_the_parts_counts_nothing_twice(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [0, 1]))
    part = writer.flush()
    assert part is not None
    kept = part.read_bytes()
    merge(tmp_path)
    part.parent.mkdir()
    part.write_bytes(kept)
    assert read(tmp_path).series("price")[1].tolist() == [[1.0], [11.0]]
    merge(tmp_path)
    assert len(read(tmp_path)) == 4


def test_a_torn_or_foreign_file_is_skipped_and_named(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [0]))
    good = writer.flush()
    assert good is not None
    torn = good.with_name("part-00007.parquet")
    torn.write_bytes(good.read_bytes()[:50])
    got = read(tmp_path)
    assert (len(got), got.unreadable) == (2, (str(torn),))
    merge(tmp_path)
    assert torn.exists()
    assert not good.exists()
    assert len(read(tmp_path)) == 2


def test_a_record_too_long_to_sort_stays_in_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MERGE_ROWS", 3)
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [0, 1]))
    writer.flush()
    assert merge(tmp_path) is None
    assert len(read(tmp_path)) == 4


def test_a_directory_that_cannot_hold_parts_is_named(tmp_path: Path):
    (tmp_path / "telemetry").write_text("a file")
    with pytest.raises(RecordError, match=r"telemetry: File exists"):
        PartWriter(tmp_path, "r1")
    with pytest.raises(RecordError, match=r"No such file"):
        PartWriter(tmp_path / "absent", "r1")


def test_a_part_that_cannot_be_written_names_path_and_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = PartWriter(tmp_path, "r1")
    writer.append(batch("a", [0]))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(RecordError, match=r"part-00000\.parquet: No space left on device"):
        writer.flush()
    assert os.listdir(tmp_path / "telemetry") == []


# --- the recorder -----------------------------------------------------------------------------------------


def config(directory: Path, agents=("a", "b"), **other) -> Config:
    fields = {
        "run": "r1",
        "directory": str(directory),
        "client": "gmqtt",
        "client_id": "r1-recorder",
        "user": None,
        "password": None,
        "place": Address("127.0.0.1", 1883).place(),
        "agents": list(agents),
        **other,
    }
    return Config.from_json(json.dumps(fields))


def test_the_configuration_names_what_is_missing(tmp_path: Path):
    with pytest.raises(ValueError, match="directory"):
        Config.from_json('{"run": "r1"}')
    with pytest.raises(ValueError, match="got list"):
        Config.from_json("[]")


def test_the_recorder_counts_what_it_refuses_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writer = PartWriter(tmp_path, "r1", limit=None)
    calls: list[None] = []
    one = Recorder(config(tmp_path), writer, lambda: calls.append(None))
    one.receive(topics.telemetry("r1", "a"), payload())
    one.receive(topics.telemetry("r1", "a"), b"garbage")
    one.receive(topics.telemetry("r1", "stranger"), payload(last=True))
    one.receive(topics.telemetry("r2", "a"), payload())
    one.receive(topics.say("r1", "a"), payload())
    one.receive("$SYS/whatever", payload())
    one.receive(topics.telemetry("r1", "a"), payload(values=np.full((2, 2), math.inf)))
    monkeypatch.setattr(recorder_module, "HOLD_ROWS", 5)
    one.receive(topics.telemetry("r1", "a"), payload(first=2))
    assert one.rejected == {"undecodable": 1, "foreign": 1, "topic": 3, "not-finite": 1, "overflow": 1}
    assert (one.rows, writer.rows, sorted(one.ledger.missing), calls) == (4, 4, ["a", "b"], [])
    monkeypatch.undo()
    one.receive(
        topics.telemetry("r1", "a"), payload(first=2)
    )  # published again, since nobody acknowledged it
    assert one.rows == 8


class FakeTransport(Transport):
    """A connection whose other end is the test."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.subscribed: list[str] = []
        self.closed = False
        self.on_subscribe: Any = lambda: None

    async def open(self, timeout: float = 5.0) -> None:
        pass

    async def subscribe(self, topics, timeout: float = 5.0) -> None:
        self.subscribed += topics
        self.on_subscribe()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        raise AssertionError("a recorder publishes nothing")

    async def close(self) -> None:
        self.closed = True

    def deliver(self, agent: str, *args: Any, **fields: Any) -> None:
        self.on_message(topics.telemetry("r1", agent), payload(*args, **fields))


class Harness:
    """A recorder in this process, with its stdin, its events and its connection in the test's hands."""

    def __init__(self, directory: Path, transport: type[FakeTransport] = FakeTransport) -> None:
        self.config = config(directory)
        self.stdin = asyncio.StreamReader()
        self.events: list[dict[str, Any]] = []
        self.happened = asyncio.Event()
        self.transport: FakeTransport | None = None
        self.kind = transport

    def report(self, event: Any) -> None:
        json.dumps(event)
        self.events.append(dict(event))
        self.happened.set()

    def make(self, client: str, *how: Any) -> Transport:
        self.transport = self.kind(*how)
        return self.transport

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th event of a kind, once it has happened."""
        while len(found := [event for event in self.events if event["event"] == kind]) < count:
            self.happened.clear()
            await self.happened.wait()
        return found[count - 1]

    def start(self) -> asyncio.Task[bool]:
        return asyncio.create_task(record(self.config, self.stdin, self.report, self.make))


async def test_it_ends_by_itself_when_every_agent_sent_its_last_batch(tmp_path: Path):
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    assert one.transport.subscribed == ["r1/+/telemetry"]
    one.transport.deliver("a")
    one.transport.deliver("a", rounds=(5,), first=2, last=True)
    one.transport.on_message("r1/a/telemetry", b"garbage")
    one.transport.deliver("b", columns=(), rounds=(), last=True)
    assert await task
    assert one.events[-2:] == [
        {"event": "recorded", "marks": [("a", 0, 0, 4), ("b", 0, 0, 1)]},
        {
            "event": "closed",
            "rows": 6,
            "parts": 1,
            "rejected": {"undecodable": 1},
            "complete": True,
            "missing": [],
            "lost": {},
        },
    ]
    assert one.transport.closed
    assert read(tmp_path).series("allocation")[0].tolist() == [3, 4, 5]


@pytest.mark.parametrize("order", [b'{"event": "stop"}\n', b'not json\n[1]\n{"event": "stop"}\n', b""])
async def test_it_drains_before_it_obeys_the_order_to_stop(tmp_path: Path, order: bytes):
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    transport = one.transport
    assert transport is not None
    # What the broker still held comes before the second acknowledgement.
    transport.on_subscribe = lambda: transport.deliver("b", last=True)
    one.stdin.feed_data(order)
    one.stdin.feed_eof()
    assert await task
    closed = one.events[-1]
    assert (closed["event"], closed["rows"], closed["complete"], closed["missing"]) == (
        "closed",
        4,
        False,
        ["a"],
    )
    assert len(read(tmp_path)) == 4


async def test_sigterm_flushes_and_ends(tmp_path: Path):
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    one.transport.deliver("a")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task
    assert one.events[-1]["rows"] == len(read(tmp_path)) == 4


async def test_it_reports_progress_and_writes_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorder_module, "REPORT_EVERY", 0.01)
    monkeypatch.setattr(recorder_module, "FLUSH_EVERY", 1e9)
    monkeypatch.setattr(recorder_module, "PART_ROWS", 4)
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    one.transport.deliver("a")
    assert (await one.event("progress")) == {"event": "progress", "rows": 4, "rejected": {}}
    assert len(read(tmp_path)) == 4
    one.stdin.feed_eof()
    assert await task


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_taken_in_then(tmp_path: Path):
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    first = one.transport
    assert first is not None
    first.deliver("a")
    assert first.on_lost is not None
    first.on_lost("closed by the broker")
    assert (await one.event("away"))["reason"] == "closed by the broker"
    await one.event("ready", 2)
    assert one.transport is not first
    assert one.transport.subscribed == ["r1/+/telemetry"]
    one.transport.deliver("a", first=4, last=True)  # what came before it was lost with the connection
    one.transport.deliver("a", first=2)
    one.transport.deliver("a", first=4, last=True)
    one.transport.deliver("b", columns=(), rounds=(), last=True)
    assert await task
    assert (one.events[-1]["rows"], one.events[-1]["complete"]) == (12, True)


async def test_a_receipt_is_given_when_the_rows_are_on_file_and_again_for_what_comes_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recorder_module, "REPORT_EVERY", 0.01)
    monkeypatch.setattr(recorder_module, "FLUSH_EVERY", 0.01)
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    for count in (1, 2):
        one.transport.deliver("a")
        assert (await one.event("recorded", count))["marks"] == [("a", 0, 0, 2)]
        assert len(read(tmp_path)) == 4
    one.stdin.feed_eof()
    assert await task


async def test_rows_that_will_never_come_make_the_record_incomplete(tmp_path: Path):
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    one.transport.deliver("a", floor=7, first=7, last=True)
    one.transport.deliver("b", columns=(), rounds=(), last=True)
    assert await task
    assert (one.events[-1]["complete"], one.events[-1]["missing"]) == (False, [])
    assert one.events[-1]["lost"] == {"a": 7}


async def test_a_broker_that_refuses_is_reported(tmp_path: Path):
    class Dead(FakeTransport):
        async def open(self, timeout: float = 5.0) -> None:
            raise BrokerUnreachable(f"{self.address}: connection refused")

    one = Harness(tmp_path, Dead)
    assert not await one.start()
    assert one.events == [{"event": "failed", "error": "mqtt://127.0.0.1:1883: connection refused"}]


async def test_a_full_disk_is_reported_with_path_and_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    one = Harness(tmp_path)
    task = one.start()
    await one.event("ready")
    assert one.transport is not None
    one.transport.deliver("a", last=True)
    one.transport.deliver("b", last=True)
    assert not await task
    assert one.events[-1]["event"] == "failed"
    assert one.events[-1]["error"].endswith("part-00000.parquet: No space left on device")
    assert one.transport.closed


async def test_a_directory_that_is_not_there_is_reported(tmp_path: Path):
    one = Harness(tmp_path / "absent")
    assert not await one.start()
    assert "No such file" in one.events[-1]["error"]


@pytest.mark.processes
async def test_the_process_refuses_a_configuration_it_cannot_read():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.recorder", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate(b"{}\n")
    assert json.loads(out)["event"] == "failed"
    assert process.returncode == 1


# --- the recorder as a process, over a real broker ---------------------------------------------------------


@contextlib.asynccontextmanager
async def recording(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, Any, EmbeddedBroker]]:
    """A broker, a recorder process that is ready, and agent a's own connection."""
    grant = recorder_grant("r1")
    agent = agent_grant("r1", "a", ["b"], ["b"])
    async with EmbeddedBroker([grant, agent]) as broker:
        where = broker.address
        told = config(
            directory,
            agents=("a",),
            place=where.place(),
            user=grant.user,
            password=grant.password,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "runner.recorder"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        address = Address(where.host, where.port, agent.user, agent.password)
        connection = make_transport("gmqtt", address, "r1-a", lambda topic, payload: None)
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(asdict(told)).encode() + b"\n")
            await connection.open()
            assert await next_event(process) == {"event": "ready"}
            yield process, connection, broker
        finally:
            await connection.close()
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def next_event(process: asyncio.subprocess.Process, kind: str | None = None) -> dict[str, Any]:
    assert process.stdout is not None
    while True:
        event = json.loads(await process.stdout.readline())
        if kind is None or event["event"] == kind:
            return event


@pytest.mark.broker
@pytest.mark.processes
async def test_a_recorder_process_writes_what_an_agent_publishes_and_ends_with_it(tmp_path: Path):
    async with recording(tmp_path) as (process, agent, _):
        for k in range(50):
            agent.publish("r1/a/telemetry", payload(rounds=(k,), first=k))
        agent.publish("r1/a/telemetry", b"garbage")
        agent.publish("r1/a/telemetry", payload(columns=(), rounds=(), first=50, last=True))
        closed = await next_event(process, "closed")
        assert (closed["rows"], closed["complete"], closed["rejected"]) == (100, True, {"undecodable": 1})
        assert await process.wait() == 0
    assert read(tmp_path).series("price")[0].tolist() == list(range(50))


@pytest.mark.broker
@pytest.mark.processes
@pytest.mark.parametrize("how", ["stop", "end of stdin", "SIGTERM after progress"])
async def test_a_recorder_process_keeps_what_came_before_it_was_ended(tmp_path: Path, how: str):
    async with recording(tmp_path) as (process, agent, _):
        assert process.stdin is not None
        process.send_signal(signal.SIGINT)  # a Ctrl-C is the runner's to handle
        agent.publish("r1/a/telemetry", payload())
        assert (await next_event(process, "progress"))["rows"] == 4
        if how == "stop":
            process.stdin.write(b'{"event": "stop"}\n')
        elif how == "end of stdin":
            process.stdin.close()
        else:
            process.terminate()
        closed = await next_event(process, "closed")
        assert (closed["rows"], closed["complete"], closed["missing"]) == (4, False, ["a"])
        assert await process.wait() == 0
    assert len(read(tmp_path)) == 4


@pytest.mark.broker
@pytest.mark.processes
async def test_a_recorder_process_listens_again_when_its_broker_was_killed_and_is_back(tmp_path: Path):
    async with recording(tmp_path) as (process, agent, broker):
        agent.publish("r1/a/telemetry", payload())
        assert (await next_event(process, "recorded"))["marks"] == [["a", 0, 0, 2]]
        os.kill(broker.pid, signal.SIGKILL)
        assert "connection" in (await next_event(process, "away"))["reason"]
        await broker.wait_ended()
        await broker.restart()
        assert await next_event(process, "ready") == {"event": "ready"}
        again = make_transport("gmqtt", agent.address, "r1-a-1", lambda topic, payload: None)
        await again.open()
        again.publish("r1/a/telemetry", payload(rounds=(5, 6), first=2, last=True))
        closed = await next_event(process, "closed")
        await again.close()
        assert (closed["rows"], closed["complete"]) == (8, True)
        assert await process.wait() == 0
    assert read(tmp_path).series("price")[0].tolist() == [3, 4, 5, 6]


@pytest.mark.broker
@pytest.mark.processes
async def test_a_recorder_process_without_a_broker_ends_with_its_rows_when_told_to(tmp_path: Path):
    async with recording(tmp_path) as (process, agent, broker):
        agent.publish("r1/a/telemetry", payload())
        await next_event(process, "progress")
        await broker.stop()
        await next_event(process, "away")
        assert process.stdin is not None
        process.stdin.write(b'{"event": "stop"}\n')
        closed = await next_event(process, "closed")
        assert (closed["rows"], closed["complete"], closed["missing"]) == (4, False, ["a"])
        assert await process.wait() == 0
    assert len(read(tmp_path)) == 4
