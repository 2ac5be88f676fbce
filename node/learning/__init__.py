"""Adaptive best-response dynamics, one a module; ``build`` makes the one that a scenario names."""

from __future__ import annotations

from node.learning.cournot import Cournot
from node.learning.dynamics import Learning

__all__ = ["Cournot", "Learning", "build"]


def build(name: str) -> Learning:
    """Make the dynamics that a scenario names.

    Raises:
        ValueError: for an unknown name.
    """
    if name == "cournot":
        return Cournot()
    raise ValueError(f"unknown learning dynamics {name!r}; expected 'cournot'")
