"""What a check comes to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

# ``broken``: runs fail. ``poor``: they work, but slowly or not all of them. ``absent``: what is optional.
Verdict = Literal["ok", "poor", "absent", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        name: what was looked at.
        verdict: how it is.
        found: what was seen, with its unit.
        todo: what to do about it, or what it is for; empty if nothing is to be done.
    """

    name: str
    verdict: Verdict
    found: str
    todo: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)
