"""The valid name that somebody may have meant: what every message about an unknown name ends with."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_ALIKE = 0.6  # of difflib's ratio, its own default: two letters exchanged in a word of five are alike


def nearest(seen: str, known: Iterable[str]) -> str | None:
    """The name of ``known`` that looks most like ``seen``, whatever the case of letters and the zeros before
    numbers (``a3``, ``a03``); None if none does.

    A name that begins with what was typed counts, too, if it is the only one.
    """
    names = {_plain(name): name for name in sorted(known, reverse=True)}
    typed = _plain(seen)
    if typed in names:
        return names[typed]
    close = difflib.get_close_matches(typed, names, n=1, cutoff=_ALIKE)
    if not close and typed:
        close = [name for name in names if name.startswith(typed)]
    return names[close[0]] if len(close) == 1 else None


def _plain(name: str) -> str:
    return _ZEROS.sub("", name.casefold())


def did_you_mean(seen: str, known: Iterable[str]) -> str:
    """`` (did you mean NAME?)`` to be put behind a list of what is expected; empty if nothing is near."""
    near = nearest(seen, known)
    return f" (did you mean {near}?)" if near is not None else ""
