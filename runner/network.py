"""How a network run ended, judged against the planner's optimum and by what the mechanism promises."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.network import checks, strategic
from node.mechanisms.network.contract import Share
from node.mechanisms.network.incentives import NEGLIGIBLE, Standing, standings
from node.mechanisms.network.linear import Linear
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.sequential import gather
from node.protocols.network.facts import contract_of
from node.protocols.network.restriction import among
from runner.components import common
from runner.ending import last_step, to_outcome
from runner.facts import Ended, Facts
from runner.facts import gather as gather_facts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from node.mechanisms.network.contract import Contract, Tables
    from runner.components import Component
    from runner.record import Record
    from topologies import LoadedScenario

# Best responses searched at the end of a run, and over all its recorded steps; about a millisecond each.
SEARCHES = 1000
RECORDED = 4000


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


def with_record(result: NetworkResult, loaded: LoadedScenario, record: Record) -> NetworkResult:
    """The same result with what the record shows: feasibility of every epoch, and errors and regrets, step by
    step, of the last one of the largest part that has a result."""
    parts = [part for part in result.components if part.stranded is None]
    overshoot = max(result.overshoot, overshoot_of(record, contracts_of(loaded), record.epochs))
    for part in parts:
        overshoot = max(overshoot, overshoot_of(record, contracts_of(loaded, part.agents), (part.epoch,)))
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
        contracts = contracts_of(loaded, chosen.agents)
        regrets = _regrets(contracts, record, [int(rounds[k]) for k in complete], chosen.epoch)
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
