"""What the record of a network run shows, step by step: errors, regrets, and whether capacities held."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network import checks, strategic
from runner.ending import last_step, to_outcome
from runner.network import contracts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from node.mechanisms.network.contract import Contract, Tables
    from runner.network import NetworkResult
    from runner.record import Record
    from topologies import LoadedScenario

# Best responses searched over all recorded steps of a run; about a millisecond each.
RECORDED = 4000


def with_record(result: NetworkResult, loaded: LoadedScenario, record: Record) -> NetworkResult:
    """The same result with what the record shows: feasibility of every epoch, and errors and regrets, step by
    step, of the last one of the largest part that has a result."""
    parts = [part for part in result.components if part.stranded is None]
    everybody = contracts_of(loaded)
    sides = [
        everybody if part.size == len(everybody) else contracts_of(loaded, part.agents) for part in parts
    ]
    overshoot = max(result.overshoot, overshoot_of(record, everybody, record.epochs))
    for part, contracts in zip(parts, sides, strict=True):
        if contracts is not everybody:
            overshoot = max(overshoot, overshoot_of(record, contracts, (part.epoch,)))
    chosen = parts[0]
    optimal = {i: x[0] for i, x in result.optimal_allocation.items() if i in chosen.heard}
    largest = max(optimal.values())
    # Parts end after different numbers of steps, of which the result holds the largest.
    last = last_step(result.steps, result.stopped_unsatisfied) if len(parts) == 1 else None
    rounds, allocations, agents = to_outcome(record, last).series("allocation", chosen.epoch)
    errors: dict[int, float] = {}
    complete: list[int] = []
    if set(chosen.heard) <= set(agents):
        columns = [agents.index(i) for i in chosen.heard]
        for k, row in enumerate(allocations[:, columns]):
            if np.isnan(row).any():
                continue  # some agent has no row in this round
            amounts = zip(chosen.heard, row.tolist(), strict=True)
            errors[len(complete)] = max(abs(x - optimal[i]) for i, x in amounts) / largest
            complete.append(k)
    regrets: dict[int, float] = {}
    if not chosen.unheard:
        regrets = _regrets(sides[0], record, [int(rounds[k]) for k in complete], chosen.epoch)
    return replace(result, overshoot=overshoot, errors=errors, regrets=regrets)


def overshoot_of(record: Record, contracts: Mapping[str, Contract], epochs: Collection[int]) -> float:
    """The largest excess over a capacity, relative to it, of what was allocated and of what was in use.

    Whoever has no row in a round counts as one that uses nothing; rows of the linear mechanism with groups of
    which only some have one are left out.

    Args:
        record: of the run.
        contracts: of those whose rows count.
        epochs: in which.
    """
    most = 0.0
    for epoch in epochs:
        for what in ("allocation", "in_use"):
            _, values, agents = record.series(what, epoch)
            for row in values:
                amounts = {
                    i: float(v)
                    for i, v in zip(agents, row, strict=True)
                    if i in contracts and not math.isnan(v)
                }
                most = max([most, *(part - 1.0 for part in checks.used_by(contracts, amounts).values())])
    return most


def _regrets(
    contracts: Mapping[str, Contract], record: Record, rounds: list[int], epoch: int
) -> dict[int, float]:
    """Step -> largest regret. Of every step, or of every k-th and the last one, with the smallest k by which
    no more than ``RECORDED`` best responses and those of the last step are searched."""
    if not rounds:
        return {}
    stride = max(1, math.ceil(len(rounds) * len(contracts) / RECORDED))
    steps = sorted({*range(0, len(rounds), stride), len(rounds) - 1})
    wanted = [rounds[k] for k in steps]
    # Channel -> step -> agent -> quote.
    quotes: dict[str, list[dict[str, list[float]]]] = {}
    for name, members in _members(contracts).items():
        tables: list[dict[str, list[float]]] = [{i: [] for i in members} for _ in steps]
        for field in itertools.count():
            at, values, agents = record.series(f"quote.{name}.{field}", epoch)
            if not len(at):
                break
            rows = values[np.searchsorted(at, wanted)][:, [agents.index(i) for i in members]].tolist()
            for table, row in zip(tables, rows, strict=True):
                for i, value in zip(members, row, strict=True):
                    table[i].append(value)
        quotes[name] = tables
    return {
        step: largest_regret(
            contracts,
            {name: {i: tuple(q) for i, q in tables[k].items()} for name, tables in quotes.items()},
            tuple(sorted(contracts)),
        )
        for k, step in enumerate(steps)
    }


def _members(contracts: Mapping[str, Contract]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for i in sorted(contracts):
        for name in contracts[i].channels:
            found.setdefault(name, []).append(i)
    return {name: found[name] for name in sorted(found)}


def largest_regret(contracts: Mapping[str, Contract], tables: Tables, agents: tuple[str, ...]) -> float:
    """The largest gain of a one-shot deviation found, over these agents."""
    every = strategic.limits(contracts, tables)
    return max(
        strategic.best_response(
            contracts[i],
            {name: tables[name] for name in contracts[i].channels},
            strategic.rest_of(contracts[i], every),
        ).gain
        for i in agents
    )
