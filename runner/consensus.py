"""How a consensus run ended, judged against what somebody who knows all values would say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.truth import ConsensusEnvironment
from runner.facts import Facts, common, counted, gather

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusResult(Facts):
    """The facts of a finished consensus run; ``--json`` prints the same ones.

    Attributes (beside those of ``Facts``):
        primitive: which one.
        primitive_rounds: its rounds (or ticks) among all.
        values: agent -> what it found; empty if it never had an estimate.
        expected: what it should have found.
        error: largest |found - expected| (trimmed averaging: distance from the range of the inputs); None if
            some agent found nothing.
        spread: largest minus smallest value found, over components; None likewise.
        identical: whether all agents hold the same bits.
        exact: whether the primitive promises that.
        tolerance: the promised bound on ``error``; 0 for exact primitives.
        stopped_unsatisfied: agents that were ended by ``max_rounds``.
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

    @property
    def kept_promise(self) -> bool:
        """Whether the result is as accurate, and as equal among agents, as the primitive promises."""
        close = self.error is not None and self.error <= self.tolerance
        return close and (self.identical or not self.exact) and not self.stopped_unsatisfied

    @property
    def verdict(self) -> str:
        """In words, what a broken promise comes to."""
        return (
            f"error {self.error}, promised {self.tolerance:.3g}; "
            f"{'the same' if self.identical else 'not the same'} bits everywhere; "
            f"{self.stopped_unsatisfied} agents stopped unsatisfied"
        )


def judge_consensus(
    loaded: LoadedScenario,
    run: str,
    mode: str,
    reports: Mapping[str, Mapping[str, Any]],
    seconds: float,
    launched_at: float | None = None,
    run_dir: str | None = None,
) -> ConsensusResult:
    """Compare what the agents found with the truth.

    Args: as ``runner.facts.gather``.
    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    facts = gather(loaded, run, mode, reports, seconds, launched_at, run_dir)
    results = {i: reports[i]["result"] for i in loaded.agents}
    first = results[loaded.agents[0]]
    primitive = common("primitive", {i: r["primitive"] for i, r in results.items()})
    truth = ConsensusEnvironment({i: u["value"] for i, u in loaded.utilities.items()})
    values = {i: list(r["value"]) for i, r in results.items()}
    errors = [truth.error(primitive, value, facts["diameter"]) for value in values.values()]
    complete = all(values.values())
    exact = bool(first["exact"])
    return ConsensusResult(
        **facts,
        primitive=primitive,
        primitive_rounds=counted(
            "rounds of the primitive", {i: r["rounds"] for i, r in results.items()}, facts["synchrony"]
        ),
        values=values,
        expected=list(truth.expected(primitive, facts["diameter"])),
        error=max(errors) if all(map(math.isfinite, errors)) else None,
        spread=max(max(c) - min(c) for c in zip(*values.values(), strict=True)) if complete else None,
        identical=len({tuple(map(float.hex, value)) for value in values.values()}) == 1,
        exact=exact,
        tolerance=0.0 if exact or primitive == "trimmed" else loaded.contract()["stopping"]["tolerance"],
        stopped_unsatisfied=sum(not r["satisfied"] for r in results.values()),
    )
