"""Network runs of which somebody leaves: judged among those that are left, every epoch held to capacities."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from runner import run
from runner.check.judging import judge
from runner.errors import RunFailed
from runner.network import contracts_of
from runner.network_record import overshoot_of
from runner.record import Record, read
from runner.table import print_result
from topologies import load_scenario


def leaves(*who):
    rows = ", ".join(f'{{kind="leave", at={at}, agents=["{agent}"]}}' for agent, at in who)
    return f"faults.event=[{rows}]"


def played(tmp_path, name, *overrides):
    return run(name, overrides=overrides, out=tmp_path / "run", plot=False, virtual=True)


def test_a_run_is_held_against_the_optimum_of_those_that_are_left(tmp_path):
    result = played(tmp_path, "network-corn-5", leaves(("a2", 0.4)))
    assert result.kept_promise, result.verdict
    assert result.agents == 4
    assert list(result.left) == ["a2"]
    assert [part.size for part in result.components] == [4]
    assert sum(x for (x,) in result.optimal_allocation.values()) == pytest.approx(4.0)
    assert result.used["corn"] == pytest.approx(1.0)
    assert len(result.errors) > 3  # of those that were left
    assert result.regrets
    record = read(tmp_path / "run")
    assert len(record.epochs) > 1
    lines = {line.name: line for line in judge(tmp_path / "run").lines}
    assert not [line for line in lines.values() if line.verdict == "fail"]
    assert "epochs before, in which others took part" in lines["feasibility"].reason


PARTS = """
[topology]
nodes = ["a", "b", "c", "d", "e", "f", "h"]
edges = [["a", "b"], ["b", "h"], ["h", "c"], ["c", "d"], ["d", "e"], ["e", "f"], ["d", "f"]]
[environment]
kind = "network"
[environment.links.left]
capacity = 1.0
agents = ["a", "b", "h"]
[environment.links.right]
capacity = 2.0
agents = ["c", "d", "e", "f"]
[environment.links.across]
capacity = 9.0
agents = ["b", "h", "c"]
[environment.valuations]
w = 3.0
[mechanism]
name = "unicast"
[stopping]
tolerance = 1e-3
"""


def test_parts_that_share_a_link_have_no_result_and_those_that_share_none_have_one_each(tmp_path):
    path = tmp_path / "parts.toml"
    path.write_text(PARTS)
    with pytest.raises(RunFailed, match="agent c: link across: b cannot be heard"):
        played(tmp_path, path, leaves(("h", 0.3)))
    path.write_text(PARTS.replace('"b", "h", "c"', '"h", "c"').replace("capacity = 9.0", "capacity = 1.0"))
    apart = run(path, overrides=[leaves(("h", 0.3))], out=tmp_path / "apart", plot=False, virtual=True)
    # c is alone on the link across, which could bind: its part cannot play, the other one can.
    assert [(part.agents, part.stranded is None) for part in apart.components] == [
        (("c", "d", "e", "f"), False),
        (("a", "b"), True),
    ]
    assert not apart.kept_promise
    assert "4 agents have no result" in apart.verdict
    assert apart.overshoot == 0.0
    assert apart.allocation_error <= apart.tolerance
    text = io.StringIO()
    print_result(apart, Console(file=text, width=250))
    assert "agent c: link across: used by c alone" in text.getvalue()


def rows(*given):
    """A record of (agent, epoch, round, in use)."""
    agents = tuple(sorted({row[0] for row in given}))
    return Record(
        run="r",
        agents=agents,
        names=("in_use",),
        agent=np.array([agents.index(row[0]) for row in given]),
        epoch=np.array([row[1] for row in given]),
        round=np.array([row[2] for row in given]),
        time=np.zeros(len(given)),
        name=np.zeros(len(given), np.int64),
        value=np.array([row[3] for row in given], float),
    )


def test_an_excess_in_an_epoch_before_the_last_is_seen():
    contracts = contracts_of(load_scenario("network-corn-5"))  # 4 units for all
    fine = [("a1", 1, 5, 2.0), ("a3", 1, 5, 2.0)]
    assert overshoot_of(rows(("a1", 0, 3, 2.0), ("a2", 0, 3, 2.0), *fine), contracts, (0, 1)) == 0.0
    over = rows(("a1", 0, 3, 2.0), ("a2", 0, 3, 3.0), *fine)
    assert overshoot_of(over, contracts, (0, 1)) == pytest.approx(0.25)
    assert overshoot_of(over, contracts, (1,)) == 0.0
    # Rows of different rounds and epochs are not of one instant.
    assert overshoot_of(rows(("a1", 0, 3, 3.0), ("a2", 0, 4, 3.0)), contracts, (0,)) == 0.0


def test_what_a_group_takes_is_not_guessed_from_some_of_its_members():
    contracts = contracts_of(load_scenario("network-microgrid-7"))
    # 0.4 + 0.4 + 0.2 of what all three get, on 12 units; the branch knows house-1 of them.
    three = [("bakery", 0, 1, 20.0), ("house-1", 0, 1, 20.0), ("house-2", 0, 1, 20.0)]
    assert overshoot_of(rows(*three), contracts, (0,)) == pytest.approx(20.0 / 7.0 - 1.0)
    assert overshoot_of(rows(*three[:2]), contracts, (0,)) == 0.0
    left = contracts_of(load_scenario("network-microgrid-7"), set(contracts) - {"house-2"})
    assert overshoot_of(rows(*three[:2]), left, (0,)) == pytest.approx(20.0 / 7.0 - 1.0)
