"""From the topology of a scenario to a checked graph: edge i -> j means "i listens to j"."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

import networkx as nx

from broker.topics import LEVEL
from topologies.errors import Invalid, Problem, listed, shown
from topologies.generators import Generated, agent_ids
from topologies.model import Explicit, GraphFile
from topologies.nearest import did_you_mean
from topologies.values import ID_RULE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from pathlib import Path

Edges = list[tuple[str, str]]


def build_graph(
    topology: Generated | Explicit | GraphFile, seed: int, folder: Path
) -> tuple[nx.DiGraph, bool]:
    """Draw, read or take over the graph of a scenario and check it.

    Args:
        topology: the validated section.
        seed: the scenario's seed, for a generator that has none of its own.
        folder: what the path of a graph file is relative to.
    Returns:
        The graph with agents and edges in ascending order, both directions of an edge if undirected; and
        whether it is directed.
    Raises:
        Invalid: naming the key, what was seen and what is expected, if the graph cannot be made, has fewer
            than 3 agents, an id used twice or malformed, an edge to nowhere, a self-loop, an edge given
            twice, or is not (strongly) connected.
    """
    if isinstance(topology, Explicit):
        nodes, edges, directed = list(topology.nodes), list(topology.edges), topology.directed
        _check_nodes(nodes, "topology.nodes")
        _check_edges(nodes, edges, directed)
        key = "topology.edges"
    elif isinstance(topology, GraphFile):
        nodes, edges, directed = _read(topology, folder)
        _check_nodes(nodes, "topology.file")
        for a, b in edges:
            if a == b:
                raise Invalid(
                    Problem("topology.file", f"its graph has the self-loop {shown([a, b])}", "none")
                )
        key = "topology.file"
    else:
        own = getattr(topology, "seed", None)
        drawn = topology.draw(seed if own is None else own)
        nodes, directed = agent_ids(drawn.number_of_nodes()), topology.is_directed
        edges = [(nodes[a], nodes[b]) for a, b in drawn.edges]
        _check_nodes(nodes, "topology")
        key = "topology"
    both = edges if directed else edges + [(b, a) for a, b in edges]
    graph = nx.DiGraph()
    graph.add_nodes_from(sorted(nodes))
    graph.add_edges_from(sorted(set(both)))
    _check_connected(graph, directed, key)
    return graph, directed


def _check_nodes(nodes: list[str], key: str) -> None:
    problems = [
        Problem(key, f"agent id {shown(node)} is given {times} times", "ids that differ")
        for node, times in Counter(nodes).items()
        if times > 1
    ]
    problems += [
        Problem(key, f"got the agent id {shown(node)}", f"{ID_RULE} in every id")
        for node in nodes
        if not LEVEL.match(node)
    ]
    if len(nodes) < 3:
        problems.append(Problem(key, f"got {len(nodes)} agents", "at least 3; the mechanism needs them"))
    if problems:
        raise Invalid(*problems)


def _check_edges(nodes: list[str], edges: Edges, directed: bool) -> None:
    known, seen, problems = set(nodes), dict[tuple[str, str], int](), list[Problem]()
    for k, (a, b) in enumerate(edges):
        key, got = f"topology.edges[{k}]", f"got {shown([a, b])}"
        strangers = sorted({a, b} - known)
        same = (a, b) if directed else (min(a, b), max(a, b))
        if strangers:
            names = " and ".join(map(shown, strangers))
            meant = did_you_mean(strangers[0], known)
            problems.append(
                Problem(key, f"{got}, but {names} is not in topology.nodes", f"a pair of known ids{meant}")
            )
        elif a == b:
            problems.append(Problem(key, f"{got}, a self-loop", "two different agents"))
        elif same in seen:
            hint = "" if directed else " (with directed = false an edge already goes both ways)"
            problems.append(
                Problem(key, f"{got}, the same edge as edges[{seen[same]}]", f"each edge once{hint}")
            )
        seen.setdefault(same, k)
    if problems:
        raise Invalid(*problems)


def _check_connected(graph: nx.DiGraph, directed: bool, key: str) -> None:
    first = next(iter(graph))
    heard = nx.descendants(graph, first) | {first}
    cut = [agent for agent in graph if agent not in heard]
    if not directed:
        if cut:
            raise Invalid(
                Problem(
                    key,
                    f"no path between {first} and {{{listed(cut)}}}",
                    "a connected graph, all in one piece",
                )
            )
        return
    listeners = nx.ancestors(graph, first) | {first}
    deaf = [agent for agent in graph if agent not in listeners]
    if cut or deaf:
        pair = (first, cut) if cut else (deaf[0], [first])
        raise Invalid(
            Problem(
                key,
                f"nothing that {{{listed(pair[1])}}} says ever reaches {pair[0]}",
                "a strongly connected graph: from every agent to every other a path of edges i -> j, meaning "
                "i listens to j",
            )
        )


def _read(topology: GraphFile, folder: Path) -> tuple[list[str], Edges, bool]:
    path = folder / topology.file
    readers = _readers(bool(topology.directed))
    if path.suffix.lower() not in readers:
        raise Invalid(
            Problem(
                "topology.file",
                f"got {shown(topology.file)}",
                f"a suffix out of {', '.join(sorted(readers))}",
            )
        )
    if not path.is_file():
        raise Invalid(
            Problem("topology.file", f"got {shown(topology.file)}; there is no file {path}", "a graph file")
        )
    try:
        graph = readers[path.suffix.lower()](path)
    # What networkx's readers raise over a file of another format; all of it is the file's fault.
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ParseError,
        nx.NetworkXException,
    ) as error:
        got = f"{shown(topology.file)} could not be read ({type(error).__name__}: {error})"
        raise Invalid(Problem("topology.file", got, f"a graph in {path.suffix} format")) from error
    directed = graph.is_directed() if topology.directed is None else topology.directed
    edges = {(str(a), str(b)) for a, b in graph.edges()}
    if directed and not graph.is_directed():
        edges |= {(b, a) for a, b in edges}
    return [str(node) for node in graph], sorted(edges), directed


def _readers(directed: bool) -> dict[str, Callable[[Path], Any]]:
    # Edge and adjacency lists do not say whether they are directed; the other formats do.
    kind = nx.DiGraph if directed else nx.Graph
    return {
        ".graphml": nx.read_graphml,
        ".gml": nx.read_gml,
        ".gexf": nx.read_gexf,
        ".net": nx.read_pajek,
        ".pajek": nx.read_pajek,
        ".edgelist": lambda path: nx.read_edgelist(path, create_using=kind, data=False),
        ".adjlist": lambda path: nx.read_adjlist(path, create_using=kind),
        ".json": _read_node_link,
    }


def _read_node_link(path: Path) -> nx.Graph:
    """Node-link JSON; the key of the edge list is "edges" or, as older networkx writes it, "links"."""
    data = json.loads(path.read_text("utf-8"))
    graph = nx.DiGraph() if data["directed"] else nx.Graph()
    for node in data["nodes"]:
        if (name := _scalar(node["id"])) in graph:
            raise ValueError(f"node id {name!r} twice")
        graph.add_node(name)
    edges: Iterable[Any] = data["edges"] if "edges" in data else data["links"]
    for edge in edges:
        ends = _scalar(edge["source"]), _scalar(edge["target"])
        for end in ends:
            if end not in graph:
                raise ValueError(f"edge {ends} ends at {end!r}, which is no node")
        graph.add_edge(*ends)
    return graph


def _scalar(value: Hashable) -> str:
    if not isinstance(value, str | int):
        raise ValueError(f"node id {value!r} is neither text nor a whole number")
    return str(value)
