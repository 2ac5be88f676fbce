"""When repeated best response contracts, and how fast: the choice of (xi, delta) for chapter 4's contract.

Everything here is one agent's own share of the condition, computed from its own routes and its own bounds
on a = -1/v''. The network-wide numbers are minima and maxima of these, found by flooding.

Row sums of the Jacobian of the joint best response, in the maximum norm (thesis (4.64)-(4.69), exponents
corrected for directed graphs): rows of q sum to xi, the row of y_i to

    L_i(a) = S_i |1/(N-1) - a/delta| + xi^(-g_i) a/delta,     S_i = sum over r != i of xi^(-e(i,r)).

L_i is convex in a, so its maximum over an interval is at an end. With xi = 1 - eps, L_i grows in eps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.numbers import Vector
    from node.routes import Routes

# delta = (1 + MARGIN) N a_hi / 2. Above N a_hi / 2 the dynamics contract; two per cent above keeps the
# bound clear of 1 and costs two per cent of the speed.
MARGIN = 0.02

_EPS_RANGE = (1e-13, 0.5)


class NoGuarantee(ValueError):
    """The contraction bound is not below 1, so convergence would be luck."""


def excess(routes: Routes, eps: float) -> float:
    """S_i - (N-1) at xi = 1 - eps, without cancellation: differences of order eps matter here."""
    return math.fsum(np.expm1(-routes.exponents() * math.log1p(-eps)).tolist())


def weight_sum(routes: Routes, eps: float) -> float:
    """S_i = sum over r != i of xi^(-e(i,r)) at xi = 1 - eps, for 0 <= eps < 1; at least N-1."""
    return len(routes.agents) - 1 + excess(routes, eps)


def row_sum(routes: Routes, eps: float, delta: float, a: float) -> float:
    """L_i(a): row sum of y_i for curvature a = -1/v'' > 0, price scale delta > 0, xi = 1 - eps."""
    n = len(routes.agents)
    echo = math.exp(-routes.echo * math.log1p(-eps))
    return weight_sum(routes, eps) * abs(1.0 / (n - 1) - a / delta) + echo * a / delta


def row_bound(routes: Routes, eps: float, delta: float, a_low: float, a_high: float) -> float:
    """max of L_i(a) over a in [a_low, a_high]. The network contracts by max(xi, max_i of this)."""
    return max(row_sum(routes, eps, delta, a_low), row_sum(routes, eps, delta, a_high))


def tuned_delta(agents: int, a_high: float) -> float:
    """The smallest price scale, plus a margin, at which the dynamics contract for every a <= a_high.

    In the variables q / xi^d the best response does not contain xi: delta alone sets the speed, and
    N a_high / 2 is where contraction begins.
    """
    return (1.0 + MARGIN) * agents * a_high / 2.0


def best_eps(routes: Routes, delta: float, a_low: float, a_high: float) -> float:
    """The eps at which this agent's bound meets xi: max(1 - eps, L_i) is smallest there.

    L_i grows and 1 - eps falls in eps, so the minimum of these over agents minimises the bound of the
    whole network, which then equals xi.

    Raises:
        NoGuarantee: if L_i is at least 1 for every xi < 1.
    """
    low, high = (math.log(end) for end in _EPS_RANGE)

    def holds(log_eps: float) -> bool:
        eps = math.exp(log_eps)
        return row_bound(routes, eps, delta, a_low, a_high) <= 1.0 - eps

    if not holds(low):
        raise NoGuarantee(
            f"agent {routes.me}: no xi below 1 makes the dynamics a contraction at delta = {delta:.6g} "
            f"for -1/v'' in [{a_low:.6g}, {a_high:.6g}]; expected delta above N a / 2 = "
            f"{len(routes.agents) * a_high / 2:.6g}"
        )
    if holds(high):
        return math.exp(high)
    for _ in range(60):  # from a range of 29 in log eps to below the resolution of a double
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return math.exp(low)


def proof_ratio(routes: Routes, eps: float) -> float:
    """R_i = |xi^(-g_i) - S_i| / |N - 1 - S_i| of the proof of Theorem 5.4 (thesis (4.70))."""
    echo = math.exp(-routes.echo * math.log1p(-eps))
    return abs(echo - weight_sum(routes, eps)) / abs(excess(routes, eps))


def proof_eps(halvings: int) -> float:
    """eps after so many halvings of the proof's starting value 0.75."""
    return math.ldexp(0.75, -halvings)


def proof_halvings(routes: Routes, eta: float) -> int:
    """How often the proof's eps must be halved until eta^2 < R_i (1 - eps) at this agent.

    R_i (1 - eps) falls in eps, so the network's number is the largest of these.

    Raises:
        NoGuarantee: if no eps down to 2^-60 is small enough.
    """
    for halvings in range(60):
        eps = proof_eps(halvings)
        if eta * eta < proof_ratio(routes, eps) * (1.0 - eps):
            return halvings
    raise NoGuarantee(
        f"agent {routes.me}: the proof's condition fails for eta = {eta:g} at every eps >= 2^-60"
    )


def proof_delta(agents: int, ratio: float) -> float:
    """delta = (N-1) sqrt(R), R the smallest R_i."""
    return (agents - 1) * math.sqrt(ratio)


def inverse_curvature(curvature: tuple[Vector, Vector]) -> tuple[float, float]:
    """(lowest, highest) of a = -1/v'' over all goods, from bounds on -v'' of shape (K,)."""
    lowest, highest = curvature
    return float(1.0 / highest.max()), float(1.0 / lowest.min())
