"""What a run shows while it runs."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console

from runner.progress import Progress
from runner.storms import Storms

FACTS = {"xi": 0.9927, "delta": 15.96, "contraction_bound": 0.992717}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=terminal, width=100), file


def info(round_: int, kind: str = "play+counters", **other: Any) -> dict[str, Any]:
    return {"round": round_, "kind": kind, "record": {}, **other}


def test_the_network_is_in_the_phase_of_its_last_agent():
    with Progress(console()[0], ["a", "b"], quiet=True) as shown:
        phases = []
        for agent, told in [
            ("a", info(0, "", state="joining")),
            ("a", info(1, "survey")),
            ("b", info(1, "survey")),
            ("a", info(9, "maximum")),
            ("b", info(8, "minimum")),
            ("a", info(12)),
            ("b", info(11)),
            ("b", info(10, "survey")),
            ("a", info(90, state="lingering")),
        ]:
            shown.update(agent, told)
            phases.append(shown.phase)
        shown.finished("b")
        phases.append(shown.phase)
    assert phases == ["starting"] * 2 + ["survey"] * 2 + ["agreeing"] * 2 + ["playing"] * 3 + ["stopping"]


def test_the_facts_cover_all_agents():
    clock = Clock()
    with Progress(console()[0], ["a", "b", "c"], total=500, quiet=True, clock=clock) as shown:
        assert shown.facts() == {"phase": "starting", "agents": "0 of 3 connected, 0 finished"}
        shown.update("stranger", info(7))
        shown.update("a", info(0))
        shown.update("b", info(0))
        shown.update("c", info(0))
        clock.now = 4.0
        shown.update("a", info(102, record={"residual": 3e-4, **FACTS}, rejected={"undecodable": 2}))
        shown.update("b", info(101, record={"residual": 5e-3}, rejected={"undecodable": 1}))
        clock.now = 5.0
        shown.update("c", info(100, state="gone"))
        clock.now = 8.0
        shown.update("a", info(104, record={"residual": 3e-4, **FACTS}, rejected={"undecodable": 2}))
        shown.note("recorder", "failed")
        assert shown.facts() == {
            "phase": "playing",
            "agents": "3 of 3 connected, 1 finished",
            "round": "100 to 104 (at most 500), 25 a second",
            "largest residual": "5.00e-03",
            "certificate": "xi 0.9927, delta 15.96: contraction bound 0.992717 a round",
            "dropped": "3 undecodable",
            "recorder": "failed",
        }
        shown.note("recorder", "")
        assert "recorder" not in shown.facts()


def test_without_a_terminal_each_phase_is_one_line():
    where, file = console()
    with Progress(where, ["a"], clock=Clock()) as shown:
        for k in range(50):
            shown.update("a", info(k, "survey"))
        for k in range(50, 90):
            shown.update("a", info(k, record=FACTS))
        shown.note("recorder", "disk full")
    assert file.getvalue().splitlines() == [
        "survey: 1 agents, round 0, 0.0 s",
        "playing: 1 agents, round 50, 0.0 s; xi 0.9927, delta 15.96: contraction bound 0.992717 a round",
        "recorder: disk full",
    ]


def test_quiet_says_nothing():
    for terminal in (False, True):
        where, file = console(terminal)
        with Progress(where, ["a"], quiet=True) as shown:
            shown.update("a", info(3))
            shown.note("recorder", "disk full")
        assert file.getvalue() == ""


def test_a_terminal_is_redrawn_at_most_ten_times_a_second():
    clock = Clock()
    where, file = console(terminal=True)
    with Progress(where, ["a"], clock=clock) as shown:
        file.truncate(file.seek(0))
        for k in range(1000):
            clock.now = 1.0 + k / 1000
            shown.update("a", info(k))
        assert 1 <= file.getvalue().count("phase") <= 11
        assert "playing" in file.getvalue()


def test_the_terminal_is_given_back_after_an_error():
    where, file = console(terminal=True)
    try:
        with Progress(where, ["a"]):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert file.getvalue().count("\x1b[?25l") == file.getvalue().count("\x1b[?25h") == 1


def test_neighbours_that_seem_to_be_down_are_named_with_their_accusers():
    progress = Progress(Console(file=io.StringIO()), ["a", "b", "c"])
    progress.update("a", {"round": 3, "kind": "play", "suspects": {"c": "suspect"}})
    progress.update("b", {"round": 3, "kind": "play", "suspects": {"c": "down"}})
    assert progress.facts()["seem to be down"] == "c (says a, b)"
    progress.update("a", {"round": 4, "kind": "play", "suspects": {}})
    progress.update("b", {"round": 4, "kind": "play"})
    assert "seem to be down" not in progress.facts()


def test_without_a_terminal_who_seems_to_be_down_is_named_once_and_so_is_who_is_heard_again():
    screen, file = console()
    clock = Clock()
    with Progress(screen, ["a", "b", "c"], clock=clock) as shown:
        shown.update("a", info(3, suspects={"c": "suspect"}))
        for _ in range(50):
            clock.now += 0.1
            shown.update("a", info(3, suspects={"c": "down"}))
            shown.update("b", info(3, suspects={"c": "suspect"}))
        shown.update("a", info(4))
        clock.now += 10
        shown.update("b", info(4))
    said = file.getvalue().splitlines()
    assert said == ["seem to be down: c (says a)", "heard again: c"]


def test_without_a_terminal_many_that_seem_to_be_down_are_a_line_a_second():
    screen, file = console()
    clock = Clock()
    agents = [f"a{i:02}" for i in range(40)]
    with Progress(screen, agents, clock=clock) as shown:
        for k in range(1, 31):  # one more each 0.1 s
            shown.update("a00", info(3, suspects=dict.fromkeys(agents[1 : k + 1], "down")))
            clock.now += 0.1
    first, second, third = file.getvalue().splitlines()
    assert first == "seem to be down: a01 (says a00)"
    assert re.fullmatch(r"seem to be down: (a\d\d \(says a00\); ){4}a\d\d \(says a00\) and \d+ more", second)
    assert "a02" in second
    assert "a02" not in third


def test_whom_an_agent_doubted_that_has_its_result_does_not_seem_to_be_down():
    screen, file = console()
    clock = Clock()
    with Progress(screen, ["a", "b"], clock=clock) as shown:
        shown.update("a", info(3, suspects={"b": "down"}))
        assert "seem to be down" in shown.facts()
        clock.now += 2
        shown.finished("a")
        assert "seem to be down" not in shown.facts()
    assert file.getvalue().splitlines() == ["seem to be down: b (says a)", "heard again: b"]


def test_who_makes_others_start_again_is_named_with_who_says_so():
    with Progress(console()[0], ["a", "b", "c"], quiet=True) as shown:
        shown.update("a", info(1, restarted_by={"c": 30}))
        shown.update("a", info(1, restarted_by={"c": 32}))
        shown.update("b", info(1, restarted_by={"a": 2, "c": 31}))
        assert shown.facts()["started again"] == "63 times by c (says a, b); 2 times by a (says b)"


def test_a_storm_of_restarts_is_warned_of_once_for_each_neighbour_that_is_named():
    warned: list[str] = []
    storms = Storms(warned.append)
    few = {"rejected": {"duplicate": 3}, "restarted_by": {"c": 5}}
    many = {"rejected": {"epoch-storm": 3}, "restarted_by": {"c": 35, "b": 1}}
    for agent, account in (("a", few), ("a", many), ("a", many), ("b", many)):
        storms.heard(agent, account)
    (text,) = warned
    assert "agent a has started again 35 times at the word of c" in text
    storms.heard("a", {**many, "restarted_by": {"d": 90, "c": 35}})
    assert len(warned) == 2
