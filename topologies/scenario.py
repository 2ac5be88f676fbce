"""Read a scenario: file and command line in, a checked and fully resolved scenario out."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from node.part import Part
from topologies import consensus, custom, faults, membership, summary
from topologies.catalog import find
from topologies.errors import Invalid, Problem, ScenarioError, shown
from topologies.families import CustomFamily
from topologies.graphs import build_graph
from topologies.model import (
    ConsensusEnvironment,
    ConsensusMechanism,
    PublicEnvironment,
    Record,
    Scenario,
    SummaryMechanism,
)
from topologies.network import scenario as network
from topologies.network.sections import FromLinks, NetworkEnvironment, NetworkMechanism
from topologies.overrides import apply
from topologies.reporting import problems_of
from topologies.valuations import draw_utilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import networkx as nx

    from topologies.families import AnyFamily


@dataclass(frozen=True)
class LoadedScenario:
    """A scenario with every default filled in, the graph built and the utilities drawn.

    Attributes:
        spec: the sections as validated, overrides applied.
        path: the file it came from.
        text: that file as read.
        hash: sha256 (hex) of ``resolved()``; equal for scenarios that mean the same run.
        graph: agents ascending; edge i -> j means "i listens to j"; both directions if undirected.
        directed: whether the scenario says that edges have one direction.
        agents: ids, ascending.
        utilities: agent -> its utility as ``node.utilities.build`` reads it, for instance
            ``{"family": "quadratic", "theta": [K numbers], "sigma": [K numbers]}``; in a consensus scenario
            ``{"family": "value", "value": [numbers]}``.
    """

    spec: Scenario
    path: Path
    text: str = field(repr=False)
    graph: nx.DiGraph = field(repr=False)
    directed: bool
    utilities: dict[str, dict[str, Any]] = field(repr=False)
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        content = json.dumps(self.resolved(), sort_keys=True, allow_nan=False)
        object.__setattr__(self, "hash", hashlib.sha256(content.encode()).hexdigest())

    @property
    def import_path(self) -> tuple[str, ...]:
        """Where else the agents must look for modules of the user's: in the folder of a scenario that names
        a class of its own."""
        return (str(self.path.parent.resolve()),) if self._own_classes() else ()

    @property
    def own_modules(self) -> tuple[Path, ...]:
        """The files beside the scenario that hold what it names ``module:Class``; of packages, none."""
        names = dict.fromkeys(name.partition(":")[0] for name in self._own_classes())
        modules = (self.path.parent / f"{name}.py" for name in names)
        return tuple(module for module in modules if module.is_file())

    def _own_classes(self) -> tuple[str, ...]:
        """What is named ``module:Class``."""
        utilities, dynamics = self.spec.utilities, self.spec.learning.dynamics
        own = (utilities.class_,) if isinstance(utilities, CustomFamily) else ()
        return (*own, dynamics) if ":" in dynamics else own

    @property
    def agents(self) -> tuple[str, ...]:
        """The agents' ids, ascending."""
        return tuple(self.graph)

    def contract(self) -> dict[str, Any]:
        """The public rules that every agent is told alike; JSON-able.

        What is shared are the ``capacities`` of private goods, or the ``features`` of public ones.
        ``xi`` and ``delta`` are there only with ``parameters = "explicit"``, ``max_rounds`` only if set,
        ``unguaranteed`` only if true; ``learning`` is a name or, if it has a window, a table.
        A summary contract has other keys of its own: ``topologies.summary.contract``.
        """
        spec = self.spec
        if isinstance(spec.environment, NetworkEnvironment) or isinstance(spec.mechanism, NetworkMechanism):
            return network.rules(spec)
        if isinstance(spec.environment, ConsensusEnvironment) or isinstance(
            spec.mechanism, ConsensusMechanism
        ):
            return consensus.contract(spec)
        environment = spec.environment
        shared: dict[str, Any]
        scale = spec.stopping.scale
        if isinstance(environment, PublicEnvironment):
            shared, scale = {"features": environment.features}, 1.0 if scale is None else scale
        else:
            shared = {"capacities": list(environment.capacities)}
        limit = {"max_rounds": spec.stopping.max_rounds}
        window = {"dynamics": spec.learning.dynamics, "k": spec.learning.k}
        shared |= {
            "eta": environment.eta,
            "learning": window if spec.learning.k is not None else spec.learning.dynamics,
            "stopping": {
                "rule": spec.stopping.rule,
                "tolerance": spec.stopping.tolerance,
                "scale": scale,
                **(limit if spec.stopping.max_rounds is not None else {}),
            },
        }
        if isinstance(spec.mechanism, SummaryMechanism):
            return summary.contract(spec, shared)
        explicit = {"xi": spec.mechanism.xi, "delta": spec.mechanism.delta}
        return {
            "mechanism": spec.mechanism.name,
            **shared,
            "parameters": spec.mechanism.parameters,
            **({"unguaranteed": True} if spec.mechanism.unguaranteed else {}),
            **(explicit if spec.mechanism.parameters == "explicit" else {}),
        }

    def parts(self, run: str) -> dict[str, Part]:
        """What each agent is told in run ``run``: its own utility, its own neighbours, the public rules."""
        rules, recorded = self.contract(), self.recorded
        return {
            agent: Part(
                agent=agent,
                run=run,
                hears=tuple(sorted(self.graph.successors(agent))),
                heard_by=tuple(sorted(self.graph.predecessors(agent))),
                utility=dict(self.utilities[agent]),
                contract=rules,
                record_every=self.spec.record.every if agent in recorded else 0,
                tick=self.spec.synchrony.period,
                on_down=self.spec.recovery.on_down,
                grace=self.spec.recovery.grace,
            )
            for agent in self.agents
        }

    @property
    def recorded(self) -> frozenset[str]:
        """The agents whose measurements are kept: all, or ``record.agents`` of them, spread over the ids."""
        agents, most = self.agents, self.spec.record.agents
        if not self.spec.record.every:
            return frozenset()
        if len(agents) <= most:
            return frozenset(agents)
        return frozenset(agents[k * len(agents) // most] for k in range(most))

    def resolved(self) -> dict[str, Any]:
        """The scenario after defaults and draws: explicit graph, explicit utilities; JSON-able.

        It is itself a scenario: saved as a .json file, ``load_scenario`` reads it back with an equal hash.
        A password in ``broker.url`` is left out.
        """
        spec = self.spec
        own = isinstance(spec.environment, ConsensusEnvironment | NetworkEnvironment)
        drawn = {"environment"} if own else set()
        plain = spec.model_dump(mode="json", exclude_none=True, exclude={"topology", "utilities", *drawn})
        edges = [[a, b] for a, b in self.graph.edges if self.directed or a < b]
        if spec.record.agents == Record().agents:
            del plain["record"]["agents"]  # runs recorded before there was such a key keep their hash
        if spec.recovery.on_down == "wait":
            del plain["recovery"]["on_down"], plain["recovery"]["grace"]  # likewise
        if not plain["mechanism"].get("unguaranteed"):
            # Runs recorded before there was such a key keep their hash.
            plain["mechanism"].pop("unguaranteed", None)
        plain["topology"] = {"nodes": list(self.agents), "edges": edges, "directed": self.directed}
        if isinstance(spec.environment, ConsensusEnvironment):
            values = {agent: utility["value"] for agent, utility in self.utilities.items()}
            plain["environment"] = {"kind": "consensus", "values": values}
        elif isinstance(spec.environment, NetworkEnvironment):
            plain["environment"] = network.resolved_environment(self.utilities)
            plain["stopping"]["rule"] = network.rule(spec)
        else:
            plain["utilities"] = _given(spec.utilities, self.utilities)
        if spec.broker.url is not None:
            parts = urlsplit(spec.broker.url)
            plain["broker"]["url"] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return plain


def _given(section: AnyFamily, utilities: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The section that gives these utilities agent by agent."""
    if isinstance(section, CustomFamily):
        agents = {agent: utility["parameters"] for agent, utility in utilities.items()}
        return {"family": section.family, "class": section.class_, "agents": agents}
    agents = {
        agent: {key: value for key, value in utility.items() if key != "family"}
        for agent, utility in utilities.items()
    }
    return {"family": section.family, "agents": agents}


def load_scenario(
    source: str | Path, overrides: Sequence[str] = (), seed: int | None = None
) -> LoadedScenario:
    """Read, check and resolve a scenario.

    Args:
        source: path of a TOML file (or of a ``resolved.json`` that a run left), or the name of a bundled
            scenario.
        overrides: ``dotted.key=value`` each; the value is read as TOML, or as a bare string if it is none.
        seed: takes the place of the scenario's ``seed``; sections with a seed of their own keep it.
    Raises:
        ScenarioError: one line for each mistake: file, key path, value seen, what is expected.
    """
    path = find(source)
    text, data = _read(path)
    origin = apply(data, overrides)
    if seed is not None:
        data["seed"] = seed
        origin["seed"] = "--seed"
    data.setdefault("name", re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem)[:64])
    try:
        spec = Scenario.model_validate(data)
        _check(spec)
        if network.is_network(spec):
            graph, directed, utilities = network.load(spec, path.parent)
        elif isinstance(spec.topology, FromLinks):
            raise Invalid(
                Problem(
                    "topology.links", f"got {shown(spec.topology.links)}", "no such key without a network"
                )
            )
        else:
            graph, directed = build_graph(spec.topology, spec.seed, path.parent)
        if spec.faults is not None:
            faults.check(spec.faults, tuple(graph), graph.edges)
        membership.check(spec, tuple(graph), directed)
        if isinstance(spec.environment, ConsensusEnvironment):
            consensus.check_graph(spec, graph, directed)
            utilities = consensus.draw_values(spec.environment, tuple(graph), spec.seed)
        elif not isinstance(spec.environment, NetworkEnvironment):
            if ":" in spec.learning.dynamics:
                custom.check_dynamics(spec.learning.dynamics, path.parent)
            if isinstance(spec.mechanism, SummaryMechanism):
                summary.check_graph(spec, graph, directed)
            utilities = draw_utilities(spec.utilities, spec.environment, tuple(graph), spec.seed, path.parent)
    except ValidationError as error:
        raise ScenarioError.of(str(path), problems_of(error), origin) from None
    except Invalid as error:
        raise ScenarioError.of(str(path), error.problems, origin) from None
    return LoadedScenario(spec, path, text, graph, directed, utilities)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: byte {error.start} is not UTF-8; expected a TOML file") from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); expected a TOML file") from None
    try:
        data = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path}: not TOML: {error}{_line(text, str(error))}") from None
    except ValueError as error:
        raise ScenarioError(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise ScenarioError(f"{path}: nested too deeply; expected a table of sections") from None
    if not isinstance(data, dict):
        raise ScenarioError(f"{path}: holds {type(data).__name__}; expected a table of sections")
    return text, data


def _line(text: str, message: str) -> str:
    """The line that a parser complains about, to be quoted after its message."""
    match = re.search(r"at line (\d+)", message)
    if match is None:
        return ""
    return f": {text.splitlines()[int(match[1]) - 1].strip()[:80]!r}"


def _check(spec: Scenario) -> None:
    if isinstance(spec.environment, NetworkEnvironment) or isinstance(spec.mechanism, NetworkMechanism):
        return None  # `network.load` checks the sections together
    if isinstance(spec.environment, ConsensusEnvironment) or isinstance(spec.mechanism, ConsensusMechanism):
        return consensus.check_rules(spec)
    if isinstance(spec.mechanism, SummaryMechanism):
        summary.check_rules(spec)
    elif spec.mechanism.name != spec.environment.kind:
        raise Invalid(
            Problem(
                "mechanism.name",
                f"got {shown(spec.mechanism.name)}",
                f'"{spec.environment.kind}", because environment.kind = "{spec.environment.kind}"',
            )
        )
    if spec.synchrony.mode == "free" and spec.learning.dynamics != "cournot":
        raise Invalid(
            Problem(
                "learning.dynamics",
                f"got {shown(spec.learning.dynamics)}",
                '"cournot", because synchrony.mode = "free": averages over ticks hang on who ticks how fast',
            )
        )
    if spec.stopping.rule != "counters":
        raise Invalid(
            Problem(
                "stopping.rule",
                f"got {shown(spec.stopping.rule)}",
                '"counters"; windows measure the spread of estimates of one thing, which allocations are not',
            )
        )
    if isinstance(spec.environment, PublicEnvironment):
        return None
    if spec.stopping.scale is None and not any(spec.environment.capacities):
        raise Invalid(
            Problem(
                "stopping.scale",
                "missing, and all of environment.capacities are 0",
                "a number > 0: the size of allocation that stopping.tolerance is relative to",
            )
        )
