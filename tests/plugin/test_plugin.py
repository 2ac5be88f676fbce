"""The plugin, used as its documentation says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from broker import topics
from broker.access import Grant
from broker.mqtt import make_transport
from broker.transport import Address
from broker.virtual import Stalled
from tests.plugin.gossip import Oldest, oldest

RING = [("ann", "bob"), ("bob", "cyd"), ("cyd", "dan"), ("dan", "ann")]
AGES = {"ann": {"age": 31}, "bob": {"age": 77}, "cyd": {"age": 5}, "dan": {"age": 77}}
RULES = {"contract": {"rounds": 2}, "private": AGES}
STORM = {"loss": 0.3, "duplicate": 0.2, "delay": [0.0, 0.2]}


def test_everybody_knows_the_oldest(virtual_network):
    net = virtual_network(RING, oldest, **RULES)
    assert set(map(str, net.run().values())) == {"Oldest(age=77, name='dan')"}


@pytest.mark.parametrize("seed", range(20))
def test_the_answer_survives_a_storm(virtual_network, seed):
    net = virtual_network(RING, oldest, seed, STORM, **RULES)
    net.kill("cyd", down=0.5)
    net.run()
    net.assert_equals_lockstep()
    net.trace.assert_only_along(net.parts)
    net.trace.assert_kinds("oldest")


def test_time_can_be_travelled(virtual_network):
    net = virtual_network(RING, oldest, contract={"rounds": 1000}, private=AGES)
    net.run_until(lambda: net.agents["ann"].round >= 10)
    net.pause("bob", 30.0)
    net.advance(20.0)
    assert net.agents["ann"].suspects() == {"bob": "down"}
    assert net.agents["dan"].round <= 12  # a slow agent slows all, by at most one round a hop
    net.advance(15.0)
    assert net.agents["ann"].suspects() == {}
    net.run()


def test_an_agent_that_lost_its_memory_makes_all_start_again(virtual_network):
    net = virtual_network(RING, oldest, contract={"rounds": 50}, private=AGES)
    net.run_until(lambda: net.agents["ann"].round >= 10)
    net.kill("ann", down=1.0, forget=True)
    net.run()
    assert {agent.epoch for agent in net.agents.values()} == {1}
    net.assert_equals_lockstep()


def test_a_stall_says_who_waits_for_whom(virtual_network):
    net = virtual_network(RING, oldest, contract={"rounds": 50}, private=AGES)
    net.run_until(lambda: net.agents["ann"].round >= 10)
    net.pause("bob", 1e6)
    with pytest.raises(Stalled, match="agent ann waits for bob"):
        net.run(limit=60.0)


def test_assertions_on_traces_can_fail(virtual_network):
    net = virtual_network(RING, oldest, **RULES)
    net.run()
    with pytest.raises(AssertionError, match="crossed a non-edge"):
        net.trace.assert_only_along(dict.fromkeys(net.parts, net.parts["ann"]))
    with pytest.raises(AssertionError, match=r"in the order \['oldest'\]"):
        net.trace.assert_kinds("youngest")
    net.agents["bob"].conversation.result = None
    with pytest.raises(AssertionError, match="bob returned None"):
        net.assert_equals_lockstep()


@pytest.mark.broker
@pytest.mark.processes
async def test_the_same_protocol_over_real_processes(process_network, virtual_network):
    reports = await process_network(RING, "tests.plugin.gossip:oldest", **RULES)
    virtual = virtual_network(RING, oldest, **RULES).run()
    assert {name: Oldest(**report["result"]) for name, report in reports.items()} == virtual


@pytest.mark.broker
async def test_a_broker_of_ones_own(embedded_broker):
    topic = topics.say("test", "ann")
    grant = Grant("ann", "secret", (topic,), (topic,))
    async with embedded_broker([grant]) as broker:
        address = Address(broker.address.host, broker.address.port, "ann", "secret")
        transport = make_transport("gmqtt", address, "ann-1", lambda topic, payload: None)
        await transport.open()
        await transport.subscribe([topic])
        await transport.close()


def test_the_plugin_costs_nothing_until_it_is_used():
    code = "import runner.pytest_plugin, sys; print([m for m in ('numpy', 'pydantic') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_fixtures_are_there_without_any_configuration(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "def test_it(virtual_network, embedded_broker, process_network):\n    assert virtual_network\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def mean(part, resume=None):
    """Free mode: the mean of everybody's age, with no barrier; a rule that keeps rounds ends it."""
    from node.combinators import in_rounds
    from node.consensus.ratio import ratio
    from node.consensus.windows import windows
    from node.protocol import together

    return together(
        lambda r: ratio(float(part.utility["age"]), part.hears, resume=r),
        lambda r: in_rounds(lambda q: windows(2, 1e-6, q), part.hears, resume=r),
        resume,
    )


@pytest.mark.parametrize("seed", range(3))
def test_agents_may_run_freely(virtual_network, seed):
    net = virtual_network(
        RING, mean, seed, {**STORM, "slow": {"bob": 10}}, private=AGES, synchrony="free", tick=0.1
    )
    net.run_until(lambda: net.agents["ann"].round > 20)
    assert net.agents["bob"].round < 5
    net.kill("cyd", down=0.5)
    results = net.run()
    assert all(abs(r.estimate - 47.5) <= 1e-5 for r in results.values())
    assert {agent.epoch for agent in net.agents.values()} == {0}


def test_a_synchrony_that_there_is_not_is_refused(virtual_network):
    with pytest.raises(ValueError, match="expected 'rounds' or 'free'"):
        virtual_network(RING, mean, private=AGES, synchrony="fre")


@pytest.mark.broker
@pytest.mark.processes
async def test_free_agents_over_real_processes(process_network):
    reports = await process_network(
        RING, "tests.plugin.test_plugin:mean", private=AGES, synchrony="free", tick=0.02
    )
    assert all(abs(report["result"]["estimate"] - 47.5) <= 1e-5 for report in reports.values())
