"""A generated project for real but for Docker: Debian's Mosquitto, each container's command a process."""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from broker import topics
from broker.transport import BrokerError, BrokerRefused
from runner import record, run
from tests.compose.conftest import TREE
from tests.compose.deployment import WAIT
from tests.compose.someone import Someone, address_of

pytestmark = [pytest.mark.mosquitto, pytest.mark.broker, pytest.mark.processes]

CHANNELS = ("words", "private words", "status", "telemetry", "report")


def topic_of(agent, channel, run_id):
    private = topics.to(run_id, agent, "a00")
    makers = {"status": topics.status, "telemetry": topics.telemetry, "report": topics.report}
    return private if channel == "private words" else makers.get(channel, topics.say)(run_id, agent)


# --- the run ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(judged):
    """The run directory."""
    (run_dir,) = (judged.project.out / "runs").iterdir()
    return run_dir


@pytest.fixture(scope="module")
def virtual(tmp_path_factory):
    """The same scenario in virtual time; its run directory."""
    out = tmp_path_factory.mktemp("virtual") / "run"
    run(TREE, virtual=True, plot=False, out=out)
    return out


def test_the_recorder_judges_the_run_as_vicinal_run_does(judged, recorded, virtual):
    found = json.loads((recorded / "result.json").read_text())
    expected = json.loads((virtual / "result.json").read_text())
    for key in (
        "allocation",
        "prices",
        "taxes",
        "rounds",
        "play_rounds",
        "parameters",
        "diameter",
        "messages",
    ):
        assert found[key] == expected[key], key
    assert found["mode"] == "observed"
    assert found["run"] == recorded.name == judged.project.run
    assert "stopped in round" in judged.out("recorder")


def test_the_record_is_that_of_a_run_in_virtual_time(judged, recorded, virtual):
    found, expected = record.read(recorded), record.read(virtual)
    assert len(found) == len(expected)
    for column in ("agents", "names"):
        assert getattr(found, column) == getattr(expected, column)
    for column in ("agent", "round", "name", "value"):
        assert (getattr(found, column) == getattr(expected, column)).all(), column
    assert "incomplete" not in judged.err("recorder")


def test_the_page_shows_the_run_and_its_end(judged, recorded):
    url = f"http://127.0.0.1:{judged.ports[8230]}/run"
    deadline = time.monotonic() + WAIT
    while (shown := json.load(urllib.request.urlopen(url)))["sketch"]["outcome"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    result = json.loads((recorded / "result.json").read_text())
    assert shown["run"] == judged.project.run
    assert shown["sketch"]["outcome"]["rounds"] == result["rounds"]
    assert not (recorded / "live.json").exists()


def test_containers_are_healthy_by_their_own_checks(judged):
    for service in judged.document["services"]:
        if service != "recorder":
            judged.healthy(service)


def test_agents_stay_and_say_nothing(judged):
    for k in range(7):
        assert judged.processes[f"agent-a0{k}"].poll() is None
        assert judged.out(f"agent-a0{k}") == judged.err(f"agent-a0{k}") == ""


def test_the_broker_does_not_run_as_root(judged):
    assert Path(f"/proc/{judged.processes['broker'].pid}").stat().st_uid == judged.project.owner[0] != 0


def test_the_broker_finds_nothing_wrong_with_its_files(judged):
    said = judged.err("broker").lower()
    assert "mosquitto version" in said
    for word in ("warning", "deprecated", "world readable"):
        assert word not in said


# --- the graph, enforced: in the binary tree a01 hears a00, a03 and a04, and nobody else ------------------


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_agent_cannot_read_a_stranger(emptied, channel):
    topic = topic_of("a02", channel, emptied.project.run)
    await reaches_the_recorder_only(emptied, "a02", topic, topic)


@pytest.mark.parametrize("channel", ["telemetry", "report"])
async def test_an_agent_cannot_read_what_a_neighbour_measures_and_reports(emptied, channel):
    topic = topic_of("a03", channel, emptied.project.run)
    await reaches_the_recorder_only(emptied, "a03", topic, topic)


@pytest.mark.parametrize("wildcard", ["#", "{run}/#", "{run}/+/say", "+/+/say", "{run}/a02/#"])
async def test_wildcards_bring_an_agent_nothing_of_strangers(emptied, wildcard):
    topic = topics.say(emptied.project.run, "a02")
    await reaches_the_recorder_only(emptied, "a02", topic, wildcard.format(run=emptied.project.run))


async def reaches_the_recorder_only(emptied, speaker, topic, asked):
    """What ``speaker`` says on ``topic`` reaches the recorder, and not a01, who asks for it."""
    run_id = emptied.project.run
    own = topics.status(run_id, "a01")
    async with (
        Someone(address_of(emptied, "agent-a01")) as spy,
        Someone(address_of(emptied, f"agent-{speaker}")) as speaking,
        Someone(address_of(emptied, "recorder", "recorder")) as witness,
    ):
        await witness.transport.subscribe([topic])
        await spy.transport.subscribe([asked, own])
        speaking.transport.publish(topic, b"secret")
        await witness.until_heard(topic, b"secret")
        # The broker has delivered it by now, and this comes behind it on the same connection.
        spy.transport.publish(own, b"mark")
        await spy.until_heard(own, b"mark")
        assert topic not in spy.heard
        assert {heard.split("/")[1] for heard in spy.heard} <= {"a00", "a01", "a03", "a04"}


@pytest.mark.parametrize("victim", ["a00", "a02"], ids=["a neighbour", "a stranger"])
@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_agent_cannot_write_as_another(emptied, channel, victim):
    topic = topic_of(victim, channel, emptied.project.run)
    own = topics.telemetry(emptied.project.run, "a01")
    async with (
        Someone(address_of(emptied, "agent-a01")) as forger,
        Someone(address_of(emptied, "recorder", "recorder")) as witness,
    ):
        await witness.transport.subscribe([topic, own])
        forger.transport.publish(topic, b"forged")
        forger.transport.publish(own, b"genuine")
        await witness.until_heard(own, b"genuine")
        assert witness.heard.get(topic) != b"forged"


@pytest.mark.parametrize(("mute", "witness"), [("recorder", "judge"), ("judge", "recorder")])
async def test_whoever_hears_all_agents_may_say_nothing(emptied, mute, witness):
    forged = topics.report(emptied.project.run, "a01")
    async with (
        Someone(address_of(emptied, "recorder", mute)) as silent,
        Someone(address_of(emptied, "recorder", witness)) as hearing,
        Someone(address_of(emptied, "agent-a02")) as agent,
    ):
        genuine = topics.report(emptied.project.run, "a02")
        await hearing.transport.subscribe([forged, genuine])
        await silent.transport.subscribe([genuine])
        silent.transport.publish(forged, b"forged")
        await silent.transport.subscribe([forged])  # acknowledged: the broker has read what came before
        agent.transport.publish(genuine, b"genuine")
        await hearing.until_heard(genuine, b"genuine")
        assert hearing.heard.get(forged) != b"forged"


async def test_the_judge_does_not_hear_what_agents_say_to_each_other(emptied):
    run_id = emptied.project.run
    async with (
        Someone(address_of(emptied, "recorder", "judge")) as judge,
        Someone(address_of(emptied, "agent-a02")) as agent,
    ):
        await judge.transport.subscribe([f"{run_id}/#"])
        agent.transport.publish(topics.say(run_id, "a02"), b"words")
        agent.transport.publish(topics.report(run_id, "a02"), b"report")
        await judge.until_heard(topics.report(run_id, "a02"), b"report")
        assert topics.say(run_id, "a02") not in judge.heard


async def test_nobody_takes_an_agent_s_place_with_its_client_id(emptied):
    async with Someone(address_of(emptied, "agent-a05")) as victim:
        async with Someone(address_of(emptied, "agent-a06"), client_id="agent-a05"):
            await victim.transport.subscribe([topics.status(emptied.project.run, "a05")])
        assert victim.lost == []


@pytest.mark.parametrize(("user", "password"), [(None, None), ("agent-a01", "wrong"), ("nobody", "wrong")])
async def test_strangers_are_refused(emptied, user, password):
    stranger = Someone(replace(address_of(emptied, "agent-a01"), user=user, password=password), "stranger")
    with pytest.raises(BrokerRefused):
        await stranger.transport.open()


async def test_nothing_is_spoken_in_the_clear(emptied):
    plain = Someone(replace(address_of(emptied, "agent-a01"), tls=False))
    with pytest.raises(BrokerError):
        await plain.transport.open(2.0)
