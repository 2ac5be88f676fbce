"""Agents that do not play by the rule. A strategy has one number, its size; ``build`` makes it by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.imports import resolve
from node.strategies.bundled import Constant, Exaggerate, FreeRide, PriceTake, Randomise, Scale, Shift
from node.strategies.strategy import Lie, Seen, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STRATEGIES", "Lie", "Seen", "Strategy", "build", "kind_of"]

STRATEGIES: Mapping[str, type[Strategy]] = {
    "scale": Scale,
    "shift": Shift,
    "exaggerate": Exaggerate,
    "constant": Constant,
    "free-ride": FreeRide,
    "price-take": PriceTake,
    "randomise": Randomise,
}


def kind_of(name: str) -> type[Strategy]:
    """The class that a name means: one of ``STRATEGIES``, or ``module:Class``.

    Raises:
        ValueError: for another name, and what cannot be imported or is no strategy.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    if ":" not in name:
        raise ValueError(f"unknown strategy {name!r}; expected {', '.join(STRATEGIES)} or module:Class")
    kind: Any = resolve(name)
    if not (isinstance(kind, type) and issubclass(kind, Strategy)):
        raise ValueError(f"{name!r}: expected a class derived from node.strategies.Strategy")
    return kind


def build(spec: Mapping[str, Any]) -> Strategy:
    """Make the strategy that a part describes.

    Args:
        spec: ``name``, ``size`` and ``seed``.
    Raises:
        ValueError: as ``kind_of``, and for a size out of range.
    """
    return kind_of(spec["name"])(spec["size"], spec["seed"])
