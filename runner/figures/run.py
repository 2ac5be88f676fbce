"""A finished run as figures need it: its result, its record and its scenario, read from its directory."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from runner import record
from runner.components import Component
from runner.consensus import ConsensusResult
from runner.directory import read_meta, read_object
from runner.ending import last_step, to_outcome
from runner.errors import UserError
from runner.network import NetworkResult
from runner.result import RunResult
from topologies import ScenarioError, load_scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from topologies import LoadedScenario

Result = RunResult | ConsensusResult | NetworkResult


class Held(record.Record):
    """The record of a free-running run: who ticks more slowly, or has stopped, keeps what it has."""

    def series(self, name: str) -> tuple[record.Integers, record.Vector, tuple[str, ...]]:
        """As ``Record.series``; NaN only before an agent's first row."""
        rounds, values, agents = super().series(name)
        # The row in which each agent was last heard of, over the rounds so far.
        last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(rounds.size)[:, None]), axis=0)
        held = np.take_along_axis(values, np.maximum(last, 0), axis=0)
        return rounds, np.where(last >= 0, held, np.nan), agents


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        label: how it is called in a legend.
        result: how it ended.
        record: what was measured; empty if nothing was. Free-running agents that have stopped are taken to
            stay where they are. That of a network run ends at the step whose allocations are the outcome.
        source: its scenario, or the file that holds it resolved.
    """

    label: str
    result: Result
    record: record.Record
    source: LoadedScenario | Path

    def __post_init__(self) -> None:
        if isinstance(self.result, NetworkResult):
            step = last_step(self.result.steps, self.result.stopped_unsatisfied)
            object.__setattr__(self, "record", to_outcome(self.record, step))
        if self.result.synchrony == "free" and not isinstance(self.record, Held):
            own = {field.name: getattr(self.record, field.name) for field in fields(record.Record)}
            object.__setattr__(self, "record", Held(**own))

    @cached_property
    def loaded(self) -> LoadedScenario:
        """The scenario, with its graph.

        Raises:
            UserError: if the file cannot be used.
        """
        if not isinstance(self.source, Path):
            return self.source
        try:
            return load_scenario(self.source)
        except ScenarioError as error:
            raise UserError(str(error)) from None

    @property
    def unit(self) -> str:
        """What the horizontal axis counts: rounds, or every agent its own ticks."""
        return "tick" if self.result.synchrony == "free" else "round"

    @cached_property
    def play(self) -> int:
        """The first round with an allocation or an estimate: the survey and the agreement are over."""
        name = "estimate" if isinstance(self.result, ConsensusResult) else "allocation"
        rounds, _, _ = self.record.goods(name)
        return int(rounds.min(initial=self.result.rounds))

    @property
    def good(self) -> str:
        """What is allocated, in a word."""
        if isinstance(self.result, RunResult):
            return "good" if self.result.multiplier else "feature"
        return "capacity"

    @property
    def partly(self) -> str:
        """Words for a title, if the record is not of all agents."""
        kept, agents = len(self.record.agents), self.result.agents
        return f" ({kept:,} of {agents:,} agents are recorded)" if 0 < kept < agents else ""


def open_runs(directories: Sequence[Path]) -> list[Run]:
    """Read finished runs, with names that tell them apart.

    A run is called like its directory; if that has the name that runs get by themselves and no other run is
    of its scenario, like the scenario.

    Raises:
        UserError: one line that names the directory and what is the matter with it.
    """
    runs = [_open(directory) for directory in directories]
    scenarios = [run.result.scenario for run in runs]
    named: list[Run] = []
    for directory, run in zip(directories, runs, strict=True):
        label = directory.resolve().name
        if label == run.result.run and scenarios.count(run.result.scenario) == 1:
            label = run.result.scenario
        if any(other.label == label for other in named):
            label = str(directory)
        named.append(Run(label, run.result, run.record, run.source))
    return named


def _open(directory: Path) -> Run:
    read_meta(directory)
    if not (directory / "result.json").is_file():
        if (directory / "failed.json").is_file():
            failed = str(read_object(directory / "failed.json").get("error")).partition("\n")[0]
            raise UserError(f"{directory}: the run failed ({failed}); expected one that came to its end")
        raise UserError(
            f"{directory}: no result.json, for the run goes on or was cut off; expected one that has ended"
        )
    kept = record.read(directory)
    if kept.unreadable:
        raise UserError(f"{kept.unreadable[0]}: not the Parquet of a record; the run's directory is damaged")
    return Run("", _result(directory / "result.json"), kept, directory / "resolved.json")


def _result(path: Path) -> Result:
    """The result as the runner wrote it."""
    data = read_object(path)
    for derived in ("finished", "component_size"):  # said beside the attributes
        data.pop(derived, None)
    kind: type[Result] = (
        ConsensusResult if "primitive" in data else NetworkResult if "link_prices" in data else RunResult
    )
    every = {field.name: field for field in fields(kind)}
    needed = {name for name, f in every.items() if f.default is MISSING and f.default_factory is MISSING}
    if odd := sorted((needed - data.keys()) | (data.keys() - every.keys())):
        raise UserError(f"{path}: {odd[0]!r} is missing or unknown; expected what this version writes")
    if isinstance(data.get("components"), list):
        data["components"] = [_component(path, part) for part in data["components"]]
    for steps in ("errors", "regrets"):
        if isinstance(data.get(steps), dict):
            data[steps] = {int(step): value for step, value in data[steps].items()}
    return kind(**data)


def _component(path: Path, part: Any) -> Component:
    try:
        lists = tuple(part["agents"]), tuple(part["unheard"])
        return Component(*lists, *(part[key] for key in ("epoch", "diameter", "rounds", "stranded")))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: a component without {error}; expected what this version writes") from None
