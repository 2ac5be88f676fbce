"""A run finds the optimum, and the same run to the last bit however it is carried out."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from broker.embedded import find_server
from broker.transport import BrokerError
from node import lockstep
from node.protocols.allocate import allocate
from runner import record, run, run_async
from runner.facts import Ended
from runner.result import judge
from runner.virtual import run_virtual
from tests.processes.live import Live, outcome
from topologies import load_scenario

KEYS = {
    *("agents", "rounds", "messages", "bytes", "seconds", "stopped_in_round", "allocation_error"),
    *("price_error", "tax_sum", "welfare", "optimal_welfare", "contraction_bound", "observed_rate"),
    *("allocation", "taxes", "prices", "run_dir"),
}
SCENARIOS = {
    "tree": (
        "binary-tree-31",
        'topology={generator="binary-tree", agents=7}',
        "environment.capacities=[7.0]",
    ),
    "random graph": (
        "erdos-renyi-31",
        'topology={generator="erdos-renyi", agents=9, p=0.4}',
        "environment.capacities=[9.0]",
    ),
    "directed graph": ("directed-8",),
    "two goods": ("feeder-8",),
}


@pytest.fixture(scope="module", params=SCENARIOS)
def by_command(request, vicinal_of_module):
    """A scenario, and what ``vicinal run --json`` made of it."""
    name, *overrides = SCENARIOS[request.param]
    options = [f"--set={override}" for override in overrides]
    return load_scenario(name, overrides), vicinal_of_module("run", name, "--json", "--quiet", *options)


def sequential(loaded):
    """The outcome of the sequential simulation."""
    parts = loaded.parts("sequential")
    ended = lockstep.run(
        {agent: allocate(part) for agent, part in parts.items()},
        {agent: part.hears for agent, part in parts.items()},
    )
    results = ended.results
    first = results[loaded.agents[0]]
    return {
        "allocation": {i: [x.hex() for x in results[i].allocation] for i in loaded.agents},
        "prices": {i: [p.hex() for p in results[i].price] for i in loaded.agents},
        "taxes": {i: results[i].tax.hex() for i in loaded.agents},
        "rounds": ended.rounds,
        "play_rounds": first.play_rounds,
        "xi": first.parameters["xi"].hex(),
        "delta": first.parameters["delta"].hex(),
        "contraction_bound": first.bound.hex(),
    }


def test_run_keeps_its_promise(by_command):
    _, finished = by_command
    assert (finished.code, finished.err) == (0, "")
    result = finished.json()
    assert result["allocation_error"] <= 1e-6
    assert abs(result["tax_sum"]) <= 1e-6 * sum(map(abs, result["taxes"].values()))
    assert result["welfare"] / result["optimal_welfare"] >= 1 - 1e-9


def test_json_is_one_object_on_one_line(by_command):
    _, finished = by_command
    assert finished.out.count("\n") == 1
    assert finished.json().keys() >= KEYS


def test_allocation_is_as_far_from_the_optimum_as_the_result_says(by_command):
    loaded, finished = by_command
    result = finished.json()
    assert set(result["allocation"]) == set(result["taxes"]) == set(result["prices"]) == set(loaded.agents)
    optimal = result["optimal_allocation"]
    off = max(
        abs(x - best)
        for agent in loaded.agents
        for x, best in zip(result["allocation"][agent], optimal[agent], strict=True)
    )
    largest = max(abs(x) for row in optimal.values() for x in row)
    assert result["allocation_error"] == pytest.approx(off / largest, rel=1e-9)
    for good, capacity in enumerate(loaded.spec.environment.capacities):
        assert sum(row[good] for row in optimal.values()) == pytest.approx(capacity, rel=1e-9)


def test_processes_equal_the_sequential_simulation(by_command):
    loaded, finished = by_command
    assert outcome(finished.json()) == sequential(loaded)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_virtual_network_equals_the_sequential_simulation(by_command, seed):
    loaded, _ = by_command
    reports, seconds = run_virtual(loaded.parts("virtual"), seed)
    assert outcome(judge(loaded, Ended("virtual", "virtual", reports, seconds))) == sequential(loaded)


@pytest.mark.parametrize(
    ("overrides", "hosts"),
    [
        ((), 2),
        (("broker.connections=host",), 2),
        (("broker.connections=host",), 1),
        (("broker.connections=host",), None),
        (("broker.client=aiomqtt",), None),
        (("broker.client=aiomqtt", "broker.connections=host"), 2),
        pytest.param(("broker.server=mosquitto",), None, marks=pytest.mark.mosquitto),
        pytest.param(("broker.server=mosquitto", "broker.client=aiomqtt"), 3, marks=pytest.mark.mosquitto),
    ],
    ids=lambda value: "-".join(value) or "default" if isinstance(value, tuple) else f"{value} hosts",
)
async def test_way_of_carrying_the_agents_changes_no_bit(spy, overrides, hosts):
    if "broker.server=mosquitto" in overrides:
        try:
            find_server("mosquitto")
        except BrokerError as error:
            pytest.skip(str(error))
    async with Live("directed-8", *overrides, hosts=hosts) as live:
        result = await live.result()
    assert outcome(result) == sequential(load_scenario("directed-8"))
    assert len(spy.hosts[-1].pids) <= (hosts or 8)
    assert len(spy.starts) == (hosts or 8)
    assert live.warnings == []


# -- the Python interface and what a run leaves on disk ------------------------------------------------


@pytest.fixture(scope="module")
def by_function(tmp_path_factory):
    """Two runs of one scenario, by the two functions."""
    folder = tmp_path_factory.mktemp("runs")

    async def awaited():
        return await run_async("star-9", out=folder / "second")

    return folder, run("star-9", out=folder / "first"), asyncio.run(awaited())


def test_both_functions_give_the_same_result(by_function):
    _, first, second = by_function
    assert first.kept_promise
    assert outcome(first) == outcome(second) == sequential(load_scenario("star-9"))


async def test_blocking_function_refuses_to_block_a_running_loop(spy):
    with pytest.raises(RuntimeError, match="run_async"):
        run("star-9")
    gc.collect()  # a coroutine that was made and never awaited warns, and warnings are errors


def test_directory_holds_what_is_documented(by_function):
    folder, first, _ = by_function
    out = folder / "first"
    assert {path.name for path in out.iterdir()} == {
        "scenario.toml",
        "resolved.json",
        "meta.json",
        "accounts.jsonl",
        "telemetry.parquet",
        "result.json",
        "convergence.png",
    }
    loaded = load_scenario("star-9")
    assert (out / "scenario.toml").read_text() == loaded.text
    assert load_scenario(out / "resolved.json").hash == loaded.hash
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["run"], meta["hash"], meta["seed"]) == (first.run, loaded.hash, loaded.spec.seed)
    assert {"vicinal", "numpy", "gmqtt"} <= meta["versions"].keys()
    result = json.loads((out / "result.json").read_text())
    assert outcome(result) == outcome(first)
    assert result["run_dir"] == str(out)
    assert (out / "convergence.png").read_bytes().startswith(b"\x89PNG")


def test_record_of_a_repeated_run_differs_only_in_the_times(by_function):
    folder, first, second = by_function
    one, other = record.read(folder / "first"), record.read(folder / "second")
    assert (one.run, other.run) == (first.run, second.run)
    assert one.agents == other.agents
    assert one.names == other.names
    for column in ("agent", "round", "name"):
        assert (getattr(one, column) == getattr(other, column)).all()
    assert one.value.tobytes() == other.value.tobytes()
    assert (one.time != other.time).any()


def test_record_says_what_the_result_says(by_function):
    folder, first, _ = by_function
    kept = record.read(folder / "first")
    rounds, _, _ = kept.series("residual")
    assert rounds.max() <= first.stopped_in_round
    latest = kept.latest("allocation")
    assert latest == pytest.approx({agent: x[0] for agent, x in first.allocation.items()}, abs=1e-6)


async def test_record_of_the_virtual_network_is_the_same(by_function, tmp_path):
    folder, _, _ = by_function
    await run_async("star-9", out=tmp_path / "virtual", virtual=True, plot=False)
    one, other = record.read(folder / "first"), record.read(tmp_path / "virtual")
    assert (one.agents, one.names) == (other.agents, other.names)
    assert (one.round == other.round).all()
    assert one.value.tobytes() == other.value.tobytes()


async def test_run_without_record_leaves_none(spy, tmp_path):
    result = await run_async("star-9", overrides=["record.every=0"], out=tmp_path / "run", hosts=1)
    assert result.observed_rate is None
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "scenario.toml",
        "resolved.json",
        "meta.json",
        "accounts.jsonl",
        "result.json",
    }
    assert spy.scribes == []
