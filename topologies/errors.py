"""What is wrong with a scenario, said so that its author can fix it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")  # what TOML lets stand without quotes
_CREDENTIALS = re.compile(r"://[^\s\"]*@")
_SHOWN = 80  # characters of a value in a message: enough to recognise it


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        key: key path as in the file, ``topology.edges[3]``.
        got: what was seen, in words or as a value.
        expected: what would be right.
    """

    key: str
    got: str
    expected: str

    def __str__(self) -> str:
        return f"{self.key}: {self.got}; expected {self.expected}"

    def blaming(self, origin: Mapping[str, str]) -> Problem:
        """The same problem; if its key was set on the command line, it says by which option."""
        for key, option in origin.items():
            if self.key == key or self.key.startswith((f"{key}.", f"{key}[")):
                return replace(self, got=f"{self.got} (from {option})")
        return self


class ScenarioError(Exception):
    """A scenario cannot be used; the text has one line per mistake, each with file, key path, value and
    what is expected. The fault is in the file or on the command line, never in the program."""

    @classmethod
    def of(cls, where: str, problems: Iterable[Problem], origin: Mapping[str, str]) -> ScenarioError:
        """The error that reports ``problems`` of the file ``where``, one line each.

        Args:
            where: the file.
            problems: at least one.
            origin: keys that were set on the command line, with the option that set them.
        """
        return cls("\n".join(f"{where}: {problem.blaming(origin)}" for problem in problems))


class Invalid(Exception):
    """Mistakes found below the level at which the file's name is known; becomes a ``ScenarioError`` there."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def key_path(keys: Iterable[str | int]) -> str:
    """Write keys and list positions the way a reader finds them in the file."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            name = key if _BARE.match(key) else json.dumps(key, ensure_ascii=False)
            path += f".{name}" if path else name
    return path


def shown(value: Any) -> str:
    """A value as the file would spell it, shortened, and without the credentials of a URL."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = str(value)
    text = _CREDENTIALS.sub("://...@", text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a message: all if few, otherwise the first ones and how many more."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
