"""When repeated best response contracts, and how fast: the choice of (xi, delta) for chapter 4's contracts.

Everything here is one agent's own share of the condition, computed from its own routes and its own bounds
on curvature. The network-wide numbers are minima and maxima of these, found by flooding. Shared by both
contracts are S_i, the norms and the search for xi; the rest of this module is private goods, in a = -1/v''
(for K > 1 the eigenvalues of (-Hess v)^{-1}). ``public_contraction`` has the same functions for public
goods, in h = -v''.

Row sums of the Jacobian of the joint best response (thesis (4.64)-(4.69), exponents corrected for directed
graphs): rows of q sum to xi, the row of y_i to

    L_i(a) = S_i |1/(N-1) - a/delta| + xi^(-g_i) a/delta,     S_i = sum over r != i of xi^(-e(i,r)).

L_i is convex in a, so its maximum over an interval is at an end. With xi = 1 - eps, L_i grows in eps.

Two norms. If every utility is separable, goods do not meet in the best response: the Jacobian has one
block per good, each of the form above, and the maximum over all numbers of all messages is a norm in which
its worst row counts; so L_i is taken over the range of a over all goods. Otherwise the K numbers of y_i or
q_i^r depend on one another, and a row sum over single numbers may exceed 1 (erratum E9). Then a block norm
is used: each K-vector counts with its Euclidean length, the network with its longest one. The norm of the
Jacobian is the largest sum over a row of the operator norms of its K x K blocks, which are functions of
one matrix, so for y_i

    S_i max over a of |1/(N-1) - a/delta|  +  xi^(-g_i) a_high/delta.

For delta >= (N-1) a_high the first maximum is at a_low. For xi -> 1 the sum is below 1 if and only if
delta > N a_high / 2, as before, and a_high < (N-1) a_low.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.numbers import Vector
    from node.routes import Routes

    Ratio = Callable[[Routes, float], float]

# delta = (1 + MARGIN) N a_hi / 2. Above N a_hi / 2 the dynamics contract; two per cent above keeps the
# bound clear of 1 and costs two per cent of the speed.
MARGIN = 0.02

MAXIMUM_NORM = "maximum norm over all messages"
BLOCK_NORM = "block norm (Euclidean over goods, maximum over messages)"

_EPS_RANGE = (1e-13, 0.5)


class NoGuarantee(ValueError):
    """The contraction bound is not below 1, so convergence would be luck."""


class Condition(Protocol):
    """What the agreement on parameters has to know of a contract; this module and ``public_contraction`` are
    such conditions. Curvature is what ``curvature_range`` returns: a = -1/v'' or h = -v''."""

    QUANTITY: str

    def curvature_range(self, curvature: tuple[Vector, Vector]) -> tuple[float, float]:
        """(lowest, highest) over all goods, from bounds on -v'' of shape (K,)."""

    def row_bound(
        self, routes: Routes, eps: float, delta: float, low: float, high: float, block: bool = False
    ) -> float:
        """The largest row sum of y_i for curvatures in [low, high], at xi = 1 - eps."""

    def tuned_delta(self, agents: int, high: float) -> float:
        """A small price scale at which the dynamics contract for every curvature <= high."""

    def best_eps(self, routes: Routes, delta: float, low: float, high: float, block: bool = False) -> float:
        """The largest eps at which the row sum of y_i is at most 1 - eps; 0 if there is none."""

    def proof_eps(self, agents: int, halvings: int) -> float:
        """eps of the convergence proof after so many halvings."""

    def proof_halvings(self, routes: Routes, eta: float) -> int:
        """How often this agent needs it halved."""

    def proof_ratio(self, routes: Routes, eps: float) -> float:
        """R_i of the proof."""

    def proof_delta(self, agents: int, ratio: float) -> float:
        """delta of the proof, from the smallest R_i."""

    def amplification(self, agents: int, weight: float) -> float:
        """How much an error of the messages can be of an allocation, ``weight`` being the largest S_i."""


# -- shared ----------------------------------------------------------------------------------------------


def excess(routes: Routes, eps: float) -> float:
    """S_i - (N-1) at xi = 1 - eps, without cancellation: differences of order eps matter here."""
    return math.fsum(np.expm1(-routes.exponents() * math.log1p(-eps)).tolist())


def weight_sum(routes: Routes, eps: float) -> float:
    """S_i = sum over r != i of xi^(-e(i,r)) at xi = 1 - eps, for 0 <= eps < 1; at least N-1."""
    return len(routes.agents) - 1 + excess(routes, eps)


def largest_eps(bound: Callable[[float], float]) -> float:
    """The eps at which a bound that grows with eps meets xi = 1 - eps; 0 if it is above for every xi < 1.

    max(1 - eps, bound) is smallest there, so the minimum of these eps over all agents minimises the bound of
    the whole network, which then equals xi.
    """
    low, high = (math.log(end) for end in _EPS_RANGE)

    def holds(log_eps: float) -> bool:
        eps = math.exp(log_eps)
        return bound(eps) <= 1.0 - eps

    if not holds(low):
        return 0.0
    if holds(high):
        return math.exp(high)
    for _ in range(60):  # from a range of 29 in log eps to below the resolution of a double
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return math.exp(low)


def first_halving(routes: Routes, eta: float, eps_after: Callable[[int], float], ratio: Ratio) -> int:
    """The first number of halvings after which eta^2 < R_i (1 - eps), at most 60.

    R_i (1 - eps) falls in eps, so the network's number is the largest of these. After 60 halvings 1 - eps is
    1 in double precision, and so is the bound: there is no guarantee then.
    """
    for halvings in range(60):
        eps = eps_after(halvings)
        if eta * eta < ratio(routes, eps) * (1.0 - eps):
            return halvings
    return 60


# -- private goods ---------------------------------------------------------------------------------------

QUANTITY = "-1/v''"


def curvature_range(curvature: tuple[Vector, Vector]) -> tuple[float, float]:
    """(lowest, highest) of a = -1/v'' over all goods, from bounds on -v'' of shape (K,)."""
    lowest, highest = curvature
    return float(1.0 / highest.max()), float(1.0 / lowest.min())


def row_sum(routes: Routes, eps: float, delta: float, a: float) -> float:
    """L_i(a): row sum of y_i for curvature a = -1/v'' > 0, price scale delta > 0, xi = 1 - eps."""
    n = len(routes.agents)
    echo = math.exp(-routes.echo * math.log1p(-eps))
    return weight_sum(routes, eps) * abs(1.0 / (n - 1) - a / delta) + echo * a / delta


def row_bound(
    routes: Routes, eps: float, delta: float, low: float, high: float, block: bool = False
) -> float:
    """The largest row sum of y_i for a in [low, high]. The network contracts by max(xi, max_i of this).

    Args:
        block: whether in the block norm; else in the maximum norm.
    """
    if not block:
        return max(row_sum(routes, eps, delta, low), row_sum(routes, eps, delta, high))
    n = len(routes.agents)
    echo = math.exp(-routes.echo * math.log1p(-eps))
    passed_on = max(abs(1.0 / (n - 1) - a / delta) for a in (low, high))
    return weight_sum(routes, eps) * passed_on + echo * high / delta


def tuned_delta(agents: int, high: float) -> float:
    """The smallest price scale, plus a margin, at which the dynamics contract for every a <= high.

    In the variables q / xi^d the best response does not contain xi: delta alone sets the speed, and
    N a_high / 2 is where contraction begins.
    """
    return (1.0 + MARGIN) * agents * high / 2.0


def best_eps(routes: Routes, delta: float, low: float, high: float, block: bool = False) -> float:
    """The eps at which this agent's bound meets xi; 0 if no xi < 1 brings its bound below 1."""
    return largest_eps(lambda eps: row_bound(routes, eps, delta, low, high, block))


def proof_ratio(routes: Routes, eps: float) -> float:
    """R_i = |xi^(-g_i) - S_i| / |N - 1 - S_i| of the proof of Theorem 5.4 (thesis (4.70))."""
    echo = math.exp(-routes.echo * math.log1p(-eps))
    return abs(echo - weight_sum(routes, eps)) / abs(excess(routes, eps))


def proof_eps(agents: int, halvings: int) -> float:
    """eps after so many halvings of the proof's starting value 0.75, whatever N."""
    return math.ldexp(0.75, -halvings)


def proof_halvings(routes: Routes, eta: float) -> int:
    """How often the proof's eps must be halved until eta^2 < R_i (1 - eps) at this agent."""
    return first_halving(routes, eta, lambda halvings: proof_eps(0, halvings), proof_ratio)


def proof_delta(agents: int, ratio: float) -> float:
    """delta = (N-1) sqrt(R), R the smallest R_i."""
    return (agents - 1) * math.sqrt(ratio)


def amplification(agents: int, weight: float) -> float:
    """1 + S/(N-1): an error e of the messages moves x_i = y_i - S_i/(N-1) + c/N by at most that times e."""
    return 1.0 + weight / (agents - 1)
