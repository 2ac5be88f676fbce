"""Laws of an allocation: private and public goods, with full tables or with sums on a tree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.protocols.allocated import scale_of
from node.utilities import Utility, UtilityError
from runner.check import accuracy, planner
from runner.check.deviations import SIZES, best_deviation, messages_of
from runner.check.dynamics import contraction
from runner.check.lines import (
    DEVIATION,
    EFFICIENCY,
    FEASIBILITY,
    NASH,
    RATIONALITY,
    TAXES,
    Line,
    measured,
    unchecked,
)
from runner.check.rebuilt import Profile, Rebuilt, rebuild, rounding
from runner.errors import UserError
from runner.result import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.environments import Optimum
    from node.numbers import Matrix, Vector
    from runner.check.evidence import Evidence

# Payoffs are sums of numbers that cancel; the search and the contract sum them in different orders. Far above
# rounding, and far below what any mistake in a contract would let an agent gain.
GAIN = 1e-9
# So many agents are searched at most, spread over the ids; the best response in closed form is all agents'.
SEARCHED = 2000


def lines(evidence: Evidence) -> list[Line]:
    """The lines about an allocation run but those of every run.

    Raises:
        UserError: if accounts cannot be read as those of such a run, or cvxpy is missing.
    """
    case = _Case(evidence)
    try:
        return case.lines()
    except UtilityError as error:
        raise UserError(f"{evidence.loaded.path}: utilities: {error}") from None


@dataclass
class _Case:
    """One run, and what several lines need of it."""

    evidence: Evidence

    def __post_init__(self) -> None:
        evidence = self.evidence
        self.rules, self.agents, self.results = evidence.rules, evidence.agents, evidence.results
        self.private = "capacities" in self.rules
        self.rebuilt: Rebuilt = rebuild(evidence.loaded, evidence.run)
        self.messages: Profile
        self.allocation: dict[str, Vector]
        self.taxes: dict[str, float]
        try:
            self._read()
        except (KeyError, TypeError, ValueError) as error:
            text = f"the accounts are not those of an allocation: {error}"
            raise UserError(f"{evidence.directory}: {text}") from None
        self.environment = environment_of(self.rules, evidence.loaded.utilities)
        self.utilities: dict[str, Utility] = self.environment.utilities
        try:
            self.optimum: Optimum = self.environment.optimum()
        except UtilityError as error:
            raise UserError(f"{evidence.loaded.path}: utilities: there is no optimum: {error}") from None
        self.largest = max(float(np.abs(x).max()) for x in self.optimum.allocation.values())
        self.scale = scale_of(self.rules, len(self.agents))
        self.asked = float(self.rules["stopping"]["tolerance"])
        # What is promised is relative to `scale`; what is reported, to the largest share.
        self.promised = self.asked * max(1.0, self.scale / self.largest if self.largest else 1.0)
        self.word = "promised" if self.rebuilt.guaranteed else "asked for, and guaranteed by nothing"

    def lines(self) -> list[Line]:
        checks: tuple[Callable[[], Line], ...] = (
            self.efficiency,
            self.nash,
            self.deviation,
            self.feasibility,
            self.balance,
            self.rationality,
            lambda: contraction(self.evidence, self.rebuilt, self.messages),
        )
        return [check() for check in checks]

    def _read(self) -> None:
        """What the accounts hold.

        Raises:
            KeyError, TypeError, ValueError: if one lacks some of it.
        """
        self.messages = messages_of(self.results)
        self.allocation = {i: self._numbers(i, "allocation") for i in self.agents}
        self.taxes = {i: float(self.results[i]["tax"]) for i in self.agents}
        for i, message in self.messages.items():
            expected = self.rebuilt.contracts[i].opening().shape
            if message.shape != expected:
                raise ValueError(
                    f"agent {i}: its last message has shape {message.shape}; expected {expected}"
                )

    def _numbers(self, agent: str, key: str) -> Vector:
        numbers = np.array(self.results[agent][key], dtype=np.float64)
        expected = (self.rebuilt.contracts[agent].utility.goods,)
        if numbers.shape != expected or not np.isfinite(numbers).all():
            raise ValueError(
                f"agent {agent}: {key} is {self.results[agent][key]}; expected {expected[0]} numbers"
            )
        return numbers

    # -- the optimum ---------------------------------------------------------------------------------

    def efficiency(self) -> Line:
        """The shares that agents report against those of a convex program."""
        if not self.largest:
            return unchecked(
                EFFICIENCY, "the optimum is 0 for everybody, so there is nothing to be relative to"
            )
        loaded = self.evidence.loaded
        try:
            if self.private:
                capacities = np.array(self.rules["capacities"], dtype=np.float64)
                best = planner.private_goods(loaded.utilities, capacities)
                off = accuracy.private_goods(best, self.utilities, capacities)
            else:
                best = planner.public_goods(loaded.utilities, self.rules["features"])
                off = accuracy.public_goods(best[self.agents[0]], self.utilities)
        except planner.NotExpressible as error:
            return self._without_a_program(str(error))
        except planner.NotSolved as error:
            return unchecked(EFFICIENCY, f"there is no optimum to compare with: {error}")
        size = max(float(np.abs(x).max()) for x in best.values())
        missed = max(float(np.abs(self.allocation[i] - best[i]).max()) for i in self.agents) / size
        short = self.environment.welfare(best) - self.environment.welfare(self.allocation)
        return measured(
            EFFICIENCY,
            missed,
            self.promised + off / size,
            f"largest |x - x*| relative to the largest |x*|, x* by cvxpy and Clarabel; {self.promised:.3g} "
            "is "
            f"{self.word}, {off / size:.1e} the solver may be off; welfare {short:.1e} short of the optimum",
        )

    def _without_a_program(self, why: str) -> Line:
        """A class of the user's: what its own gradients prove is told, and enough to fail, not to pass."""
        if self.private:
            capacities = np.array(self.rules["capacities"], dtype=np.float64)
            bound = accuracy.private_goods(self.allocation, self.utilities, capacities)
        else:
            bound = max(accuracy.public_goods(x, self.utilities) for x in self.allocation.values())
        bound /= self.largest
        off = max(float(np.abs(self.allocation[i] - self.optimum.allocation[i]).max()) for i in self.agents)
        if off / self.largest > self.promised:
            return measured(
                EFFICIENCY,
                off / self.largest,
                self.promised,
                f"{why}; by the gradients it declares x is off so far",
            )
        reason = (
            f"{why}; by its gradients and the curvature it declares x is within {bound:.1e} of the optimum"
        )
        return unchecked(EFFICIENCY, reason, bound, self.promised)

    # -- the game ------------------------------------------------------------------------------------

    def nash(self) -> Line:
        """Everybody's last message against the equilibrium in closed form."""
        rebuilt = self.rebuilt
        equilibrium = rebuilt.nash(self.optimum)
        distance = rebuilt.size({i: self.messages[i] - equilibrium[i] for i in self.agents})
        slack = rounding(rebuilt, equilibrium)
        tolerance = rebuilt.reach * max(1.0, slack / rebuilt.threshold) + slack
        return measured(
            NASH,
            distance,
            tolerance,
            f"distance of all last messages from the Nash message in closed form, {rebuilt.norm}; that is "
            "how far "
            f"they can be when all residuals are at most {rebuilt.threshold:.2e}, the agents' threshold",
        )

    def deviation(self) -> Line:
        """What an agent has against the most that it could have, the others' messages being what they are."""
        every = len(self.agents)
        searched = {self.agents[k * every // min(every, SEARCHED)] for k in range(min(every, SEARCHED))}
        worst, tried, flaw = -math.inf, 0, None
        words, tolerance = "", self._gain()
        for k, i in enumerate(self.agents):
            contract = self.rebuilt.contracts[i]
            view = self.rebuilt.view(i, self.messages)
            near: list[Matrix] = [self.messages[j] for j in self.rebuilt.hears[i]]
            best = best_deviation(contract, view, self.messages[i], near, [k, every], search=i in searched)
            has = self.utilities[i].value(self.allocation[i]) - self.taxes[i]
            tried += best.tried
            gain = (best.payoff - has) / best.scale
            if gain > worst:
                worst = gain
                words = f"{i} has {has:.9g} and would have {best.payoff - has:.1e} more by {best.how}"
            if flaw is None and -gain > tolerance:
                flaw = (
                    f"agent {i} reports a payoff of {has:.9g}, {has - best.payoff:.1e} more than the best "
                    "message "
                    "found gives"
                )
        whom = "every agent" if len(searched) == every else f"{len(searched)} agents, the closed form for all"
        return measured(
            DEVIATION,
            worst,
            tolerance,
            f"largest gain relative to what payoffs are sums of: {words}; best responses in closed form and "
            f"{tried:,} messages searched, sizes {SIZES[0]:g} to {SIZES[-1]:g}, for {whom}; "
            f"{self._why_gain()}",
            flaw,
        )

    def _gain(self) -> float:
        if self.evidence.free:
            return GAIN + 2.0 * self.promised
        # A message within the threshold of the best response is short of it by half the curvature of the
        # payoff times its square: that of the valuation, 2 for each square of the tax, and the anchor's.
        first = self.rebuilt.contracts[self.agents[0]]
        anchor = max(float(np.max(d)) for d in (first.delta, 1.0 / np.asarray(first.delta)))  # type: ignore[attr-defined]
        steep = max(float(u.curvature[1].max()) for u in self.utilities.values()) + 4.0 + anchor
        numbers = max(message.size for message in self.messages.values())
        return GAIN + 0.5 * steep * numbers * self.rebuilt.threshold**2

    def _why_gain(self) -> str:
        if self.evidence.free:
            return "in free mode last messages are of different ticks, apart by the accuracy promised"
        return "allowed: rounding, and what a residual within the threshold leaves"

    # -- money and goods -----------------------------------------------------------------------------

    def feasibility(self) -> Line:
        """What is handed out is what there is; of a public good, all have the same."""
        ends = [np.array([self.allocation[i] for i in self.agents])]
        told = "before, nothing is promised"
        if self.evidence.free:
            where = "at the end (in free mode ticks of different agents are not of one moment)"
        elif missing := self.evidence.missing_rounds():
            where = f"at the end; {missing}"
        else:
            restful, worst = self._restful()
            ends += restful
            where = f"at the end and in {len(restful)} recorded rounds in which all were at rest"
            told = f"before, nothing is promised, and it was up to {worst:.2g}"
        off = max(self._infeasibility(x) for x in ends)
        if self.private:
            what = "|sum x - c| relative to the largest capacity"
            tolerance = self.asked * self.scale * len(self.agents) / self._capacity()
        else:
            what = "spread of x among agents, relative to the largest x*"
            tolerance = 2.0 * self.promised
        return measured(
            FEASIBILITY,
            off,
            tolerance,
            f"largest {what}, {where}; {told}; each share is as accurate as {self.word}",
        )

    def _restful(self) -> tuple[list[Matrix], float]:
        """Everybody's x in the rounds in which all were at rest; by how much the others are infeasible."""
        rounds, residuals = self.evidence.complete("residual")
        at, values = self.evidence.complete("allocation")
        enough = max(self.rebuilt.threshold, rounding(self.rebuilt, self.messages))
        quiet = {int(r) for r, row in zip(rounds, residuals, strict=True) if row.max() <= enough}
        restful = [x for r, x in zip(at, values, strict=True) if int(r) in quiet]
        others = [self._infeasibility(x) for r, x in zip(at, values, strict=True) if int(r) not in quiet]
        return restful, max(others, default=0.0)

    def _infeasibility(self, x: Matrix) -> float:
        """x has shape (N, K)."""
        if not self.private:
            return float((x.max(axis=0) - x.min(axis=0)).max()) / (self.largest or 1.0)
        capacities = np.array(self.rules["capacities"], dtype=np.float64)
        total = np.array([math.fsum(column) for column in x.T.tolist()])
        return float(np.abs(total - capacities).max()) / self._capacity()

    def _capacity(self) -> float:
        """The largest capacity; if all are 0, what the shares of all are relative to."""
        return max(map(abs, self.rules["capacities"])) or self.scale * len(self.agents)

    def _ends(self, name: str) -> list[dict[str, float]]:
        """The numbers of all agents at the end: as they report them and, in rounds, as last recorded."""
        ends = [{i: float(self.results[i][name]) for i in self.agents}]
        if not self.evidence.free and self.evidence.missing_rounds() is None:
            _, values = self.evidence.complete(name)
            if len(values):
                ends.append(dict(zip(self.agents, values[-1, :, 0].tolist(), strict=True)))
        return ends

    def balance(self) -> Line:
        """Taxes sum to zero at the Nash message (strong budget balance)."""
        worst, told = 0.0, 0.0
        for taxes in self._ends("tax"):
            total, size = math.fsum(taxes[i] for i in self.agents), math.fsum(map(abs, taxes.values()))
            off = abs(total) / max(size, self._paid())
            if off >= worst:
                worst, told = off, total
        return measured(
            TAXES,
            worst,
            self.promised,
            f"|sum of taxes| ({told:.2e}) relative to what is paid in all, at the end and in the last "
            "recorded "
            f"round; strong balance is a law of the equilibrium only, which is as near as {self.word}",
        )

    def _paid(self) -> float:
        """sum |p| |x|: what changes hands."""
        prices, x = self.optimum.prices, self.optimum.allocation
        return math.fsum(float(np.abs(prices[i] * x[i]).sum()) for i in self.agents) or 1.0

    def rationality(self) -> Line:
        """Nobody has less than without the mechanism: an equal share, or none of the public good."""
        worst, who = -math.inf, ""
        share = (
            np.array(self.rules["capacities"], dtype=np.float64) / len(self.agents)
            if self.private
            else np.zeros(self.rules["features"])
        )
        recorded = self._ends("tax")
        shares: list[dict[str, Vector]] = [self.allocation]
        if len(recorded) > 1:
            _, values = self.evidence.complete("allocation")
            shares.append(dict(zip(self.agents, values[-1], strict=True)))
        for taxes, x in zip(recorded, shares, strict=True):
            for i in self.agents:
                alone = self.utilities[i].value(share)
                has = self.utilities[i].value(x[i]) - taxes[i]
                size = max(1.0, abs(alone), abs(has), float(np.abs(self.optimum.prices[i] * x[i]).sum()))
                if (alone - has) / size > worst:
                    worst, who = (alone - has) / size, f"{i} has {has:.6g} with it, {alone:.6g} without"
        outside = "an equal share for nothing" if self.private else "nothing, for nothing"
        return measured(
            RATIONALITY,
            worst,
            self.promised,
            f"largest loss against {outside}, relative to the payoff ({who}); none at the equilibrium, "
            "which is as "
            f"near as {self.word}",
        )
