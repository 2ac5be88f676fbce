"""How a network run ended, judged against the planner's optimum and by what the mechanism promises."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network import checks
from node.mechanisms.network.contract import Share
from node.mechanisms.network.incentives import NEGLIGIBLE, Standing, standings
from node.mechanisms.network.linear import Linear
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.sequential import gather
from node.protocols.network.facts import contract_of
from node.protocols.network.restriction import among
from runner.components import common
from runner.facts import Ended, Facts
from runner.facts import gather as gather_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from node.mechanisms.network.contract import Contract
    from runner.components import Component
    from topologies import LoadedScenario

# Best responses searched at the end of a run; about a millisecond each.
SEARCHES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkResult(Facts):
    """The facts of a finished network run; ``--json`` prints the same ones.

    Attributes (beside those of ``Facts``):
        mechanism, balance, price_rule: what was played.
        steps: of the mechanism; moves: of the prices in each; depth: rounds that a table takes; play_rounds:
            of all of them. Where the network has fallen into parts, of the one that took most steps.
        allocation, optimal_allocation, prices: agent -> [number]; prices are net ones, a unit.
        taxes: agent -> money.
        link_prices: link -> its multiplier at the optimum.
        used: link -> the part of its capacity in use at the end.
        lonely: links that fewer than two agents (groups) demand at the end: there the optimum cannot be
            reached.
        allocation_error: max |x - x*|, relative to max x*.
        price_error: max |P_i - v_i'(x_i*)| over agents with x_i* > 0, relative to the largest.
        tax_sum, tax_scale: sum of taxes, and of their sizes.
        imbalance: |sum of taxes| relative to their sizes (``checks.imbalance``); with weak balance a deficit.
        welfare, optimal_welfare: sum of v_i(x_i).
        gap: what the agents proved to be the most welfare that is missing; the sum over parts.
        worst_payoff: the smallest v_i(x_i) - t_i - v_i(0); below 0 somebody had better stayed away.
        regret: the most that an agent would gain by the best one-shot deviation found from the last message;
            regret_agents: of how many agents it was searched, ids ascending.
        temptation: of these the most that one would gain beyond what its distance to rest explains, as a part
            of what it has at stake (``incentives.Standing``); None in runs from before there was this number.
        loss: of all agents the same of what one loses by taking part; likewise.
        overshoot: the largest excess over a capacity, relative, of allocations and of what was in use, in all
            recorded rounds of all epochs and at the end.
        errors, regrets: step -> allocation error; step -> largest regret, of every step, or of every k-th in
            large and long runs; of the largest part, in its last epoch. The last step is the one whose
            allocations are the outcome (with several parts it may be the one after it); its regret is that of
            what was said in it, while ``regret`` is that of the settlement. Empty without a record.
        tolerance: the promised bound on ``allocation_error``.
        stopped_unsatisfied: agents that were not satisfied in the end.
        proved: whether the agents proved the accuracy; else they concluded it from small residuals.
    """

    mechanism: str
    balance: str
    price_rule: str
    steps: int
    moves: int
    depth: int
    allocation: dict[str, list[float]]
    optimal_allocation: dict[str, list[float]]
    prices: dict[str, list[float]]
    taxes: dict[str, float]
    link_prices: dict[str, float]
    used: dict[str, float]
    lonely: list[str]
    allocation_error: float
    price_error: float
    tax_sum: float
    tax_scale: float
    imbalance: float
    welfare: float
    optimal_welfare: float
    gap: float
    worst_payoff: float
    regret: float
    regret_agents: int
    overshoot: float
    errors: dict[int, float]
    regrets: dict[int, float]
    tolerance: float
    stopped_unsatisfied: int
    proved: bool
    temptation: float | None = None
    loss: float | None = None

    @property
    def play_rounds(self) -> int:
        """Rounds of play."""
        # After the last step's factor nothing moves any more.
        more = (self.steps - 1) * (self.moves - 1) * self.depth
        return self.steps * (self.depth + self.diameter) + more

    @property
    def gap_holds(self) -> bool:
        """Whether the agents' bound is one.

        The guard against rounding takes 1e-12 of every share, by concavity at most that part of the welfare.
        """
        if any(part.unheard for part in self.components):
            return True  # it is about the welfare of all, and that of some is not known
        return self.optimal_welfare - self.welfare <= self.gap + 2e-12 * abs(self.optimal_welfare)

    @property
    def balanced(self) -> bool:
        """Whether taxes add up to 0 but for rounding, with weak balance to 0 or more."""
        return self.imbalance <= checks.BALANCED

    @property
    def steady(self) -> bool:
        """Whether nobody is found to gain by leaving, but for what goes away as play comes to rest."""
        return self.temptation is None or self.temptation <= NEGLIGIBLE

    @property
    def rational(self) -> bool:
        """Whether nobody had better stayed away, but for the same.

        With balance "everywhere" what is handed back depends on everybody's demand and price, so it is as
        near to what it is at the equilibrium as these are.
        """
        near = self.tolerance if self.balance == "everywhere" else 0.0
        return self.loss is None or self.loss <= max(NEGLIGIBLE, near)

    @property
    def kept_promise(self) -> bool:
        """Whether the accuracy asked for was proved and is there, every capacity held, taxes balance, and
        nobody would rather say something else or have stayed away."""
        return (
            not self.stopped_unsatisfied
            and not self.stranded
            and self.allocation_error <= self.tolerance
            and self.overshoot == 0.0
            and self.gap_holds
            and self.balanced
            and self.steady
            and self.rational
        )

    @property
    def verdict(self) -> str:
        """In words, what a broken promise comes to."""
        lonely = f"; fewer than two demand {', '.join(self.lonely)}" if self.lonely else ""
        return (
            f"allocation error {self.allocation_error:.3g}, promised {self.tolerance:.3g}; "
            f"{self.stopped_unsatisfied} agents unsatisfied; overshoot {self.overshoot:.3g}; taxes "
            f"{self.imbalance:.3g} off balance{self._unwilling}{lonely}{self.trouble}"
        )

    @property
    def _unwilling(self) -> str:
        found = ""
        if not self.steady:
            found += f"; an agent gains {self.regret:.3g} by another message"
        if not self.rational:
            found += f"; an agent loses {-self.worst_payoff:.3g} by taking part"
        return found


def contracts_of(loaded: LoadedScenario, agents: Collection[str] | None = None) -> dict[str, Contract]:
    """Everybody's side of the mechanism; what no agent has.

    Args:
        loaded: the scenario.
        agents: who takes part; links are those of them. None: all that the scenario has utilities of.
    Raises:
        ValueError: if these cannot play without the others.
    """
    rules = loaded.contract()
    there = frozenset(loaded.utilities if agents is None else agents)
    return {
        i: contract_of(i, rules, among(i, rules, own, there))
        for i, own in loaded.utilities.items()
        if i in there
    }


def judge_network(loaded: LoadedScenario, ended: Ended) -> NetworkResult:
    """Compare what the agents came to with the planner's optimum: of each part of the network by itself.

    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    facts, parts, results = gather_facts(loaded, ended)
    for part in parts:
        for fact in ("factor", "depth", "moves", "steps", "gap", "satisfied"):
            common(fact, {i: results[i][fact] for i in part.heard})
    rules = loaded.contract()
    held = [_hold(loaded, rules, part, results) for part in parts]
    worst = max(held, key=lambda h: h.allocation_error / h.tolerance)
    firsts = [results[part.heard[0]] for part in parts]
    longest = max(firsts, key=lambda r: int(r["steps"]))
    taxes = {i: float(r["tax"]) for i, r in results.items()}
    return NetworkResult(
        **facts,
        mechanism=rules["mechanism"],
        balance=rules["balance"],
        price_rule=rules["dynamics"]["rule"],
        steps=longest["steps"],
        moves=longest["moves"],
        depth=longest["depth"],
        allocation={i: [float(r["allocation"])] for i, r in results.items()},
        optimal_allocation={i: [x] for h in held for i, x in h.allocation.items()},
        prices={i: [float(r["price"])] for i, r in results.items()},
        taxes=taxes,
        link_prices={name: price for h in held for name, price in h.link_prices.items()},
        used={name: part for h in held for name, part in h.used.items()},
        lonely=sorted({name for h in held for name in h.lonely}),
        allocation_error=worst.allocation_error,
        price_error=max(h.price_error for h in held),
        tax_sum=math.fsum(taxes[i] for i in sorted(taxes)),
        tax_scale=math.fsum(abs(taxes[i]) for i in sorted(taxes)),
        imbalance=max(h.imbalance for h in held),
        welfare=math.fsum(h.welfare for h in held),
        optimal_welfare=math.fsum(h.optimal_welfare for h in held),
        gap=math.fsum(float(first["gap"]) for first in firsts),
        worst_payoff=min(h.worst_payoff for h in held),
        regret=max(h.regret for h in held),
        regret_agents=sum(h.searched for h in held),
        temptation=max(h.temptation for h in held),
        loss=max(h.loss for h in held),
        overshoot=max(h.overshoot for h in held),
        errors={},
        regrets={},
        tolerance=worst.tolerance,
        stopped_unsatisfied=sum(not r["satisfied"] for r in results.values()),
        proved=all(first["proved"] for first in firsts),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """One part of the network, held against the optimum of all that took part in it."""

    allocation: dict[str, float]
    link_prices: dict[str, float]
    used: dict[str, float]
    lonely: list[str]
    allocation_error: float
    price_error: float
    imbalance: float
    welfare: float
    optimal_welfare: float
    worst_payoff: float
    regret: float
    temptation: float
    loss: float
    searched: int
    overshoot: float
    tolerance: float


def _hold(
    loaded: LoadedScenario, rules: Mapping[str, Any], part: Component, results: Mapping[str, Any]
) -> _Held:
    contracts = contracts_of(loaded, part.agents)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    sides = {i: contracts[i] for i in part.heard}
    x = {i: float(results[i]["allocation"]) for i in part.heard}
    shares = {i: Share(x[i], float(results[i]["tax"])) for i in part.heard}
    prices = {i: float(results[i]["price"]) for i in part.heard}
    largest = max(optimum.allocation.values())
    slopes = {i: contracts[i].valuation.slope(t) for i, t in optimum.allocation.items() if t > 0.0}
    # What those have said and paid who were gone before they told is not known.
    searched = part.heard[:SEARCHES] if not part.unheard else ()
    stand, lonely, imbalance = dict[str, Standing](), list[str](), 0.0
    if searched:
        tables = gather({i: {n: tuple(q) for n, q in results[i]["quotes"].items()} for i in part.heard})
        stand = standings(contracts, tables, shares, part.heard, frozenset(searched))
        lonely = checks.lonely(contracts, {i: float(results[i]["demand"]) for i in part.heard})
        if not _no_deficit(rules, contracts, checks.balance(shares)[0]):
            imbalance = checks.imbalance(shares, prices)
    used = checks.used_by(contracts, x)
    return _Held(
        allocation={i: optimum.allocation[i] for i in part.heard},
        link_prices=dict(optimum.prices),
        used=used,
        lonely=lonely,
        allocation_error=max(abs(x[i] - optimum.allocation[i]) for i in part.heard) / largest,
        price_error=max((abs(prices[i] - slopes[i]) for i in part.heard if i in slopes), default=0.0)
        / max(slopes.values(), default=1.0),
        imbalance=imbalance,
        welfare=math.fsum(c.valuation.value(x[i]) for i, c in sides.items()),
        optimal_welfare=math.fsum(c.valuation.value(optimum.allocation[i]) for i, c in sides.items())
        if part.unheard
        else optimum.welfare,
        worst_payoff=min(checks.rationality(sides, shares).values()),
        regret=max((standing.regret for standing in stand.values()), default=0.0),
        temptation=max((standing.temptation for standing in stand.values()), default=0.0),
        loss=max((standing.loss for standing in stand.values()), default=0.0),
        searched=len(searched),
        overshoot=max([0.0, *(share - 1.0 for share in used.values())]),
        tolerance=rules["stopping"]["tolerance"] * max(1.0, (rules["stopping"]["scale"] or 0.0) / largest),
    )


def _no_deficit(rules: Mapping[str, Any], contracts: Mapping[str, Contract], total: float) -> bool:
    """Whether that is all that is claimed of the sum of taxes. With groups not even that is: who dislikes a
    public good is paid by those who like it, and by nobody if nobody is charged."""
    if rules["balance"] != "weak":
        return False
    return total >= 0.0 or any(isinstance(c, Linear) and c.group is not None for c in contracts.values())
