"""Summary contracts over a real broker: hosts that carry many agents, agents that are killed."""

from __future__ import annotations

import pytest

from runner import run
from tests.processes.stage import strike_in_rounds

pytestmark = [pytest.mark.broker, pytest.mark.processes]

SCENARIOS = {
    "private": ("summary-er-1023", "topology.agents=60", "topology.p=0.1", "environment.capacities=[60.0]"),
    "public": ("summary-public-63", "topology.agents=40", "stopping.tolerance=1e-3"),
}
SAME = ("allocation", "prices", "taxes", "rounds", "play_rounds", "parameters", "messages")


@pytest.mark.parametrize("name", SCENARIOS)
def test_two_hosts_over_a_broker_come_to_the_bits_of_lockstep(name, tmp_path):
    scenario, *overrides = SCENARIOS[name]
    expected = run(scenario, overrides=overrides, out=tmp_path / "lockstep", lockstep=True, plot=False)
    assert expected.kept_promise
    shared = [*overrides, "broker.connections=host", "record.agents=10"]
    got = run(scenario, overrides=shared, out=tmp_path / "hosts", hosts=2, plot=False)
    assert got.kept_promise
    for fact in SAME:
        assert repr(getattr(got, fact)) == repr(getattr(expected, fact)), fact
    assert 0 < got.bytes < 400 * got.messages  # a wave's account and a message of play are a few numbers each


def test_agents_that_are_killed_and_come_back_change_nothing(monkeypatch, tmp_path):
    strike_in_rounds(monkeypatch)
    overrides = [
        *("topology.agents=15", "environment.capacities=[15.0]", "record.every=0"),
        *("recovery.restart=true", "recovery.durable=snapshot"),
    ]
    expected = run("summary-tree-31", overrides=overrides, out=tmp_path / "calm", lockstep=True, plot=False)
    # 25 rounds of 40 ms and more: the faults strike in the first half of them.
    storm = (
        'faults={delay=[0.04, 0.05], event=[{at=2, kind="crash", agents=["a00", "a07"], down=0.2}, '
        '{at=6, kind="crash", agents=["a03"], down=0.2}]}'
    )
    got = run("summary-tree-31", overrides=[*overrides, storm], out=tmp_path / "storm", plot=False)
    assert got.restarts == 3
    for fact in ("allocation", "prices", "taxes", "rounds", "parameters"):
        assert repr(getattr(got, fact)) == repr(getattr(expected, fact)), fact
