"""The bound on everybody's curvature that all agents know (spec of chapter 4, section 0)."""

from __future__ import annotations


def inside(curvature: float, eta: float) -> bool:
    """Whether the curvature and its inverse both lie strictly inside (1/eta, eta), rounding included."""
    return 1 / eta < curvature < eta and 1 / eta < 1 / curvature < eta


def rule(eta: float) -> str:
    """What is expected of a curvature, in words."""
    return f"a curvature strictly between 1/eta = {1 / eta!r} and eta = {eta!r} (environment.eta)"
