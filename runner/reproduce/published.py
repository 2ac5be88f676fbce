"""What was published, to be held against: the thesis' Table 1 and what it says of Figures 12 to 15.

The median rounds are not the thesis', which prints none. They were computed for the same instances by an
independent program of array formulas; ``tests/spec`` computes them once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.reproduce.cases import Dynamics, Graph, Mechanism


@dataclass(frozen=True, slots=True)
class Printed:
    """A number as it is printed, and the format that prints it so."""

    text: str
    format: str

    def shows(self, value: float) -> bool:
        """Whether a value is this number to the printed digits."""
        return format(value, self.format) == self.text


# Table 1: (1 - xi, delta).
TABLE_ONE: dict[tuple[Mechanism, Graph], tuple[Printed, Printed]] = {
    ("private-goods", "tree"): (Printed("1.831e-04", ".3e"), Printed("1005.6", ".1f")),
    ("public-goods", "tree"): (Printed("2.515e-04", ".3e"), Printed("0.9505", ".4f")),
    ("private-goods", "er"): (Printed("7.324e-04", ".3e"), Printed("932.3", ".1f")),
    ("public-goods", "er"): (Printed("1e-03", ".0e"), Printed("0.8744", ".4f")),
}

# ||m_n - m~||_2 / ||m~||_1 is "in the order of" this power of ten at the tolerance.
RELATIVE: dict[Mechanism, int] = {"private-goods": -9, "public-goods": -8}

# Median rounds until the tolerance over the instances 0 to 4.
MEDIANS: dict[tuple[Mechanism, Graph, Dynamics], int] = {
    ("private-goods", "tree", "cournot"): 10269,
    ("private-goods", "tree", "exponential"): 15409,
    ("private-goods", "tree", "k10"): 56481,
    ("private-goods", "er", "cournot"): 3650,
    ("private-goods", "er", "exponential"): 5481,
    ("private-goods", "er", "k10"): 20080,
    ("public-goods", "tree", "cournot"): 150,
    ("public-goods", "tree", "exponential"): 230,
    ("public-goods", "tree", "k10"): 825,
    ("public-goods", "er", "cournot"): 54,
    ("public-goods", "er", "exponential"): 87,
    ("public-goods", "er", "k10"): 298,
}

# Rounds with the tuned price scale, as a share of those with the proof's, at most.
TUNED_SHARE = 1.0 / 7.0

# A tail of a curve is straight if a line leaves less than this of the variance of log10 of the distance.
STRAIGHT = 0.99
