"""What a conformance check found: one finding a law, with its number, what is allowed, and why."""

from __future__ import annotations

from dataclasses import dataclass


class BrokenLaw(AssertionError):
    """Something put through the conformance kit breaks a law; the text is the report."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one law came out.

    Attributes:
        law: its name, unique in a report.
        number: what was measured, the worst of everything tried; 0 is best.
        allowed: the law holds if ``number`` is not above it.
        reason: if the law is broken, where the number comes from: the agent and what was seen; if ``number``
            is None, why the law was not checked.
    """

    law: str
    number: float | None
    allowed: float
    reason: str

    @property
    def broken(self) -> bool:
        """Whether the law was checked and does not hold; a NaN never holds."""
        return self.number is not None and not self.number <= self.allowed

    def __str__(self) -> str:
        if self.number is None:
            return f"   --    {self.law:<24} {'':24} {self.reason}"
        mark, sign = (" BROKEN ", ">") if self.broken else (" holds  ", "<=")
        measured = f"{self.number:>12.6g} {sign:>2} {self.allowed:<8.6g}"
        return f"{mark} {self.law:<24} {measured} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a check.

    Attributes:
        subject: what was checked, in words.
        findings: one a law, in the order in which they were checked.
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the laws that do not hold."""
        return tuple(finding.law for finding in self.findings if finding.broken)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of the laws that were not checked: not claimed, or without what they need."""
        return tuple(finding.law for finding in self.findings if finding.number is None)

    def __getitem__(self, law: str) -> Finding:
        """The finding of a law.

        Raises:
            KeyError: if the report has no law of this name.
        """
        for finding in self.findings:
            if finding.law == law:
                return finding
        raise KeyError(f"no law {law!r}; expected one of {[finding.law for finding in self.findings]}")

    def raise_if_broken(self) -> None:
        """Raise if a law does not hold.

        Raises:
            BrokenLaw: with the whole report as text.
        """
        if self.broken:
            raise BrokenLaw(str(self))

    def __str__(self) -> str:
        checked = len(self.findings) - len(self.unchecked)
        head = f"{self.subject}: {len(self.broken)} of {checked} laws broken"
        return "\n".join([head, *(str(finding) for finding in self.findings)])


class Worst:
    """The largest number seen so far, with what it was seen at; NaN is larger than all."""

    def __init__(self) -> None:
        self.number = 0.0
        self.reason = ""

    def see(self, number: float, reason: str) -> None:
        """Keep the number if it is larger than all before."""
        if not number <= self.number and self.number == self.number:
            self.number, self.reason = float(number), reason

    def count(self, reason: str) -> None:
        """One more thing that is wrong; the first reason stays."""
        self.number += 1
        self.reason = self.reason or reason

    def finding(self, law: str, allowed: float) -> Finding:
        """The finding of a law whose number this is."""
        shown = self.reason if not self.number <= allowed else ""
        return Finding(law, self.number, allowed, shown)
