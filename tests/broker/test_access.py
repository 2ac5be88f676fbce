"""What the graph permits, and that the servers' own languages say the same."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace

import pytest

from broker import access, topics
from tests.broker.conftest import RUN, WAIT


@dataclass(frozen=True)
class Place:
    agent: str
    hears: tuple[str, ...]
    heard_by: tuple[str, ...]


def test_agent_speaks_as_itself_and_hears_its_neighbours():
    grant = access.agent_grant("r", "b", hears=["c", "a"], heard_by=["d", "a"])
    assert set(grant.publish) == {
        *("r/b/say", "r/b/status", "r/b/telemetry"),
        *("r/b/to/a", "r/b/to/c", "r/b/to/d"),
    }
    assert set(grant.subscribe) == {
        "r/b/status",
        *("r/a/say", "r/a/status", "r/a/to/b"),
        *("r/c/say", "r/c/status", "r/c/to/b"),
        # d only listens to b: its answers come back, its public words do not.
        *("r/d/status", "r/d/to/b"),
    }


def test_host_may_what_its_agents_may_and_no_more():
    places = [Place("a", ("b",), ("b",)), Place("b", ("a", "c"), ("a", "c"))]
    host = access.host_grant("r", "h1", places)
    agents = [access.agent_grant("r", place.agent, place.hears, place.heard_by) for place in places]
    assert set(host.publish) == {topic for agent in agents for topic in agent.publish}
    assert set(host.subscribe) == {topic for agent in agents for topic in agent.subscribe}
    assert len(host.subscribe) == len(set(host.subscribe))  # each once: overlaps would arrive twice


def test_reports_may_be_published_only_where_no_runner_asks_and_only_of_oneself():
    grant = access.agent_grant("r", "b", hears=["a"], heard_by=["a"])
    reporting = access.reporting(grant, "r", ["b"])
    assert set(reporting.publish) - set(grant.publish) == {"r/b/report"}
    assert reporting.subscribe == grant.subscribe
    assert (reporting.user, reporting.password) == (grant.user, grant.password)


def test_a_judge_hears_reports_and_statuses_and_says_nothing():
    judge = access.judge_grant("r")
    assert judge.publish == ()
    assert set(judge.subscribe) == {"r/+/report", "r/+/status"}


def test_what_is_said_every_round_stands_first_in_mosquittos_list_and_nothing_is_left_out():
    grant = access.agent_grant("r", "b", hears=["a", "c"], heard_by=["a"])
    user, *rights = access.mosquitto_acl([grant]).splitlines()
    assert user == "user agent-b"
    assert rights[:3] == ["topic write r/b/say", "topic read r/a/say", "topic read r/c/say"]
    writes, reads = (
        [right.split()[2] for right in rights if right.startswith(f"topic {kind} ")]
        for kind in ("write", "read")
    )
    assert sorted(writes) == sorted(grant.publish)
    assert sorted(reads) == sorted(grant.subscribe)


def test_nobody_but_the_recorder_uses_wildcards():
    grants = [
        access.agent_grant("r", "a", ["b"], ["b"]),
        access.host_grant("r", "h", [Place("a", ("b",), ())]),
    ]
    for grant in grants:
        assert not any(re.search("[+#]", topic) for topic in (*grant.publish, *grant.subscribe))
    assert access.recorder_grant("r").publish == ()


def test_users_and_passwords_are_unique_and_hidden():
    grants = [
        access.agent_grant("r", "recorder", [], []),
        access.agent_grant("r", "h", [], []),
        access.host_grant("r", "h", []),
        access.recorder_grant("r"),
    ]
    assert len({grant.user for grant in grants}) == len({grant.password for grant in grants}) == 4
    assert all(grant.password not in repr(grant) for grant in grants)


def test_no_permissions_are_not_all_permissions():
    nobody = access.Grant("nobody", "secret", (), ())
    text = access.nats_config([nobody], "127.0.0.1", 1883, "/tmp/js")
    user = json.loads(next(line for line in text.splitlines() if "nobody" in line))
    assert user["permissions"] == {"publish": {"deny": [">"]}, "subscribe": {"deny": [">"]}}


async def native_port(broker) -> int:
    """Where the server listens besides; it does, and says so, after it has begun to listen for MQTT."""
    said = r"Listening for client connections on 127\.0\.0\.1:(\d+)"
    async with asyncio.timeout(WAIT):
        while not (port := re.search(said, broker.log)):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.01)
    return int(port[1])


async def ask_natively(broker, grant, *lines: str) -> str:
    """Send commands to the native listener as this user; return what the server said up to its PONG."""
    reader, writer = await asyncio.open_connection("127.0.0.1", await native_port(broker))
    try:
        hello = {"user": grant.user, "pass": grant.password, "verbose": False}
        writer.write("\r\n".join([f"CONNECT {json.dumps(hello)}", *lines, "PING", ""]).encode())
        async with asyncio.timeout(WAIT):
            return (await reader.readuntil(b"PONG")).decode()
    finally:
        writer.close()
        await writer.wait_closed()


# The other way into a nats-server: past MQTT, with the same users.
natively = pytest.mark.parametrize("server", ["nats"], indirect=True)


@natively
@pytest.mark.broker
@pytest.mark.parametrize(
    "subject",
    ["run1.b.say", "run1.a.to.c", "$MQTT.msgs.run1.b.say", "$MQTT.JSA.x.SL.y", "$JS.API.STREAM.LIST"],
)
async def test_native_publish_elsewhere_is_denied(broker, grants, subject):
    said = await ask_natively(broker, grants["a"], f"PUB {subject} 1", "x")
    assert "Permissions Violation for Publish" in said


@natively
@pytest.mark.broker
@pytest.mark.parametrize("subject", [">", "run1.>", "$MQTT.>", "$JS.>", "_INBOX.>", "run1.b.say"])
async def test_native_subscription_elsewhere_is_denied(broker, grants, subject):
    said = await ask_natively(broker, grants["a"], f"SUB {subject} 1")
    assert "Permissions Violation for Subscription" in said


@natively
@pytest.mark.broker
async def test_native_publish_that_is_granted_arrives(broker, grants, connect):
    b = await connect("b")
    await b.transport.subscribe([topics.say(RUN, "a")])
    said = await ask_natively(broker, grants["a"], "PUB run1.a.say 2", "hi")
    assert "Violation" not in said
    await b.until_received(topics.say(RUN, "a"), b"hi")


@natively
@pytest.mark.broker
async def test_native_strangers_are_refused(broker, grants):
    with pytest.raises(asyncio.IncompleteReadError) as error:
        await ask_natively(broker, replace(grants["a"], password="wrong"))
    assert b"Authorization Violation" in error.value.partial
