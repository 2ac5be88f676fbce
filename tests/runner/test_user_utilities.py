"""Runs with utilities of the user's own: they are played like any other, and watched."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from node.errors import AgentError
from node.protocols.registry import protocol_of
from runner import RunFailed, record, run
from runner.testing import Network
from tests.runner.user_run import write
from topologies import load_scenario


def test_a_class_beside_the_scenario_is_played_and_its_optimum_reached(tmp_path):
    result = run(write(tmp_path), virtual=True, out=tmp_path / "run")
    assert result.kept_promise
    assert result.multiplier == pytest.approx([10.0])
    assert result.allocation_error <= 1e-6


def test_the_class_is_kept_with_the_record(tmp_path):
    run(write(tmp_path), virtual=True, out=tmp_path / "run")
    (module,) = tmp_path.glob("fragile_*.py")
    assert (tmp_path / "run" / module.name).read_text() == module.read_text()


BEFORE = r"agent a1, round (\d+) \(play\S*\): "
CASES = {
    "edge = -1.0, press = 4.0": (
        r"CurvatureLeft: good 0: the curvature -v'' is [2-5]\S* between x = \S+ and \S+; "
        r"expected within the declared bounds \[0\.5, 2\]$"
    ),
    "edge = -1.0, press = -0.7": r"CurvatureLeft: good 0: the curvature -v'' is 0\.[34]\S* between x = ",
    'edge = -1.0, code = "nan"': r"NotFinite: \S+Fragile: good 0: gradient\(-\S+\) is nan; expected a finite",
    'edge = -1.0, code = "raise"': r"LookupError: there is nothing down there$",
}


@pytest.mark.parametrize("agent", CASES)
def test_a_utility_that_breaks_its_word_ends_the_run_with_all_that_was_recorded(tmp_path, agent):
    out = tmp_path / "run"
    with pytest.raises(RunFailed) as caught:
        run(write(tmp_path, agent), virtual=True, out=out)
    found = re.match(BEFORE + CASES[agent], str(caught.value))
    assert found, str(caught.value)
    assert json.loads((out / "failed.json").read_text())["error"] == str(caught.value)
    assert not (out / "result.json").exists()
    # Its last word was that of the round in which it failed, so its rows go up to the round before.
    failed_in = int(found[1])
    assert failed_in > 30
    rounds, values, agents = record.read(out).series("allocation")
    own = values[:, agents.index("a1")]
    assert max(rounds[np.isfinite(own)]) == failed_in - 1
    assert np.isfinite(own).sum() >= 10


def test_a_value_that_only_the_judge_asks_for_ends_the_run_with_a_message_too(tmp_path):
    out = tmp_path / "run"
    text = r"^the agents are done, but there is no optimum .*: agent a1: \S+Fragile: value\(-4\S*\) is nan"
    with pytest.raises(RunFailed, match=text):
        run(write(tmp_path, 'edge = -1.0, press = 0.0, code = "blind"'), virtual=True, out=out)
    assert len(record.read(out)) > 0


def test_what_breaks_its_word_is_found_in_the_same_round_after_a_crash(tmp_path):
    parts = load_scenario(write(tmp_path, "edge = -1.0, press = 4.0")).parts("test")
    said = []
    for crash in (False, True):
        network = Network(parts, protocol_of)
        network.run_until(lambda network=network: network.agents["a1"].round >= 25)
        if crash:
            network.kill("a1", down=0.5)
            network.run_until(lambda network=network: "a1" in network.agents)
            assert network.agents["a1"].conversation.replayed >= 25
        with pytest.raises(AgentError) as caught:
            network.run()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "agent a1, round" in said[0]
