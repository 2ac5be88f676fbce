"""When repeated best response contracts for public goods: the counterpart of ``contraction``, in h = -v''.

For P > 1 features h are the eigenvalues of -Hess v. Rows of q sum to xi, the row of y_i to (thesis
(4.75)-(4.77), exponents corrected for directed graphs)

    L_i(h) = ( E + |delta/N - h/N^2| S_i ) / (delta xi^2 + h/N^2)
    E = xi^(1-g_i) |delta (N-1)/(N xi) - delta xi|

On either side of h = N delta it is a ratio of affine functions of h, hence monotone, so its maximum over
an interval is at an end. For xi -> 1 it is below 1 for every h in (0, h_high] if and only if
delta > (N-2) h_high / (2 N (N-1)), which delta > h_high / (2N) implies.

In the block norm (see ``contraction``) the two terms have maxima of their own, the first at the lowest h:

    E / (delta xi^2 + h_low/N^2)  +  S_i max over h of |delta/N - h/N^2| / (delta xi^2 + h/N^2).

If N delta >= h_high the second maximum is at h_low, too, and the sum is L_i(h_low). For xi -> 1 and
delta > h_high / (2N) it is below 1 whatever the condition number of v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.contraction import MARGIN, excess, first_halving, largest_eps, weight_sum

if TYPE_CHECKING:
    from node.numbers import Vector
    from node.routes import Routes

QUANTITY = "-v''"


def curvature_range(curvature: tuple[Vector, Vector]) -> tuple[float, float]:
    """(lowest, highest) of h = -v'' over all features, from bounds of shape (P,)."""
    lowest, highest = curvature
    return float(lowest.min()), float(highest.max())


def _echo(routes: Routes, eps: float, delta: float) -> float:
    """E: how much of the own demand comes back."""
    n, log_xi = len(routes.agents), math.log1p(-eps)
    apart = abs((n - 1) / n * math.exp(-log_xi) - math.exp(log_xi))
    return delta * math.exp((1 - routes.echo) * log_xi) * apart


def _stiffness(routes: Routes, eps: float, delta: float, h: float) -> float:
    """delta xi^2 + h/N^2: the curvature of the own utility in the own demand."""
    return delta * math.exp(2.0 * math.log1p(-eps)) + h / len(routes.agents) ** 2


def row_sum(routes: Routes, eps: float, delta: float, h: float) -> float:
    """L_i(h): row sum of y_i for curvature h = -v'' > 0, price scale delta > 0, xi = 1 - eps."""
    n = len(routes.agents)
    passed_on = abs(delta / n - h / n**2) * weight_sum(routes, eps)
    return (_echo(routes, eps, delta) + passed_on) / _stiffness(routes, eps, delta, h)


def row_bound(
    routes: Routes, eps: float, delta: float, low: float, high: float, block: bool = False
) -> float:
    """The largest row sum of y_i for h in [low, high]. The network contracts by max(xi, max_i of this).

    Args:
        block: whether in the block norm; else in the maximum norm.
    """
    if not block:
        return max(row_sum(routes, eps, delta, low), row_sum(routes, eps, delta, high))
    n = len(routes.agents)
    passed_on = max(abs(delta / n - h / n**2) / _stiffness(routes, eps, delta, h) for h in (low, high))
    own = _echo(routes, eps, delta) / _stiffness(routes, eps, delta, low)
    return own + weight_sum(routes, eps) * passed_on


def tuned_delta(agents: int, high: float) -> float:
    """h_high / (2N), plus a margin: a price scale at which the dynamics contract for every h <= high."""
    return (1.0 + MARGIN) * high / (2.0 * agents)


def best_eps(routes: Routes, delta: float, low: float, high: float, block: bool = False) -> float:
    """The eps at which this agent's bound meets xi; 0 if no xi < 1 brings its bound below 1."""
    return largest_eps(lambda eps: row_bound(routes, eps, delta, low, high, block))


def proof_ratio(routes: Routes, eps: float) -> float:
    """R_i = C_i / D_i of the proof of Theorem 5.5 (thesis (4.80), (4.82)); 0 where D_i is not positive.

    C_i = 1 + S_i and D_i = S_i + N xi^(1-g_i) (xi - (N-1)/(N xi)) - N xi^2, which is of the order of eps:
    its terms are taken less their values at xi = 1, which cancel. The proof needs D_i > 0, as it is for
    small eps.
    """
    n, g, log_xi = len(routes.agents), routes.echo, math.log1p(-eps)
    apart = math.fsum(
        (
            excess(routes, eps),
            n * math.expm1((2 - g) * log_xi),
            -(n - 1) * math.expm1(-g * log_xi),
            -n * math.expm1(2 * log_xi),
        )
    )
    return (1.0 + weight_sum(routes, eps)) / apart if apart > 0.0 else 0.0


def proof_eps(agents: int, halvings: int) -> float:
    """eps after so many halvings of 0.99 (1 - sqrt((N-1)/N)), which keeps to (4.78)."""
    return math.ldexp(0.99 * (1.0 - math.sqrt((agents - 1) / agents)), -halvings)


def proof_halvings(routes: Routes, eta: float) -> int:
    """How often the proof's eps must be halved until eta^2 < R_i (1 - eps) at this agent."""
    n = len(routes.agents)
    return first_halving(routes, eta, lambda halvings: proof_eps(n, halvings), proof_ratio)


def proof_delta(agents: int, ratio: float) -> float:
    """delta = sqrt(R) / N, R the smallest R_i."""
    return math.sqrt(ratio) / agents


def amplification(agents: int, weight: float) -> float:
    """(1 + S)/N: an error e of the messages moves x_i = (y_i + S_i)/N by at most that times e."""
    return (1.0 + weight) / agents
