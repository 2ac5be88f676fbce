"""Laws of the network mechanisms: capacities on links and rows, in every recorded round."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network import checks, strategic
from node.mechanisms.network.contract import Share
from node.mechanisms.network.incentives import NEGLIGIBLE, stakes, standings
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.sequential import gather
from runner.check import planner
from runner.check.lines import (
    CONTRACTION,
    DEVIATION,
    EFFICIENCY,
    FEASIBILITY,
    NASH,
    RATIONALITY,
    TAXES,
    Line,
    inapplicable,
    measured,
    unchecked,
)
from runner.errors import UserError
from runner.network import contracts_of
from runner.network_record import overshoot_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract, Tables
    from node.mechanisms.network.optimum import Optimum
    from runner.check.evidence import Evidence

# How far two solvers of the planner's problem, written separately, may be apart to count as one optimum.
AGREEMENT = 1e-6
# Best responses and random messages searched; each best response takes about a millisecond.
SEARCHED, TRIES = 400, 40


def lines(evidence: Evidence) -> list[Line]:
    """The lines about a network run but those of every run.

    Raises:
        UserError: if accounts cannot be read as those of such a run, or cvxpy is missing.
    """
    _all_told(evidence)
    try:
        contracts = contracts_of(evidence.loaded)
    except ValueError as error:
        raise UserError(f"{evidence.directory}: those that have a result cannot play: {error}") from None
    try:
        shares, tables, gap = _ends(evidence, contracts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{evidence.directory}: the accounts are not those of a network: {error!r}") from None
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    return [
        _efficiency(evidence, contracts, shares, optimum, gap),
        inapplicable(
            NASH,
            "equilibrium messages are not unique (demands may be scaled, prices may tie), and what is "
            "proved at the "
            "end is the accuracy of allocations, not of messages",
        ),
        _deviation(evidence, contracts, shares, tables),
        _feasibility(evidence, contracts, shares),
        _taxes(evidence, _finals(evidence, shares)),
        _rationality(evidence, contracts, _finals(evidence, shares)),
        inapplicable(
            CONTRACTION, "price-taking dynamics with momentum and restarts; no bound a round is claimed"
        ),
    ]


def _all_told(evidence: Evidence) -> None:
    """Whether all that took part have reported.

    Raises:
        UserError: if some are gone who took part, so that what the others have cannot be judged.
    """
    for i, result in evidence.results.items():
        if result.get("agents") != len(evidence.agents):
            raise UserError(
                f"{evidence.directory}: agent {i} counted {result.get('agents')} agents that took part, "
                f"{len(evidence.agents)} have a result; expected those of all"
            )


def _ends(evidence: Evidence, contracts: Mapping[str, Contract]) -> tuple[dict[str, Share], Tables, float]:
    """What every agent gets and pays, the tables of their last quotes, and the largest gap that one reports.

    Raises:
        KeyError, TypeError, ValueError: if an account lacks some of it.
    """
    shares, quotes = {}, {}
    for i, result in evidence.results.items():
        shares[i] = Share(float(result["allocation"]), float(result["tax"]))
        said = {name: tuple(map(float, quote)) for name, quote in result["quotes"].items()}
        if set(said) != set(contracts[i].channels):
            raise ValueError(f"agent {i} quotes on {sorted(said)}, expected {list(contracts[i].channels)}")
        quotes[i] = said
    return shares, gather(quotes), max(float(result["gap"]) for result in evidence.results.values())


def _finals(evidence: Evidence, shares: dict[str, Share]) -> list[dict[str, Share]]:
    """Everybody's share at the end: as they report it and, of all that is recorded, the last one."""
    finals = [shares]
    if evidence.missing_rounds() is None:
        at, amounts = evidence.complete("allocation")
        _, taxes = evidence.complete("tax")
        if len(at):
            last = zip(evidence.agents, amounts[-1, :, 0].tolist(), taxes[-1, :, 0].tolist(), strict=True)
            finals.append({i: Share(x, tax) for i, x, tax in last})
    return finals


def _promised(evidence: Evidence, largest: float) -> float:
    stopping = evidence.rules["stopping"]
    return float(stopping["tolerance"]) * max(1.0, (stopping["scale"] or 0.0) / largest)


def _efficiency(
    evidence: Evidence,
    contracts: Mapping[str, Contract],
    shares: Mapping[str, Share],
    optimum: Optimum,
    gap: float,
) -> Line:
    """The amounts reported against those of a convex program, and the welfare against the agents' proof."""
    valuations = {i: own["valuation"] for i, own in evidence.loaded.utilities.items()}
    try:
        best = planner.network(contracts, valuations)
    except planner.NotSolved as error:
        return unchecked(EFFICIENCY, f"there is no optimum to compare with: {error}")
    largest = max(optimum.allocation.values())
    apart = max(abs(best[i] - optimum.allocation[i]) for i in best) / largest
    if apart > AGREEMENT:
        return unchecked(
            EFFICIENCY, f"cvxpy and the interior-point method of this project are {apart:.1e} apart"
        )
    missed = max(abs(shares[i].allocation - best[i]) for i in best) / largest
    welfare = math.fsum(contracts[i].valuation.value(shares[i].allocation) for i in shares)
    missing = optimum.welfare - welfare
    # The guard against rounding takes 1e-12 of every share, by concavity at most that part of the welfare.
    proved = all(result.get("proved") for result in evidence.results.values())
    flaw = None
    if proved and missing > gap + 2e-12 * abs(optimum.welfare):
        flaw = f"agents proved that at most {gap:.2e} of welfare is missing; it is {missing:.2e}"
    promised = _promised(evidence, largest)
    return measured(
        EFFICIENCY,
        missed,
        promised + apart,
        f"largest |x - x*| relative to the largest x*, x* by cvxpy and Clarabel; {promised:.3g} is "
        f"promised, {apart:.1e} "
        f"the difference to a second solver; welfare {missing:.1e} short, "
        f"{'proved' if proved else 'claimed'} "
        f"{gap:.1e}, and 1e-12 of shares is kept free",
        flaw,
    )


def _deviation(
    evidence: Evidence, contracts: Mapping[str, Contract], shares: Mapping[str, Share], tables: Tables
) -> Line:
    """What an agent has against the most that it could have, the others' last quotes being what they are.

    At rest nothing is left to gain but rounding, ``NEGLIGIBLE`` of what is at stake. A run stops at some
    distance from there, and what this leaves to gain goes by its square: it is worked out agent by agent from
    the prices quoted and the amounts allocated (``incentives.explained``), and not taken from the accuracy
    promised.
    """
    agents = sorted(contracts)
    searched = {
        agents[k * len(agents) // min(len(agents), SEARCHED)] for k in range(min(len(agents), SEARCHED))
    }
    every = strategic.limits(contracts, tables)
    worst, words, flaw, left = -math.inf, "", None, 0.0
    stand = standings(contracts, tables, shares, agents, frozenset(searched))
    for k, i in enumerate(i for i in agents if i in searched):
        c, standing = contracts[i], stand[i]
        own, rest = {name: tables[name] for name in c.channels}, strategic.rest_of(c, every)
        best = strategic.payoff(c, own, rest) + standing.regret
        best = max(best, _random(c, own, rest, k))
        has = c.valuation.value(shares[i].allocation) - shares[i].tax
        left = max(left, standing.explained / standing.stake)
        gain = (best - has - standing.explained) / standing.stake
        if gain > worst:
            worst, words = gain, f"{i} has {has:.9g} and could have {best - has:.1e} more"
        if flaw is None and has - best > standing.explained + NEGLIGIBLE * standing.stake:
            flaw = (
                f"agent {i} reports a payoff of {has:.9g}, {has - best:.1e} more than any message found gives"
            )
    whom = "every agent" if len(searched) == len(agents) else f"{len(searched)} of {len(agents)} agents"
    return measured(
        DEVIATION,
        max(0.0, worst),
        NEGLIGIBLE,
        "largest gain by one message against the others' last ones, beyond what the distance to rest "
        f"explains, relative to what the agent has at stake: {words}; the distance explains {left:.1e} of it "
        f"at most; a scan of demands with the best prices for each, ever closer, {TRIES} random messages, "
        f"for {whom}",
        flaw,
    )


def _random(contract: Contract, own: Tables, rest: float, salt: int) -> float:
    """The best payoff of random messages that change demand, prices and guess at once."""
    rng, best = np.random.default_rng([len(own), salt]), -math.inf
    said = {name: own[name][contract.me] for name in contract.channels}
    for n in range(TRIES):
        width = 3.0 if n % 2 else 0.02

        def factor(width: float = width) -> float:
            return float(10.0 ** rng.uniform(-width, width))

        y = max(contract.lowest, next(iter(said.values()))[0] * factor())
        tried = {name: (y, *(q * factor() for q in quote[1:])) for name, quote in said.items()}
        best = max(best, strategic.payoff(contract, own, rest, tried))
    return best


def _feasibility(evidence: Evidence, contracts: Mapping[str, Contract], shares: Mapping[str, Share]) -> Line:
    """No capacity is exceeded, in any recorded round of any epoch, by what is allocated or in use."""
    profiles: list[tuple[str, dict[str, float]]] = [("end", {i: s.allocation for i, s in shares.items()})]
    where, before = "at the end", 0.0
    if (missing := evidence.missing_rounds()) is None:
        for name in ("allocation", "in_use"):
            rounds, values = evidence.complete(name)
            profiles += [
                (f"round {r}", dict(zip(evidence.agents, row[:, 0].tolist(), strict=True)))
                for r, row in zip(rounds.tolist(), values, strict=True)
            ]
        where = (
            f"at the end and in all {len(profiles) - 1} recorded profiles of allocations and amounts in use"
        )
        if earlier := evidence.record.epochs[:-1]:
            before = overshoot_of(evidence.record, contracts_of(evidence.whole), earlier)
            where += f", and in the {len(earlier)} epochs before, in which others took part"
    else:
        where = f"at the end; {missing}"
    over, when = max((max(checks.overshoot(contracts, x), _below(x)), k) for k, (_, x) in enumerate(profiles))
    unequal = checks.unequal(contracts, profiles[0][1])
    flaw = f"members of a group differ by {unequal:.2e}; they share one amount" if unequal > 0.0 else None
    told = f", {profiles[when][0]}" if over > 0.0 else ""
    if before > over:
        over, told = before, ", in an epoch before the last"
    return measured(
        FEASIBILITY,
        over,
        0.0,
        f"largest excess over a capacity, relative to it{told}, {where}; every allocation is scaled to "
        "fit, so 0",
        flaw,
    )


def _below(amounts: Mapping[str, float]) -> float:
    return max(0.0, -min(amounts.values()))


def _taxes(evidence: Evidence, finals: list[dict[str, Share]]) -> Line:
    """As the mechanism claims: sum = 0 or, with weak balance, sum >= 0.

    Accounts are settled at the end, to rounding; before that guesses of the common factor are those of the
    step before, so the last recorded step may be off by what is left of the error.
    """
    weak, sums = evidence.rules["balance"] == "weak", [checks.balance(shares) for shares in finals]
    if weak and evidence.rules["mechanism"] == "linear" and _has_groups(evidence):
        return inapplicable(TAXES, "weak balance is claimed for linear constraints without groups only")
    prices = {i: float(result["price"]) for i, result in evidence.results.items()}
    parts = [
        0.0 if weak and total >= 0.0 else checks.imbalance(shares, prices)
        for (total, _), shares in zip(sums, finals, strict=True)
    ]
    flaw, before = None, max(checks.BALANCED, _promised(evidence, 1.0))
    if parts[-1] > before:
        flaw = (
            f"in the last recorded step {sums[-1][0]:.2e}, {parts[-1]:.1e} of all; {before:.1e} may be left"
        )
    what = "weak balance: the deficit" if weak else "|sum|"
    return measured(
        TAXES,
        parts[0],
        checks.BALANCED,
        f"sum of taxes {sums[0][0]:.2e}, {what} relative to all; accounts are settled at the end, so "
        "rounding is all that may be left",
        flaw,
    )


def _has_groups(evidence: Evidence) -> bool:
    return any(own.get("group") is not None for own in evidence.loaded.utilities.values())


def _rationality(
    evidence: Evidence, contracts: Mapping[str, Contract], finals: list[dict[str, Share]]
) -> Line:
    """Nobody has less than with nothing for nothing."""
    worst, gain, who = -math.inf, 0.0, ""
    for shares in finals:
        at_stake = stakes(contracts, shares)
        for i, gained in checks.rationality(contracts, shares).items():
            if (loss := -gained / at_stake[i]) > worst:
                worst, gain, who = loss, gained, i
    return measured(
        RATIONALITY,
        worst,
        _promised(evidence, 1.0),
        f"largest loss against nothing for nothing, relative to what is at stake ({who} gains {gain:.4g}); "
        "none at the equilibrium, which is as near as promised",
    )
