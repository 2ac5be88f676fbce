"""A graph as text for the terminal: trees as trees, small graphs on a canvas of braille dots, large ones
as a summary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import networkx as nx

from topologies.canvas import Canvas
from topologies.layout import circle, stress

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_DRAWN = 60  # agents; beyond it no terminal shows who is whose neighbour
MOST_EXACT = 500  # agents; beyond it the diameter of a graph with cycles is only bounded
DENSE = 6.0  # mean number of neighbours from which lines in the plane cover each other
MOST_DENSE = 12  # agents; a dense graph of more is shown as a table of who is whose neighbour
LONGEST = 16  # characters of an id on a canvas


def draw(graph: nx.DiGraph, directed: bool, width: int = 80) -> str:
    """Draw a graph and list everybody's neighbours.

    Args:
        graph: edge i -> j means "i listens to j"; both directions if undirected; (strongly) connected.
        directed: whether single directions matter.
        width: columns of the terminal; fewer than 60 are taken as 60.
    Returns:
        Lines joined by line breaks, none wider than ``width`` unless an id is, without a final line break.
    """
    width = max(width, 60)
    plain = graph if directed else graph.to_undirected()
    tree = not directed and nx.is_tree(plain)
    lines = [_headline(plain, directed, tree), ""]
    if len(plain) > MOST_DRAWN:
        lines += _histogram(graph, directed, width)
        return "\n".join(lines)
    lines += _tree(plain, width) if tree else _picture(graph, directed, width)
    lines += ["", *_neighbours(graph, directed, width)]
    return "\n".join(lines)


def _headline(plain: nx.Graph, directed: bool, tree: bool) -> str:
    kind = "directed graph" if directed else ("tree" if tree else "undirected graph")
    edges = plain.number_of_edges()
    return f"{len(plain)} agents, {edges} edges, {kind}, diameter {_diameter(plain, tree)}"


def _diameter(plain: nx.Graph, tree: bool) -> str:
    if len(plain) <= MOST_EXACT and not tree:
        return str(nx.diameter(plain))
    # Two sweeps: to the farthest agent, and from there to the farthest. Exact on trees.
    far = list(nx.single_source_shortest_path_length(plain, next(iter(plain))))[-1]
    bound = max(nx.single_source_shortest_path_length(plain, far).values())
    return str(bound) if tree else f">= {bound}"


def _histogram(graph: nx.DiGraph, directed: bool, width: int) -> list[str]:
    counts = Counter(dict(graph.out_degree).values())
    most = max(counts.values())
    lines = [
        "agents by the number of agents they listen to" if directed else "agents by number of neighbours"
    ]
    for degree, count in sorted(counts.items()):
        bar = "█" * max(1, round(count / most * (width - 20)))
        lines.append(f"{degree:>6} {bar} {count}")
    return lines


def _tree(tree: nx.Graph, width: int) -> list[str]:
    """Box characters, rooted at the centre; a chain without branches stays on its line."""
    root = min(nx.center(tree))
    lines: list[str] = []

    def grow(node: str, parent: str | None, first: str, rest: str) -> None:
        line = first + node
        children = sorted(other for other in tree[node] if other != parent)
        while len(children) == 1 and node != root and len(line) + len(children[0]) + 3 <= width:
            parent, node = node, children[0]
            line += f" ─ {node}"
            children = sorted(other for other in tree[node] if other != parent)
        lines.append(line)
        for child in children:
            last = child == children[-1]
            grow(child, node, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    grow(root, None, "", "")
    return lines


def _picture(graph: nx.DiGraph, directed: bool, width: int) -> list[str]:
    nodes, plain = list(graph), graph.to_undirected()
    degrees = [degree for _, degree in plain.degree]
    dense = sum(degrees) / len(nodes) > DENSE
    if dense and len(nodes) > MOST_DENSE:
        return _matrix(graph, directed, width)
    labels = [node if len(node) <= LONGEST else node[: LONGEST - 1] + "…" for node in nodes]
    longest = max(map(len, labels))
    round_ = directed or dense or max(degrees) <= 2
    rows = min(30, 8 + len(nodes) // 2 + (4 if directed else 0))
    columns = min(width, round(2.4 * rows) + 3 * longest)
    places = circle(len(nodes)) if round_ else stress(nx.floyd_warshall_numpy(plain, nodes))
    canvas = Canvas(columns, rows)
    spots = dict(zip(nodes, canvas.spread(places, longest), strict=True))
    for a, b in plain.edges:
        canvas.line(spots[a], spots[b])
    for node, label in zip(nodes, labels, strict=True):
        canvas.label(spots[node], label)
    if not directed:
        return canvas.lines()
    for a, b in graph.edges:
        if not graph.has_edge(b, a):
            canvas.arrow(spots[a], spots[b])
    return [*canvas.lines(), "", "i → j: i listens to j; no arrow: both ways"]


def _matrix(graph: nx.DiGraph, directed: bool, width: int) -> list[str]:
    nodes = list(graph)
    longest = max(map(len, nodes))
    gap = " " if longest + 1 + 2 * len(nodes) <= width else ""
    head = [" " * (longest + 1) + gap.join(node.rjust(longest)[k] for node in nodes) for k in range(longest)]
    rows = [
        f"{a:<{longest}} "
        + gap.join("╲" if a == b else ("●" if graph.has_edge(a, b) else "·") for b in nodes)
        for a in nodes
    ]
    mark = "●: the agent of the row listens to that of the column" if directed else "●: neighbours"
    return [*(line.rstrip() for line in head), *rows, "", mark]


def _neighbours(graph: nx.DiGraph, directed: bool, width: int) -> list[str]:
    longest = max(map(len, graph))
    if directed:
        title, entries = "agent, whom it listens to, and by whom it is heard", []
        for node in graph:
            hears, heard = sorted(graph.successors(node)), sorted(graph.predecessors(node))
            entries.append(f"{node:<{longest}}  hears {' '.join(hears)}; heard by {' '.join(heard)}")
    else:
        title = "neighbours"
        entries = [f"{node:<{longest}}  {' '.join(sorted(graph[node]))}" for node in graph]
    widest = max(map(len, entries))
    if widest > width:
        return [title, *(line for entry in entries for line in _folded(entry, width, longest + 2))]
    beside = max(1, (width + 4) // (widest + 4))
    down = -(-len(entries) // beside)
    rows = ["    ".join(f"{entry:<{widest}}" for entry in entries[k::down]).rstrip() for k in range(down)]
    return [title, *rows]


def _folded(entry: str, width: int, indent: int) -> Iterator[str]:
    line = ""
    for word in entry.split(" "):
        if line.strip() and len(line) + len(word) + 1 > width:
            yield line
            line = " " * (indent - 1)
        line += f" {word}" if line else word
    yield line
