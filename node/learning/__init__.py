"""Adaptive best-response dynamics, one a module; ``build`` makes the one that a scenario names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.imports import resolve
from node.learning.cournot import Cournot
from node.learning.dynamics import OWN, Learning
from node.learning.exponential import Exponential
from node.learning.fictitious import Fictitious
from node.learning.k_period import KPeriod

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OWN", "Cournot", "Exponential", "Fictitious", "KPeriod", "Learning", "build"]

_METHODS = ("update", "spread", "state", "restore")


def build(rule: str | Mapping[str, Any]) -> Learning:
    """Make the dynamics that a scenario names.

    Args:
        rule: a name, or a table with ``dynamics`` and, for ``k-period``, ``k``. A name ``module:Class`` is
        that of
            a user's class, which takes no arguments and has the methods of ``Learning``.
    Raises:
        ValueError: for an unknown name, a window that is no whole number >= 1, and a class that cannot be
            imported or made or that lacks a method.
    """
    name, given = (rule, {}) if isinstance(rule, str) else (rule["dynamics"], rule)
    match name:
        case "cournot":
            return Cournot()
        case "k-period":
            return KPeriod(int(given.get("k", 0)))
        case "exponential":
            return Exponential()
        case "fictitious":
            return Fictitious()
        case str() if ":" in name:
            return _imported(name)
    raise ValueError(
        f"unknown learning dynamics {name!r}; expected 'cournot', 'k-period', 'exponential', 'fictitious' "
        f"or 'module:Class'"
    )


def _imported(name: str) -> Learning:
    made = resolve(name)
    try:
        learning: Learning = made()
    except Exception as error:  # the user's code: whatever it raises is the reason
        raise ValueError(f"{name!r}: making one raised {type(error).__name__}: {error}") from error
    missing = [method for method in _METHODS if not callable(getattr(learning, method, None))]
    if missing:
        raise ValueError(f"{name!r}: has no method {', '.join(missing)}; expected {', '.join(_METHODS)}")
    return learning
