"""From a backbone and flows to links: who uses which capacity."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import networkx as nx

from broker.topics import LEVEL
from topologies.errors import Invalid, Problem, listed, shown
from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from topologies.network.sections import Backbone, Flow

# What networkx's readers raise over a file of another format; all of it is the file's fault.
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ParseError, nx.NetworkXException)


def backbone(section: Backbone, folder: Path) -> nx.Graph:
    """The physical network; every edge has a ``capacity``.

    Raises:
        Invalid: for a file that cannot be read, an edge without a capacity, twice, or to itself.
    """
    if (section.file is None) == (not section.edges):
        raise Invalid(Problem("environment.backbone", "has both or none of edges and file", "one of them"))
    key = "environment.backbone.edges" if section.file is None else "environment.backbone.file"
    edges = section.edges if section.file is None else _read(section, folder)
    graph: nx.Graph = nx.DiGraph() if section.directed else nx.Graph()
    for k, (a, b, own) in enumerate(edges):
        where = f"{key}[{k}]" if section.file is None else key
        capacity = section.capacity if own is None else own
        if a == b:
            raise Invalid(Problem(where, f"the edge {shown([a, b])} is a self-loop", "two different nodes"))
        if graph.has_edge(a, b):
            raise Invalid(Problem(where, f"the edge {shown([a, b])} is given twice", "each edge once"))
        if capacity is None:
            raise Invalid(
                Problem(
                    where,
                    f"the edge {shown([a, b])} has no capacity",
                    "one, or environment.backbone.capacity",
                )
            )
        if not capacity > 0.0:
            raise Invalid(Problem(where, f"the edge {shown([a, b])} has capacity {capacity}", "a number > 0"))
        graph.add_edge(a, b, capacity=capacity)
    return graph


def _read(section: Backbone, folder: Path) -> list[tuple[str, str, float | None]]:
    assert section.file is not None
    path = folder / section.file
    kind = nx.DiGraph if section.directed else nx.Graph
    readers = {
        ".graphml": nx.read_graphml,
        ".gml": nx.read_gml,
        ".edgelist": lambda file: nx.read_edgelist(file, create_using=kind, data=[("capacity", float)]),
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise Invalid(
            Problem(
                "environment.backbone.file",
                f"got {shown(section.file)}",
                f"a suffix out of {', '.join(sorted(readers))}",
            )
        )
    if not path.is_file():
        raise Invalid(
            Problem(
                "environment.backbone.file",
                f"got {shown(section.file)}; there is no file {path}",
                "a graph file",
            )
        )
    try:
        graph = readers[suffix](path)
        return [
            (str(a), str(b), float(data["capacity"]) if "capacity" in data else None)
            for a, b, data in graph.edges(data=True)
        ]
    except _UNREADABLE as error:
        if suffix == ".edgelist":  # an edge list without a third column has no capacities
            _check_columns(section.file, path)
            try:
                plain = nx.read_edgelist(path, create_using=kind, data=False)
                return [(str(a), str(b), None) for a, b in plain.edges()]
            except _UNREADABLE:
                pass
        got = f"{shown(section.file)} could not be read ({type(error).__name__}: {error})"
        raise Invalid(Problem("environment.backbone.file", got, f"a graph in {suffix} format")) from error


def _check_columns(name: str, path: Path) -> None:
    """Whether what stands behind the two nodes of an edge is a capacity.

    Raises:
        Invalid: naming line, edge and what stands there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return  # no text; whoever asked says what else is the matter
    for k, line in enumerate(lines, 1):
        a, b, capacity, *_ = [*line.partition("#")[0].split(), "", "", ""]
        if not capacity:
            continue
        try:
            float(capacity)
        except ValueError:
            raise Invalid(
                Problem(
                    "environment.backbone.file",
                    f"got {shown(name)}; line {k}: the edge {shown([a, b])} has capacity {shown(capacity)}",
                    "a number > 0",
                )
            ) from None


def route(graph: nx.Graph, name: str, flow: Flow) -> list[tuple[str, str]]:
    """The edges of a flow's path; of paths of equal length, the one whose nodes come first as text.

    Raises:
        Invalid: for unknown nodes, ends that are not connected, or fewer paths than asked for.
    """
    key = f"environment.flows.{name}"
    for end, node in (("from", flow.source), ("to", flow.target)):
        if node not in graph:
            raise Invalid(
                Problem(
                    f"{key}.{end}",
                    f"got {shown(node)}",
                    f"a node of the backbone: {listed(sorted(graph))}{did_you_mean(node, graph)}",
                )
            )
    if flow.source == flow.target:
        raise Invalid(Problem(f"{key}.to", f"got {shown(flow.target)}", "another node than from"))
    try:
        paths = nx.shortest_simple_paths(graph, flow.source, flow.target)
        found: list[list[str]] = []
        for path in paths:
            # All paths as short as the k-th, so that the choice does not depend on networkx's order.
            if len(found) >= flow.path and len(path) > len(found[-1]):
                break
            found.append(path)
            if len(found) > 1000:
                break
    except nx.NetworkXNoPath:
        raise Invalid(
            Problem(
                key,
                f"agent {name}: no path from {flow.source} to {flow.target}",
                "end points that the backbone connects",
            )
        ) from None
    if len(found) < flow.path:
        raise Invalid(
            Problem(f"{key}.path", f"got {flow.path}, but there are {len(found)} paths", "as many at most")
        )
    chosen = sorted(found, key=lambda path: (len(path), path))[flow.path - 1]
    return list(itertools.pairwise(chosen))


def link_name(a: str, b: str, directed: bool) -> str:
    """Of an edge, from its nodes: characters that ids may not have become "_"."""
    ends = (a, b) if directed else tuple(sorted((a, b)))
    name = "--".join("".join(c if LEVEL.match(c) else "_" for c in end) for end in ends)
    return name[:64]
