"""The simulator itself: a slice of its seeds, that it is deterministic, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from runner import cli
from runner.simulate import run_seed, simulate, sweep
from runner.simulation.cases import draw
from runner.simulation.instances import TOPOLOGIES, WORKLOADS, instance, workloads
from runner.simulation.report import failure, replay, seeds_of
from topologies.faults import Amnesia


def test_a_slice_of_seeds_holds():
    cases = [case for seed in range(1000, 1060) if len((case := draw(seed)).instance.parts) <= 31]
    verdicts = [simulate(case) for case in cases[:16]]
    assert [failure(verdict) for verdict in verdicts if verdict.violations] == []


def test_a_slice_of_seeds_holds_in_which_agents_leave_die_and_join_late():
    cases = [case for seed in range(1000, 1120) if (case := draw(seed)).members]
    small = [case for case in cases if len(case.instance.parts) <= 10][:12]
    assert len(small) == 12
    assert [failure(v) for v in map(simulate, small) if v.violations] == []


@pytest.mark.parametrize("workload", WORKLOADS)
def test_references_keep_their_own_promises(workload):
    for topology in ("small", "small-directed"):
        for number in range(4) if workload in workloads(topology) else ():
            reference = instance(topology, workload, number).reference()
            assert reference.broken == [], (topology, number)
            assert set(reference.results) == set(instance(topology, workload, number).parts)


def test_the_seeds_reach_every_topology_workload_store_and_kind_of_event():
    cases = [draw(seed) for seed in range(80)]
    assert {case.instance.name.split("/")[0] for case in cases} == set(TOPOLOGIES)
    assert {case.store for case in cases} == {"memory", "disk", "torn", "full", "none"}
    kinds = {event.kind for case in cases for event in case.events}
    assert kinds == {"crash", "amnesia", "pause", "cut", "partition", "broker-kill", "leave", "join"}
    assert max(case.faults.loss for case in cases) == 0.3


def test_the_same_seed_has_the_same_trace_and_another_one_has_another():
    traces = [run_seed(seed).trace for seed in (22, 22, 23)]
    assert traces[0] == traces[1] != traces[2]


def test_a_trace_does_not_depend_on_the_hash_seed_of_the_process():
    command = [sys.executable, "-m", "runner.cli", "simulate", "--seeds", "20-23", "--trace"]
    said = []
    for hash_seed in ("0", "31337"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        said.append([line for line in run.stdout.splitlines() if line.startswith(("seed", "  "))])
    drawn = [[line for line in lines if "virtual s" not in line and "CPU" not in line] for lines in said]
    assert sum(line.startswith("  trace ") for line in drawn[0]) == 4
    assert drawn[0] == drawn[1]


def test_jobs_change_the_order_of_verdicts_and_nothing_else():
    seeds = [seed for seed in range(30) if len(draw(seed).instance.parts) <= 10][:6]
    alone = {v.seed: v.trace for v in sweep(seeds, 1)}
    assert {v.seed: v.trace for v in sweep(seeds, 2)} == alone


def test_a_failing_seed_says_everything_drawn_and_how_to_replay_it():
    case = draw(0)
    verdict = replace(simulate(case), violations=["something"])
    text = failure(verdict)
    assert "seed 0 FAILED" in text
    assert "  ! something" in text
    for key in case.describe():
        assert f"  {key}: " in text or not case.describe()[key]
    assert "again: vicinal simulate --seeds 0 --trace" in text
    assert verdict.trace in text
    assert replay(3, ["ring-12"], ["seed=4"]) == "vicinal simulate ring-12 --seeds 3 --trace --set 'seed=4'"


def test_the_command_prints_one_object_with_json(capsys):
    assert cli.main(["simulate", "--seeds", "0-1", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["seeds"], said["failed"]) == (2, [])


def test_the_command_simulates_a_scenario_with_its_own_faults(capsys):
    arguments = ["simulate", "feeder-8", "--seeds", "5-6", "--trace", "--set", "stopping.tolerance=0.1"]
    faults = ["--set", "faults.loss=0.1", "--set", "faults.until=2"]
    assert cli.main([*arguments, *faults]) == 0
    said = capsys.readouterr().out
    assert 'instance: "feeder-8"' in said
    assert 'faults: {"seed": 5, "loss": 0.1, "until": 2.0}' in said
    assert "events" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "9-3"], "--seeds 9-3: expected A-B"),
        (["--seeds=-1"], "--seeds -1: expected A-B"),
        (["--jobs", "0"], "--jobs 0: expected 1 to 256"),
        (["no-such-scenario"], "no such file"),
        (["--set", "seed=1"], "needs a scenario"),
        (["ring-12", "--set", "faults.loss=0.1"], "faults.until: missing"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(arguments, said, capsys):
    assert cli.main(["simulate", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_seeds_are_a_range_with_both_ends():
    assert list(seeds_of("3-5")) == [3, 4, 5]
    assert list(seeds_of("7")) == [7]


def test_memory_lost_after_somebody_has_left_is_survived():
    case = draw(42)
    assert case.instance.name == "er-31/private-goods/5"
    lost = Amnesia(kind="amnesia", at=0.02, agents=(sorted(case.instance.parts)[0],), down=1.0)
    case = replace(case, events=[], finale=[lost], store="none", spares=False)
    assert simulate(case).violations == []
