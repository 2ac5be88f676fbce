"""Laws of a consensus run: what agents found, against what somebody who knows all values would say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.consensus.truth import ConsensusEnvironment
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

if TYPE_CHECKING:
    from runner.check.evidence import Evidence

# Averages whose every estimate is a mean of inputs with weights >= 0, whatever the round.
CONVEX = ("ratio", "metropolis", "trimmed")
# What rounding may carry such a mean beyond its inputs, relative to the largest of them.
ROUNDING = 1e-12


def lines(evidence: Evidence) -> list[Line]:
    """The lines about a consensus run but those of every run.

    Raises:
        UserError: if accounts cannot be read as those of such a run.
    """
    try:
        values = {i: list(map(float, result["value"])) for i, result in evidence.results.items()}
        diameters = {int(result["diameter"]) for result in evidence.results.values()}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{evidence.directory}: the accounts are not those of a consensus: {error!r}"
        ) from None
    truth = ConsensusEnvironment({i: u["value"] for i, u in evidence.loaded.utilities.items()})
    nothing = "agents agree on a number; nothing is allocated, priced or paid"
    return [
        _efficiency(evidence, truth, values, diameters),
        inapplicable(NASH, "a protocol of averages or extrema, no game: there is no Nash message"),
        inapplicable(DEVIATION, "no game: nobody is paid, so nothing makes a deviation pay or not"),
        _feasibility(evidence, truth),
        inapplicable(TAXES, nothing),
        inapplicable(RATIONALITY, nothing),
        inapplicable(CONTRACTION, "no bound a round is claimed for consensus primitives"),
    ]


def _efficiency(
    evidence: Evidence, truth: ConsensusEnvironment, values: dict[str, list[float]], diameters: set[int]
) -> Line:
    """What every agent found, against the truth; exact primitives promise the same bits everywhere."""
    rules = evidence.rules
    primitive = str(rules["primitive"])
    true_diameter = _diameter(evidence)
    exact = all(result.get("exact") for result in evidence.results.values())
    error = max(
        truth.error(primitive, value, true_diameter) if value else math.inf for value in values.values()
    )
    tolerance = 0.0 if exact or primitive == "trimmed" else float(rules["stopping"]["tolerance"])
    flaw = None
    if exact and len({tuple(map(float.hex, value)) for value in values.values()}) > 1:
        flaw = "agents hold different bits"
    elif "diameter" not in rules and diameters != {true_diameter}:
        flaw = f"agents found the diameters {sorted(diameters)}; the graph has {true_diameter}"
    what = "distance from the range of the inputs" if primitive == "trimmed" else "|found - true|"
    why = "exact, the same bits everywhere" if exact else "what it promises"
    return measured(EFFICIENCY, error, tolerance, f"largest {what} of {primitive}, recomputed; {why}", flaw)


def _diameter(evidence: Evidence) -> int:
    import networkx as nx

    return int(nx.diameter(evidence.loaded.graph))


def _feasibility(evidence: Evidence, truth: ConsensusEnvironment) -> Line:
    """In every recorded round every estimate is between the smallest and the largest input."""
    primitive, rules = evidence.rules["primitive"], evidence.rules
    if primitive not in CONVEX or rules.get("rho") is not None:
        return inapplicable(
            FEASIBILITY, "nothing is allocated, and estimates may leave the range of the inputs"
        )
    _, values, _ = evidence.record.series("estimate")
    estimates = values[~np.isnan(values)]
    if not estimates.size:
        return unchecked(FEASIBILITY, "no estimate was recorded")
    (low,), (high,) = truth.minimum, truth.maximum
    size = max(abs(low), abs(high), 1e-300)
    off = max(low - float(estimates.min()), float(estimates.max()) - high, 0.0) / size
    return measured(
        FEASIBILITY,
        off,
        ROUNDING,
        f"how far any of {estimates.size:,} recorded estimates is beyond the inputs, which it is a mean "
        "of; rounding",
    )
