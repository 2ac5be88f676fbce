"""What a run has left behind, read from its directory; nothing of what it says of itself is believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from runner import accounts, record
from runner.directory import read_meta, read_object
from runner.errors import UserError
from topologies import ScenarioError, load_scenario

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from runner.record import Record
    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True)
class Evidence:
    """A finished run.

    Attributes:
        directory: of the run.
        run, mode: its id, and how it was run.
        loaded: the scenario, resolved, explicit graph and utilities: of the agents that were there to the
            end.
        whole: the scenario of all that ever took part.
        rules: the public rules of its contract.
        accounts: agent -> what it reported at its end, ids ascending.
        record: what was measured; empty if nothing was recorded.
    """

    directory: Path
    run: str
    mode: str
    loaded: LoadedScenario
    whole: LoadedScenario
    rules: dict[str, Any]
    accounts: dict[str, dict[str, Any]]
    record: Record

    @property
    def agents(self) -> tuple[str, ...]:
        """Ids, ascending."""
        return self.loaded.agents

    @property
    def graph(self) -> nx.DiGraph:
        """Who hears whom, of all that ever took part."""
        return self.whole.graph

    @property
    def free(self) -> bool:
        """Whether agents kept no rounds."""
        return bool(self.loaded.spec.synchrony.mode == "free")

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Agent -> the result in its account."""
        return {agent: account["result"] for agent, account in self.accounts.items()}

    def missing_rounds(self) -> str | None:
        """Why what happened round by round cannot be told of all agents; None if it can."""
        if not self.loaded.spec.record.every:
            return "nothing was recorded (record.every = 0)"
        recorded = len(self.loaded.recorded)
        if recorded < len(self.agents):
            return f"only {recorded} of {len(self.agents)} agents were recorded (record.agents)"
        return None

    def complete(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """A measurement in the rounds in which every agent has it.

        Returns:
            rounds (R,) ascending; values (R, N, K), agents ascending.
        """
        rounds, values, agents = self.record.goods(name)
        values = values[:, [k for k, agent in enumerate(agents) if agent in self.accounts]]
        whole = ~np.isnan(values).any(axis=(1, 2))
        return rounds[whole], values[whole]


def gather(directory: Path) -> Evidence:
    """Read a run's directory.

    Raises:
        UserError: in one line naming the file: no run directory, incomplete, still being written, failed, of
            another version, or files that belong to different runs.
    """
    meta = read_meta(directory)
    result = _result(directory)
    try:
        loaded = load_scenario(directory / "resolved.json")
    except ScenarioError as error:
        raise UserError(str(error)) from None
    if loaded.hash != meta.get("hash"):
        raise UserError(
            f"{directory / 'resolved.json'}: hash {loaded.hash[:12]}; expected that of meta.json, "
            f"{str(meta.get('hash'))[:12]}: not the scenario that was run"
        )
    recorded = _record(directory, loaded)
    if recorded.run is not None and recorded.run != meta.get("run"):
        raise UserError(
            f"{directory / 'telemetry.parquet'}: of run {recorded.run}; expected {meta.get('run')}, as "
            "meta.json"
        )
    reports, left = _reports(directory, loaded)
    return Evidence(
        directory,
        str(meta.get("run")),
        str(result.get("mode")),
        left,
        loaded,
        loaded.contract(),
        reports,
        recorded,
    )


def _reports(directory: Path, loaded: LoadedScenario) -> tuple[dict[str, dict[str, Any]], LoadedScenario]:
    """The accounts of those who were there to the end, and the scenario as it is among them.

    Where agents may leave, or the others go on without one that is down, what is left plays the same contract
    on what is left of the graph.

    Raises:
        UserError: if an account is missing and may not be; if those who are left are in several parts.
    """
    spec = loaded.spec
    events = spec.faults.event if spec.faults is not None else ()
    if spec.recovery.on_down != "continue" and not any(event.kind == "leave" for event in events):
        return accounts.read(directory, loaded.agents), loaded
    reports = accounts.read(directory, loaded.agents, some=True)
    if len(reports) == len(loaded.agents):
        return reports, loaded
    graph = loaded.graph.subgraph(reports).copy()
    # Ids ascending, which a subgraph does not promise.
    ordered = nx.DiGraph()
    ordered.add_nodes_from(sorted(reports))
    ordered.add_edges_from(graph.edges)
    if not reports or not nx.is_strongly_connected(ordered):
        raise UserError(
            f"{directory / accounts.NAME}: {len(reports)} of {len(loaded.agents)} agents have a result, and "
            "they are not in one piece; expected a run that ended among agents that are connected"
        )
    return reports, replace(
        loaded, graph=ordered, utilities={i: loaded.utilities[i] for i in sorted(reports)}
    )


def _result(directory: Path) -> dict[str, Any]:
    """What the run says of itself; read only to know that it has ended, and how it was run."""
    if (directory / "failed.json").exists():
        error = read_object(directory / "failed.json").get("error")
        raise UserError(f"{directory / 'failed.json'}: the run did not end: {error}; expected a finished run")
    if not (directory / "result.json").exists():
        raise UserError(
            f"{directory / 'result.json'}: not there: the run is still being written, or was killed; "
            "expected a "
            "finished run"
        )
    return read_object(directory / "result.json")


def _record(directory: Path, loaded: LoadedScenario) -> Record:
    found = record.read(directory)
    if found.unreadable:
        raise UserError(f"{found.unreadable[0]}: not a record in Parquet, or torn; expected a complete one")
    if loaded.spec.record.every and not (directory / "telemetry.parquet").exists():
        parts = directory / "telemetry"
        if not parts.is_dir():
            exact = loaded.contract()["mechanism"] == "consensus" and not len(found)
            if exact:
                return found  # exact primitives measure nothing
            raise UserError(f"{directory / 'telemetry.parquet'}: not there; expected the record of the run")
    return found
