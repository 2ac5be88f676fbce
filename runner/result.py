"""How an allocation run ended, judged against the optimum that no agent could know."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.environments import PrivateGoods
from node.utilities import build
from runner.facts import Facts, common, counted, gather

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Facts):
    """The facts of a finished allocation run; ``--json`` prints the same ones.

    Attributes (beside those of ``Facts``):
        play_rounds: rounds (or ticks) of play among all.
        allocation, prices: agent -> K numbers; optimal_allocation, multiplier: the central optimum's.
        taxes: agent -> money.
        allocation_error: max |x - x*| over agents and goods, relative to max |x*|.
        price_error: max |p - lambda*|, relative to max |lambda*|.
        tax_sum: sum of all taxes, exactly rounded; tax_scale: sum of |tax|.
        welfare, optimal_welfare: sum of v_i(x_i) at the outcome and at the optimum.
        parameters: of the contract, as agreed.
        contraction_bound: the factor per round in ``norm``; guaranteed: whether it is proved.
        observed_rate: the factor measured; None without a record.
        tolerance: the promised bound on ``allocation_error``.
        stopped_unsatisfied: agents whose last residual was above the threshold.
    """

    play_rounds: int
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
    parameters: dict[str, float]
    contraction_bound: float
    norm: str
    guaranteed: bool
    observed_rate: float | None
    tolerance: float
    stopped_unsatisfied: int

    @property
    def kept_promise(self) -> bool:
        """Whether every agent was satisfied and the allocation is as accurate as was promised."""
        return not self.stopped_unsatisfied and self.allocation_error <= self.tolerance

    @property
    def verdict(self) -> str:
        """In words, what a broken promise comes to."""
        return (
            f"allocation error {self.allocation_error:.3g}, promised {self.tolerance:.3g}; "
            f"{self.stopped_unsatisfied} agents stopped unsatisfied"
        )

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

    Args: as ``runner.facts.gather``.
    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    agents = loaded.agents
    facts = gather(loaded, run, mode, reports, seconds, launched_at, run_dir)
    results = {i: reports[i]["result"] for i in agents}
    for fact in ("parameters", "bound", "norm", "guaranteed"):
        common(fact, {i: results[i][fact] for i in agents})
    first = results[agents[0]]

    rules = loaded.contract()
    environment = PrivateGoods(rules["capacities"], {i: build(u) for i, u in loaded.utilities.items()})
    optimum = environment.optimum()
    allocation = {i: np.asarray(results[i]["allocation"]) for i in agents}
    largest = max(float(np.abs(x).max()) for x in optimum.allocation.values())
    highest = float(np.abs(optimum.multiplier).max())
    off = max(float(np.abs(allocation[i] - optimum.allocation[i]).max()) for i in agents)
    price_off = max(float(np.abs(np.asarray(results[i]["price"]) - optimum.multiplier).max()) for i in agents)
    taxes = {i: float(results[i]["tax"]) for i in agents}
    stopping = rules["stopping"]
    scale = stopping["scale"] or max(abs(c) for c in rules["capacities"]) / len(agents)
    return RunResult(
        **facts,
        play_rounds=counted(
            "play_rounds", {i: results[i]["play_rounds"] for i in agents}, facts["synchrony"]
        ),
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
        parameters=dict(first["parameters"]),
        contraction_bound=first["bound"],
        norm=first["norm"],
        guaranteed=first["guaranteed"],
        observed_rate=None,
        # What was promised is relative to `scale`; what is reported relative to the largest share.
        tolerance=stopping["tolerance"] * max(1.0, scale / largest if largest else 1.0),
        stopped_unsatisfied=sum(not results[i]["satisfied"] for i in agents),
    )
