"""How an allocation run ended, judged against the optimum that no agent could know."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.environments import PrivateGoods, PublicGoods
from node.protocols.allocated import scale_of
from node.utilities import build
from runner.components import common
from runner.facts import Ended, Facts, counted, gather

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.environments import Environment
    from runner.components import Component
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
    def imbalance(self) -> float:
        """|sum of taxes| relative to what changes hands: the sum of |tax|, or of |price x share| if that is
        more. Taxes add up to zero at the equilibrium; words that differ from neighbour to neighbour may leave
        the allocation as it is, and somebody pays what nobody gets."""
        pairs = [zip(prices, self.allocation[i], strict=True) for i, prices in self.prices.items()]
        paid = math.fsum(abs(p * x) for own in pairs for p, x in own)
        return abs(self.tax_sum) / (max(self.tax_scale, paid) or 1.0)

    @property
    def balanced(self) -> bool:
        """Whether taxes add up to zero within the tolerance, as far as everybody's is known."""
        return self.imbalance <= self.tolerance or any(part.unheard for part in self.components)

    @property
    def kept_promise(self) -> bool:
        """Whether every agent was at rest, the allocation is as accurate as was promised and taxes add up to
        zero as accurately; without a guarantee nothing is promised about these two."""
        accurate = (self.allocation_error <= self.tolerance and self.balanced) or not self.guaranteed
        return not self.stopped_unsatisfied and not self.stranded and accurate

    @property
    def verdict(self) -> str:
        """In words, what a broken promise comes to."""
        return (
            f"allocation error {self.allocation_error:.3g}, promised {self.tolerance:.3g}; "
            f"{'' if self.balanced else f'taxes {self.imbalance:.3g} off balance; '}"
            f"{self.stopped_unsatisfied} agents stopped unsatisfied{self.trouble}"
        )

    def with_observed_rate(self, rate: float | None) -> RunResult:
        """The same result with the rate measured from the record."""
        return replace(self, observed_rate=rate)


def judge(loaded: LoadedScenario, ended: Ended) -> RunResult:
    """Compare what the agents reported with the central optimum: of each part of the network by itself.

    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    facts, parts, results = gather(loaded, ended)
    for part in parts:
        for fact in ("parameters", "bound", "norm", "guaranteed"):
            common(fact, {i: results[i][fact] for i in part.heard})
    rules = loaded.contract()
    held = [_hold(loaded, rules, part, results) for part in parts]
    worst = max(held, key=lambda h: h.allocation_error / h.tolerance)
    firsts = [results[part.heard[0]] for part in parts]
    loosest = max(firsts, key=lambda r: float(r["bound"]))
    taxes = {i: float(r["tax"]) for i, r in results.items()}
    return RunResult(
        **facts,
        mechanism=rules["mechanism"],
        play_rounds=counted(
            "play_rounds", {i: r["play_rounds"] for i, r in results.items()}, parts, facts["synchrony"]
        ),
        allocation={i: list(r["allocation"]) for i, r in results.items()},
        prices={i: list(r["price"]) for i, r in results.items()},
        taxes=taxes,
        optimal_allocation={i: x for h in held for i, x in h.allocation.items()},
        optimal_prices={i: p for h in held for i, p in h.prices.items()},
        multiplier=held[0].multiplier,
        allocation_error=worst.allocation_error,
        price_error=max(h.price_error for h in held),
        # Exactly rounded and over ascending ids: the same sum whoever adds it up.
        tax_sum=math.fsum(taxes.values()),
        tax_scale=math.fsum(map(abs, taxes.values())),
        welfare=math.fsum(h.welfare for h in held),
        optimal_welfare=math.fsum(h.optimal_welfare for h in held),
        parameters=dict(firsts[0]["parameters"]),
        contraction_bound=loosest["bound"],
        norm=loosest["norm"],
        guaranteed=all(r["guaranteed"] for r in firsts),
        observed_rate=None,
        tolerance=worst.tolerance,
        stopped_unsatisfied=sum(not r["satisfied"] for r in results.values()),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """One part of the network, held against the optimum of all that took part in it."""

    allocation: dict[str, list[float]]
    prices: dict[str, list[float]]
    multiplier: list[float]
    allocation_error: float
    price_error: float
    welfare: float
    optimal_welfare: float
    tolerance: float


def _hold(
    loaded: LoadedScenario, rules: Mapping[str, Any], part: Component, results: Mapping[str, Any]
) -> _Held:
    environment = environment_of(rules, {i: loaded.utilities[i] for i in part.agents})
    optimum = environment.optimum()
    allocation = {i: np.asarray(results[i]["allocation"]) for i in part.heard}
    largest = max(float(np.abs(x).max()) for x in optimum.allocation.values())
    highest = max(float(np.abs(p).max()) for p in optimum.prices.values())
    off = max(float(np.abs(allocation[i] - optimum.allocation[i]).max()) for i in part.heard)
    price_off = max(
        float(np.abs(np.asarray(results[i]["price"]) - optimum.prices[i]).max()) for i in part.heard
    )
    optimal_welfare = optimum.welfare
    if part.unheard:  # of those whose result is known, on both sides
        environment = environment_of(rules, {i: loaded.utilities[i] for i in part.heard})
        optimal_welfare = environment.welfare({i: optimum.allocation[i] for i in part.heard})
    # What was promised is relative to `scale`; what is reported relative to the largest share.
    scale = scale_of(rules, part.size)
    return _Held(
        allocation={i: optimum.allocation[i].tolist() for i in part.heard},
        prices={i: optimum.prices[i].tolist() for i in part.heard},
        multiplier=optimum.multiplier.tolist(),
        allocation_error=off / largest if largest else off,
        price_error=price_off / highest if highest else price_off,
        welfare=environment.welfare(allocation),
        optimal_welfare=optimal_welfare,
        tolerance=rules["stopping"]["tolerance"] * max(1.0, scale / largest if largest else 1.0),
    )


def environment_of(rules: Mapping[str, Any], utilities: Mapping[str, Mapping[str, Any]]) -> Environment:
    """What is to be shared or decided, by the public rules, among agents with these utilities."""
    built = {agent: build(utility) for agent, utility in utilities.items()}
    if "capacities" in rules:
        return PrivateGoods(rules["capacities"], built)
    return PublicGoods(rules["features"], built)
