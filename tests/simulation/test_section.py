"""The ``[faults]`` section: what it accepts, what it says of mistakes, and the schedule it gives."""
# ruff: noqa: E501 (tables with one mistake a line)

from __future__ import annotations

import json

import pytest

from topologies import ScenarioError, load_scenario
from topologies.faults import EVENTS, Faults, schedule

CRASH = 'kind="crash", agents=["a00"]'
MISTAKES = {
    "faults.los=0.3": ("faults.los: unknown key", "did you mean loss?"),
    "faults.loss=1.5": ("faults.loss: got 1.5", "a probability in [0, 1]"),
    "faults.loss=true": ("faults.loss: got true", "a probability in [0, 1]"),
    "faults.loss=1": ("faults.loss: got 1.0", "less than 1, or faults.until"),
    "faults.delay=[2, 1]": ("faults.delay: got [2, 1]", "two finite numbers of seconds with 0 <= lo <= hi"),
    "faults.until=-1": ("faults.until: got -1", "a number of seconds >= 0"),
    "faults.seed=-1": ("faults.seed: got -1", "a whole number >= 0"),
    "faults.slow={a77=3.0}": ("faults.slow.a77: no such agent", "one of a00, a01"),
    "faults.slow={a07=0.5}": ("faults.slow.a07: got 0.5", "how many times slower"),
    'faults.event=[{at=1, kind="crash", agents=["a99"]}]': ('faults.event[0].agents[0]: got "a99"', "one of a00"),
    f"faults.event=[{{at=-1, {CRASH}}}]": ("faults.event[0].at: got -1", "a number of seconds >= 0"),
    f"faults.event=[{{at=nan, {CRASH}}}]": ("faults.event[0].at: got nan", "a number of seconds >= 0"),
    f"faults.event=[{{{CRASH}}}]": ("faults.event[0].at: missing", "a number of seconds >= 0"),
    f"faults.event=[{{at=1, lasts=1, {CRASH}}}]": ("faults.event[0].lasts: unknown key", "kind, at, agents, down"),
    'faults.event=[{at=1, kind="crsh"}]': ('faults.event[0].kind: got "crsh"', "did you mean crash?"),
    "faults.event=[{at=1}]": ("faults.event[0].kind: missing", "one of crash, amnesia"),
    'faults.event=[{at=1, kind="crash", agents=[]}]': ("faults.event[0].agents: got []", "at least one"),
    'faults.event=[{at=1, kind="cut", links=[["a00", "a05"]], lasts=1}]': (
        'faults.event[0].links[0]: got ["a00", "a05"]', "two neighbours",
    ),
    'faults.event=[{at=1, kind="partition", groups=[["a00", "a01"], ["a01"]], lasts=1}]': (
        'faults.event[0].groups[1][0]: got "a01" a second time', "each agent in one group",
    ),
    'faults.link=[{links=[["a00", "a01"]], loss=2}]': ("faults.link[0].loss: got 2", "a probability"),
    'faults.event=[{kind="cut", at=1.0, lasts=1.0, links=[["a00", "zz"]]}]': (
        'faults.event[0].links[0]: got ["a00", "zz"]; there is no agent "zz"', "one of a00, a01",
    ),
    'faults.link=[{links=[["a00", "a00"]]}]': ('faults.link[0].links[0]: got ["a00", "a00"]', "two neighbours"),
    "faults.storm={between=[-1, 2]}": ("faults.storm.between: got [-1, 2]", "0 <= lo <= hi"),
    "faults.storm={crash=1}": ("faults.storm.between: missing", "0 <= lo <= hi"),
    "faults.storm={between=[0, 1], crsh=1}": ("faults.storm.crsh: unknown key", "did you mean crash?"),
    "faults.storm={between=[0, 1], lasts=[0, 1]}": ("faults.storm.lasts: got [0, 1]", "0 < lo <= hi"),
    "faults=3": ("faults: got 3", "a table"),
}  # fmt: skip


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_named_with_its_key(override):
    got, expected = MISTAKES[override]
    with pytest.raises(ScenarioError) as caught:
        load_scenario("ring-12", [override])
    assert len(str(caught.value).splitlines()) == 1
    seen, _, wanted = str(caught.value).partition("; expected ")
    assert got in seen
    assert expected in wanted


def test_a_scenario_without_faults_resolves_as_before():
    assert "faults" not in load_scenario("ring-12").resolved()


def test_a_resolved_scenario_with_faults_reads_back_as_itself(tmp_path):
    events = (
        '[{at=1, kind="cut", links=[["a00", "a01"]], lasts=1}, {at=2, kind="broker-kill", forget=true},'
        ' {at=0, kind="partition", groups=[["a00"], ["a01", "a02"]], lasts=3.5}]'
    )
    loaded = load_scenario(
        "ring-12",
        [f"faults.event={events}", "faults.storm={between=[0, 9], crash=2}", "faults.delay=[0, 0.1]",
         "faults.slow={a03=10.0}", 'faults.link=[{links=[["a01", "a00"]], loss=0.5}]'],
    )  # fmt: skip
    path = tmp_path / "resolved.json"
    path.write_text(json.dumps(loaded.resolved()))
    again = load_scenario(path)
    assert again.hash == loaded.hash
    assert again.spec.faults == loaded.spec.faults


AGENTS = ["a", "b", "c", "d"]
EDGES = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
STORM = {
    "between": (1.0, 5.0),
    "crash": 3,
    "amnesia": 2,
    "pause": 2,
    "cut": 2,
    "partition": 2,
    "broker_kill": 1,
}


def test_a_storm_is_drawn_from_its_seed_and_from_nothing_else():
    faults = Faults.model_validate({"storm": STORM, "seed": 4})
    events = schedule(faults, AGENTS, EDGES, seed=1)
    assert events == schedule(faults, AGENTS[::-1], EDGES[::-1], seed=2)
    assert events != schedule(faults.model_copy(update={"seed": 5}), AGENTS, EDGES)
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert all(1.0 <= e.at <= 5.0 for e in events)
    # A storm draws nobody's goodbye or late arrival.
    assert {kind: n for kind in EVENTS if (n := sum(e.kind == kind for e in events))} == {
        "crash": 3, "amnesia": 2, "pause": 2, "cut": 2, "partition": 2, "broker-kill": 1,
    }  # fmt: skip


def test_without_a_seed_of_its_own_a_storm_takes_the_scenarios():
    faults = Faults.model_validate({"storm": STORM})
    assert schedule(faults, AGENTS, EDGES, 1) != schedule(faults, AGENTS, EDGES, 2)


def test_drawn_events_are_events_that_a_scenario_could_have_given():
    faults = Faults.model_validate({"storm": {**STORM, "cut": 20, "partition": 20}})
    events = schedule(faults, AGENTS, EDGES)
    assert Faults.model_validate({"event": [event.model_dump() for event in events]}).event == tuple(events)
