"""Generators and graph files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies import ScenarioError, load_scenario
from topologies.generators import DirectedRing, RandomTree, agent_ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNDIRECTED = nx.Graph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")])
DIRECTED = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")])

WRITERS: dict[str, Callable[[nx.Graph, Any], None]] = {
    "graphml": nx.write_graphml,
    "gml": nx.write_gml,
    "gexf": nx.write_gexf,
    "net": nx.write_pajek,
    "edgelist": nx.write_edgelist,
    "adjlist": nx.write_adjlist,
    "json": lambda graph, path: path.write_text(
        json.dumps(
            {
                "directed": graph.is_directed(),
                "nodes": [{"id": node} for node in graph],
                "edges": [{"source": a, "target": b} for a, b in graph.edges],
            }
        )
    ),
}


def scenario_over(folder: Path, name: str, **more: Any) -> Path:
    path = folder / "s.json"
    path.write_text(
        json.dumps({"topology": {"file": name, **more}, "environment": {"capacities": [1], "eta": 5}})
    )
    return path


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("graph", [UNDIRECTED, DIRECTED], ids=["undirected", "directed"])
def test_a_graph_file_says_the_same_as_nodes_and_edges(tmp_path: Path, graph: nx.Graph, suffix: str) -> None:
    WRITERS[suffix](graph, tmp_path / f"g.{suffix}")
    said = {"directed": True} if suffix in ("edgelist", "adjlist") and graph.is_directed() else {}
    scenario = load_scenario(scenario_over(tmp_path, f"g.{suffix}", **said))
    assert scenario.directed == graph.is_directed()
    assert set(scenario.graph.edges) == set(graph.to_directed().edges)
    assert scenario.resolved()["topology"]["nodes"] == ["a", "b", "c", "d"]


def test_node_link_files_of_older_networkx_are_read_too(tmp_path: Path) -> None:
    links = [{"source": k, "target": (k + 1) % 4} for k in range(4)]
    old = {"directed": False, "multigraph": False, "nodes": [{"id": k} for k in range(4)], "links": links}
    (tmp_path / "g.json").write_text(json.dumps(old))
    assert load_scenario(scenario_over(tmp_path, "g.json")).agents == ("0", "1", "2", "3")


def test_a_directed_file_can_be_read_as_undirected(tmp_path: Path) -> None:
    nx.write_graphml(nx.DiGraph([("a", "b"), ("b", "c")]), tmp_path / "g.graphml")
    scenario = load_scenario(scenario_over(tmp_path, "g.graphml", directed=False))
    assert set(scenario.graph.edges) == {("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("g.graphml", "no xml", "could not be read"),
        ("g.graphml", "<graphml></graphml>", "could not be read"),
        ("g.gml", "graph [ node", "could not be read"),
        ("g.gexf", "<x/>", "could not be read"),
        ("g.net", "", "could not be read|got 0 agents"),
        ("g.edgelist", "a\nb\n", "got 0 agents"),
        ("g.edgelist", "a b\nb c\nc c\n", r'has the self-loop \["c", "c"\]'),
        ("g.adjlist", "a b\nc d\n", "no path between a and {c, d}"),
        ("g.adjlist", "a b! c\n", r'got the agent id "b!"'),
        ("g.json", "{}", "could not be read"),
        ("g.json", "[]", "could not be read"),
        (
            "g.json",
            '{"directed": 0, "nodes": [{"id": "a"}], "edges": [{"source": "a", "target": "z"}]}',
            "no node",
        ),
        ("g.json", '{"directed": 0, "nodes": [{"id": ["a"]}], "edges": []}', "neither text nor"),
        (
            "g.json",
            '{"directed": 0, "nodes": [{"id": 1}, {"id": "1"}, {"id": 2}], "edges": []}',
            "node id '1' twice",
        ),
    ],
)
def test_a_graph_file_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ScenarioError, match=rf"s\.json: topology\.file: .*({said}).*; expected "):
        load_scenario(scenario_over(tmp_path, name))


@pytest.mark.parametrize(
    ("topology", "like"),
    [
        ({"generator": "tree", "agents": 13, "branching": 3}, nx.full_rary_tree(3, 13)),
        ({"generator": "path", "agents": 6}, nx.path_graph(6)),
        ({"generator": "star", "agents": 6}, nx.star_graph(5)),
        ({"generator": "complete", "agents": 5}, nx.complete_graph(5)),
        ({"generator": "grid", "rows": 3, "columns": 4}, nx.grid_2d_graph(3, 4)),
        (
            {"generator": "erdos-renyi", "agents": 31, "p": 0.3, "seed": 4},
            nx.gnp_random_graph(31, 0.3, seed=4),
        ),
        (
            {"generator": "scale-free", "agents": 20, "links": 2, "seed": 4},
            nx.barabasi_albert_graph(20, 2, seed=4),
        ),
    ],
    ids=lambda value: value["generator"] if isinstance(value, dict) else "",
)
def test_a_generator_gives_the_graph_of_its_name(
    tmp_path: Path, topology: dict[str, Any], like: nx.Graph
) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"topology": topology, "environment": {"capacities": [1]}}))
    assert nx.is_isomorphic(load_scenario(path).graph.to_undirected(), like)


def test_an_unconnected_draw_is_followed_by_the_next_seed() -> None:
    first = next(s for s in range(1000) if not nx.is_connected(nx.gnp_random_graph(12, 0.2, seed=s)))
    after = next(s for s in range(first, 1000) if nx.is_connected(nx.gnp_random_graph(12, 0.2, seed=s)))
    drawn = [
        load_scenario(
            "ring-12", [f'topology={{generator="erdos-renyi", agents=12, p=0.2, seed={seed}}}']
        ).graph
        for seed in (first, after)
    ]
    assert list(drawn[0].edges) == list(drawn[1].edges)


def test_a_topology_with_its_own_seed_keeps_it() -> None:
    own = 'topology={generator="random-tree", agents=12, seed=8}'
    one, two = load_scenario("ring-12", [own], seed=1), load_scenario("ring-12", [own], seed=2)
    assert list(one.graph.edges) == list(two.graph.edges)
    assert one.utilities != two.utilities


@settings(max_examples=50, deadline=None)
@given(st.integers(3, 40), st.integers(0, 2**32), st.data())
def test_random_trees_are_trees_and_directed_rings_strongly_connected(
    n: int, seed: int, data: st.DataObject
) -> None:
    assert nx.is_tree(RandomTree(generator="random-tree", agents=n).draw(seed))
    chords = data.draw(st.integers(0, n * (n - 2)))
    ring = DirectedRing(generator="directed-ring", agents=n, chords=chords).draw(seed)
    assert nx.is_strongly_connected(ring)
    assert ring.number_of_edges() == n + chords
    assert nx.number_of_selfloops(ring) == 0


@pytest.mark.parametrize("n", [3, 10, 11, 100, 101, 1001])
def test_generated_ids_ascend_as_text_and_as_numbers(n: int) -> None:
    assert agent_ids(n) == sorted(agent_ids(n))
    assert len(set(agent_ids(n))) == n
