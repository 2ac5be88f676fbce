"""How an allocation run ended, judged against the optimum that no agent could know."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.environments import PrivateGoods, PublicGoods
from node.protocols.allocated import scale_of
from node.utilities import build
from runner.facts import Facts, common, counted, gather

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.environments import Environment
    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Facts):
    """The facts of a finished allocation run; ``--json`` prints the same ones.

    Attributes (beside those of ``Facts``):
        mechanism: its name.
        play_rounds: rounds (or ticks) of play among all.
        allocation, prices: agent -> K numbers; optimal_allocation, optimal_prices: the central optimum's.
            Private goods have the same prices for all, a public good a price for each agent.
        multiplier: lambda*, the common price of each private good; empty for a public good.
        taxes: agent -> money.
        allocation_error: max |x - x*| over agents and goods, relative to max |x*|.
        price_error: max |p - p*| over agents and goods, relative to max |p*|.
        tax_sum: sum of all taxes, exactly rounded; tax_scale: sum of |tax|.
        welfare, optimal_welfare: sum of v_i(x_i) at the outcome and at the optimum.
        parameters: of the contract, as agreed.
        contraction_bound: the factor per round in ``norm``; guaranteed: whether it is proved.
        spectral_radius: of the whole Jacobian, where nothing is guaranteed and it could be computed.
        observed_rate: the factor measured; None without a record.
        tolerance: the promised bound on ``allocation_error``; what was asked for, if nothing is guaranteed.
        stopped_unsatisfied: agents that were not at rest when they stopped.
    """

    mechanism: str
    play_rounds: int
    allocation: dict[str, list[float]]
    prices: dict[str, list[float]]
    taxes: dict[str, float]
    optimal_allocation: dict[str, list[float]]
    optimal_prices: dict[str, list[float]]
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
    spectral_radius: float | None = None
    observed_rate: float | None
    tolerance: float
    stopped_unsatisfied: int

    @property
    def kept_promise(self) -> bool:
        """Whether every agent was at rest and the allocation is as accurate as was promised; without a
        guarantee nothing is promised about that."""
        accurate = self.allocation_error <= self.tolerance or not self.guaranteed
        return not self.stopped_unsatisfied and accurate

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
    environment = environment_of(rules, loaded.utilities)
    optimum = environment.optimum()
    allocation = {i: np.asarray(results[i]["allocation"]) for i in agents}
    largest = max(float(np.abs(x).max()) for x in optimum.allocation.values())
    highest = max(float(np.abs(p).max()) for p in optimum.prices.values())
    off = max(float(np.abs(allocation[i] - optimum.allocation[i]).max()) for i in agents)
    price_off = max(float(np.abs(np.asarray(results[i]["price"]) - optimum.prices[i]).max()) for i in agents)
    taxes = {i: float(results[i]["tax"]) for i in agents}
    scale = scale_of(rules, len(agents))
    return RunResult(
        **facts,
        mechanism=rules["mechanism"],
        play_rounds=counted(
            "play_rounds", {i: results[i]["play_rounds"] for i in agents}, facts["synchrony"]
        ),
        allocation={i: list(results[i]["allocation"]) for i in agents},
        prices={i: list(results[i]["price"]) for i in agents},
        taxes=taxes,
        optimal_allocation={i: x.tolist() for i, x in optimum.allocation.items()},
        optimal_prices={i: p.tolist() for i, p in optimum.prices.items()},
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
        tolerance=rules["stopping"]["tolerance"] * max(1.0, scale / largest if largest else 1.0),
        stopped_unsatisfied=sum(not results[i]["satisfied"] for i in agents),
    )


def environment_of(rules: Mapping[str, Any], utilities: Mapping[str, Mapping[str, Any]]) -> Environment:
    """What is to be shared or decided, by the public rules, among agents with these utilities."""
    built = {agent: build(utility) for agent, utility in utilities.items()}
    if "capacities" in rules:
        return PrivateGoods(rules["capacities"], built)
    return PublicGoods(rules["features"], built)
