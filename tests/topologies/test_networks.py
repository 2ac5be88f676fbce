"""Network scenarios: what is made of them, and every mistake named with agent and link."""

from __future__ import annotations

import json
import re

import networkx as nx
import pytest

from node.protocols.network.facts import contract_of
from runner.show import describe
from topologies import ScenarioError, load_scenario

SMALL = """
[topology]
links = "complete"

[environment]
kind = "network"

[environment.links.one]
capacity = 2.0
agents = ["a", "b", "c"]

[environment.links.two]
capacity = 1.0
coefficients = { b = 1.0, c = 0.5 }

[environment.valuations]
w = 3.0

[mechanism]
name = "unicast"
"""
ROUTED = """
[topology]
links = "hub"

[environment]
kind = "network"

[environment.backbone]
capacity = 4.0
edges = [["A", "B"], ["B", "C", 2.0], ["A", "C", 9.0], ["C", "D"], ["X", "Y"]]

[environment.flows]
f1 = { from = "A", to = "B" }
f2 = { from = "A", to = "B", path = 2 }
f3 = { from = "B", to = "C" }
f4 = { from = "C", to = "A" }
f5 = { from = "B", to = "A" }

[mechanism]
name = "unicast"
"""
LINEAR = """
[topology]
links = "complete"

[environment]
kind = "network"

[environment.links.row]
capacity = 4.0
agents = ["a", "b", "c", "d", "e"]

[environment.valuations]
families = ["log", "quadratic"]

[mechanism]
name = "linear"
"""

# Text, what is replaced in it, by what, and what the message says.
MISTAKES = {
    "a link with one user": (
        SMALL,
        '["a", "b", "c"]',
        '["a"]',
        "environment.links.one: link one (capacity 2.0) is used by a alone",
    ),
    "a link with one user whose other links let it bind": (
        SMALL,
        "[environment.links.two]",
        '[environment.links.three]\ncapacity = 1.9\nagents = ["a"]\n[environment.links.two]',
        "environment.links.three: link three (capacity 1.9) is used by a alone",
    ),
    "an agent listed twice on a link": (
        SMALL,
        '["a", "b", "c"]',
        '["a", "b", "b"]',
        'environment.links.one.agents[2]: got "b" a second time; expected every agent once',
    ),
    "an agent twice in a group": (
        LINEAR,
        "[environment.links.row]",
        'groups = { g = ["a", "b", "a"] }\n[environment.links.row]',
        'environment.groups.g[2]: got "a" a second time',
    ),
    "capacity 0": (
        SMALL,
        "capacity = 2.0",
        "capacity = 0.0",
        "environment.links.one.capacity: got 0.0; expected a finite number > 0",
    ),
    "a weight of a tax term that weak balance does not have": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nbalance = "weak"\nzeta = 2.0',
        "mechanism.zeta: got 2.0; expected no such key: it is a weight of unicast and multicast with balance",
    ),
    "a weight of a tax term of another mechanism": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nxi = 0.5',
        "mechanism.xi: got 0.5; expected no such key",
    ),
    "a flow of weight 0": (
        ROUTED,
        'to = "B", path = 2 }',
        'to = "B", path = 2, coefficient = 0.0 }',
        "environment.flows.f2.coefficient: got 0.0; expected a finite number > 0",
    ),
    "weight 0 in a row": (
        LINEAR,
        'agents = ["a", "b", "c", "d", "e"]',
        "coefficients = { a = 1.0, b = 0.0, c = 1.0 }",
        "environment.links.row.coefficients.b: got 0.0; expected a finite number, not 0",
    ),
    "one agent in a row, with a negative weight": (
        LINEAR,
        "[environment.links.row]",
        "[environment.links.odd]\ncapacity = 1.0\ncoefficients = { a = -1.0 }\n[environment.links.row]",
        "row odd: concerns a alone",
    ),
    "a capacity that is not finite": (
        SMALL,
        "capacity = 2.0",
        "capacity = inf",
        "environment.links.one.capacity: got inf",
    ),
    "a link that nobody uses": (
        SMALL,
        "[environment.links.two]",
        "[environment.links.tow]\ncapacity = 9.0\n[environment.links.two]",
        "environment.links.tow: no agents use it; expected agents or coefficients (did you mean two?)",
    ),
    "a link that nobody uses, beside a backbone": (
        ROUTED,
        "[environment.flows]",
        "[environment.links.idle]\ncapacity = 9.0\n[environment.flows]",
        "environment.links.idle: no agents use it",
    ),
    "weight 0": (SMALL, "b = 1.0", "b = 0.0", "environment.links.two.coefficients.b: got 0.0"),
    "a negative weight": (SMALL, "b = 1.0", "b = -1.0", "environment.links.two.coefficients.b: got -1.0"),
    "an agent without a link": (
        SMALL,
        'links = "complete"',
        'nodes = ["a", "b", "c", "z"]\nedges = [["a", "b"], ["b", "c"], ["c", "z"]]',
        "agent z is on no link",
    ),
    "a link's agent that is no agent": (
        SMALL,
        'links = "complete"',
        'nodes = ["a", "b", "z"]\nedges = [["a", "b"], ["b", "z"]]',
        "agent c of a link is not in the graph",
    ),
    "agents of a link that cannot reach one another": (
        SMALL,
        'links = "complete"',
        'nodes = ["a", "b", "c"]\nedges = [["a", "b"], ["a", "c"]]',
        "agents b and c of link two cannot reach one another",
    ),
    "a relay that is no agent": (
        SMALL,
        "coefficients = {",
        'relays = ["q"]\ncoefficients = {',
        'environment.links.two.relays: got "q"',
    ),
    "a directed graph": (
        SMALL,
        'links = "complete"',
        'nodes = ["a", "b", "c"]\nedges = [["a", "b"], ["b", "c"], ["c", "a"]]\ndirected = true',
        "edges of one direction",
    ),
    "an agent twice on a link": (
        SMALL,
        "coefficients = {",
        'agents = ["b"]\ncoefficients = {',
        "agent b in agents and coefficients",
    ),
    "quadratic where utilities must increase": (
        SMALL,
        "w = 3.0",
        'families = ["quadratic"]',
        "agent a: utility Quadratic is not strictly increasing",
    ),
    "infinite slope at 0": (SMALL, "w = 3.0", "s = 0.0", "agent a: expected s > 0"),
    "not concave": (
        LINEAR,
        'families = ["log", "quadratic"]',
        'families = ["quadratic"]\ntheta = 1.0',
        "agent a: expected theta < 0",
    ),
    "unknown family": (
        SMALL,
        "w = 3.0",
        'families = ["cobb-douglas"]',
        'environment.valuations.families: got "cobb-douglas"',
    ),
    "utility of a stranger": (
        SMALL,
        "w = 3.0",
        '[environment.valuations.agents.z]\nfamily = "log"\nw = 1.0',
        "environment.valuations.agents.z: no such agent",
    ),
    "parameter of another family": (
        SMALL,
        "w = 3.0",
        '[environment.valuations.agents.a]\nfamily = "log"\nw = 1.0\nalpha = 2.0',
        "agent a: utility 'log' with alpha, s, w",
    ),
    "eta 0": (SMALL, 'name = "unicast"', 'name = "unicast"\neta = 0.0', "mechanism.eta: got 0.0"),
    "a negative zeta": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nzeta = -1.0',
        "mechanism.zeta: got -1.0",
    ),
    "gamma without constant": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\ngamma = 1.0',
        "mechanism.gamma: got 1.0",
    ),
    "constant without gamma": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "constant"',
        "mechanism.gamma: missing",
    ),
    "unknown prices": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "quick"',
        'mechanism.prices: got "quick"; expected "fast"',
    ),
    "more than the best response": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "strategic"\nkappa = 1.5',
        "mechanism.kappa: got 1.5; expected at most 1",
    ),
    "moves between best responses": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "strategic"\nmoves = 2',
        "mechanism.moves: got 2; expected 1",
    ),
    "a factor of Newton's step": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "newton"\nkappa = 0.5',
        "mechanism.kappa: got 0.5; expected no such key",
    ),
    "sums for Newton's prices": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nprices = "newton"\nexchange = "convergecast"',
        'mechanism.exchange: got "convergecast"; expected "flood"',
    ),
    "sums where tables are needed": (
        SMALL,
        'name = "unicast"',
        'name = "multicast"\nexchange = "convergecast"',
        'mechanism.exchange: got "convergecast"; expected "flood"',
    ),
    "no moves": (SMALL, 'name = "unicast"', 'name = "unicast"\nmoves = 0', "mechanism.moves: got 0"),
    "balance of another mechanism": (
        SMALL,
        'name = "unicast"',
        'name = "unicast"\nbalance = "everywhere"',
        'mechanism.balance: got "everywhere"; expected one of strong, weak',
    ),
    "another mechanism": (
        SMALL,
        'name = "unicast"',
        'name = "private-goods"',
        'mechanism.name: got "private-goods"',
    ),
    "another environment": (SMALL, 'kind = "network"', 'kind = "consensus"', "environment."),
    "a misspelt key": (
        SMALL,
        "capacity = 2.0",
        "capacty = 2.0",
        "environment.links.one.capacty: unknown key with value 2.0; expected one of capacity",
    ),
    "another stopping rule": (
        SMALL,
        "[mechanism]",
        '[stopping]\nrule = "windows"\n[mechanism]',
        'stopping.rule: got "windows"',
    ),
    "free-running agents": (
        SMALL,
        "[mechanism]",
        '[synchrony]\nmode = "free"\n[mechanism]',
        'synchrony.mode: got "free"',
    ),
    "beliefs, which nobody has here": (
        SMALL,
        "[mechanism]",
        '[learning]\ndynamics = "fictitious"\n[mechanism]',
        'learning.dynamics: got "fictitious"; expected no such section',
    ),
    "a section of other utilities": (
        SMALL,
        "[mechanism]",
        "[utilities]\ntheta = -2.0\n[mechanism]",
        "utilities: given",
    ),
    "groups with unicast": (
        SMALL,
        "[environment.links.one]",
        'groups = { g = ["a", "b"] }\n[environment.links.one]',
        "environment.groups",
    ),
    "a flow in a group with unicast": (
        ROUTED,
        'f5 = { from = "B", to = "A" }',
        'f5 = { from = "B", to = "A", group = "g" }',
        'environment.flows.f5.group: got "g"; expected no such key with unicast',
    ),
    "floor with unicast": (
        SMALL,
        "[environment.links.one]",
        "floor = 0.1\n[environment.links.one]",
        "environment.floor",
    ),
    "no links": (
        SMALL,
        SMALL[SMALL.index("[environment.links.one]") : SMALL.index("[environment.valuations]")],
        "",
        "environment.links: missing",
    ),
    "unknown pattern": (
        SMALL,
        'links = "complete"',
        'links = "star"',
        'topology.links: got "star"; expected "hub", "ring" or "complete"',
    ),
    "a misspelt pattern": (
        SMALL,
        'links = "complete"',
        'link = "complete"',
        "or, of a network, with `links`",
    ),
    "links without a network": (
        '[topology]\nlinks = "hub"\n[environment]\ncapacities = [1.0]\n',
        "",
        "",
        "topology.links",
    ),
    "one multicast group": (SMALL, 'name = "unicast"', 'name = "multicast"', None),
    "a flow that ends nowhere": (
        ROUTED,
        'from = "A", to = "B" }',
        'from = "A", to = "Q" }',
        'environment.flows.f1.to: got "Q"',
    ),
    "a flow whose ends are not connected": (
        ROUTED,
        'from = "A", to = "B" }',
        'from = "A", to = "X" }',
        "agent f1: no path from A to X",
    ),
    "a flow to itself": (
        ROUTED,
        'from = "A", to = "B" }',
        'from = "A", to = "A" }',
        "environment.flows.f1.to",
    ),
    "too few paths": (
        ROUTED,
        "path = 2",
        "path = 9",
        "environment.flows.f2.path: got 9, but there are 2 paths",
    ),
    "a link alone that can bind": (
        ROUTED,
        'f4 = { from = "C", to = "A" }',
        'f4 = { from = "C", to = "D" }',
        "link C--D (capacity 4.0) is used by f4 alone",
    ),
    "an edge without capacity": (ROUTED, "capacity = 4.0\n", "", 'the edge ["A", "B"] has no capacity'),
    "an edge of capacity 0": (ROUTED, '"C", 2.0', '"C", 0.0', 'the edge ["B", "C"] has capacity 0.0'),
    "an edge twice": (ROUTED, '["X", "Y"]', '["B", "A"]', "given twice"),
    "a self-loop": (ROUTED, '["X", "Y"]', '["X", "X"]', "self-loop"),
    "flows without a backbone": (
        ROUTED,
        ROUTED[ROUTED.index("[environment.backbone]") : ROUTED.index("[environment.flows]")],
        "",
        "only one of backbone and flows",
    ),
    "no backbone file": (
        ROUTED,
        ROUTED[ROUTED.index("capacity = 4.0") : ROUTED.index("[environment.flows]")],
        'file = "no.graphml"\n',
        "there is no file",
    ),
    "four agents a row off the equilibrium": (
        LINEAR,
        'name = "linear"',
        'name = "linear"\nbalance = "everywhere"',
        None,
    ),
    "too few agents a row off the equilibrium": (
        LINEAR.replace('["a", "b", "c", "d", "e"]', '["a", "b", "c", "d"]'),
        'name = "linear"',
        'name = "linear"\nbalance = "everywhere"',
        "mechanism.balance: row row: concerns 4 agents",
    ),
    "a negative reduced coefficient": (
        LINEAR,
        'agents = ["a", "b", "c", "d", "e"]',
        "coefficients = { a = 1.0, b = -1.0, c = 1.0 }",
        "row row, agent b: reduced coefficient -1.0",
    ),
    "one amount in a row": (
        LINEAR,
        "[environment.links.row]",
        'groups = { g = ["a", "b", "c", "d", "e"] }\n[environment.links.row]',
        "row row: only one amount counts",
    ),
    "floors that fill a row": (
        LINEAR,
        "[environment.links.row]",
        "floor = 1.0\n[environment.links.row]",
        "row row: the floors alone take 5.0",
    ),
    "overlapping groups": (
        LINEAR,
        "[environment.links.row]",
        'groups = { g = ["a", "b"], h = ["b", "c"] }\n[environment.links.row]',
        "agent b is also in g",
    ),
    "no limit for an amount": (
        LINEAR,
        "[environment.links.row]",
        'groups = { g = ["x", "y"] }\n[environment.links.row]',
        "agent x: no row limits its amount",
    ),
}


@pytest.mark.parametrize("text", [SMALL, LINEAR])
def test_a_link_by_hand_with_one_user_that_cannot_bind_is_left_out(tmp_path, text):
    most = 2.0 if text == SMALL else 4.0
    path = tmp_path / "net.toml"
    path.write_text(
        text.replace(
            "[mechanism]", f'[environment.links.wide]\ncapacity = {most}\nagents = ["a"]\n[mechanism]'
        )
    )
    loaded, plain = load_scenario(path), tmp_path / "plain.toml"
    plain.write_text(text)
    assert loaded.utilities == load_scenario(plain).utilities
    path.write_text(
        path.read_text().replace(
            f'capacity = {most}\nagents = ["a"]', f'capacity = {most - 0.1}\nagents = ["a"]'
        )
    )
    with pytest.raises(ScenarioError, match=r"link wide .* is used by a alone"):
        load_scenario(path)


def test_a_column_of_an_edge_list_that_is_no_capacity_is_named(tmp_path):
    (tmp_path / "net.edgelist").write_text("# two nodes, a capacity\nA B 4.0\nB C x\n")
    path = tmp_path / "net.toml"
    start, end = ROUTED.index("edges = "), ROUTED.index("[environment.flows]")
    path.write_text(ROUTED[:start] + 'file = "net.edgelist"\n' + ROUTED[end:])
    with pytest.raises(ScenarioError, match=re.escape('line 3: the edge ["B", "C"] has capacity "x"')):
        load_scenario(path)


def test_the_two_mistakes_that_are_none():
    # Three agents in groups of their own are three groups; five agents a row may balance everywhere.
    assert {name for name, (*_, said) in MISTAKES.items() if said is None} == {
        "one multicast group",
        "four agents a row off the equilibrium",
    }


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_what_it_concerns(tmp_path, mistake):
    text, old, new, said = MISTAKES[mistake]
    assert old in text
    path = tmp_path / "net.toml"
    path.write_text(text.replace(old, new, 1) if old else text)
    if said is None:
        assert load_scenario(path).agents
        return
    with pytest.raises(ScenarioError, match=re.escape(said)) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(str(path))


MANY = "".join(f'[environment.links.l{k}]\ncapacity = 1.0\nagents = ["a", "b"]\n' for k in range(99))


@pytest.mark.parametrize(
    ("mechanism", "said"),
    [
        ("unicast", "101 prices: one a link"),
        ("multicast", "203 prices: one a receiver on a link"),
        ("linear", "102 prices: one a row and a pair of neighbours in a group"),
    ],
)
def test_more_of_newtons_prices_than_an_agent_can_solve_for_are_refused(tmp_path, mechanism, said):
    text = SMALL.replace("[environment.valuations]", MANY + "[environment.valuations]")
    text = text.replace('name = "unicast"', f'name = "{mechanism}"\nprices = "newton"')
    if mechanism == "linear":
        text = text.replace('kind = "network"', 'kind = "network"\ngroups = { g = ["b", "c"] }')
        text = text.replace("{ b = 1.0, c = 0.5 }", "{ a = 1.0, b = 1.0, c = 0.5 }")
    path = tmp_path / "net.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=re.escape(f'mechanism.prices: got "newton" with {said}')):
        load_scenario(path)
    path.write_text(text.replace('"newton"', '"fast"'))
    assert load_scenario(path).agents == ("a", "b", "c")


def test_one_group_on_a_link_is_refused(tmp_path):
    path = tmp_path / "net.toml"
    text = SMALL.replace('name = "unicast"', 'name = "multicast"')
    path.write_text(
        text.replace("[environment.links.one]", 'groups = { g = ["b", "c"] }\n[environment.links.one]')
    )
    with pytest.raises(ScenarioError, match="link two: used by group g alone; expected at least 2 groups"):
        load_scenario(path)


def test_four_agents_a_row_cannot_balance_everywhere(tmp_path):
    path = tmp_path / "net.toml"
    text = LINEAR.replace(', "e"]', "]").replace('name = "linear"', 'name = "linear"\nbalance = "everywhere"')
    path.write_text(text)
    with pytest.raises(ScenarioError, match=r"row row: concerns 4 agents.*at least 5"):
        load_scenario(path)


def test_flows_take_the_kth_shortest_path_and_idle_edges_are_left_out(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(ROUTED)
    loaded = load_scenario(path)
    links = {
        name: sorted(own["coefficients"])
        for u in loaded.utilities.values()
        for name, own in u["links"].items()
    }
    assert links == {"A--B": ["f1", "f5"], "A--C": ["f2", "f4"], "B--C": ["f2", "f3"]}
    assert loaded.utilities["f3"]["links"]["B--C"]["capacity"] == 2.0
    assert loaded.utilities["f4"]["links"]["A--C"]["capacity"] == 9.0


@pytest.mark.parametrize("suffix", ["graphml", "gml", "edgelist"])
def test_a_backbone_is_read_from_a_file(tmp_path, suffix):
    graph = nx.Graph()
    graph.add_edge("A", "B", capacity=4.0)
    graph.add_edge("B", "C", capacity=2.0)
    graph.add_edge("A", "C", capacity=9.0)
    file = tmp_path / f"backbone.{suffix}"
    match suffix:
        case "graphml":
            nx.write_graphml(graph, file)
        case "gml":
            nx.write_gml(graph, file)
        case _:
            nx.write_edgelist(graph, file, data=["capacity"])
    path = tmp_path / "net.toml"
    start, end = ROUTED.index("capacity = 4.0"), ROUTED.index("[environment.flows]")
    path.write_text(f'{ROUTED[:start]}file = "backbone.{suffix}"\n{ROUTED[end:]}')
    loaded = load_scenario(path)
    assert loaded.utilities["f3"]["links"]["B--C"]["capacity"] == 2.0


@pytest.mark.parametrize(
    "name", ["corn-5", "abilene-18", "nsfnet-24", "multicast-9", "wireless-8", "microgrid-7"]
)
@pytest.mark.parametrize("prices", ["fast", "newton"])
def test_bundled_networks_resolve_to_themselves(tmp_path, name, prices):
    loaded = load_scenario(f"network-{name}", [f"mechanism.prices={prices}"])
    path = tmp_path / f"{loaded.spec.name}.json"
    path.write_text(json.dumps(loaded.resolved()))
    again = load_scenario(path)
    assert again.hash == loaded.hash
    assert again.utilities == loaded.utilities
    assert again.contract() == loaded.contract()
    for agent, own in loaded.utilities.items():
        assert contract_of(agent, loaded.contract(), own).me == agent


def test_parts_of_a_network_that_share_no_link_are_joined(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(SMALL.replace('["a", "b", "c"]', '["a", "d"]'))
    loaded = load_scenario(path)
    assert nx.is_strongly_connected(loaded.graph)
    assert ("a", "b") in loaded.graph.edges


def test_an_agent_is_told_its_own_links_only():
    loaded = load_scenario("network-abilene-18")
    for agent, own in loaded.utilities.items():
        assert all(agent in facts["coefficients"] for facts in own["links"].values())
        assert own["forwards"] == {}
        assert set(own["valuation"]) <= {"family", "w", "s", "alpha"}
    assert "links" not in loaded.contract()


@pytest.mark.parametrize("name", ["abilene-18", "microgrid-7"])
def test_a_network_is_shown_with_utilities_and_links(name):
    loaded = load_scenario(f"network-{name}")
    shown = describe(loaded, 120)
    for agent, own in loaded.utilities.items():
        line = next(text for text in shown.splitlines() if text.startswith(f"  {agent}  "))
        assert own["valuation"]["family"] in line
        assert all(link in line for link in own.get("links", own.get("rows")))
