"""What is fixed before a run starts, from its directory: who there is, the graph, what is private."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from runner import directory
from runner.errors import UserError
from runner.page.frames import Aim
from runner.page.layout import place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from topologies import LoadedScenario

# Agents that are drawn; of more, those that are recorded.
MOST_AGENTS = 2000
# The optimum of a network is a convex program of its own; beyond, its distance is not shown while it runs.
AIM_AGENTS = 2000
# The primitives whose agents hold an estimate on the way -> what it should come to.
_ESTIMATES = {
    **dict.fromkeys(("ratio", "metropolis", "flow"), "mean"),
    **{primitive: primitive for primitive in ("minimum", "maximum", "diameter")},
}
# Those that count agents.
COUNTED = ("set", "tree")


@dataclass(frozen=True)
class Scene:
    """A run's directory, read once.

    Attributes:
        run_dir: where.
        meta: what ``meta.json`` says.
        facts: what the page says of the run: title, numbers of agents and edges, mechanism, ...
        agents: ids of those that are shown, ascending.
        total: how many there are.
        edges: (E, 2) numbers of agents in ``agents``; (i, j): i listens to j; undirected ones once.
        places: (N, 2) within [-1, 1].
        aim: where play is to lead; None if nobody knows.
        facts: what the page says of the run: title, mechanism, numbers of agents and of edges, ...
    """

    run_dir: Path
    meta: dict[str, Any]
    facts: dict[str, Any]
    agents: tuple[str, ...]
    total: int
    edges: list[list[int]]
    places: NDArray[np.float64]
    aim: Aim | None
    private: dict[str, dict[str, Any]] | None = field(repr=False)


def read(run_dir: Path) -> Scene:
    """Read the directory of a run, finished or not.

    Raises:
        UserError: if it is none, is not whole, or was made by another version; in one line.
    """
    meta = directory.read_meta(run_dir)
    directory.read_object(run_dir / "resolved.json")
    from topologies import ScenarioError, load_scenario

    try:
        loaded = load_scenario(run_dir / "resolved.json")
    except ScenarioError as error:
        raise UserError(f"{run_dir}: {str(error).splitlines()[0]}") from None
    if "run" not in meta or loaded.hash != meta.get("hash"):
        raise UserError(
            f"{run_dir}: meta.json and resolved.json are not of one run "
            f"(hash {str(meta.get('hash'))[:12]} and {loaded.hash[:12]})"
        )
    return of(loaded, run_dir, meta)


def of(loaded: LoadedScenario, run_dir: Path, meta: dict[str, Any]) -> Scene:
    """The scene of a scenario that is loaded already."""
    everybody = loaded.agents
    agents = (
        everybody if len(everybody) <= MOST_AGENTS else tuple(sorted(loaded.recorded)) or everybody[:1000]
    )
    number = {agent: k for k, agent in enumerate(agents)}
    edges = [
        [number[i], number[j]]
        for i, j in loaded.graph.edges
        if i in number and j in number and (loaded.directed or i < j)
    ]
    aim = _aim(loaded)
    rules, spec = loaded.contract(), loaded.spec
    facts = {
        "run": str(meta["run"]),
        "scenario": str(spec.name),
        "title": spec.title,
        "started": meta.get("started"),
        "agents": len(everybody),
        "shown": len(agents),
        "edges": len(loaded.graph.edges) // (1 if loaded.directed else 2),
        "directed": loaded.directed,
        "mechanism": rules.get("primitive") or rules["mechanism"],
        "consensus": rules["mechanism"] == "consensus",
        "sought": _sought(loaded),
        "synchrony": str(spec.synchrony.mode),
        "tolerance": rules.get("stopping", {}).get("tolerance"),
        "seed": spec.seed,
        "recorded": len(loaded.recorded),
        "faults": spec.faults is not None,
    }
    private = {agent: dict(loaded.utilities[agent]) for agent in agents}
    if aim is not None:
        for agent, own in private.items():
            if agent in aim.values:
                own["optimum"] = [float(x) for x in aim.values[agent]]
    return Scene(
        run_dir, meta, facts, agents, len(everybody), edges, place(loaded.graph, agents), aim, private
    )


def began(meta: Mapping[str, Any]) -> float | None:
    """When a run began, in Unix seconds, whole ones; None if its directory does not say so."""
    try:
        return datetime.strptime(str(meta.get("started")), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None


def alive(run_dir: Path) -> dict[str, Any] | None:
    """What a run that still goes on says of itself (``runner.directory.announce``); None if it does not."""
    try:
        live: dict[str, Any] = json.loads((run_dir / directory.LIVE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if live.get("host") == platform.node():
        try:
            os.kill(int(live["pid"]), 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass  # somebody else's, but there
    return live


def ended(run_dir: Path) -> dict[str, Any] | None:
    """How a run ended: its result, or ``{"failed": text}``; None if it has not, or nobody wrote it down."""
    for name in ("result.json", "failed.json"):
        try:
            found: dict[str, Any] = json.loads((run_dir / name).read_bytes())
        except (FileNotFoundError, ValueError):
            continue  # not there, or being written
        return found if name == "result.json" else {"failed": str(found.get("error"))}
    return None


def _aim(loaded: LoadedScenario) -> Aim | None:
    """Where this run is to lead."""
    rules = loaded.contract()
    if len(loaded.agents) > AIM_AGENTS or _changing(loaded):
        return None
    if rules["mechanism"] == "consensus":
        return _truth(loaded)
    from node.protocols.network.facts import MECHANISMS
    from node.utilities import UtilityError

    values: Mapping[str, Any]
    if rules["mechanism"] in MECHANISMS:
        from node.mechanisms.network.optimum import program, solve
        from runner.network import contracts_of

        contracts = contracts_of(loaded)
        optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
        values = {agent: [x] for agent, x in optimum.allocation.items()}
    else:
        from runner.result import environment_of

        try:
            values = environment_of(rules, loaded.utilities).optimum().allocation
        except UtilityError:
            return None  # of a class of the user's; the run itself will say so
    largest = max(float(np.abs(x).max()) for x in values.values())
    return Aim("allocation", {i: [float(x) for x in own] for i, own in values.items()}, largest or 1.0)


def _changing(loaded: LoadedScenario) -> bool:
    """Whether nobody knows before the end among whom the goods are shared."""
    spec = loaded.spec
    events = spec.faults.event if spec.faults is not None else ()
    for_good = any(e.kind in ("leave", "join") or getattr(e, "down", None) == "forever" for e in events)
    return for_good or spec.recovery.on_down == "continue"


def aim_of(outcome: Mapping[str, Any] | None) -> Aim | None:
    """Where a run that has ended was to lead, by its own result: among those who were left in the end; in a
    consensus run each agent among those that it was connected with."""
    if outcome is None:
        return None
    if "primitive" in outcome:
        return _consensus_aim(outcome)
    values = outcome.get("optimal_allocation")
    if not values:
        return None
    largest = max((abs(x) for own in values.values() for x in own), default=0.0)
    return Aim("allocation", values, largest or 1.0)


def _consensus_aim(outcome: Mapping[str, Any]) -> Aim | None:
    primitive, parts = outcome["primitive"], outcome.get("components", [])
    if primitive in COUNTED:
        return Aim("known", {i: [float(part["size"])] for part in parts for i in part["agents"]})
    expected = outcome.get("expected_in", [])
    if primitive not in _ESTIMATES or len(expected) != len(parts):
        return None
    found = zip(parts, expected, strict=True)
    return Aim("estimate", {i: value for part, value in found if value for i in part["agents"]})


def _truth(loaded: LoadedScenario) -> Aim | None:
    """What all agents of a consensus run are to come to, if nobody leaves."""
    from node.consensus.truth import ConsensusEnvironment

    primitive = loaded.contract()["primitive"]
    if primitive in COUNTED:
        return Aim("known", {agent: [float(len(loaded.agents))] for agent in loaded.agents})
    if primitive not in _ESTIMATES or primitive == "diameter":  # nobody has measured that
        return None
    truth = ConsensusEnvironment({i: u["value"] for i, u in loaded.utilities.items()})
    return Aim("estimate", {agent: list(truth.expected(primitive)) for agent in loaded.agents})


def _sought(loaded: LoadedScenario) -> str:
    """What the distance that is shown is a distance from."""
    primitive = loaded.contract().get("primitive")
    if primitive is None:
        return "the optimum"
    if primitive in COUNTED:
        return "having counted all agents"
    what = _ESTIMATES.get(primitive, "mean")
    return f"the {what}" + (" of its part" if _changing(loaded) else "")
