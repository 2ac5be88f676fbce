"""A literal mechanism as a game: one agent's message and utility, fixed points, derivatives, distances."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from tests.spec.literal_summary import Summary
from tests.spec.literal_table import Table
from tests.spec.model import Array

Literal = Table | Summary
P = TypeVar("P", bound=tuple[Array, ...])


def message(mechanism: Literal, m: P, i: int) -> Array:
    """What agent i says, one row a cell in the order of ``said_by``; shape (rows, K)."""
    return np.array([m[part][row] for part, row in mechanism.said_by(i)])


def with_message(mechanism: Literal, m: P, i: int, rows: Array) -> P:
    """The profile in which agent i says something else."""
    result = tuple(part.copy() for part in m)
    for (part, row), values in zip(mechanism.said_by(i), rows, strict=True):
        result[part][row] = values
    return result  # type: ignore[return-value]


def profile(mechanism: Literal, messages: dict[int, Array]) -> tuple[Array, ...]:
    """Inverse of ``message`` for all agents; whoever is missing says zeros."""
    result = mechanism.zero()
    for i, rows in messages.items():
        for (part, row), values in zip(mechanism.said_by(i), rows, strict=True):
            result[part][row] = values
    return result


def utility(mechanism: Literal, m: tuple[Array, ...], i: int) -> float:
    """u_i(m) = v_i(x_i(m)) - t_i(m)."""
    value = mechanism.v.value(mechanism.allocation(m))[i]  # type: ignore[arg-type]
    return float(value - mechanism.tax(m)[i])  # type: ignore[arg-type]


def utility_of(mechanism: Literal, m: tuple[Array, ...], i: int, rows: Array) -> float:
    return utility(mechanism, with_message(mechanism, m, i, rows), i)


def gradient(mechanism: Literal, m: tuple[Array, ...], i: int, at: Array, step: float) -> Array:
    """d u_i / d m_i by central differences; exact but for rounding where u_i is quadratic."""
    result = np.empty(at.shape)
    for cell in np.ndindex(at.shape):
        move = np.zeros(at.shape)
        move[cell] = step
        up, down = utility_of(mechanism, m, i, at + move), utility_of(mechanism, m, i, at - move)
        result[cell] = (up - down) / (2 * step)
    return result


def hessian(mechanism: Literal, m: tuple[Array, ...], i: int, at: Array) -> Array:
    """d^2 u_i / d m_i^2 for a u_i that is quadratic, by second differences over steps of 1."""
    cells = list(np.ndindex(at.shape))

    def moved(*which: tuple[int, ...]) -> float:
        rows = at.copy()
        for cell in which:
            rows[cell] += 1.0
        return utility_of(mechanism, m, i, rows)

    origin, single = moved(), [moved(cell) for cell in cells]
    return np.array(
        [
            [moved(a, b) - single[k] - single[j] + origin for j, b in enumerate(cells)]
            for k, a in enumerate(cells)
        ]
    )


def flat(m: tuple[Array, ...]) -> Array:
    return np.concatenate([part.ravel() for part in m])


def unflat(mechanism: Literal, x: Array) -> tuple[Array, ...]:
    result, start = [], 0
    for part in mechanism.zero():
        result.append(x[start : start + part.size].reshape(part.shape))
        start += part.size
    return tuple(result)


def jacobian(mechanism: Literal) -> Array:
    """Of the joint best response, for quadratic utilities: it is affine."""
    size = flat(mechanism.zero()).size
    origin = flat(mechanism.best_response(mechanism.zero()))  # type: ignore[arg-type]
    columns = [flat(mechanism.best_response(unflat(mechanism, e))) - origin for e in np.eye(size)]  # type: ignore[arg-type]
    return np.array(columns).T


def spectral_radius(mechanism: Literal) -> float:
    return float(np.abs(np.linalg.eigvals(jacobian(mechanism))).max())


def distance(one: tuple[Array, ...], other: tuple[Array, ...]) -> float:
    """2-norm over the whole profile."""
    return math.sqrt(sum(float(np.square(a - b).sum()) for a, b in zip(one, other, strict=True)))


def largest(m: tuple[Array, ...]) -> float:
    return max(float(np.abs(part).max()) for part in m)


def mean(*profiles: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(sum(parts) / len(profiles) for parts in zip(*profiles, strict=True))


def rounds(
    mechanism: Literal, target: tuple[Array, ...], tolerance: float, limit: int, memory: int | str = 1
) -> int:
    """Rounds of play from 0 until the profile is within ``tolerance`` of ``target`` in the 2-norm.

    ``memory``: the number of rounds averaged over (1: Cournot), or "exponential" for (4.31).
    """
    respond = mechanism.best_response
    m = mechanism.zero()
    past, r = [m], m
    for k in range(1, limit + 1):
        if memory == "exponential":
            m = respond(mean(m, r))  # type: ignore[arg-type]
            r = mean(m, r)  # type: ignore[assignment]
        else:
            m = respond(mean(*past) if len(past) > 1 else m)  # type: ignore[arg-type]
            past = [*past, m][-int(memory) :]
        if distance(m, target) <= tolerance:
            return k
    raise AssertionError(f"still {distance(m, target):.3g} away after {limit} rounds")
