"""One run of a sweep: from a cell of the grid to a row of the result."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runner import guarantee
from runner.api import judged
from runner.components import Roll
from runner.consensus import ConsensusResult
from runner.errors import Interrupted, UserError
from runner.facts import Ended
from runner.network import NetworkResult
from runner.result import RunResult
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.api import Result
    from runner.sweep.grid import Cell

Row = dict[str, Any]

# metric -> what it is. Each is a column of the result, null where a run has no such thing.
METRICS = {
    "rounds": "all rounds, survey and agreement included",
    "play_rounds": "rounds of play (steps of a network mechanism, rounds of a consensus primitive)",
    "messages": "first copies received",
    "bytes": "payloads of these; null in lockstep",
    "published": "messages published",
    "retransmissions": "further copies published",
    "restarts": "how often agents were started again",
    "agents": "N",
    "diameter": "of the graph, or of the spanning tree",
    "distance": "allocation error relative to the largest share; consensus: error",
    "price_error": "relative to the largest price",
    "welfare": "sum of v_i(x_i)",
    "welfare_missing": "what the optimum has more",
    "tax_sum": "sum of taxes",
    "tax_scale": "sum of |tax|",
    "bound": "the certified contraction factor",
    "regret": "networks: best one-shot deviation found",
    "overshoot": "networks: largest excess over a capacity",
    "virtual_seconds": "virtual network: how long the run took there",
    "cpu_seconds": "processor time it took here",
}
COLUMNS = ("kept", "verdict", "error", "hash")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for all cells; travels to other processes.

    Attributes:
        source: the scenario's path or name.
        overrides: of all cells.
        lockstep: whether to play without a network.
    """

    source: str
    overrides: tuple[str, ...]
    lockstep: bool


def work(plan: Plan, cell: Cell, stopped: Callable[[], bool] = lambda: False) -> Row:
    """Play a cell. Never raises for what a run does: that is its ``error``.

    Returns:
        ``METRICS``, ``kept`` (the promise; None if it failed), ``verdict``, ``error`` and the scenario's
        ``hash``.
    Raises:
        Interrupted: if ``stopped()``.
    """
    row: Row = {**dict.fromkeys(METRICS), **dict.fromkeys(COLUMNS)}
    began = time.process_time()
    try:
        loaded = load_scenario(plan.source, [*plan.overrides, *cell.overrides], cell.seed)
        row["hash"] = loaded.hash
        guarantee.require(loaded, lambda text: None)
        row |= _measured(_play(plan, loaded, stopped))
    except Interrupted:
        raise
    except Exception as error:
        # Of this cell only, whatever it is; the others go on.
        name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        row["error"] = f"{name}{error}"
    row["cpu_seconds"] = time.process_time() - began
    return row


def _play(plan: Plan, loaded: Any, stopped: Callable[[], bool]) -> Result:
    # Every message carries the run's id: one as long as that of `vicinal run`, so that bytes compare.
    spec, run = loaded.spec, f"{loaded.spec.name[:32]}-00000000-000000-0000"
    roll = Roll()
    parts = {i: replace(part, record_every=0) for i, part in loaded.parts(run).items()}
    if plan.lockstep:
        if spec.faults is not None or spec.synchrony.mode != "rounds":
            raise UserError("there is no network in lockstep for [faults] or a free run; expected none")
        from runner.stepped import run_stepped

        reports, seconds = run_stepped(parts, stopped=stopped)
    else:
        from runner.virtual import run_virtual

        reports, seconds = run_virtual(
            parts,
            spec.seed,
            faults=spec.faults,
            durable=spec.recovery.durable != "none",
            stopped=stopped,
            roll=roll,
        )
    mode = "lockstep" if plan.lockstep else "virtual"
    return judged(loaded, Ended(run, mode, reports, seconds, roll=roll), lambda text: None)


def _measured(result: Result) -> Row:
    virtual = result.mode == "virtual"
    row: Row = {
        name: getattr(result, name)
        for name in ("rounds", "messages", "published", "retransmissions", "restarts", "agents", "diameter")
    }
    row |= {
        "bytes": result.bytes if virtual else None,
        "virtual_seconds": result.seconds if virtual else None,
        "kept": result.kept_promise,
        "verdict": "kept" if result.kept_promise else result.verdict,
    }
    match result:
        case ConsensusResult():
            row |= {"play_rounds": result.primitive_rounds, "distance": result.error}
        case RunResult():
            row |= {"play_rounds": result.play_rounds, "bound": result.contraction_bound, **_shared(result)}
        case NetworkResult():
            row |= {"play_rounds": result.steps, "regret": result.regret, "overshoot": result.overshoot}
            row |= _shared(result)
    return {name: _finite(value) for name, value in row.items()}


def _shared(result: RunResult | NetworkResult) -> Row:
    return {
        "distance": result.allocation_error,
        "price_error": result.price_error,
        "welfare": result.welfare,
        "welfare_missing": result.optimal_welfare - result.welfare,
        "tax_sum": result.tax_sum,
        "tax_scale": result.tax_scale,
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
