"""One run with or without deviators, judged by the true utilities."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node import utilities
from node.protocols.network.facts import MECHANISMS as NETWORK
from node.protocols.network.facts import contract_of
from node.protocols.play import Diverged
from node.utilities import UtilityError
from runner.errors import RunFailed
from runner.stepped import in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from node.numbers import Vector
    from node.part import Part
    from node.protocol import Protocol, Say
    from topologies import LoadedScenario

    ProtocolOf = Callable[[Part, Any], Protocol]
    Value = Callable[[Vector], float]

PROTOCOL = "node.strategies.deviating:protocol_of"
# Network mechanisms are played this exactly, for the equilibrium to be one.
ACCURACY = 1e-9
# Of play that does not come to rest the last part is judged, but no more rounds than these.
PART, MOST = 4, 1000


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended and what came of it.

    Attributes:
        rest: whether every agent was at rest when all stopped.
        how: the same in words.
        rounds: of play (steps of a network mechanism).
        allocation: agent -> K numbers; taxes: agent -> money. Of play that did not come to rest the means
            over its last part, or the last ones; empty if it diverged.
        payoffs: agent -> v_i(x_i) - t_i with its true utility; likewise.
        welfare: sum of v_i(x_i), likewise; None if it diverged. tax_sum: sum of taxes.
    """

    rest: bool
    how: str
    rounds: int
    allocation: dict[str, list[float]]
    taxes: dict[str, float]
    payoffs: dict[str, float]
    welfare: float | None
    tax_sum: float | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Stage:
    """What all runs of an experiment have in common.

    Attributes:
        loaded: the scenario.
        values: agent -> its true v.
        over: ``lockstep``, ``virtual`` or ``broker``.
        directory: where runs over a broker leave their traces; None elsewhere.
    """

    loaded: LoadedScenario
    values: Mapping[str, Value]
    over: str = "lockstep"
    directory: Path | None = None

    @classmethod
    def of(cls, loaded: LoadedScenario, over: str = "lockstep", directory: Path | None = None) -> Stage:
        """The stage of a scenario that allocates."""
        return cls(loaded, values_of(loaded), over, directory)

    @property
    def network(self) -> bool:
        """Whether the mechanism is one of a network."""
        return is_network(self.loaded)

    def parts(self, bound: int | None) -> dict[str, Part]:
        """Everybody's part of a run of at most so many rounds of play.

        Agents of a network mechanism stop by small residuals: a proof of accuracy needs the honest word of
        all.
        """
        rules = self.loaded.contract()
        stopping = {**rules["stopping"]}
        if bound is not None:
            stopping["max_rounds"] = bound
        if self.network:
            stopping |= {"rule": "observed", "tolerance": min(ACCURACY, stopping["tolerance"])}
        rules = {**rules, "stopping": stopping}
        parts = self.loaded.parts("deviate")
        return {i: replace(part, contract=rules, record_every=1) for i, part in parts.items()}


def is_network(loaded: LoadedScenario) -> bool:
    """Whether the mechanism is one of a network."""
    return loaded.contract()["mechanism"] in NETWORK


def values_of(loaded: LoadedScenario) -> dict[str, Value]:
    """Agent -> its true v, of an array of K numbers."""
    if is_network(loaded):
        rules = loaded.contract()
        return {i: _of_one(contract_of(i, rules, own).valuation) for i, own in loaded.utilities.items()}
    return {i: utilities.build(own).value for i, own in loaded.utilities.items()}


def _of_one(valuation: Any) -> Value:
    return lambda x: float(valuation.value(float(x[0])))


def play(
    stage: Stage,
    parts: Mapping[str, Part],
    protocol: ProtocolOf,
    name: str = "run",
    far: float = math.inf,
) -> tuple[Ended, dict[str, dict[str, Any]]]:
    """Let everybody play to the end.

    Args:
        stage: where.
        parts: everybody's.
        protocol: what everybody plays, in this process.
        name: of the run, over a broker.
        far: play that does not rest and has come to larger allocations than this diverges.
    Returns:
        How it ended, and every agent's own account of it; none if it diverged.
    Raises:
        RunFailed: naming the agent that cannot go on.
    """
    limit = next(iter(parts.values())).contract["stopping"].get("max_rounds")
    try:
        match stage.over:
            case "lockstep":
                results, seen = _in_lockstep(parts, protocol, limit)
            case "virtual":
                results, seen = _virtually(stage, parts, protocol), {}
            case _:
                results, seen = _over_broker(stage, parts, name), {}
    except Diverged as error:
        return _diverged(str(error), limit or 0), {}
    except UtilityError as error:
        raise RunFailed(str(error)) from error
    largest = max(float(np.abs(result["allocation"]).max()) for result in results.values())
    if largest > far and not all(result["satisfied"] for result in results.values()):
        return _diverged(f"allocations of {largest:.3g}", limit or 0), {}
    return _judged(stage, results, seen), results


def _diverged(how: str, rounds: int) -> Ended:
    return Ended(False, f"diverges: {how}", rounds, {}, {}, {}, None, None)


def _in_lockstep(
    parts: Mapping[str, Part], protocol: ProtocolOf, limit: int | None
) -> tuple[dict[str, dict[str, Any]], dict[str, deque[tuple[Vector, float]]]]:
    """Results, and agent -> allocation and tax of the last rounds."""
    most = min(MOST, max(1, limit // PART)) if limit else 1
    seen: dict[str, deque[tuple[Vector, float]]] = {i: deque(maxlen=most) for i in parts}

    def observe(round_: int, says: Mapping[str, Say]) -> None:
        for i, say in says.items():
            if say.record is not None and "tax" in say.record:
                x = [v for key, v in say.record.items() if key.partition(".")[0] == "allocation"]
                seen[i].append((np.array(x), say.record["tax"]))

    ended = in_turn(parts, protocol, observe, Diverged)
    return {i: asdict(result) for i, result in ended.results.items()}, seen


def _virtually(stage: Stage, parts: Mapping[str, Part], protocol: ProtocolOf) -> dict[str, dict[str, Any]]:
    from runner.virtual import run_virtual

    try:
        reports, _ = run_virtual(
            parts,
            stage.loaded.spec.seed,
            faults=stage.loaded.spec.faults,
            durable=stage.loaded.spec.recovery.durable != "none",
            protocol=protocol,
        )
    except RunFailed as error:
        _reraise(error)
    return _results(parts, reports)


def _over_broker(stage: Stage, parts: Mapping[str, Part], name: str) -> dict[str, dict[str, Any]]:
    from runner.launch import Settings, run_processes

    assert stage.directory is not None
    where = stage.directory / name
    where.mkdir(mode=0o700)
    run = f"{stage.loaded.spec.name}-{name}"[:64]
    own = {i: replace(part, run=run) for i, part in parts.items()}
    folder = str(stage.loaded.path.parent.resolve())
    settings = Settings(
        None,
        None,
        where,
        lambda agent, progress: None,
        lambda text: None,
        protocol=PROTOCOL,
        import_path=tuple(dict.fromkeys((*stage.loaded.import_path, folder))),
    )
    try:
        reports, _, _ = asyncio.run(run_processes(stage.loaded, own, run, settings))
    except RunFailed as error:
        _reraise(error)
    return _results(parts, reports)


def _results(
    parts: Mapping[str, Part], reports: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Everybody's.

    Raises:
        RunFailed: if somebody has none.
    """
    absent = [i for i in parts if not reports.get(i, {}).get("result")]
    if absent:
        raise RunFailed(
            f"{', '.join(absent)} ended without a result; expected a scenario whose agents all stay"
        )
    return {i: dict(reports[i]["result"]) for i in parts}


def _reraise(error: RunFailed) -> None:
    """Agents elsewhere say in words what has ended them."""
    if "Diverged" in str(error):
        raise Diverged(str(error)) from error
    raise error


def _judged(
    stage: Stage,
    results: Mapping[str, Mapping[str, Any]],
    seen: Mapping[str, deque[tuple[Vector, float]]],
) -> Ended:
    rest = all(result["satisfied"] for result in results.values())
    rounds = max(int(result["steps" if stage.network else "play_rounds"]) for result in results.values())
    last = {i: (np.atleast_1d(np.asarray(r["allocation"])), float(r["tax"])) for i, r in results.items()}
    rows = {i: [last[i]] for i in results}
    how = f"at rest after {rounds} rounds"
    if not rest:
        span = min((len(row) for row in seen.values()), default=0)
        if span:
            rows = {i: list(seen[i])[-span:] for i in results}
        judged = f"the mean of the last {span}" if span else "the last one"
        how = f"no rest within {rounds} rounds; {judged} is judged"
        if span > 1 and _still(rows):
            how = f"no rest within {rounds} rounds: nothing moves, but somebody is never satisfied"
    values = {i: [stage.values[i](x) for x, _ in row] for i, row in rows.items()}
    taxes = {i: math.fsum(tax for _, tax in row) / len(row) for i, row in rows.items()}
    worth = {i: math.fsum(row) / len(row) for i, row in values.items()}
    return Ended(
        rest=rest,
        how=how,
        rounds=rounds,
        allocation={i: np.mean([x for x, _ in row], axis=0).tolist() for i, row in rows.items()},
        taxes=taxes,
        payoffs={i: worth[i] - taxes[i] for i in results},
        welfare=math.fsum(worth.values()),
        tax_sum=math.fsum(taxes.values()),
    )


def _still(rows: Mapping[str, list[tuple[Vector, float]]]) -> bool:
    """Whether allocations stand still, to what payoffs are told by."""
    tracks = [np.array([x for x, _ in row]) for row in rows.values()]
    largest = max(float(np.abs(track).max()) for track in tracks)
    return max(float(np.ptp(track, axis=0).max()) for track in tracks) <= 1e-9 * max(1.0, largest)
