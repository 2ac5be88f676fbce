"""What a scenario file becomes: graph, draws, parts, hash."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topologies import bundled, load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def test_importing_the_package_loads_neither_networkx_nor_pydantic() -> None:
    code = "import sys, topologies; topologies.bundled(); print({'networkx', 'pydantic'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_the_main_job_draws_all_theta_then_all_sigma_from_one_seed() -> None:
    scenario = load_scenario("binary-tree-31")
    rng = np.random.default_rng(1)
    theta, sigma = rng.uniform(-12.5, -0.02, 31), rng.uniform(10, 20, 31)
    assert scenario.agents == tuple(f"a{k:02d}" for k in range(31))
    assert [u["theta"] for u in scenario.utilities.values()] == [[value] for value in theta.tolist()]
    assert [u["sigma"] for u in scenario.utilities.values()] == [[value] for value in sigma.tolist()]
    assert nx.utils.graphs_equal(
        nx.relabel_nodes(nx.full_rary_tree(2, 31).to_directed(), dict(enumerate(scenario.agents))),
        scenario.graph,
    )


def test_draws_for_several_goods_go_agent_by_agent() -> None:
    scenario = load_scenario("ring-12", ["environment.capacities=[1.0, 2.0]", "utilities.seed=7"])
    rng = np.random.default_rng(7)
    theta, sigma = rng.uniform(-2.5, -0.1, (12, 2)), rng.uniform(10, 20, (12, 2))
    assert [u["theta"] for u in scenario.utilities.values()] == theta.tolist()
    assert [u["sigma"] for u in scenario.utilities.values()] == sigma.tolist()


def test_the_default_distributions_are_those_of_the_thesis() -> None:
    with_default = load_scenario("binary-tree-31", ["utilities={}"])
    assert with_default.hash == load_scenario("binary-tree-31").hash


def test_a_parameter_that_is_not_drawn_uses_no_random_numbers() -> None:
    scenario = load_scenario("ring-12", ["utilities.theta=-1.0"])
    expected = np.random.default_rng(3).uniform(10, 20, 12)
    assert [u["sigma"][0] for u in scenario.utilities.values()] == expected.tolist()
    assert {u["theta"][0] for u in scenario.utilities.values()} == {-1.0}


def test_a_parameter_of_zero_is_not_taken_for_a_missing_one() -> None:
    scenario = load_scenario("ring-12", ["utilities.sigma=0"])
    assert {u["sigma"][0] for u in scenario.utilities.values()} == {0.0}


def test_every_bundled_scenario_loads_has_a_title_and_a_header() -> None:
    names = [name for name, _, _ in bundled()]
    assert names == sorted(names)
    assert {"binary-tree-31", "erdos-renyi-31", "directed-8", "star-9", "feeder-8", "ring-12"} <= set(names)
    for name, title, path in bundled():
        scenario = load_scenario(name)
        assert scenario.path == path
        assert title == scenario.spec.title != ""
        assert scenario.text.startswith("# ")
        assert scenario.spec.name == name
        assert load_scenario(path).hash == scenario.hash


def test_parts_hold_the_own_utility_and_neighbours_only() -> None:
    scenario = load_scenario("feeder-8")
    parts = scenario.parts("run-1")
    assert list(parts) == list(scenario.agents)
    ev = parts["ev"]
    assert (ev.agent, ev.run, ev.hears, ev.heard_by) == ("ev", "run-1", ("house-1",), ("house-1",))
    assert ev.utility == {"family": "quadratic", "theta": [-0.3, -0.6], "sigma": [2.4, 8.4]}
    assert "battery" not in json.dumps(ev.as_dict())
    assert len({part.digest() for part in parts.values()}) == 1


def test_parts_of_a_directed_scenario_tell_hearing_from_being_heard() -> None:
    scenario = load_scenario("directed-8")
    parts = scenario.parts("r")
    assert scenario.directed
    for agent, part in parts.items():
        assert part.hears == tuple(sorted(j for i, j in scenario.graph.edges if i == agent))
        assert part.heard_by == tuple(sorted(i for i, j in scenario.graph.edges if j == agent))
    assert any(part.hears != part.heard_by for part in parts.values())


def test_the_contract_is_public_and_complete() -> None:
    scenario = load_scenario("binary-tree-31")
    assert scenario.contract() == {
        "mechanism": "private-goods",
        "capacities": [31.0],
        "eta": 25.0,
        "parameters": "tuned",
        "learning": "cournot",
        "stopping": {"rule": "counters", "tolerance": 1e-6, "scale": None},
    }
    explicit = 'mechanism={parameters="explicit", xi=0.9, delta=400}'
    changed = load_scenario("binary-tree-31", [explicit, "stopping.max_rounds=50"]).contract()
    assert (changed["xi"], changed["delta"], changed["stopping"]["max_rounds"]) == (0.9, 400.0, 50)


def test_overrides_replace_values_tables_and_the_seed() -> None:
    base = load_scenario("binary-tree-31")
    smaller = load_scenario("binary-tree-31", ["topology.agents=15", "title=no quotes needed"])
    assert len(smaller.agents) == 15
    assert smaller.spec.title == "no quotes needed"
    ring = load_scenario("binary-tree-31", ['topology={generator="ring", agents=5}'])
    assert nx.is_isomorphic(ring.graph.to_undirected(), nx.cycle_graph(5))
    other = load_scenario("binary-tree-31", ["seed=5"], seed=2)
    assert other.spec.seed == 2
    assert other.utilities != base.utilities
    assert other.utilities["a00"]["theta"] == np.random.default_rng(2).uniform(-12.5, -0.02, 1).tolist()


def test_a_file_wins_over_a_bundled_name(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(name="ring-12").parent)
    (write().parent / "ring-12").unlink()
    assert load_scenario("ring-12").agents[0] == "a00"
    write(name="ring-12")
    assert load_scenario("ring-12").agents[0] == "a"


def test_the_hash_follows_the_meaning_not_the_spelling(write: Callable[..., Path]) -> None:
    base = load_scenario(write()).hash
    assert load_scenario(write("eta = 5.0", "eta = 5 # the same")).hash == base
    assert load_scenario(write('["a", "b"], ["b", "c"]', '["c", "b"], ["b", "a"]')).hash == base
    assert load_scenario(write("eta = 5.0", "eta = 5.5")).hash != base


def test_the_hash_of_the_main_job_does_not_change_unnoticed() -> None:
    # A new value means that a recorded run of the main job cannot be compared with a new one.
    assert load_scenario("binary-tree-31").hash[:16] == "901f42f60dc09a85"


def test_a_name_defaults_to_that_of_the_file(write: Callable[..., Path]) -> None:
    assert load_scenario(write(name="my scenario (2).toml")).spec.name == "my-scenario-2-"


def test_a_password_in_the_broker_url_is_not_in_what_is_recorded() -> None:
    scenario = load_scenario("ring-12", ["broker.url=mqtt://me:secret@broker.example:1884"])
    assert scenario.spec.broker.url == "mqtt://me:secret@broker.example:1884"
    assert scenario.resolved()["broker"]["url"] == "mqtt://broker.example:1884"


numbers = st.floats(-1e6, 1e6)


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """Valid scenarios as plain data: drawn and explicit utilities, one to three goods, many graphs."""
    goods = draw(st.integers(1, 3))
    eta = draw(st.floats(1.5, 100))
    n = draw(st.integers(3, 9))
    ids = draw(st.lists(st.text("abAB019_-", min_size=1, max_size=5), min_size=n, max_size=n, unique=True))
    directed = draw(st.booleans())
    ring = [[ids[k], ids[(k + 1) % n]] for k in range(n)]
    curvature = st.floats(1.001 / eta, 0.999 * eta)
    explicit = {"nodes": ids, "edges": ring, "directed": directed}
    agents = {
        agent: {
            "theta": draw(st.lists(curvature.map(lambda c: -c / 2), min_size=goods, max_size=goods)),
            "sigma": draw(numbers),
        }
        for agent in ids
    }
    generated = draw(
        st.sampled_from(
            [
                {"generator": "random-tree", "agents": n},
                {"generator": "erdos-renyi", "agents": n, "p": 0.7},
                {"generator": "directed-ring", "agents": n, "chords": 2},
                {"generator": "grid", "rows": 2, "columns": n},
                {"generator": "small-world", "agents": n + 2, "neighbours": 4, "p": 0.3},
                {"generator": "scale-free", "agents": n},
                {"generator": "random-regular", "agents": 2 * n, "degree": 3},
            ]
        )
    )
    by_hand = draw(st.booleans())
    return {
        "seed": draw(st.integers(0, 2**40)),
        "topology": explicit if by_hand else generated,
        "environment": {"capacities": draw(st.lists(numbers, min_size=goods, max_size=goods)), "eta": eta},
        "utilities": {"agents": agents} if by_hand else {},
        "stopping": {"tolerance": draw(st.floats(1e-12, 0.5)), "scale": draw(st.floats(1e-6, 1e6))},
        "record": {"every": draw(st.integers(0, 100)), "plot": draw(st.booleans())},
    }


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scenarios())
def test_any_valid_scenario_loads_again_from_what_it_resolves_to(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(data))
    once = load_scenario(path)
    assert nx.is_strongly_connected(once.graph)
    again_path = tmp_path / "resolved.json"
    again_path.write_text(json.dumps(once.resolved()))
    again = load_scenario(again_path)
    assert again.hash == once.hash
    assert again.resolved() == once.resolved()
    assert list(again.graph.edges) == list(once.graph.edges)
    assert again.utilities == once.utilities
    assert {a: p.as_dict() for a, p in again.parts("r").items()} == {
        a: p.as_dict() for a, p in once.parts("r").items()
    }
