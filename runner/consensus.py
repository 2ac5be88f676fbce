"""How a consensus run ended, judged against what somebody who knows all values would say."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from node.consensus.truth import ConsensusEnvironment
from runner.components import common
from runner.facts import Ended, Facts, counted, gather

if TYPE_CHECKING:
    from runner.record import Record
    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusResult(Facts):
    """The facts of a finished consensus run; ``--json`` prints the same ones.

    Attributes (beside those of ``Facts``):
        primitive: which one.
        primitive_rounds: its rounds (or ticks) among all.
        values: agent -> what it found; empty if it never had an estimate.
        expected: what it should have found; where the network fell apart, in the largest part.
        expected_in: likewise in each of ``components``; [] of one without a result.
        inputs_in: trimmed averaging: the smallest and the largest input in each of ``components``; else [].
        error: largest |found - expected| (trimmed averaging: distance from the range of the inputs); None if
            some agent found nothing.
        spread: largest minus smallest value found in a part of the network, over coordinates; None likewise.
        identical: whether all agents of a part hold the same bits.
        exact: whether the primitive promises that.
        tolerance: the promised bound on ``error``; 0 for exact primitives.
        stopped_unsatisfied: agents that were ended by ``max_rounds``.
        rounds_to_tolerance: rounds of the primitive until every estimate was within ``tolerance`` of the mean
            for the first time; None for what is no average of all, or without a complete record.
    """

    primitive: str
    primitive_rounds: int
    values: dict[str, list[float]]
    expected: list[float]
    error: float | None
    spread: float | None
    identical: bool
    exact: bool
    tolerance: float
    stopped_unsatisfied: int
    rounds_to_tolerance: int | None = None
    expected_in: list[list[float]] = field(default_factory=list)
    inputs_in: list[list[float]] = field(default_factory=list)

    @property
    def targets(self) -> dict[str, list[float]]:
        """Agent -> what it should have found, in its own part of the network."""
        if not self.expected_in:
            return dict.fromkeys(self.values, self.expected)
        parts = zip(self.components, self.expected_in, strict=True)
        return {agent: expected for part, expected in parts if expected for agent in part.agents}

    @property
    def kept_promise(self) -> bool:
        """Whether the result is as accurate, and as equal among agents, as the primitive promises."""
        close = self.error is not None and self.error <= self.tolerance
        same = self.identical or not self.exact
        return close and same and not self.stopped_unsatisfied and not self.stranded

    @property
    def verdict(self) -> str:
        """In words, what a broken promise comes to."""
        return (
            f"error {self.error}, promised {self.tolerance:.3g}; "
            f"{'the same' if self.identical else 'not the same'} bits everywhere; "
            f"{self.stopped_unsatisfied} agents stopped unsatisfied{self.trouble}"
        )

    def with_convergence(self, record: Record) -> ConsensusResult:
        """The same result with ``rounds_to_tolerance`` taken from the record."""
        if self.exact or self.primitive == "trimmed" or len(self.components) > 1:
            return self
        rounds, values, agents = record.series("estimate")
        if not rounds.size or len(agents) != self.agents:
            return self
        close = (np.abs(values - self.expected[0]) <= self.tolerance).all(axis=1)
        if not close.any():
            return self
        first = int(rounds[np.argmax(close)])
        # What an agent says in a round is recorded with the round before, which it has just heard.
        return replace(self, rounds_to_tolerance=first + 1 - (self.rounds - self.primitive_rounds))


def judge_consensus(loaded: LoadedScenario, ended: Ended) -> ConsensusResult:
    """Compare what the agents found with the truth.

    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    facts, parts, results = gather(loaded, ended)
    primitive = common("primitive", {i: r["primitive"] for i, r in results.items()})
    exact = bool(results[parts[0].heard[0]]["exact"])
    errors: list[float] = []
    spreads: list[float] = []
    identical, expected, inputs = True, {}, {}
    for part in parts:
        truth = ConsensusEnvironment({i: loaded.utilities[i]["value"] for i in part.agents})
        found = [list(results[i]["value"]) for i in part.heard]
        expected[part.agents] = list(truth.expected(primitive, part.diameter))
        inputs[part.agents] = [truth.minimum[0], truth.maximum[0]]
        errors.extend(truth.error(primitive, value, part.diameter) for value in found)
        if all(found):
            spreads.extend(max(c) - min(c) for c in zip(*found, strict=True))
        identical = identical and len({tuple(map(float.hex, value)) for value in found}) == 1
    values = {i: list(r["value"]) for i, r in results.items()}
    return ConsensusResult(
        **facts,
        primitive=primitive,
        primitive_rounds=counted(
            "rounds of the primitive", {i: r["rounds"] for i, r in results.items()}, parts, facts["synchrony"]
        ),
        values=values,
        expected=expected[parts[0].agents],
        error=max(errors) if all(map(math.isfinite, errors)) else None,
        spread=max(spreads) if all(values.values()) else None,
        identical=identical,
        exact=exact,
        tolerance=0.0 if exact or primitive == "trimmed" else loaded.contract()["stopping"]["tolerance"],
        stopped_unsatisfied=sum(not r["satisfied"] for r in results.values()),
        expected_in=[expected.get(part.agents, []) for part in facts["components"]],
        inputs_in=[inputs.get(part.agents, []) for part in facts["components"]]
        if primitive == "trimmed"
        else [],
    )
