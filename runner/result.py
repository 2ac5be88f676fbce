"""How a run ended, judged against the optimum that no agent could know."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.environments import PrivateGoods
from node.utilities import build
from runner.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True)
class RunResult:
    """The facts of a finished run; ``--json`` prints the same ones.

    Attributes:
        run, scenario: the run's id and the scenario's name.
        mode: ``processes`` or ``virtual``.
        agents: N.
        diameter: largest distance between two agents, as they found it.
        rounds: all rounds, survey and agreement included; equal at every agent.
        play_rounds: rounds of play among them.
        stopped_in_round: the round, from 0, at whose end all agents stopped.
        messages, bytes: first copies received from neighbours, one per link and round, and their payloads.
        published: messages published by agents for these, one per agent and round on undirected graphs.
        retransmissions: further copies published.
        seconds: wall time from the launch to the last result (virtual seconds in a virtual run).
        first_round_seconds: wall time from the launch until every agent had completed its first round.
        allocation, prices: agent -> K numbers; optimal_allocation, multiplier: the central optimum's.
        taxes: agent -> money.
        allocation_error: max |x - x*| over agents and goods, relative to max |x*|.
        price_error: max |p - lambda*|, relative to max |lambda*|.
        tax_sum: sum of all taxes, exactly rounded; tax_scale: sum of |tax|.
        welfare, optimal_welfare: sum of v_i(x_i) at the outcome and at the optimum.
        xi, delta: the agreed parameters of the contract.
        contraction_bound: the certified factor per round; observed_rate: measured; None without a record.
        tolerance: the promised bound on ``allocation_error``.
        stopped_unsatisfied: agents whose last residual was above the threshold.
        dropped: messages that agents dropped, by kind.
        run_dir: where the record is; None if nothing was written.
    """

    run: str
    scenario: str
    mode: str
    agents: int
    diameter: int
    rounds: int
    play_rounds: int
    stopped_in_round: int
    messages: int
    bytes: int
    published: int
    retransmissions: int
    seconds: float
    first_round_seconds: float | None
    allocation: dict[str, list[float]]
    prices: dict[str, list[float]]
    taxes: dict[str, float]
    optimal_allocation: dict[str, list[float]]
    multiplier: list[float]
    allocation_error: float
    price_error: float
    tax_sum: float
    tax_scale: float
    welfare: float
    optimal_welfare: float
    xi: float
    delta: float
    contraction_bound: float
    observed_rate: float | None
    tolerance: float
    stopped_unsatisfied: int
    dropped: dict[str, int]
    run_dir: str | None

    @property
    def kept_promise(self) -> bool:
        """Whether every agent was satisfied and the allocation is as accurate as was promised."""
        return not self.stopped_unsatisfied and self.allocation_error <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)

    def with_observed_rate(self, rate: float | None) -> RunResult:
        """The same result with the rate measured from the record."""
        return replace(self, observed_rate=rate)


def judge(
    loaded: LoadedScenario,
    run: str,
    mode: str,
    reports: Mapping[str, Mapping[str, Any]],
    seconds: float,
    launched_at: float | None = None,
    run_dir: str | None = None,
) -> RunResult:
    """Compare what the agents reported with the central optimum.

    Args:
        loaded: the whole scenario.
        reports: agent -> what ``node.host.describe`` says of it.
        seconds: how long the run took.
        launched_at: monotonic time of the launch, to which ``first_round_at`` of the reports refers.
    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    agents = loaded.agents
    results = {i: reports[i]["result"] for i in agents}
    rounds = _common("rounds", {i: reports[i]["rounds"] for i in agents})
    for fact in ("agents", "diameter", "xi", "delta", "bound", "play_rounds"):
        _common(fact, {i: results[i][fact] for i in agents})
    first = results[agents[0]]
    if first["agents"] != len(agents):
        raise RunFailed(f"the agents counted {first['agents']} of themselves, the scenario has {len(agents)}")

    environment = PrivateGoods(
        loaded.spec.environment.capacities, {i: build(u) for i, u in loaded.utilities.items()}
    )
    optimum = environment.optimum()
    allocation = {i: np.asarray(results[i]["allocation"]) for i in agents}
    largest = max(float(np.abs(x).max()) for x in optimum.allocation.values())
    highest = float(np.abs(optimum.multiplier).max())
    off = max(float(np.abs(allocation[i] - optimum.allocation[i]).max()) for i in agents)
    price_off = max(float(np.abs(np.asarray(results[i]["price"]) - optimum.multiplier).max()) for i in agents)
    taxes = {i: float(results[i]["tax"]) for i in agents}
    stopping = loaded.spec.stopping
    scale = stopping.scale or max(abs(c) for c in loaded.spec.environment.capacities) / len(agents)
    dropped: Counter[str] = Counter()
    for report in reports.values():
        dropped.update(report["rejected"])
    first_rounds = [reports[i]["first_round_at"] for i in agents]
    return RunResult(
        run=run,
        scenario=str(loaded.spec.name),
        mode=mode,
        agents=len(agents),
        diameter=first["diameter"],
        rounds=rounds,
        play_rounds=first["play_rounds"],
        stopped_in_round=rounds - 1,
        messages=sum(r["received"] for r in reports.values()),
        bytes=sum(r["received_bytes"] for r in reports.values()),
        published=sum(r["sent"] for r in reports.values()),
        retransmissions=sum(r["resent"] for r in reports.values()),
        seconds=seconds,
        first_round_seconds=max(first_rounds) - launched_at if launched_at is not None else None,
        allocation={i: list(results[i]["allocation"]) for i in agents},
        prices={i: list(results[i]["price"]) for i in agents},
        taxes=taxes,
        optimal_allocation={i: x.tolist() for i, x in optimum.allocation.items()},
        multiplier=optimum.multiplier.tolist(),
        allocation_error=off / largest if largest else off,
        price_error=price_off / highest if highest else price_off,
        # Exactly rounded and over ascending ids: the same sum whoever adds it up.
        tax_sum=math.fsum(taxes.values()),
        tax_scale=math.fsum(map(abs, taxes.values())),
        welfare=environment.welfare(allocation),
        optimal_welfare=optimum.welfare,
        xi=first["xi"],
        delta=first["delta"],
        contraction_bound=first["bound"],
        observed_rate=None,
        # What was promised is relative to `scale`; what is reported relative to the largest share.
        tolerance=stopping.tolerance * max(1.0, scale / largest if largest else 1.0),
        stopped_unsatisfied=sum(not results[i]["satisfied"] for i in agents),
        dropped=dict(sorted(dropped.items())),
        run_dir=run_dir,
    )


def _common(what: str, values: Mapping[str, Any]) -> Any:
    """The value that all agents report, bit for bit."""
    distinct = set(values.values())
    if len(distinct) != 1:
        raise RunFailed(f"the agents disagree on {what}: {dict(list(values.items())[:8])}")
    return distinct.pop()
