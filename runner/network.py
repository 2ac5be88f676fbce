"""How a network run ended, judged against the planner's optimum and by what the mechanism promises."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.network import checks, strategic
from node.mechanisms.network.contract import Share
from node.mechanisms.network.incentives import NEGLIGIBLE, standings
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.sequential import gather
from node.protocols.network.facts import contract_of
from runner.components import common
from runner.ending import last_step, to_outcome
from runner.facts import Ended, Facts
from runner.facts import gather as gather_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Tables
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
            of all of them.
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
        gap: what the agents proved to be the most welfare that is missing.
        worst_payoff: the smallest v_i(x_i) - t_i - v_i(0); below 0 somebody had better stayed away.
        regret: the most that an agent would gain by the best one-shot deviation found from the last message;
            regret_agents: of how many agents it was searched, ids ascending.
        temptation: of these the most that one would gain beyond what its distance to rest explains, as a part
            of what it has at stake (``incentives.Standing``); None in runs from before there was this number.
        loss: of all agents the same of what one loses by taking part; likewise.
        overshoot: the largest excess over a capacity, relative, of allocations and of what was in use, in all
            recorded rounds and at the end.
        errors, regrets: step -> allocation error; step -> largest regret, of every step, or of every k-th in
            large and long runs. The last step is the one whose allocations are the outcome; its regret is
            that of what was said in it, while ``regret`` is that of the settlement. Empty without a record.
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
            f"{self.imbalance:.3g} off balance{self._unwilling}{lonely}"
        )

    @property
    def _unwilling(self) -> str:
        found = ""
        if not self.steady:
            found += f"; an agent gains {self.regret:.3g} by another message"
        if not self.rational:
            found += f"; an agent loses {-self.worst_payoff:.3g} by taking part"
        return found


def contracts_of(loaded: LoadedScenario) -> dict[str, Contract]:
    """Everybody's side of the mechanism; what no agent has."""
    rules = loaded.contract()
    return {i: contract_of(i, rules, own) for i, own in loaded.utilities.items()}


def judge_network(loaded: LoadedScenario, ended: Ended) -> NetworkResult:
    """Compare what the agents came to with the planner's optimum.

    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    facts, _, results = gather_facts(loaded, ended)
    agents, rules = loaded.agents, loaded.contract()  # nobody leaves such a run: ``topologies.membership``
    for fact in ("factor", "depth", "moves", "steps", "gap", "satisfied"):
        common(fact, {i: results[i][fact] for i in agents})
    first = results[agents[0]]
    contracts = contracts_of(loaded)
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    x = {i: float(results[i]["allocation"]) for i in agents}
    shares = {i: Share(x[i], float(results[i]["tax"])) for i in agents}
    tables = gather({i: {n: tuple(q) for n, q in results[i]["quotes"].items()} for i in agents})
    largest = max(optimum.allocation.values())
    slopes = {i: contracts[i].valuation.slope(t) for i, t in optimum.allocation.items() if t > 0.0}
    total, size = checks.balance(shares)
    prices = {i: float(results[i]["price"]) for i in agents}
    searched = agents[:SEARCHES]
    stand = standings(contracts, tables, shares, agents, frozenset(searched))
    return NetworkResult(
        **facts,
        mechanism=rules["mechanism"],
        balance=rules["balance"],
        price_rule=rules["dynamics"]["rule"],
        steps=first["steps"],
        moves=first["moves"],
        depth=first["depth"],
        allocation={i: [x[i]] for i in agents},
        optimal_allocation={i: [optimum.allocation[i]] for i in agents},
        prices={i: [prices[i]] for i in agents},
        taxes={i: shares[i].tax for i in agents},
        link_prices=dict(optimum.prices),
        used=checks.used(contracts, x),
        lonely=checks.lonely(contracts, {i: float(results[i]["demand"]) for i in agents}),
        allocation_error=max(abs(x[i] - optimum.allocation[i]) for i in agents) / largest,
        price_error=max((abs(prices[i] - slope) for i, slope in slopes.items()), default=0.0)
        / max(slopes.values(), default=1.0),
        tax_sum=total,
        tax_scale=size,
        imbalance=0.0 if _no_deficit(rules, loaded, total) else checks.imbalance(shares, prices),
        welfare=math.fsum(contracts[i].valuation.value(x[i]) for i in agents),
        optimal_welfare=optimum.welfare,
        gap=float(first["gap"]),
        worst_payoff=min(checks.rationality(contracts, shares).values()),
        regret=max(standing.regret for standing in stand.values()),
        regret_agents=len(searched),
        temptation=max(standing.temptation for standing in stand.values()),
        loss=max(standing.loss for standing in stand.values()),
        overshoot=checks.overshoot(contracts, x),
        errors={},
        regrets={},
        tolerance=rules["stopping"]["tolerance"] * max(1.0, (rules["stopping"]["scale"] or 0.0) / largest),
        stopped_unsatisfied=0 if first["satisfied"] else len(agents),
        proved=first["proved"],
    )


def _no_deficit(rules: Mapping[str, Any], loaded: LoadedScenario, total: float) -> bool:
    """Whether that is all that is claimed of the sum of taxes. With groups not even that is: who dislikes a
    public good is paid by those who like it, and by nobody if nobody is charged."""
    if rules["balance"] != "weak":
        return False
    return total >= 0.0 or any(own.get("group") is not None for own in loaded.utilities.values())


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
    """The same result with what the record shows: errors, regrets and feasibility, step by step."""
    contracts = contracts_of(loaded)
    optimal = {i: x[0] for i, x in result.optimal_allocation.items()}
    largest = max(optimal.values())
    rounds, allocations, agents = record.series("allocation")
    _, in_use, users = record.series("in_use")
    overshoot = result.overshoot
    for row in in_use:
        used = {i: 0.0 if math.isnan(v) else float(v) for i, v in zip(users, row, strict=True)}
        overshoot = max(overshoot, checks.overshoot(contracts, used))
    ending = to_outcome(record, last_step(result.steps, result.stopped_unsatisfied))
    counted = set(ending.series("allocation")[0].tolist())
    errors: dict[int, float] = {}
    complete: list[int] = []
    for k, row in enumerate(allocations):
        if set(agents) != set(loaded.agents) or np.isnan(row).any():
            continue  # some agent has no row in this round
        amounts = dict(zip(agents, row.tolist(), strict=True))
        overshoot = max(overshoot, checks.overshoot(contracts, amounts))
        if int(rounds[k]) not in counted:
            continue  # after the outcome
        errors[len(complete)] = max(abs(amounts[i] - optimal[i]) for i in agents) / largest
        complete.append(k)
    regrets = _regrets(contracts, record, [int(rounds[k]) for k in complete])
    return replace(result, overshoot=overshoot, errors=errors, regrets=regrets)


def _regrets(contracts: Mapping[str, Contract], record: Record, rounds: list[int]) -> dict[int, float]:
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
            at, values, agents = record.series(f"quote.{name}.{field}")
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
