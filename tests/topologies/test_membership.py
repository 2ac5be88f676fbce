"""Scenarios in which agents leave, die for good or join late: what they say, and what cannot be."""

from __future__ import annotations

import pytest

from topologies import ScenarioError, load_scenario

GOES_ON = 'recovery.on_down="continue"'


def events(*rows):
    return f"faults.event=[{', '.join(rows)}]"


def crash(agent, at=1.0):
    return f'{{kind="crash", at={at}, agents=["{agent}"], down="forever"}}'


def leave(agent, at=1.0):
    return f'{{kind="leave", at={at}, agents=["{agent}"]}}'


def join(agent, at=1.0):
    return f'{{kind="join", at={at}, agents=["{agent}"]}}'


def test_every_agent_is_told_whether_to_go_on_and_after_which_grace():
    loaded = load_scenario("ring-12", [GOES_ON, "recovery.grace=4"])
    assert {(p.on_down, p.grace) for p in loaded.parts("r").values()} == {("continue", 4.0)}
    plain = load_scenario("ring-12")
    assert {p.on_down for p in plain.parts("r").values()} == {"wait"}
    assert "on_down" not in plain.resolved()["recovery"]
    assert loaded.hash != plain.hash


def test_what_was_resolved_is_read_back(tmp_path):
    import json

    loaded = load_scenario("leaving-er-12")
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(loaded.resolved()))
    assert load_scenario(path).hash == loaded.hash


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (['recovery.on_down="stop"'], 'recovery.on_down: got "stop"'),
        (["recovery.grace=4"], "recovery.grace: got 4.0"),
        ([GOES_ON, "recovery.grace=0.5"], "expected a number of seconds from 1 to 86400"),
        ([events(crash("a01"))], 'because recovery.on_down = "wait"'),
        ([events('{kind="crash", at=1, agents=["a01"], down="never"}')], 'or "forever"'),
        ([events(leave("zz"))], 'got "zz"'),
        ([events(leave("a01"), join("a01", 2.0))], "a time after 2 s, when it joins"),
        ([events(join("a01"), join("a01", 2.0))], 'got "a01" a second time'),
        ([events(*(leave(f"a{k:02d}") for k in range(12)))], "somebody to stay"),
        ([events(*(join(f"a{k:02d}") for k in range(12)))], "somebody to be there from the start"),
    ],
)
def test_what_cannot_be_is_refused_by_name(overrides, said):
    with pytest.raises(ScenarioError) as refused:
        load_scenario("ring-12", overrides)
    assert said in str(refused.value)


def test_nobody_may_be_left_behind_on_a_directed_graph():
    with pytest.raises(ScenarioError, match=r"topology\.directed"):
        load_scenario("directed-8", [GOES_ON])


def test_under_a_network_mechanism_agents_may_leave_for_good_but_silence_leaves_nobody_behind():
    with pytest.raises(ScenarioError, match=r"recovery\.on_down.*would exceed a capacity"):
        load_scenario("network-corn-5", [GOES_ON])
    with pytest.raises(ScenarioError, match="the others would wait for ever"):
        load_scenario("network-corn-5", [events(crash("a1"))])
    assert load_scenario("network-corn-5", [events(leave("a1"), join("a2"))])
