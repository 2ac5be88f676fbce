"""The valid name that is nearest to what was typed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(seen: str, names: Iterable[str], most: int = 12) -> str:
    """``one of a, b, c (did you mean b?)``: the end of an error message about a name that is none."""
    known = list(names)
    near = difflib.get_close_matches(seen, known, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    rest = f" and {len(known) - most} more" if len(known) > most else ""
    return f"one of {', '.join(known[:most])}{rest}{hint}"
