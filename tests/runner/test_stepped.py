"""Runs in lockstep: the same outcome as over the virtual network, the same record, and who may have one."""

from __future__ import annotations

import json

import pytest

from runner import record, run
from runner.api import LOCKSTEP_FROM, Options, _in_lockstep
from runner.errors import RunFailed, UserError
from runner.stepped import run_stepped
from runner.virtual import run_virtual
from topologies import load_scenario

SCENARIOS = ("summary-tree-31", "erdos-renyi-31", "consensus-flow-tree-31", "directed-8", "public-er-31")
COUNTED = ("result", "rounds", "sent", "received", "epoch", "rejected")


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_agent_reports_what_it_reports_over_the_virtual_network_bit_for_bit(name, tmp_path):
    parts = load_scenario(name, ["record.every=3"]).parts("run")
    for how in ("calm", "stepped"):
        (tmp_path / how).mkdir()
    over_network, _ = run_virtual(parts, 0, tmp_path / "calm")
    stepped, _ = run_stepped(parts, tmp_path / "stepped")
    for agent, report in stepped.items():
        other = over_network[agent]
        # Copies are the network's: messages dropped as duplicates, and so on.
        for key in set(COUNTED) - {"rejected"}:
            assert repr(report[key]) == repr(other[key]), (agent, key)
    assert rows(tmp_path / "stepped") == rows(tmp_path / "calm")


def rows(directory):
    got = record.read(directory)
    columns = zip(got.agent, got.round, got.name, got.value, strict=True)
    return {(got.agents[i], int(r), got.names[k]): float(v) for i, r, k, v in columns}


def test_a_run_in_lockstep_is_judged_like_any_other(tmp_path):
    result = run("summary-tree-31", out=tmp_path / "run", lockstep=True, plot=False)
    assert result.kept_promise
    assert (result.mode, result.bytes, result.messages) == ("lockstep", 0, 60 * result.rounds)
    assert json.loads((tmp_path / "run" / "meta.json").read_text())["settings"]["lockstep"] is True
    assert result.observed_rate is None or result.observed_rate < 1


def test_many_agents_in_virtual_time_step_unless_something_may_befall_them():
    def steps(*overrides, **options):
        loaded = load_scenario("summary-tree-31", [f"topology.agents={LOCKSTEP_FROM}", *overrides])
        return _in_lockstep(loaded, Options(**options))

    assert steps(virtual=True)
    assert not steps()
    assert not steps("faults.loss=0.0", virtual=True)
    assert not steps('synchrony={mode="free"}', virtual=True)
    small = load_scenario("summary-tree-31")
    assert not _in_lockstep(small, Options(virtual=True))
    assert _in_lockstep(small, Options(lockstep=True))


@pytest.mark.parametrize("override", ["faults.loss=0.1", 'synchrony={mode="free"}'])
def test_lockstep_refuses_what_needs_a_network(override, tmp_path):
    with pytest.raises(UserError, match="--lockstep: there is no network"):
        run("summary-tree-31", overrides=[override], out=tmp_path / "run", lockstep=True)


@pytest.mark.parametrize("here", ["virtual", "lockstep"])
@pytest.mark.parametrize("asked", [{"hosts": 2}, {"broker": "mqtt://u:secret@127.0.0.1:1"}])
def test_processes_and_brokers_are_refused_where_there_are_none(here, asked, tmp_path):
    (option,) = asked
    with pytest.raises(UserError, match=f"--{option}.*: --{here} plays in one process") as caught:
        run("star-9", out=tmp_path / "run", **{here: True}, **asked)
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_a_protocol_raises_ends_the_run_and_names_agent_and_round():
    parts = load_scenario("summary-tree-31").parts("run")

    def protocol(part, resume):
        from node.protocol import Say

        yield Say(1, kind="one")
        if part.agent == "a07":
            raise ZeroDivisionError("a number of mine")
        yield Say(2, kind="two")

    with pytest.raises(RunFailed, match="agent a07, round 0 \\(one\\): ZeroDivisionError: a number of mine"):
        run_stepped(parts, protocol=protocol)


def test_who_watches_is_told_of_everybody_and_who_stops_is_heard():
    parts, told = load_scenario("summary-tree-31").parts("run"), {}
    run_stepped(parts, watch=lambda agent, info: told.update({agent: info}))
    assert set(told) == set(parts)
    assert {info["state"] for info in told.values()} == {"playing"}
    with pytest.raises(Exception, match="stopped"):
        run_stepped(parts, stopped=lambda: True)


# Who is recorded ----------------------------------------------------------------------------------------


def test_a_thousand_agents_are_recorded_at_most_spread_over_the_ids(tmp_path):
    loaded = load_scenario("summary-tree-31", ["record.agents=10"])
    assert len(loaded.recorded) == 10
    assert {"a00", "a15"} <= loaded.recorded
    parts = loaded.parts("run")
    assert {i for i, part in parts.items() if part.record_every} == loaded.recorded
    result = run(
        "summary-tree-31", overrides=["record.agents=10"], out=tmp_path / "run", virtual=True, plot=False
    )
    assert set(record.read(tmp_path / "run").agents) == loaded.recorded
    assert len(result.allocation) == 31
    large = load_scenario("summary-tree-31", ["topology.agents=3000"])
    assert len(large.recorded) == 1000
    assert load_scenario("summary-tree-31", ["record.every=0"]).recorded == frozenset()


def test_the_default_number_of_recorded_agents_is_no_part_of_a_scenarios_hash():
    """Runs that were recorded before there was such a key keep their hash."""
    plain, same = load_scenario("ring-12"), load_scenario("ring-12", ["record.agents=1000"])
    assert plain.hash == same.hash
    assert plain.hash != load_scenario("ring-12", ["record.agents=5"]).hash
    assert "agents" not in plain.resolved()["record"]
