"""What a judgement says: one line a law, with a verdict, a number, its tolerance and the reason for it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["pass", "fail", "does not apply", "not checked"]

EFFICIENCY = "efficiency"
NASH = "nash-message"
DEVIATION = "best-deviation"
FEASIBILITY = "feasibility"
TAXES = "taxes"
RATIONALITY = "individual-rationality"
CONTRACTION = "contraction"
STOP = "stop-round"
DISTRIBUTED = "distributedness"
PROBE = "probe"
# In the order in which they are printed.
NAMES = (
    EFFICIENCY,
    NASH,
    DEVIATION,
    FEASIBILITY,
    TAXES,
    RATIONALITY,
    CONTRACTION,
    STOP,
    DISTRIBUTED,
    PROBE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """The verdict on one law.

    Attributes:
        name: of ``NAMES``.
        verdict: ``pass`` or ``fail``; ``does not apply``: the mechanism has no such law; ``not checked``:
            it has one, and what is there does not suffice to judge it.
        number: what was found; None if there is nothing to measure.
        tolerance: what it may be at most.
        reason: what the number is, and why the tolerance is what it is; or why there is no verdict.
        flaw: what is wrong whatever the tolerance; the line then fails.
    """

    name: str
    verdict: Verdict
    number: float | None
    tolerance: float | None
    reason: str
    flaw: str | None = None

    def within(self, tolerance: float) -> Line:
        """The same line under a tolerance of the user's; unchanged if no number is judged."""
        if self.number is None or self.tolerance is None or self.verdict not in ("pass", "fail"):
            return self
        reason = f"{self.reason}; tolerance as asked for"
        return replace(measured(self.name, self.number, tolerance, reason, self.flaw))


@dataclass(frozen=True, slots=True)
class Judgement:
    """All lines about one run.

    Attributes:
        run, scenario, mode: the run's id, its scenario's name, and how it was run.
        lines: in the order of ``NAMES``.
    """

    run: str
    scenario: str
    mode: str
    lines: tuple[Line, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the lines that fail."""
        return tuple(line.name for line in self.lines if line.verdict == "fail")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data; a number that is not finite becomes null."""
        lines = [asdict(line) for line in self.lines]
        for line in lines:
            for key in ("number", "tolerance"):
                if line[key] is not None and not math.isfinite(line[key]):
                    line[key] = None
        verdict = "fail" if self.failed else "pass"
        return {
            "run": self.run,
            "scenario": self.scenario,
            "mode": self.mode,
            "verdict": verdict,
            "lines": lines,
        }


def measured(name: str, number: float, tolerance: float, reason: str, flaw: str | None = None) -> Line:
    """A line that passes if the number is at most the tolerance (and is one) and nothing else is wrong."""
    good = flaw is None and number <= tolerance
    return Line(name, "pass" if good else "fail", number, tolerance, reason, flaw)


def inapplicable(name: str, reason: str) -> Line:
    """The mechanism has no such law."""
    return Line(name, "does not apply", None, None, reason)


def unchecked(name: str, reason: str, number: float | None = None, tolerance: float | None = None) -> Line:
    """There is such a law, and what is there does not suffice to judge it."""
    return Line(name, "not checked", number, tolerance, reason)


def under(lines: Sequence[Line], tolerances: Mapping[str, float]) -> tuple[Line, ...]:
    """The lines in order, those named under the user's tolerance."""
    ordered = sorted(lines, key=lambda line: NAMES.index(line.name))
    return tuple(line.within(tolerances[line.name]) if line.name in tolerances else line for line in ordered)
