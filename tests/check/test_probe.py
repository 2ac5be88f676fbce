"""``--probe`` passes at a broker that enforces the graph, and fails at one that lets something by."""

from __future__ import annotations

import dataclasses

import pytest

from broker import access, topics
from broker.embedded import EmbeddedBroker
from broker.transport import Address
from runner.check import probe
from runner.errors import UserError
from runner.start import start_message
from topologies import load_scenario

pytestmark = pytest.mark.broker

RUN = "run1"


@pytest.fixture(scope="module")
def ring():
    return load_scenario("ring-12", ["topology.agents=5"])


def users(loaded):
    return {i: probe.User(probe._grant(RUN, part), (i,)) for i, part in loaded.parts(RUN).items()}


async def probed(loaded, agents, leak=None):
    """Probe a broker whose permissions are those of the graph but for ``leak``, which changes one grant."""
    witness = access.recorder_grant(RUN)
    grants = [leak(user.grant) if leak and i == "a00" else user.grant for i, user in agents.items()]
    async with EmbeddedBroker([*grants, witness]) as broker:
        place = probe.Place(RUN, broker.address, "gmqtt", tuple(agents.values()), witness)
        return await probe.attempts(place, loaded, "a broker")


@pytest.mark.parametrize("connections", ["agent", "host"])
async def test_the_permissions_of_a_scenario_let_nothing_by(connections):
    loaded = load_scenario("ring-12", ["topology.agents=5", f"broker.connections={connections}"])
    line = await probe.own(loaded, RUN)
    assert (line.verdict, line.number) == ("pass", 0.0), line.reason


LEAKS = {
    "reads a stranger": ({"subscribe": (topics.say(RUN, "a02"),)}, "agent-a00 heard run1/a02/say"),
    "reads what is private": ({"subscribe": (topics.to(RUN, "a01", "a02"),)}, "heard run1/"),
    "reads by a wildcard": ({"subscribe": (topics.everything_of(RUN),)}, "agent-a00 heard run1/"),
    "writes as another": ({"publish": (topics.say(RUN, "a01"),)}, "agent-a00 wrote on run1/a01/say"),
}


@pytest.mark.parametrize("leak", LEAKS)
async def test_whatever_a_broker_lets_by_is_named(ring, leak):
    more, complaint = LEAKS[leak]
    if leak == "reads what is private":
        # The first neighbour of a01 is a00 itself; of a03, whom a00 does not hear, it is a02.
        more = {"subscribe": (topics.to(RUN, "a03", "a02"),)}

    def leaky(grant):
        return dataclasses.replace(grant, **{key: (*getattr(grant, key), *own) for key, own in more.items()})

    line = await probed(ring, users(ring), leaky)
    assert line.verdict == "fail"
    assert complaint in line.flaw


def told(loaded, grants, agents):
    parts = loaded.parts(RUN)
    credentials = {
        i: {"user": grants[i].user, "password": grants[i].password, "client_id": i} for i in agents
    }
    return [
        start_message(
            [parts[i]],
            Address("broker", 8883).place(),
            client="gmqtt",
            protocol="node.protocols.registry:protocol_of",
            access=credentials,
            shared=None,
            stores={},
            sync=False,
            import_path=[],
            patient=True,
        )
        for i in agents
    ]


async def test_a_running_broker_is_probed_with_what_processes_were_told(ring):
    grants = {i: user.grant for i, user in users(ring).items()}
    witness = access.recorder_grant(RUN)
    recorder = {"recorder": {"user": witness.user, "password": witness.password}}
    async with EmbeddedBroker([*grants.values(), witness]) as broker:
        processes = told(ring, grants, ["a00", "a02"])
        line = await probe.elsewhere(ring, broker.address, [*processes, recorder])
        assert line.verdict == "pass"
        blind = await probe.elsewhere(ring, broker.address, processes)
        assert blind.verdict == "not checked"
        assert "recorder" in blind.reason
        with pytest.raises(UserError, match="expected that of an agent's process"):
            await probe.elsewhere(ring, broker.address, [recorder])


async def test_a_broker_that_does_not_answer_is_the_users_mistake(ring):
    grants = {i: user.grant for i, user in users(ring).items()}
    with pytest.raises(UserError, match=r"--probe: mqtt://127\.0\.0\.1:9"):
        await probe.elsewhere(ring, Address("127.0.0.1", 9), told(ring, grants, ["a00"]))
