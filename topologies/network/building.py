"""A network scenario resolved: links, the communication graph, utilities, and what each agent is told."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from node.mechanisms.network.valuations import FAMILIES, build
from node.protocols.network.facts import width_of
from topologies.errors import Invalid, Problem, listed, shown
from topologies.nearest import did_you_mean
from topologies.network.routing import backbone, link_name, route
from topologies.values import Uniform

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from topologies.network.sections import NetworkEnvironment, NetworkMechanism

# The floor d of chapter 3 where none is given: this part of the smallest capacity, shared by all its agents.
FLOOR = 1e-3


@dataclass(frozen=True)
class Network:
    """Links with everybody on them.

    Attributes:
        links: name -> ``capacity``, ``coefficients`` (ids ascending), ``relays``.
        groups: group -> its agents, ids ascending.
        agents: all that use a link or are in a group, ascending.
    """

    links: dict[str, dict[str, Any]]
    groups: dict[str, tuple[str, ...]]
    agents: tuple[str, ...]


def resolve(environment: NetworkEnvironment, mechanism: NetworkMechanism, folder: Path) -> Network:
    """Links and groups from what the file gives: by hand, or flows over a backbone.

    Edges that no flow uses are left out. So is a link with one agent, if its other links keep that agent
    below the capacity at every allocation; otherwise it is refused.

    Raises:
        Invalid: naming link, agent or flow.
    """
    for name, given in sorted(environment.groups.items()):
        _once(f"environment.groups.{name}", given)
    groups = {name: tuple(sorted(members)) for name, members in sorted(environment.groups.items())}
    if (environment.backbone is None) != (not environment.flows):
        raise Invalid(Problem("environment", "has only one of backbone and flows", "both, or links by hand"))
    links: dict[str, dict[str, Any]] = {}
    for name, section in sorted(environment.links.items()):
        if twice := sorted(set(section.agents) & set(section.coefficients)):
            raise Invalid(
                Problem(
                    f"environment.links.{name}", f"agent {twice[0]} in agents and coefficients", "one of them"
                )
            )
        _once(f"environment.links.{name}.agents", section.agents)
        _once(f"environment.links.{name}.relays", section.relays)
        coefficients = {**dict.fromkeys(section.agents, 1.0), **section.coefficients}
        if not section.capacity > 0.0:
            raise Invalid(
                Problem(
                    f"environment.links.{name}.capacity", f"got {section.capacity}", "a finite number > 0"
                )
            )
        for i, a in coefficients.items():
            if a == 0.0 or (a < 0.0 and mechanism.name != "linear"):
                expected = "a finite number > 0" if mechanism.name != "linear" else "a finite number, not 0"
                raise Invalid(Problem(f"environment.links.{name}.coefficients.{i}", f"got {a}", expected))
        if not coefficients:
            others = [other for other in environment.links if other != name]
            raise Invalid(
                Problem(
                    f"environment.links.{name}",
                    "no agents use it",
                    f"agents or coefficients{did_you_mean(name, others)}",
                )
            )
        links[name] = {
            "capacity": section.capacity,
            "coefficients": {i: coefficients[i] for i in sorted(coefficients)},
            "relays": sorted(section.relays),
        }
    if environment.backbone is not None:
        graph = backbone(environment.backbone, folder)
        routed, grouped = _flows(graph, environment)
        if clash := sorted(set(routed) & set(links)):
            raise Invalid(
                Problem(f"environment.links.{clash[0]}", "also an edge of the backbone", "another name")
            )
        links.update(routed)
        for group, members in grouped.items():
            groups[group] = tuple(sorted({*groups.get(group, ()), *members}))
    links = _without_idle(links, mechanism.name, {i for shared in groups.values() for i in shared})
    if not links and not groups:
        raise Invalid(Problem("environment.links", "missing", "links by hand, or a backbone with flows"))
    users: set[str] = {i for link in links.values() for i in link["coefficients"]} | set(environment.flows)
    if mechanism.name == "linear":
        users |= {i for shared in groups.values() for i in shared}
    agents = tuple(sorted(users))
    for name, joined in groups.items():
        unknown = sorted(set(joined) - set(agents))
        if unknown:
            raise Invalid(
                Problem(f"environment.groups.{name}", f"agent {unknown[0]} is on no link", "agents of links")
            )
    for one, two in itertools.combinations(sorted(groups), 2):
        if both := sorted(set(groups[one]) & set(groups[two])):
            raise Invalid(
                Problem(f"environment.groups.{two}", f"agent {both[0]} is also in {one}", "disjoint groups")
            )
    return Network({name: links[name] for name in sorted(links)}, groups, agents)


def _flows(
    graph: nx.Graph, environment: NetworkEnvironment
) -> tuple[dict[str, dict[str, Any]], dict[str, set[str]]]:
    directed = graph.is_directed()
    links: dict[str, dict[str, Any]] = {}
    groups: dict[str, set[str]] = {}
    sources: dict[str, str] = {}
    for name, flow in sorted(environment.flows.items()):
        if not flow.coefficient > 0.0:
            raise Invalid(
                Problem(
                    f"environment.flows.{name}.coefficient", f"got {flow.coefficient}", "a finite number > 0"
                )
            )
        for a, b in route(graph, name, flow):
            link = links.setdefault(
                link_name(a, b, directed),
                {"capacity": graph[a][b]["capacity"], "coefficients": {}, "relays": []},
            )
            link["coefficients"][name] = flow.coefficient
        if flow.group is not None:
            groups.setdefault(flow.group, set()).add(name)
            if sources.setdefault(flow.group, flow.source) != flow.source:
                raise Invalid(
                    Problem(
                        f"environment.flows.{name}.from",
                        f"got {shown(flow.source)}, but group {flow.group} comes from {sources[flow.group]}",
                        "one source for all receivers of a group",
                    )
                )
    return links, groups


def _once(key: str, agents: Sequence[str]) -> None:
    for k, agent in enumerate(agents):
        if agent in agents[:k]:
            raise Invalid(Problem(f"{key}[{k}]", f"got {shown(agent)} a second time", "every agent once"))


def _without_idle(
    links: dict[str, dict[str, Any]], mechanism: str, grouped: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Links that can bind; one with a single user that cannot is dropped (spec, section 0).

    Args:
        links: name -> ``capacity``, ``coefficients``.
        mechanism: by whose rules.
        grouped: agents that are in a group.
    """
    if mechanism == "multicast":
        return links  # who is alone there depends on groups; the contract refuses what it must
    kept: dict[str, dict[str, Any]] = {}
    single: dict[str, dict[str, Any]] = {}
    for name, link in links.items():
        # Of a row with a member of a group, or a negative coefficient, the contract refuses what it must.
        lone = len(link["coefficients"]) == 1
        (single if lone and _plain(link, grouped) else kept)[name] = link
    for name, link in single.items():
        ((agent, a),) = link["coefficients"].items()
        most = min(
            (
                other["capacity"] / other["coefficients"][agent]
                for other in kept.values()
                if agent in other["coefficients"] and _plain(other, grouped)
            ),
            default=math.inf,
        )
        if a * most > link["capacity"]:
            raise Invalid(
                Problem(
                    f"environment.links.{name}",
                    f"link {name} (capacity {link['capacity']}) is used by {agent} alone",
                    "at least 2 agents on a link that can bind: nobody may set the price that it pays",
                )
            )
    return kept


def _plain(link: Mapping[str, Any], grouped: Collection[str]) -> bool:
    """Whether everybody on the link has an amount of its own, of which none makes room for others."""
    return all(a > 0.0 and i not in grouped for i, a in link["coefficients"].items())


def communication(network: Network, mechanism: str, pattern: str) -> nx.DiGraph:
    """The communication graph made from links: hub (smallest id talks to all), ring, or complete;
    parts that share no link are joined in a row by their smallest ids."""
    graph = nx.Graph()
    graph.add_nodes_from(network.agents)
    channels = [tuple(link["coefficients"]) for link in network.links.values()]
    if mechanism == "linear":
        channels = [_carriers(network, link["coefficients"]) for link in network.links.values()]
        channels += list(network.groups.values())
    for members in channels:
        match pattern:
            case "hub":
                graph.add_edges_from((members[0], j) for j in members[1:])
            case "ring":
                graph.add_edges_from(itertools.pairwise((*members, members[0])))
            case _:
                graph.add_edges_from(itertools.combinations(members, 2))
    graph.remove_edges_from(nx.selfloop_edges(graph))
    # Parts that share no link still need the common minimum: their smallest ids talk to each other.
    pieces = sorted(min(piece) for piece in nx.connected_components(graph))
    graph.add_edges_from(itertools.pairwise(pieces))
    directed = nx.DiGraph()
    directed.add_nodes_from(sorted(graph))
    directed.add_edges_from(sorted({pair for a, b in graph.edges for pair in ((a, b), (b, a))}))
    return directed


def _carriers(network: Network, coefficients: Mapping[str, float]) -> tuple[str, ...]:
    """Who must know a row's table: those in it and the other members of their groups."""
    found = set(coefficients)
    for members in network.groups.values():
        if found & set(members):
            found |= set(members)
    return tuple(sorted(found))


def check_graph(network: Network, mechanism: str, graph: nx.DiGraph) -> None:
    """Whether the agents of every link can reach one another over its members and relays.

    Raises:
        Invalid: naming the link and agents that cannot.
    """
    strangers = sorted(set(network.agents) - set(graph))
    if strangers:
        raise Invalid(
            Problem("topology", f"agent {strangers[0]} of a link is not in the graph", "all agents of links")
        )
    if idle := sorted(set(graph) - set(network.agents)):
        raise Invalid(
            Problem(
                "environment.links", f"agent {idle[0]} is on no link", "at least one link for every agent"
            )
        )
    undirected = graph.to_undirected(as_view=True)
    channels = {
        name: (
            _carriers(network, link["coefficients"])
            if mechanism == "linear"
            else tuple(link["coefficients"]),
            link["relays"],
        )
        for name, link in network.links.items()
    }
    if mechanism == "linear":
        channels.update({name: (members, []) for name, members in network.groups.items()})
    for name, (members, relays) in channels.items():
        if unknown := sorted(set(relays) - set(graph)):
            raise Invalid(
                Problem(f"environment.links.{name}.relays", f"got {shown(unknown[0])}", "agents of the graph")
            )
        part = undirected.subgraph({*members, *relays})
        reached = nx.node_connected_component(part, members[0])
        if cut := [j for j in members if j not in reached]:
            raise Invalid(
                Problem(
                    f"environment.links.{name}.relays"
                    if name in network.links
                    else f"environment.groups.{name}",
                    f"agents {members[0]} and {listed(cut)} of link {name} cannot reach one another over it",
                    "members that are connected in the topology, if need be through relays",
                )
            )


def draw_valuations(
    environment: NetworkEnvironment, agents: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """Everybody's utility spec.

    Families are taken in turn over the agents that are not given by hand, ids ascending. The draws come from
    ``numpy.random.default_rng(seed)``: for w, s, alpha, theta, sigma in this order, if it is drawn, one
    number for every agent, given by hand or not.

    Raises:
        Invalid: for unknown agents and families, and parameters out of range or of another family.
    """
    section = environment.valuations
    if unknown := sorted(set(section.agents) - set(agents)):
        raise Invalid(
            Problem(
                f"environment.valuations.agents.{unknown[0]}",
                "no such agent on a link",
                f"one of {listed(agents)}{did_you_mean(unknown[0], agents)}",
            )
        )
    if wrong := [family for family in section.families if family not in FAMILIES]:
        raise Invalid(
            Problem(
                "environment.valuations.families",
                f"got {shown(wrong[0])}",
                f"out of {', '.join(FAMILIES)}{did_you_mean(wrong[0], FAMILIES)}",
            )
        )
    rng = np.random.default_rng(seed if section.seed is None else section.seed)
    values: dict[str, list[float]] = {}
    for key in ("w", "s", "alpha", "theta", "sigma"):
        rule = getattr(section, key)
        values[key] = (
            rng.uniform(*rule.uniform, len(agents)).tolist()
            if isinstance(rule, Uniform)
            else [rule] * len(agents)
        )
    found: dict[str, dict[str, Any]] = {}
    turn = itertools.cycle(section.families)
    for k, agent in enumerate(agents):
        if agent in section.agents:
            own = section.agents[agent].model_dump(exclude_none=True)
            key = f"environment.valuations.agents.{agent}"
            _, names = FAMILIES[own["family"]]
            if "s" in names:
                own.setdefault("s", 1.0)
        else:
            family = next(turn)
            _, names = FAMILIES[family]
            own, key = {"family": family, **{n: values[n][k] for n in names}}, "environment.valuations"
        try:
            build(own)
        except ValueError as error:
            got, _, expected = str(error).partition("; expected ")
            expected = expected or "parameters in range"
            raise Invalid(Problem(key, f"agent {agent}: {got}", expected)) from None
        found[agent] = own
    return found


def told(
    network: Network,
    environment: NetworkEnvironment,
    mechanism: NetworkMechanism,
    valuations: Mapping[str, dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """What each agent is told beside the public rules: ``node.protocols.network.facts`` says what."""
    linear = mechanism.name == "linear"
    group_of = {i: name for name, members in network.groups.items() for i in members}
    facts: dict[str, dict[str, Any]] = {}
    routes: dict[str, dict[str, float]] = {}
    for name, link in network.links.items():
        for i, a in link["coefficients"].items():
            routes.setdefault(i, {})[name] = a
    for name, link in network.links.items():
        public = {"capacity": link["capacity"], "coefficients": link["coefficients"]}
        if mechanism.name == "multicast":
            # An agent in no group given is a group of its own.
            public["groups"] = {i: group_of.get(i, i) for i in link["coefficients"]}
        if mechanism.prices == "newton" and mechanism.name != "multicast":
            members = _carriers(network, link["coefficients"]) if linear else link["coefficients"]
            public["routes"] = {i: routes.get(i, {}) for i in members}
        facts[name] = public
    if linear:
        floor = environment.floor if environment.floor is not None else default_floor(network)
        for name, public in facts.items():
            carriers = _carriers(network, network.links[name]["coefficients"])
            public["floors"] = dict.fromkeys(carriers, floor)
            public["groups"] = {
                k: list(members) for k, members in network.groups.items() if set(members) & set(carriers)
            }
    found: dict[str, dict[str, Any]] = {}
    for agent in network.agents:
        own = {
            name: public
            for name, public in facts.items()
            if agent in (_carriers(network, public["coefficients"]) if linear else public["coefficients"])
        }
        relays = {name: network.links[name]["relays"] for name in own}
        forwards = {
            name: {
                "members": list(_carriers(network, link["coefficients"]) if linear else link["coefficients"]),
                "relays": link["relays"],
                "width": width_of(mechanism.name, mechanism.prices),
            }
            for name, link in network.links.items()
            if agent in link["relays"] and name not in own
        }
        mine: dict[str, Any] = {
            "family": "network",
            "valuation": dict(valuations[agent]),
            "relays": relays,
            "forwards": forwards,
        }
        if linear:
            group = group_of.get(agent)
            mine["rows"] = own
            mine["group"] = None
            if group is not None:
                members = list(network.groups[group])
                mine["group"] = {"name": group, "members": members}
                if mechanism.prices == "newton":
                    mine["group"]["routes"] = {i: routes.get(i, {}) for i in members}
            mine["floor"], mine["ceiling"] = floor, environment.ceilings.get(agent)
        else:
            mine["links"] = own
        found[agent] = mine
    return found


def default_floor(network: Network) -> float:
    """d of chapter 3 where none is given: all floors together take a thousandth of any capacity at most."""
    least = min(
        (
            link["capacity"] / math.fsum(map(abs, link["coefficients"].values()))
            for link in network.links.values()
        ),
        default=1.0,
    )
    return FLOOR * least
