"""Agents that die for good, leave and join late, as real processes over a real broker."""

from __future__ import annotations

import os
import signal

import pytest

from runner import run
from runner.errors import UserError
from tests.processes.live import Live, Spy
from tests.processes.stage import SLOWLY, strike_in_rounds

RING = 'topology={nodes=["a","b","c","d","e","f"], edges=[["a","b"],["b","c"],["c","d"],["d","e"],["e","f"],["f","a"]]}'  # noqa: E501
SIX = (RING, "environment.capacities=[6.0]", 'recovery={on_down="continue", grace=1.5}')
EVENTS = (
    'faults.event=[{kind="crash", at=0, agents=["c"], down="forever"}, '
    '{kind="leave", at=5, agents=["e"]}, {kind="join", at=5, agents=["a"]}]'
)


def test_the_others_find_the_optimum_of_those_that_are_left(monkeypatch, tmp_path):
    strike_in_rounds(monkeypatch)
    # When e leaves, d, e and f have begun without c and a, and are far from done.
    result = run("ring-12", overrides=[*SIX, SLOWLY, EVENTS], out=tmp_path / "run", plot=False)
    # Without c and e the ring falls apart: d is alone, and f, a, b go on.
    assert [(part.agents, part.stranded is None) for part in result.components] == [
        (("a", "b", "f"), True),
        (("d",), False),
    ]
    assert (list(result.died), list(result.left), list(result.joined)) == (["c"], ["e"], ["a"])
    assert set(result.allocation) == {"a", "b", "f"}
    assert result.allocation_error <= result.tolerance
    assert sum(x for (x,) in result.allocation.values()) == pytest.approx(6.0, abs=1e-5)
    assert result.stranded == ["d"]
    assert not result.kept_promise
    assert result.component_size == {"a": 3, "b": 3, "f": 3, "d": 1}


async def test_whoever_is_ended_by_sigterm_or_killed_does_not_end_the_run(monkeypatch, tmp_path):
    spy = Spy(monkeypatch)
    spy.hold("a", 40, tmp_path)
    async with Live("ring-12", *SIX, out=tmp_path / "run") as live:
        await live.until_playing(6)
        os.kill(spy.pid_of("c"), signal.SIGTERM)
        os.kill(spy.pid_of("d"), signal.SIGKILL)
        await live.until(lambda: all(live.progress[i]["state"] == "gone" for i in "cd"), "both are gone")
        spy.let_go()
        result = await live.result()
    assert (list(result.left), list(result.died)) == (["c"], ["d"])
    assert [part.agents for part in result.components] == [("a", "b", "e", "f")]
    assert result.kept_promise
    assert "agent c has left for good; the others go on without it" in live.warnings


def test_processes_with_other_agents_are_not_killed_for_good(tmp_path):
    with pytest.raises(UserError, match=r"its process has other agents"):
        run("ring-12", overrides=[*SIX, EVENTS], hosts=2, out=tmp_path / "run")
