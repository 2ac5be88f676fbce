"""Finding a Nash message: a profile that is its own best response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.testing.instance import flat, largest, unflat

if TYPE_CHECKING:
    from node.numbers import Matrix
    from node.testing.instance import Instance, Profile

# Rounds of best response before and instead of solving; beyond so many numbers a Jacobian is too dear.
_FIRST, _LAST, _JACOBIAN = 50, 5_000, 1500


def residual(instance: Instance, profile: Profile) -> float:
    """The largest |best response - message|, relative to the size of the profile (at least 1)."""
    off = flat(instance.replies(profile)) - flat(profile)
    return float(np.abs(off).max()) / max(1.0, largest(profile))


def find_nash(instance: Instance, accuracy: float = 1e-12) -> tuple[Profile | None, str]:
    """A profile whose residual is at most ``accuracy``, or as small as rounding lets it be and below 1e-9.

    By playing best responses; if they do not settle soon, by Newton's method on best response minus message.

    Returns:
        The profile and how it was found; None and what was tried instead.
    """
    profile: Profile = instance.opening()
    profile, rest, rounds = _play(instance, profile, _FIRST, accuracy)
    if rest <= accuracy:
        return profile, f"{rounds} rounds of best response"
    solved, rest = _newton(instance, profile, accuracy)
    if rest <= 1e-9:
        return solved, "Newton's method"
    profile, rest, rounds = _play(instance, profile, _LAST, accuracy)
    if rest <= 1e-9:
        return profile, f"{_FIRST + rounds} rounds of best response"
    return None, f"neither {_LAST} rounds of best response nor Newton's method end in a fixed point"


def jacobian(instance: Instance, profile: Profile) -> Matrix | None:
    """Of the joint best response, by forward differences; None if the profile has more than 1500 numbers."""
    at, step = flat(profile), 1e-4 * max(1.0, largest(profile))
    if at.size > _JACOBIAN:
        return None
    origin = flat(instance.replies(profile))
    columns = np.empty((at.size, at.size))
    for k in range(at.size):
        moved = at.copy()
        moved[k] += step
        columns[:, k] = (flat(instance.replies(unflat(moved, profile))) - origin) / (moved[k] - at[k])
    return columns


def _play(instance: Instance, profile: Profile, rounds: int, accuracy: float) -> tuple[Profile, float, int]:
    rest = float("inf")
    for k in range(rounds):
        replies = instance.replies(profile)
        rest = float(np.abs(flat(replies) - flat(profile)).max()) / max(1.0, largest(profile))
        # Not `rest > 1e12`: a NaN ends it, too.
        if rest <= accuracy or not rest < 1e12:
            return profile, rest, k
        profile = replies
    return profile, rest, rounds


def _newton(instance: Instance, profile: Profile, accuracy: float) -> tuple[Profile, float]:
    rest = residual(instance, profile)
    if not rest < 1.0:  # play led away
        profile = instance.opening()
        rest = residual(instance, profile)
    while rest > accuracy:
        slope = jacobian(instance, profile)
        if slope is None or not np.isfinite(slope).all():
            break
        off = flat(instance.replies(profile)) - flat(profile)
        # Least squares: where best responses merely repeat a message, the solution is not unique. Where they
        # move it by a constant for ever, there is none, and what comes out does not solve the equation.
        system = np.eye(off.size) - slope
        step = np.linalg.lstsq(system, off, rcond=1e-9)[0]
        if np.abs(system @ step - off).max() > 1e-3 * np.abs(off).max():
            break
        before = rest
        for part in 0.5 ** np.arange(12):
            following = unflat(flat(profile) + part * step, profile)
            new = residual(instance, following)
            if new < rest:
                profile, rest = following, new
                break
        if not rest < 0.9 * before:  # rounding, or no way on
            break
    return profile, rest
