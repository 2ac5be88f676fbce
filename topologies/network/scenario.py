"""What a network scenario's sections mean together: checks, the public rules, and the resolved form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocols.network.facts import contract_of
from topologies.errors import Invalid, Problem, shown
from topologies.families import QuadraticFamily
from topologies.graphs import build_graph
from topologies.network import building
from topologies.network.sections import FromLinks, NetworkEnvironment, NetworkMechanism

if TYPE_CHECKING:
    from pathlib import Path

    import networkx as nx

    from topologies.model import Scenario

BALANCES = {
    "unicast": ("strong", "weak"),
    "multicast": ("strong", "weak"),
    "linear": ("equilibrium", "weak", "everywhere"),
}
RULES = ("proof", "observed")
# Price rules that move once in a step, by what the whole network agrees on in it; and their largest kappa.
STEPWISE = {"strategic": 1.0, "newton": 1.0}
# Prices up to which those of Newton are played: every agent solves a system of that size, in plain floats.
MOST_PRICES = 100
# What has one.
PRICES = {
    "unicast": "one a link",
    "multicast": "one a receiver on a link",
    "linear": "one a row and a pair of neighbours in a group",
}
# Whether they are small enough in the file's unit of money only a search can tell: ``runner.equilibrium``.
ETA = {"unicast": 0.02, "multicast": 0.02, "linear": 0.05}


def is_network(spec: Scenario) -> bool:
    """Whether one of the sections says so; ``load`` then checks that the other one does, too."""
    return isinstance(spec.environment, NetworkEnvironment) or isinstance(spec.mechanism, NetworkMechanism)


def load(spec: Scenario, folder: Path) -> tuple[nx.DiGraph, bool, dict[str, dict[str, Any]]]:
    """The communication graph, whether it is directed, and what each agent is told.

    Raises:
        Invalid: naming the key, and where it concerns one the agent and the link.
    """
    environment, mechanism = _sections(spec)
    network = building.resolve(environment, mechanism, folder)
    if isinstance(spec.topology, FromLinks):
        graph, directed = building.communication(network, mechanism.name, spec.topology.links), False
        if len(graph) < 3:
            raise Invalid(Problem("environment", f"has {len(graph)} agents", "at least 3"))
    else:
        graph, directed = build_graph(spec.topology, spec.seed, folder)
    if directed:
        raise Invalid(
            Problem("topology", "has edges of one direction", "an undirected graph; tables go both ways")
        )
    building.check_graph(network, mechanism.name, graph)
    if mechanism.prices == "newton" and (prices := _prices(mechanism.name, network)) > MOST_PRICES:
        raise Invalid(
            Problem(
                "mechanism.prices",
                f'got "newton" with {prices} prices: {PRICES[mechanism.name]}',
                f"at most {MOST_PRICES}: every agent solves a system of all prices",
            )
        )
    valuations = building.draw_valuations(environment, network.agents, spec.seed)
    told = building.told(network, environment, mechanism, valuations)
    public = rules(spec)
    for agent, own in told.items():
        try:
            contract_of(agent, public, own)
        except ValueError as error:
            got, _, expected = str(error).partition("; expected ")
            key = "mechanism.balance" if "balance off the equilibrium" in got else "environment"
            raise Invalid(Problem(key, got, expected or "what the mechanism is proved for")) from None
    return graph, False, told


def _prices(mechanism: str, network: building.Network) -> int:
    """How many prices there are."""
    if mechanism == "multicast":
        return sum(len(link["coefficients"]) for link in network.links.values())
    pairs = sum(len(members) - 1 for members in network.groups.values()) if mechanism == "linear" else 0
    return len(network.links) + pairs


def _sections(spec: Scenario) -> tuple[NetworkEnvironment, NetworkMechanism]:
    environment, mechanism = spec.environment, spec.mechanism
    if not isinstance(mechanism, NetworkMechanism):
        raise Invalid(
            Problem(
                "mechanism.name",
                f"got {shown(mechanism.name)}",
                '"unicast", "multicast" or "linear", because environment.kind = "network"',
            )
        )
    if not isinstance(environment, NetworkEnvironment):
        raise Invalid(
            Problem(
                "environment.kind",
                f"got {shown(environment.kind)}",
                f'"network", because mechanism.name = "{mechanism.name}"',
            )
        )
    allowed = BALANCES[mechanism.name]
    if mechanism.balance not in (None, *allowed):
        raise Invalid(
            Problem("mechanism.balance", f"got {shown(mechanism.balance)}", f"one of {', '.join(allowed)}")
        )
    _check_unused(mechanism)
    if (mechanism.prices == "constant") != (mechanism.gamma is not None):
        raise Invalid(
            Problem(
                "mechanism.gamma",
                "missing" if mechanism.gamma is None else f"got {mechanism.gamma}",
                'a number > 0 with prices = "constant", and no such key otherwise',
            )
        )
    if mechanism.exchange == "convergecast" and (
        mechanism.name == "multicast" or mechanism.prices in STEPWISE
    ):
        raise Invalid(
            Problem(
                "mechanism.exchange",
                'got "convergecast"',
                '"flood": multicast, best responses and Newton\'s prices need whole tables, not only sums',
            )
        )
    if mechanism.prices in STEPWISE:
        _check_stepwise(mechanism)
    if spec.stopping.rule not in RULES and "rule" in spec.stopping.model_fields_set:
        raise Invalid(
            Problem(
                "stopping.rule",
                f"got {shown(spec.stopping.rule)}",
                '"proof" (the accuracy is proved), or "observed" (it seems to be there)',
            )
        )
    if spec.synchrony.mode != "rounds":
        raise Invalid(
            Problem(
                "synchrony.mode",
                f"got {shown(spec.synchrony.mode)}",
                '"rounds": with stale sums momentum does not converge, and capacities may be exceeded',
            )
        )
    if spec.learning.dynamics != "cournot":
        raise Invalid(
            Problem(
                "learning.dynamics",
                f"got {shown(spec.learning.dynamics)}",
                f'no such section, because mechanism.name = "{mechanism.name}": mechanism.prices says how',
            )
        )
    if spec.utilities != QuadraticFamily():
        raise Invalid(
            Problem("utilities", "given", "no such section; environment.valuations takes its place")
        )
    if environment.groups and mechanism.name == "unicast":
        raise Invalid(Problem("environment.groups", "given", "no such table with unicast"))
    if mechanism.name == "unicast" and (grouped := [i for i, f in environment.flows.items() if f.group]):
        got = shown(environment.flows[grouped[0]].group)
        raise Invalid(
            Problem(f"environment.flows.{grouped[0]}.group", f"got {got}", "no such key with unicast")
        )
    for key in ("floor", "ceilings"):
        if getattr(environment, key) and mechanism.name != "linear":
            raise Invalid(Problem(f"environment.{key}", "given", "no such key but with linear"))
    return environment, mechanism


def _check_unused(mechanism: NetworkMechanism) -> None:
    """Weights of terms that no tax here has. Resolved scenarios spell out the defaults, which may stand."""
    strong = mechanism.name != "linear" and mechanism.balance != "weak"
    for key, used, where in (
        ("zeta", strong, 'unicast and multicast with balance "strong"'),
        ("xi", mechanism.name == "multicast", "multicast"),
    ):
        got = getattr(mechanism, key)
        if got != NetworkMechanism.model_fields[key].default and not used:
            raise Invalid(
                Problem(f"mechanism.{key}", f"got {got}", f"no such key: it is a weight of {where}")
            )


def _check_stepwise(mechanism: NetworkMechanism) -> None:
    """Rules with one move a step."""
    rule, most = mechanism.prices, STEPWISE[mechanism.prices]
    if mechanism.kappa > most or (rule == "newton" and mechanism.kappa < most):
        raise Invalid(
            Problem(
                "mechanism.kappa",
                f"got {mechanism.kappa}",
                "at most 1, the whole way to the response" if rule == "strategic" else "no such key",
            )
        )
    if mechanism.moves not in (None, 1):
        raise Invalid(
            Problem(
                "mechanism.moves",
                f"got {mechanism.moves}",
                "1: a move needs what the whole network agrees on in its step",
            )
        )


def rules(spec: Scenario) -> dict[str, Any]:
    """The public rules of a network run."""
    mechanism, stopping = spec.mechanism, spec.stopping
    assert isinstance(mechanism, NetworkMechanism)
    limit = {"max_rounds": stopping.max_rounds} if stopping.max_rounds is not None else {}
    return {
        "mechanism": mechanism.name,
        "balance": mechanism.balance or BALANCES[mechanism.name][0],
        "eta": mechanism.eta if mechanism.eta is not None else ETA[mechanism.name],
        "xi": mechanism.xi,
        "zeta": mechanism.zeta,
        "exchange": mechanism.exchange,
        "dynamics": {
            "rule": mechanism.prices,
            "kappa": mechanism.kappa,
            "gamma": mechanism.gamma,
            "start": mechanism.start,
            "moves": 1 if mechanism.prices in STEPWISE else mechanism.moves,
        },
        "stopping": {"rule": rule(spec), "tolerance": stopping.tolerance, "scale": stopping.scale, **limit},
    }


def rule(spec: Scenario) -> str:
    """The stopping rule; that of other mechanisms is the file format's default and is not meant."""
    return spec.stopping.rule if spec.stopping.rule in RULES else "proof"


def resolved_environment(told: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The environment section with everything spelt out: links by hand, utilities agent by agent."""
    links: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {}
    ceilings: dict[str, float] = {}
    plain: dict[str, Any] = {"kind": "network"}
    for agent, own in told.items():
        for name, facts in (own["rows"] if "rows" in own else own["links"]).items():
            links[name] = {
                "capacity": facts["capacity"],
                "coefficients": facts["coefficients"],
                "relays": own["relays"][name],
            }
            if "links" in own and "groups" in facts:
                for i, group in facts["groups"].items():
                    groups.setdefault(group, [])
                    groups[group] = sorted({*groups[group], i})
        if own.get("group") is not None:
            groups[own["group"]["name"]] = own["group"]["members"]
        if own.get("ceiling") is not None:
            ceilings[agent] = own["ceiling"]
        if "floor" in own:
            plain["floor"] = own["floor"]
    plain["links"] = {name: links[name] for name in sorted(links)}
    if groups:
        plain["groups"] = {name: groups[name] for name in sorted(groups)}
    if ceilings:
        plain["ceilings"] = ceilings
    plain["valuations"] = {"agents": {agent: own["valuation"] for agent, own in told.items()}}
    return plain
