"""Free-running agents end after different numbers of ticks; whoever judges them must know that."""

from __future__ import annotations

import pytest

from runner.api import judged
from runner.errors import RunFailed
from runner.facts import Ended
from runner.virtual import run_virtual
from topologies import load_scenario

SMALL = ("topology.agents=5", "record.every=0")


@pytest.mark.parametrize("scenario", ["star-9", "consensus-ratio-tree-31"])
def test_reports_with_different_ticks_are_judged_by_the_scenario_that_was_played(scenario: str) -> None:
    free = load_scenario(scenario, [*SMALL, "synchrony.mode=free"])
    reports, seconds = run_virtual(free.parts("r1"), 3, None)
    said: list[str] = []
    ticks = {report["rounds"] for report in reports.values()}
    assert len(ticks) > 1
    ended = Ended("r1", "observed", reports, seconds)
    result = judged(free, ended, said.append)
    assert result.rounds == max(ticks)
    assert result.kept_promise
    # `vicinal record` given the scenario without the `--set` that the agents were started with.
    with pytest.raises(RunFailed, match="ran freely, but the scenario that judges it"):
        judged(load_scenario(scenario, SMALL), ended, said.append)
