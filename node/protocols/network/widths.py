"""How many numbers travel: of a quote, and of an entry in a table."""

from __future__ import annotations

# Numbers of a quote, and of an entry: those of a quote, and s and 1/|v''|.
QUOTED = {"unicast": 3, "multicast": 4, "linear": 2}
GROUP_QUOTED = 5
WIDTHS = {mechanism: width + 2 for mechanism, width in QUOTED.items()}
GROUP_WIDTH = GROUP_QUOTED + 2


def width_of(mechanism: str, rule: str) -> int:
    """Numbers of an entry; Newton's prices need the surplus, too."""
    return WIDTHS[mechanism] + (rule == "newton")
