"""What a process with credentials can do beyond its part in the protocol: be counted, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import replace

import numpy as np
import pytest

from broker import codec, topics
from broker.access import Grant
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from broker.transport import BrokerError, NotPermitted
from broker.virtual import VirtualNetwork
from node.agent import Agent
from node.errors import DuplicateAgent
from node.host import BEAT
from node.protocols.allocate import allocate
from node.states import GONE
from node.switchboard import Switchboard
from runner import record
from runner.facts import Ended
from runner.hosts import Hosts
from runner.result import judge
from runner.virtual import run_virtual
from tests.processes.live import Live, outcome
from tests.processes.table import WAIT
from topologies import load_scenario

HUB, LEAVES = "a00", tuple(f"a0{k}" for k in range(1, 9))
# Of 48 rounds those of play in which the hub is held, and all leaves wait for it in the next one.
FIRST, SECOND = 20, 30


@pytest.fixture(scope="module")
def expected():
    """The outcome of the undisturbed run."""
    loaded = load_scenario("star-9")
    reports, seconds = run_virtual(loaded.parts("undisturbed"), seed=1)
    return outcome(judge(loaded, Ended("undisturbed", "virtual", reports, seconds)))


@pytest.fixture
def held(spy, tmp_path):
    """Look into a run whose hub is held: no run ends before its intruders have come."""
    spy.hold(HUB, FIRST, tmp_path)
    return spy


async def until_all_wait(run, held_in=FIRST):
    """Wait until every leaf waits for the hub; gives the round."""

    def all_wait():
        infos = [run.progress[leaf] for leaf in LEAVES if leaf in run.progress]
        return len(infos) == len(LEAVES) and all(
            (info["round"], info["waiting_for"]) == (held_in + 1, [HUB]) for info in infos
        )

    await run.until(all_wait, f"all leaves wait for the hub, which is held in round {held_in}")
    assert all(run.progress[leaf]["kind"] == "play+counters" for leaf in LEAVES)
    return held_in + 1


class Intruder:
    """A client of the run's broker with the credentials of one of its users.

    Attributes:
        heard: (topic, payload) of all that reached it.
    """

    def __init__(self, address, user, password):
        self.heard = []
        self.lost = []
        self.transport = make_transport(
            "gmqtt",
            replace(address, user=user, password=password),
            secrets.token_hex(8),
            lambda *message: self.heard.append(message),
            self.lost.append,
        )

    async def __aenter__(self):
        await self.transport.open()
        return self

    async def __aexit__(self, *_):
        await self.transport.close()

    def publish(self, topic, payload):
        self.transport.publish(topic, payload)

    async def subscribe(self, *filters):
        await self.transport.subscribe(filters)


def intruder(spy, name):
    """An intruder at the embedded broker as one of its users."""
    grant = spy.grants[name]
    return Intruder(spy.address, grant.user, grant.password)


# -- two processes that claim to be the same agent ---------------------------------------------------


async def test_second_process_of_an_agent_leaves_naming_agent_and_run(held, expected):
    said, left = [], asyncio.Event()
    second = Hosts(1, lambda host, message: said.append(message), lambda *_: left.set(), said.append)
    try:
        async with Live("star-9") as run:
            await until_all_wait(run)
            _, start = held.start_of("a03")
            # The same part and credentials; the same client id would take over the connection instead.
            (entry,) = start["agents"]
            access = {**entry["access"], "client_id": "second"}
            await second.start()
            second.send(0, {**start, "agents": [{**entry, "access": access}]})
            async with asyncio.timeout(WAIT):
                await left.wait()
            (failed,) = [message for message in said if message["type"] == "failed"]
            assert failed["kind"] == "DuplicateAgent"
            assert "agent a03" in failed["error"]
            assert held.run in failed["error"]
            held.let_go()
            result = await run.result()
    finally:
        await second.close()
    assert outcome(result) == expected
    # What the second one says at its end is not taken for the last word of the first one.
    assert run.warnings == []
    rounds, residuals, _ = record.read(result.run_dir).series("residual")
    assert rounds.size == result.play_rounds - 1
    assert np.isfinite(residuals).all()


@pytest.mark.parametrize("seed", range(12))
def test_of_two_that_join_at_the_same_time_one_stays(seed):
    """Whatever overtakes what: never both, never none, and the run comes to its end."""
    loaded = load_scenario("star-9")
    parts = loaded.parts("twins")
    reports, _ = run_virtual(loaded.parts("alone"), seed=1)
    network = VirtualNetwork(seed)
    agents, gone = {}, {}

    def join(name, part):
        client = network.connect(name, lambda *_: None)
        agent = agents[name] = Agent(part, allocate, client.publish, network.clock, nonce=name)
        switchboard = Switchboard(part.run, [agent])

        def deliver(topic, payload):
            try:
                switchboard.deliver(topic, payload)
            except DuplicateAgent as error:
                gone[name] = str(error)
                client.close()

        client.on_message = deliver
        client.subscribe(switchboard.topics())
        network.call_later(0.01, agent.hello)

    for name, part in parts.items():
        join(name, part)
    join("twin", parts["a03"])

    def beat():
        for name, agent in agents.items():
            if name not in gone:
                agent.tick(network.now)
        network.call_later(BEAT, beat)

    network.call_later(BEAT, beat)
    network.run(
        lambda: all(a.state is GONE for n, a in agents.items() if n not in gone) or len(gone) > 1, limit=300.0
    )
    assert len(gone) == 1, f"of a03 and its twin these left: {sorted(gone)}"
    (left,) = gone
    assert left in ("a03", "twin")
    assert "a03" in gone[left]
    assert "twins" in gone[left]
    stayed = agents["twin" if left == "a03" else "a03"]
    assert stayed.result.allocation == reports["a03"]["result"]["allocation"]


# -- messages that are none --------------------------------------------------------------------------


def hostile(run, src, round_, body):
    """Kind under which it is counted -> the message; ``body`` is one that the protocol accepts."""

    def message(run=run, src=src, round_=round_, kind="play+counters", body=body, told=None):
        # Not `encode`, which refuses to say what nobody would read.
        return codec.pack((run, src, 0, 0, 0, round_, kind, body, told))

    message_, side = body
    return {
        "undecodable": [b"", b"\xc1", b"\x98\x01", b"not a message", message()[:-3]],
        "oversized": [bytes(codec.SIZE_LIMIT + 1)],
        "header": [
            codec.pack(1),
            codec.pack((run, src, 0)),
            codec.pack((run, src, 0, 0, 0, -1, "k", None, None)),
        ],
        "not-finite": [
            message(body=(np.full_like(message_, np.nan), side)),
            message(body=(message_, (float("inf"), 0))),
            message(told=float("nan")),
        ],
        "foreign-run": [message(run="another-run")],
        "forged-sender": [message(src="a07" if src != "a07" else "a06"), message(src="nobody")],
        "ahead": [message(round_=round_ + 2), message(round_=codec.COUNT_LIMIT - 1)],
    }


def unacceptable(run, src, round_, body):
    """Messages of the round that is awaited, well formed and finite, that this protocol cannot read."""
    message_, side = body
    bodies = [
        (message_.ravel()[:-1], side),  # shape
        (np.zeros((*message_.shape, 1)), side),
        (tuple(message_.ravel().tolist()), side),  # not an array
        (message_.astype(int).tolist(), side),
        (message_, (True, "x")),
        (message_, None),
        (message_, side, None),
        message_,
        None,
        {"a": 1},
        7,
    ]
    prefix = codec.Prefix(run, src, 0)
    return [codec.encode(prefix, 0, round_, "play+counters", body) for body in bodies]


def rejected(run, kind):
    """How many messages of this kind the leaves have counted."""
    return sum(run.progress[leaf]["rejected"].get(kind, 0) for leaf in LEAVES)


@pytest.fixture
def open_broker():
    """Somebody else's broker at which anybody of one name may do anything."""
    return EmbeddedBroker([Grant("anybody", "open-sesame", ("#",), ("#",))])


@pytest.mark.parametrize("where", ["own broker, as the neighbour", "open broker, as anybody"])
async def test_what_is_no_message_is_counted_and_changes_nothing(held, expected, open_broker, where):
    async with contextlib.AsyncExitStack() as stack:
        url = None
        if where.startswith("open"):
            address = await open_broker.start()
            stack.push_async_callback(open_broker.stop)
            url = f"mqtt://anybody:open-sesame@127.0.0.1:{address.port}"
        run = await stack.enter_async_context(Live("star-9", broker=url))
        await until_all_wait(run)
        if url is None:
            listener = await stack.enter_async_context(intruder(held, "a01"))
            speaker = await stack.enter_async_context(intruder(held, HUB))
        else:
            speaker = listener = await stack.enter_async_context(Intruder(address, "anybody", "open-sesame"))
        say = topics.say(held.run, HUB)
        await listener.subscribe(say)
        held.hold_in(SECOND)
        await run.until(lambda: listener.heard, "the hub is heard")
        round_ = await until_all_wait(run, SECOND)
        sent = {}
        body = codec.decode(listener.heard[-1][1]).body
        assert len(body) == 2
        for kind, messages in hostile(held.run, HUB, round_, body).items():
            before = rejected(run, kind)
            for message in messages:
                speaker.publish(say, message)
            sent[kind] = before + len(messages) * len(LEAVES)
        for kind, count in sent.items():
            await run.until(
                lambda kind=kind, count=count: rejected(run, kind) >= count,
                f"{count} {kind} are counted",
            )
        for nth, message in enumerate(unacceptable(held.run, HUB, round_, body), start=1):
            speaker.publish(say, message)
            await run.until(
                lambda nth=nth: rejected(run, "body") >= nth * len(LEAVES),
                f"{nth} unreadable bodies are counted by every leaf",
            )
        # Of the round after: it takes the place of the hub's own, which must come again.
        speaker.publish(say, unacceptable(held.run, HUB, round_ + 1, body)[0])
        speaker.publish(say, b"")  # counted at once, and so the one before has arrived as well
        sent["undecodable"] += len(LEAVES)
        await run.until(
            lambda: rejected(run, "undecodable") >= sent["undecodable"], "the last one is counted"
        )
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected
    assert {kind: result.dropped[kind] for kind in sent} == sent
    assert result.dropped["body"] >= 12 * len(LEAVES)


async def test_private_part_that_is_no_pair_is_counted_and_changes_nothing(held, expected):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, "a01") as listener, intruder(held, HUB) as speaker:
            say = topics.say(held.run, HUB)
            await listener.subscribe(say)
            held.hold_in(SECOND)
            await run.until(lambda: listener.heard, "the hub is heard")
            round_ = await until_all_wait(run, SECOND)
            body = codec.decode(listener.heard[-1][1]).body
            for nth, told in enumerate((7, (), ("x",), "ab", (1, 2, 3)), start=1):
                payload = codec.encode(codec.Prefix(held.run, HUB, 0), 0, round_, "play+counters", body, told)
                speaker.publish(say, payload)
                await run.until(
                    lambda nth=nth: rejected(run, "body") >= nth * len(LEAVES),
                    f"a message with {told!r} for one reader is counted",
                )
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected


async def test_malformed_statuses_are_counted_and_change_nothing(held, expected):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, HUB) as speaker:
            status = topics.status(held.run, HUB)
            messages = {
                "undecodable": [b"\xc1", b"\x81"],
                "oversized": [bytes(codec.SIZE_LIMIT + 1)],
                "status": [
                    codec.pack(1),
                    codec.pack({}),
                    codec.pack({"inc": "0", "state": "up", "nonce": "n", "digest": "d"}),
                ],
            }
            for kind, payloads in messages.items():
                for payload in payloads:
                    speaker.publish(status, payload)
                await run.until(
                    lambda kind=kind: rejected(run, kind) >= 8 * len(messages[kind]),
                    f"{kind} statuses are counted",
                )
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected
    # The hub reads its own status too.
    assert {kind: result.dropped[kind] for kind in messages} == {k: 9 * len(v) for k, v in messages.items()}


async def test_a_storm_of_newer_epochs_is_survived_and_its_source_is_named(held, expected):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, "a01") as speaker:
            say, prefix = topics.say(held.run, "a01"), codec.Prefix(held.run, "a01", 0)
            head = b"\x99" + codec.pack(held.run) + codec.pack("a01")
            deep = head + b"\0\0\0\0\xa1k" + b"\x91" * 900 + b"\1\xc0"
            for epoch in (*range(1, 300), codec.COUNT_LIMIT - 1):
                speaker.publish(say, codec.encode(prefix, epoch, 0, "survey", None))
                speaker.publish(say, deep)
            await run.until(lambda: run.progress[HUB]["rejected"].get("undecodable") == 300, "all have come")
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected
    assert result.dropped["far-epoch"] == 1
    assert result.dropped["epoch-storm"] > 100
    (warning,) = [text for text in run.warnings if "started again" in text]
    assert "at the word of a01" in warning


# -- neighbourhoods are the broker's business ----------------------------------------------------------


async def test_agent_hears_its_neighbours_only(held):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, "a01") as mine:
            for wanted in (
                topics.say(held.run, "a02"),
                topics.status(held.run, "a02"),
                topics.to(held.run, HUB, "a02"),
                topics.telemetry(held.run, "a02"),
                topics.telemetry(held.run, "a01"),
                topics.everything_of(held.run),
                topics.all_status(held.run),
                topics.all_telemetry(held.run),
                "#",
                "+/+/say",
                f"{held.run}/+/say",
                "$SYS/#",
                "$MQTT/#",
            ):
                with contextlib.suppress(NotPermitted):
                    await mine.subscribe(wanted)
            # Its own neighbour it does hear: when many rounds have come from there, what else would have come
            # has come too.
            await mine.subscribe(topics.say(held.run, HUB))
            held.hold_in(SECOND)
            await until_all_wait(run, SECOND)
            await run.until(lambda: len(mine.heard) >= SECOND - FIRST, "the neighbour is heard")
        assert {topic for topic, _ in mine.heard} == {topics.say(held.run, HUB)}


async def test_agent_speaks_as_itself_only(held, expected):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, "a01") as mine, intruder(held, "recorder") as witness:
            await witness.subscribe(topics.everything_of(held.run))
            marks = {}
            for topic in (
                topics.say(held.run, HUB),
                topics.say(held.run, "a02"),
                topics.to(held.run, HUB, "a01"),
                topics.to(held.run, "a01", "a02"),
                topics.status(held.run, HUB),
                topics.telemetry(held.run, HUB),
                f"{held.run}/anything",
            ):
                marks[topic] = codec.pack(("forged", topic))
                mine.publish(topic, marks[topic])
            own = topics.to(held.run, "a01", HUB)
            mine.publish(own, b"the last one")
            await run.until(lambda: (own, b"the last one") in witness.heard, "the permitted one arrives")
            assert not {payload for _, payload in witness.heard} & set(marks.values())
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected
    assert result.dropped.get("undecodable", 0) == 1  # the permitted one, which is no message


async def test_recorder_cannot_speak(held, expected):
    async with Live("star-9") as run:
        await until_all_wait(run)
        async with intruder(held, "recorder") as mine, intruder(held, "a01") as witness:
            await witness.subscribe(topics.say(held.run, HUB))
            mine.publish(topics.say(held.run, HUB), b"from the recorder")
            held.hold_in(SECOND)
            await until_all_wait(run, SECOND)
            await run.until(lambda: len(witness.heard) >= SECOND - FIRST, "the hub is heard")
            assert b"from the recorder" not in {payload for _, payload in witness.heard}
        held.let_go()
        result = await run.result()
    assert outcome(result) == expected
    assert result.dropped.keys() <= {"duplicate", "body"}  # of the hub's, as it was held


async def test_nobody_enters_without_credentials(held):
    async with Live("star-9") as run:
        await until_all_wait(run)
        for user, password in (
            (None, None),
            ("agent-a01", "guess"),
            ("agent-a99", "guess"),
            ("probe", "probe"),
        ):
            stranger = Intruder(held.address, user, password)
            with pytest.raises(BrokerError):
                await stranger.transport.open()
