"""Values set on the command line: ``dotted.key=value``."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from topologies.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Sequence

Origin = dict[str, str]  # dotted key -> the option that set it


def apply(data: dict[str, Any], overrides: Sequence[str]) -> Origin:
    """Set each ``dotted.key=value`` in ``data``, in place; later ones win, missing tables are made.

    A value replaces what was there: ``topology={generator="ring", agents=12}`` replaces the whole table.

    Returns:
        Which keys came from which override, for messages about them.
    Raises:
        ScenarioError: if an override has no ``=``, no key, or leads through something that is no table.
    """
    origin: Origin = {}
    for override in overrides:
        dotted, equals, value = override.partition("=")
        keys = tuple(key.strip() for key in dotted.split("."))
        if not equals or not all(keys):
            raise ScenarioError(f"--set {override}: expected dotted.key=value, as in environment.eta=30.0")
        table = data
        for depth, key in enumerate(keys[:-1]):
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ScenarioError(f"--set {override}: {'.'.join(keys[: depth + 1])} is not a table")
        table[keys[-1]] = parse_value(value)
        origin[".".join(keys)] = f"--set {'.'.join(keys)}"
    return origin


def parse_value(text: str) -> Any:
    """Read a TOML value; text that is none stands for itself, so that quotes are not needed."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text.strip()
    # A line break inside the text could have started a second key.
    return parsed["value"] if len(parsed) == 1 else text.strip()
