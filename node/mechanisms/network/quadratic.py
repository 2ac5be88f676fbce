"""The minimum of a quadratic model over prices that must not be negative: active sets, in plain floats.

Plain floats in a fixed order, so that all agents find the same bits: libraries of linear algebra may differ
in the last bit between machines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Active sets tried all at once; it takes a handful. Then one price after the other, which always ends.
ACTIVE_SETS = 50


def minimise(
    hessian: Sequence[Sequence[float]],
    excess: Sequence[float],
    start: Sequence[float],
    signed: Sequence[bool] | None = None,
) -> tuple[list[float], float]:
    """(the point that minimises -excess d + d H d / 2, d = point - start; how much lower that is).

    By active sets: prices that would fall below 0 are put there, and let go again where the model falls.

    Args:
        hessian: positive definite.
        excess, start: of the same length.
        signed: which prices may be negative, those of equalities; None: none. The others are >= 0, also in
            ``start``.
    """
    n = len(start)
    bound = [True] * n if signed is None else [not s for s in signed]
    free = [not bound[k] or start[k] > 0.0 or excess[k] > 0.0 for k in range(n)]
    for _ in range(ACTIVE_SETS):
        d = _change(hessian, excess, start, free)
        below = [k for k in range(n) if free[k] and bound[k] and start[k] + d[k] < 0.0]
        if below:
            for k in below:
                free[k] = False
            continue
        wanted = [k for k in range(n) if not free[k] and _slope(hessian, excess, d, k) < 0.0]
        if not wanted:
            break
        free[wanted[0]] = True
    else:
        d = _one_by_one(hessian, excess, start, bound)
    lower = math.fsum(
        d[k] * (excess[k] - 0.5 * math.fsum(hessian[k][m] * d[m] for m in range(n))) for k in range(n)
    )
    return [max(0.0, start[k] + d[k]) if bound[k] else start[k] + d[k] for k in range(n)], lower


def _one_by_one(
    hessian: Sequence[Sequence[float]],
    excess: Sequence[float],
    start: Sequence[float],
    bound: Sequence[bool],
) -> list[float]:
    """d, as ``minimise``, by the active sets of Lawson and Hanson: every point on the way is allowed, and is
    lower than the one before, so that no set comes twice."""
    n = len(start)
    free = [not bound[k] or start[k] > 0.0 for k in range(n)]
    d = [0.0] * n
    for _ in range(3 * n + 3):
        while True:
            towards = _change(hessian, excess, start, free)
            blocking = [k for k in range(n) if free[k] and bound[k] and start[k] + towards[k] < 0.0]
            if not blocking:
                d = towards
                break
            part = min((start[k] + d[k]) / (d[k] - towards[k]) for k in blocking)
            d = [d[k] + part * (towards[k] - d[k]) for k in range(n)]
            for k in blocking:
                # The first one to get there, and whatever rounding leaves a hair above 0.
                if start[k] + d[k] <= 1e-15 * max(1.0, start[k]):
                    d[k], free[k] = -start[k], False
        slopes = {k: _slope(hessian, excess, d, k) for k in range(n) if not free[k]}
        steepest = min(slopes, key=lambda k: slopes[k], default=None)
        if steepest is None or slopes[steepest] >= 0.0:
            break
        free[steepest] = True
    return d


def _change(
    hessian: Sequence[Sequence[float]], excess: Sequence[float], start: Sequence[float], free: Sequence[bool]
) -> list[float]:
    """d that minimises the model if the prices that are not free are 0 and the others take any value."""
    n = len(start)
    d = [0.0 if free[k] else -start[k] for k in range(n)]
    inside = [k for k in range(n) if free[k]]
    right = [excess[k] - math.fsum(hessian[k][m] * d[m] for m in range(n)) for k in inside]
    for k, step in zip(inside, solve([[hessian[k][m] for m in inside] for k in inside], right), strict=True):
        d[k] = step
    return d


def _slope(hessian: Sequence[Sequence[float]], excess: Sequence[float], d: Sequence[float], k: int) -> float:
    return math.fsum((*(hessian[k][m] * d[m] for m in range(len(d))), -excess[k]))


def solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """x with matrix x = right, by Cholesky's factors of a symmetric positive definite matrix."""
    n = len(right)
    lower = [[0.0] * n for _ in range(n)]
    for i in range(n):
        row = lower[i]
        for j in range(i + 1):
            rest = matrix[i][j] - sum(map(float.__mul__, row[:j], lower[j][:j]))
            row[j] = math.sqrt(max(rest, 1e-300)) if i == j else rest / lower[j][j]
    y: list[float] = []
    for i in range(n):
        y.append((right[i] - sum(map(float.__mul__, lower[i][:i], y))) / lower[i][i])
    x = [0.0] * n
    for i in reversed(range(n)):
        x[i] = (y[i] - sum(lower[k][i] * x[k] for k in range(i + 1, n))) / lower[i][i]
    return x


def solve_any(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Some x with matrix x = right, by elimination with the largest pivot; of equations that depend on others
    no notice is taken, and unknowns that are not determined are 0. Both arguments are changed."""
    n = len(right)
    order, largest = list(range(n)), max((abs(v) for row in matrix for v in row), default=0.0)
    rank = 0
    while rank < n:
        sizes = [max(map(abs, row[rank:])) for row in matrix[rank:]]
        size = max(sizes)
        if size <= 1e-12 * largest:
            break
        i = rank + sizes.index(size)
        j = rank + list(map(abs, matrix[i][rank:])).index(size)
        matrix[rank], matrix[i] = matrix[i], matrix[rank]
        right[rank], right[i] = right[i], right[rank]
        order[rank], order[j] = order[j], order[rank]
        for row in matrix:
            row[rank], row[j] = row[j], row[rank]
        pivot = matrix[rank]
        for k in range(rank + 1, n):
            if matrix[k][rank] != 0.0:
                factor = matrix[k][rank] / pivot[rank]
                tail = zip(matrix[k][rank:], pivot[rank:], strict=True)
                matrix[k][rank:] = [a - factor * b for a, b in tail]
                right[k] -= factor * right[rank]
        rank += 1
    x = [0.0] * n
    for k in reversed(range(rank)):
        known = math.fsum(matrix[k][j] * x[order[j]] for j in range(k + 1, rank))
        x[order[k]] = (right[k] - known) / matrix[k][k]
    return x
