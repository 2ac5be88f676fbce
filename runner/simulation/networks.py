"""Network mechanisms for the simulator: random links on a graph, and what their results promise."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import networkx as nx

from node.mechanisms.network import checks
from node.mechanisms.network.contract import Share
from node.mechanisms.network.optimum import program, solve
from node.protocols.network.facts import contract_of
from node.protocols.network.restriction import among
from runner.simulation.promises import settles
from topologies.network import building
from topologies.network.scenario import BALANCES, STEPWISE
from topologies.network.sections import NetworkEnvironment, NetworkMechanism

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from node.part import AgentId, Part
    from runner.simulation.promises import Records

# Steps of play on 31 agents; on more there are two, or the storm's many deliveries would take all the time.
STEPS = (2, 3, 4, 5, 12)

Told = dict[str, dict[str, Any]]


def draw(mechanism: str, graph: nx.DiGraph, rng: random.Random) -> tuple[dict[str, Any], Told]:
    """Rules and what every agent is told, for links of agents that are connected on the graph.

    On a directed graph everybody is on every link: parts of it need not be strongly connected.
    """
    agents = sorted(graph)
    both = all(graph.has_edge(j, i) for i, j in graph.edges)
    links: dict[str, dict[str, Any]] = {}
    uncovered = set(agents)
    # Balance off the equilibrium needs five on every link.
    everywhere = mechanism == "linear" and len(agents) >= 5 and rng.random() < 0.25
    while uncovered or len(links) < 2:
        start = rng.choice(sorted(uncovered) or agents)
        size = rng.randint(5, 7) if everywhere else rng.randint(2, 6)
        members = _ball(graph, start, size, rng) if both else agents
        relays = _relays(graph, members) if both and not everywhere and rng.random() < 0.25 else []
        members = [i for i in members if i not in relays]
        links[f"l{len(links):02d}"] = {
            "capacity": round(rng.uniform(0.5, 1.0) * len(members), 3),
            "coefficients": {i: round(rng.uniform(0.5, 1.5), 3) for i in sorted(members)},
            "relays": relays,
        }
        uncovered -= set(members)
    groups: dict[str, tuple[str, ...]] = {}
    if mechanism == "multicast":
        groups = {
            k: tuple(i for n, i in enumerate(agents) if n % 2 == r) for r, k in enumerate(("even", "odd"))
        }
        if any(len({i in groups["even"] for i in link["coefficients"]}) < 2 for link in links.values()):
            groups = {}  # some link would have one group only: everybody is a group of its own
    small = len(agents) <= 10
    # With a price for each receiver on each link a step of Newton's takes seconds of 31 agents.
    newton = ("newton",) if small or mechanism != "multicast" else ()
    spec = NetworkMechanism(
        name=mechanism,  # type: ignore[arg-type]
        prices=rng.choice(("fast", "fast", "fast", "padr", "proved", "strategic", *newton)),
    )
    stepwise = spec.prices in STEPWISE
    families = ["log", "square-root", "alpha-fair", "exponential"]
    values = {i: _valuation(rng.choice(families), rng) for i in agents}
    rules = {
        "mechanism": mechanism,
        "balance": "everywhere" if everywhere else rng.choice(BALANCES[mechanism][:2]),
        "eta": 0.02,
        "xi": 0.02,
        "zeta": 1.0,
        # Sums need a way back on every edge.
        "exchange": "convergecast"
        if mechanism != "multicast" and both and not stepwise and len(links) % 2
        else "flood",
        "dynamics": {
            "rule": spec.prices,
            "kappa": 1.0,
            "gamma": None,
            "start": 1.0,
            "moves": 1 if stepwise else 1 + len(links) % 3,
        },
        "stopping": {
            "rule": "proof",
            "tolerance": 1e-2,
            "scale": None,
            "max_rounds": rng.randint(4, 60) if small else (rng.choice(STEPS) if len(agents) <= 31 else 2),
        },
    }
    shares = mechanism == "linear" and both and not everywhere
    if shares and (pairs := _pairs(graph, links)) and rng.random() < 0.5:
        groups = {"shared": rng.choice(pairs)}
    network = building.Network(links, groups, tuple(agents))
    return rules, building.told(network, NetworkEnvironment(kind="network"), spec, values)


def _relays(graph: nx.DiGraph, members: Sequence[AgentId]) -> list[AgentId]:
    """A member without which those that are left, two at least, are not connected; or none."""
    for i in sorted(members):
        others = set(members) - {i}
        if len(others) > 1 and not nx.is_strongly_connected(graph.subgraph(others)):
            return [i]
    return []


def _pairs(graph: nx.DiGraph, links: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Neighbours that may share a public good: on every row of either of them there is somebody else."""
    rows = [set(link["coefficients"]) for link in links.values()]
    return [
        (i, j) for i, j in sorted(graph.edges) if i < j and all(row - {i, j} for row in rows if row & {i, j})
    ]


DRAWS = {name: partial(draw, name) for name in ("unicast", "multicast", "linear")}


def _ball(graph: nx.DiGraph, start: str, size: int, rng: random.Random) -> list[str]:
    """A connected set of agents around one."""
    members, border = [start], sorted(graph.successors(start))
    while border and len(members) < size:
        members.append(border.pop(rng.randrange(len(border))))
        border = sorted({j for i in members for j in graph.successors(i)} - set(members))
    return members


def _valuation(family: str, rng: random.Random) -> dict[str, Any]:
    own: dict[str, Any] = {"family": family, "w": round(rng.uniform(2.0, 6.0), 3), "s": 1.0}
    return {**own, "alpha": 2.0} if family == "alpha-fair" else own


def promises(
    parts: Mapping[AgentId, Part], results: Mapping[AgentId, Any], records: Records
) -> Iterator[str]:
    """Capacities hold in every round and of what is in use; what is proved is so; all agree."""
    rules = next(iter(parts.values())).contract
    contracts = {i: contract_of(i, rules, among(i, rules, part.utility, parts)) for i, part in parts.items()}
    first = next(iter(results.values()))
    for fact in ("agents", "diameter", "depth", "steps", "factor", "gap", "satisfied"):
        if any(getattr(result, fact) != getattr(first, fact) for result in results.values()):
            yield f"the agents disagree on {fact}"
    amounts = {i: result.allocation for i, result in results.items()}
    for what in ("allocation", "in_use"):
        for k, rows in enumerate(records):
            if len(rows) == len(parts) and all(what in row for row in rows.values()):
                over = checks.overshoot(contracts, {i: row[what] for i, row in rows.items()})
                if over > 0.0:
                    yield f"round {k}: {what} exceeds a capacity by {over:.3g}"
    if checks.overshoot(contracts, amounts) > 0.0:
        yield f"the result exceeds a capacity by {checks.overshoot(contracts, amounts):.3g}"
    yield from settles([result.tax for result in results.values()])
    yield from _balances(rules, results)
    if len(parts) > 31:
        return  # the planner would take most of the time
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    missing = optimum.welfare - math.fsum(c.valuation.value(amounts[i]) for i, c in contracts.items())
    if missing > first.gap + 1e-11 * abs(optimum.welfare):
        yield f"welfare {missing:.3g} below the optimum, proved was {first.gap:.3g}"
    if first.satisfied:
        largest = max(optimum.allocation.values())
        off = max(abs(x - optimum.allocation[i]) for i, x in amounts.items()) / largest
        if off > rules["stopping"]["tolerance"]:
            yield f"an accuracy of {rules['stopping']['tolerance']:g} was proved, but it is {off:.3g}"
    elif first.steps != rules["stopping"]["max_rounds"]:
        yield f"stopped without a proof after {first.steps} steps"


def _balances(rules: Mapping[str, Any], results: Mapping[AgentId, Any]) -> Iterator[str]:
    """With strong balance taxes add up to zero, even where play was cut short: prices are equal on a link."""
    if rules["balance"] == "weak":
        return
    if rules["balance"] == "equilibrium" and not results[min(results)].satisfied:
        return  # there slack is charged for
    if rules["dynamics"]["rule"] == "strategic":
        return  # everybody names prices of its own
    shares = {i: Share(result.allocation, result.tax) for i, result in results.items()}
    off = checks.imbalance(shares, {i: result.price for i, result in results.items()})
    if off > checks.BALANCED:
        yield f"taxes add up to {checks.balance(shares)[0]:.3g}, {off:.3g} of all"
