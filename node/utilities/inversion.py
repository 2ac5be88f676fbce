"""Solving grad v(x) - ridge x = price for any strictly concave v with known curvature bounds.

    x = argmax v(x) - price.x - sum_k ridge_k x_k^2 / 2

Accuracy: |grad v(x) - ridge x - price| <= 1e-12 (1 + |price|) (spec of chapter 4, section 1). Where the
numbers involved are so large that double precision cannot give that, the best x that it can give is
returned if its residual is explained by rounding, and ``NotInverted`` raised otherwise. Nothing depends on
calls made before: the same price gives the same bits, in a first run and in a replay.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from node.utilities.errors import NotInverted

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.numbers import Matrix, Vector

    Gradient = Callable[[Vector], Vector]
    Hessian = Callable[[Vector], Matrix]

TOLERANCE = 1e-12
EPS = float(np.finfo(np.float64).eps)
# By how much a gradient that is computed with care may be off, relative to the largest number that enters
# it: a handful of operations, each exact to half a unit in the last place, and the same for the residual.
ROUNDING = 16 * EPS
# Halving alone takes 60 steps from the bracket that bounds with highest/lowest = 10^6 leave down to the
# accuracy asked for, and at least every third step halves.
LIMIT = 200
# Length of a finite difference, relative to max(1, |x|): the square root of the rounding unit. Where
# curvatures differ by less than 10^6 between directions, its rounding (eps / STEP) and its truncation (STEP)
# leave a Hessian with which all of 3,600 random cases were solved; steps 16 times as long missed four.
STEP = 2.0**-26


def goal(price: Vector) -> Vector:
    """The accuracy promised for each good, shape (K,)."""
    return TOLERANCE * (1.0 + np.abs(price))


@np.errstate(over="ignore", invalid="ignore")
def invert_separable(
    gradient: Gradient,
    price: Vector,
    ridge: Vector,
    curvature: tuple[Vector, Vector],
    start: Vector,
    accuracy: Vector,
    noise: float = 0.0,
) -> Vector:
    """Solve gradient_k(x_k) - ridge_k x_k = price_k for every good k, all goods at once.

    A secant method inside a bracket. With r the residual at the start, the curvature bounds put the root
    between x + r/(highest + ridge) and x + r/(lowest + ridge). A step that leaves the bracket is replaced by
    halving it, and so is every third one if the residual has not halved since. Goods that are done stand
    still.

    Args:
        gradient: called with x, shape (K,); its component k depends on x_k alone.
        price, ridge: shape (K,); ridge >= 0.
        curvature: (lowest, highest) of the gradient's negative slope, shape (K,), positive.
        start: where to begin, shape (K,).
        accuracy: residual at which to stop, shape (K,); 0 asks for the best there is.
        noise: residual that the gradient's own inaccuracy explains, beside rounding.
    Raises:
        NotInverted: if what is left is explained neither by ``accuracy`` nor by rounding nor by ``noise``.
    """
    low, high = curvature[0] + ridge, curvature[1] + ridge
    x = start
    g = gradient(x)
    r = g - ridge * x - price
    visited = [(x, g, r)]
    far = x + r / low * (1.0 + STEP)  # beyond the root, rounding included
    below, above = np.minimum(x, far), np.maximum(x, far)
    slope, earlier = np.sqrt(low * high), r
    for step in range(1, LIMIT + 1):
        done = np.abs(r) <= accuracy
        if done.all():
            return x
        new = x + r / slope
        moves = (below < new) & (new < above)
        if step % 3 == 0:
            moves &= np.abs(r) <= 0.5 * np.abs(earlier)
            earlier = r
        if not moves.all():
            new = np.where(moves, new, below + 0.5 * (above - below))
            moves = (below < new) & (new < above)
        if done.any() or not moves.all():
            moves &= ~done
            if not moves.any():
                break  # between neighbouring doubles there is nothing left to halve
            new = np.where(moves, new, x)
        g = gradient(new)
        r_new = g - ridge * new - price
        secant = (r - r_new) / np.where(moves, new - x, 1.0)
        slope = np.where(moves, np.minimum(np.maximum(secant, low), high), slope)
        x, r = new, r_new
        visited.append((x, g, r))
        below, above = np.where(r > 0, x, below), np.where(r < 0, x, above)
    # For each good the best that was seen, and what rounding may have to do with what is left of it.
    points, gradients, residuals = (np.array(rows) for rows in zip(*visited, strict=True))
    chosen = np.argmin(np.abs(residuals), axis=0), np.arange(price.size)
    x, g = points[chosen], gradients[chosen]
    rounding = ROUNDING * np.abs(g) + ROUNDING * np.abs(price) + ROUNDING * high * np.abs(x)
    return _granted(price, x, np.abs(residuals[chosen]), np.maximum(accuracy, rounding + noise))


def _granted(price: Vector, x: Vector, residual: Vector, allowed: Vector) -> Vector:
    """x, if its residual is finite and allowed.

    Raises:
        NotInverted: otherwise.
    """
    if not ((residual <= allowed) & np.isfinite(residual)).all():
        raise NotInverted(price, x, residual, allowed)
    return x


@np.errstate(over="ignore", invalid="ignore")
def invert(
    gradient: Gradient,
    price: Vector,
    ridge: Vector,
    curvature: tuple[float, float],
    start: Vector,
    accuracy: Vector,
    noise: float = 0.0,
    hessian: Hessian | None = None,
) -> Vector:
    """Solve gradient(x) - ridge x = price for goods that depend on each other.

    Damped Newton on the concave objective F(x) = v(x) - price.x - ridge.x^2/2. Armijo's condition, that F
    grow in proportion to step and slope, is read off slopes alone: near the solution differences of values
    are rounding, slopes are not. Let s(t) be the slope of F after the part t of the Newton step d, and the
    curvatures of F within [low, high]. Up to the crest F gains at least s(0)^2 / (2 high |d|^2), beyond it it
    loses at most s(t)^2 / (2 low |d|^2). So s(t) >= -1/2 sqrt(low/high) s(0) leaves a gain of three quarters
    of the former. Otherwise the crest lies before t, and t goes where the line through s(0) and s(t) puts it.

    Args:
        hessian: of v, shape (K, K), as a function of x, used for as long as its steps halve the residual;
            None: finite differences of the gradient. It decides how many steps are taken, not how exact
            the result is.
        curvature: bounds on the eigenvalues of -Hess v, positive.
        others: as ``invert_separable``.
    Raises:
        NotInverted: likewise.
    """
    lowest, highest = curvature
    low, high = lowest + float(ridge.min()), highest + float(ridge.max())
    overshoot = -0.5 * math.sqrt(low / high)

    def residual(x: Vector) -> tuple[Vector, Vector]:
        g = gradient(x)
        r = g - ridge * x - price
        size = np.abs(x)
        rounding = ROUNDING * np.abs(g) + ROUNDING * np.abs(price) + ROUNDING * ridge * size
        return r, rounding + ROUNDING * highest * size.sum() + noise

    x = start
    r, allowed = residual(x)
    best, least, enough = x, np.abs(r), allowed
    without_progress = 0
    for _ in range(LIMIT):
        if (np.abs(r) <= accuracy).all():
            return x
        h = hessian(x) if hessian is not None else differences(gradient, x, r + ridge * x + price)
        if not np.isfinite(h).all():
            break  # overflow: no number is near the solution
        d = np.linalg.solve(bounded(-h, lowest, highest) + np.diag(ridge), r)
        slope, t = float(r @ d), 1.0
        for _ in range(LIMIT):
            new = x + t * d
            r_new, allowed = residual(new)
            reached = float(r_new @ d)
            if not reached < overshoot * slope:
                break
            t *= slope / (slope - reached)
        if hessian is not None and np.abs(r_new).max() > 0.5 * np.abs(r).max():
            hessian = None  # a right one does better, once near; differences of a gradient are right
        x, r = new, r_new
        if np.abs(r).max() < least.max():
            best, least, enough, without_progress = x, np.abs(r), allowed, 0
        else:
            without_progress += 1
        # Far from the solution a step may well raise the largest residual; where all of it is rounding, no
        # step lowers it.
        if without_progress >= 3 and (least <= np.maximum(accuracy, enough)).all():
            break
    return _granted(price, best, least, np.maximum(accuracy, enough))


def differences(gradient: Gradient, x: Vector, g: Vector, step: float = STEP) -> Matrix:
    """The Hessian at x from forward differences of the gradient, made symmetric; shape (K, K).

    Args:
        g: the gradient at x.
        step: relative to max(1, |x_k|).
    """
    h = np.empty((x.size, x.size))
    for k in range(x.size):
        ahead = x.copy()
        ahead[k] += step * max(1.0, abs(x[k]))
        h[k] = (gradient(ahead) - g) / (ahead[k] - x[k])
    return 0.5 * (h + h.T)


def bounded(a: Matrix, lowest: float, highest: float) -> Matrix:
    """The symmetric matrix with the eigenvalues of ``a`` brought within the bounds."""
    values, vectors = np.linalg.eigh(a)
    return np.asarray((vectors * np.clip(values, lowest, highest)) @ vectors.T)
