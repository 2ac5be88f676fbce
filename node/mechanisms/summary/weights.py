"""Weights, price scale and certificate of a summary contract, from what one convergecast tells every agent.

Let k range over the eigenvalues of (-Hess v_i)^{-1} for private goods, of -Hess v_i for public goods, which
lie in [lo_i, hi_i]; mid_i is the middle, c_i = (hi_i - lo_i) / (hi_i + lo_i), and G = k / (w_i delta).

**The norm.** An error of y_i counts relative to w_i, one of q_i^j relative to kappa w_j, one of n_i^j
relative to the sum over r behind j of w_r kappa^d(i,r); the largest of them all is the size of an error. In
this norm the rows n and q of the joint best response beta have Lipschitz constant 1/kappa, and the row y_i
one of kappa^(D-1) L_i at most, D the diameter of the tree, with

    anchored           L_i = max over G of |1-G| (1-w_i) / (1 - w_i + w_i G)   <=  max |1-G|
    plain, weighted    L_i = max over G of |1-G| + G w_i/(1-w_i).

The largest are at the ends of the interval. L = max_i L_i < 1 certifies: with kappa = L^(-1/D) every row has
at most the constant L^(1/D), so a round brings all messages nearer to the Nash message by that factor, and
beta^(D+1) is constant if L = 0. At kappa = 1 every row has at most the constant 1: the residual
|beta(m) - m| never grows from one round to the next.

**Choice.** Anchored: delta = sum of all mid_j, w_i = mid_i / delta. Then G lies in [1-c_i, 1+c_i] and
L <= max c_i: only each agent's own condition number matters. Weighted: w_i = min(cap, s mid_i), with s such
that they sum to 1, delta = max hi_i/w_i so that G <= 1. Plain: w_i = 1/N, delta = 1.02 N max hi / 2.

**From the residual to the allocation.** Let all residuals be at most r in the norm at kappa = 1. Unroll
n_i^j = B_i^j + residual along the tree: A_i is the sum of all other demands but for an E_i with
|E_i| <= r (D-1), as each demand passes at most D-1 residuals on its way. Write u_i for y_i less its value
at equilibrium and U for the sum of all u_i. Between here and the equilibrium the best response has a mean
slope that belongs to some k_i in [lo_i, hi_i], so that exactly

    u_i = (w_i - k_i/delta) (U + E_i) + R_i,     |R_i| <= (1 - w_i + w_i G_i) w_i r,

R_i for the residuals of y_i and of its echo. Summed over i, U cancels but for a factor sum k_i / delta, hence
with m = max |1-G| over all agents

    |U| <= r (m (D-1) + 1 + m) / (sum lo_i / delta)
    private:  |x_i - x_i*| <= (k_i/delta) (|U| + |E_i|) + (1 - w_i + w_i G_i) w_i r
    public:   |x_i - x_i*| <= |U| + |E_i|.

The factor of r is ``Terms.amplification``. It contains neither N nor L. Likewise all messages are then
within r (m (|U| + |E_i|)/r + 1 + m + D) of the equilibrium in the norm (``Terms.distance``; |u_i| as above,
and n_i^j adds up the demands behind j and at most D residuals), and messages within R of it give
allocations within 2 w_i R (private) or R (public) of the optimum (``Terms.sensitivity``): for dynamics that
remember. With K > 1 goods and utilities that are not separable k_i is a symmetric matrix, and all of this
holds with Euclidean norms of the K numbers: the mean of the slopes is the slope that belongs to some matrix
with eigenvalues in the same interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.consensus.tree import Gathered
from node.mechanisms.summary.variants import CAP, VARIANTS, Column, most_capped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.mechanisms.summary.variants import Chosen
    from node.numbers import Vector
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one agent says about itself in the convergecast: ranges of k, K + 1 columns if K > 1.

    Column k is about good k alone; the last one, if there is more than one good, is about all goods
    together, for the case that some utility is not separable.

    Attributes:
        low, high: shape (columns,), > 0.
        separable: whether this agent's utility is.
    """

    low: Vector
    high: Vector
    separable: bool

    @property
    def sums(self) -> tuple[float, ...]:
        """To be added up."""
        return (*self.low.tolist(), *self.high.tolist())

    @property
    def maxima(self) -> tuple[float, ...]:
        """To be maximised: is not separable, hi, -lo, c."""
        ratio = (self.high - self.low) / (self.high + self.low)
        return (
            float(not self.separable),
            *self.high.tolist(),
            *(-self.low).tolist(),
            *ratio.tolist(),
        )

    @property
    def middles(self) -> tuple[float, ...]:
        """mid, whose largest values are wanted."""
        return tuple((0.5 * (self.low + self.high)).tolist())


def contribution(low: Vector, high: Vector, separable: bool) -> Contribution:
    """What an agent contributes.

    Args:
        low, high: bounds on k for each good, shape (K,), 0 < low <= high.
        separable: whether the utility is, so that the bounds are for each good on its own.
    """
    if low.size > 1:
        low, high = np.append(low, low.min()), np.append(high, high.max())
    return Contribution(low, high, separable)


@dataclass(frozen=True, slots=True)
class Terms:
    """The fixed numbers of a summary contract, for one agent.

    Attributes:
        weight, rest: w_i and 1 - w_i, shape (K,).
        delta: the price scale, shape (K,), the same at every agent.
        stretch: N/(N-1) for plain, 1 otherwise; see ``Echoed``.
        norm: the weights of y_i and of n_i^j for every neighbour j in the norm at kappa = 1, shape (K,) each.
        by_good: whether every good is a mechanism of its own, because all utilities are separable.
        limit: a bound on L, the same at every agent.
        amplification: by which an allocation can be off for residuals of 1, the same at every agent.
        distance: by which messages can be off for residuals of 1, in the norm, the same at every agent.
        sensitivity: by which an allocation can be off for messages off by 1, the same at every agent.
        largest: the largest weight of all, over goods.
    """

    weight: Vector
    rest: Vector
    delta: Vector
    stretch: float
    norm: tuple[Vector, Mapping[AgentId, Vector]]
    by_good: bool
    limit: float
    amplification: float
    distance: float
    sensitivity: float
    largest: float

    def bound(self, diameter: int) -> float:
        """The factor a round in the norm with kappa = L^(-1/D), if L < 1; else L, which is no factor."""
        return self.limit ** (1.0 / diameter) if self.limit < 1.0 else self.limit


def terms(tree: Gathered, own: Contribution, contract: Mapping[str, Any], public: bool) -> Terms:
    """Weights, price scale and certificate; the numbers that must be are the same bits at every agent.

    Args:
        tree: of a convergecast of all agents' ``Contribution``.
        own: this agent's.
        contract: the public rules; keys ``variant``, ``cap`` for weighted, ``delta`` to set it by hand.
        public: whether the goods are public.
    Raises:
        ValueError: for an unknown variant, or one that has no weights for so many agents or this environment.
    """
    variant = contract["variant"]
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; expected one of {', '.join(VARIANTS)}")
    if public and variant != "anchored":
        raise ValueError(f"variant {variant!r} is for private goods; public goods have 'anchored'")
    columns = own.low.size
    goods = max(1, columns - 1)
    by_good = tree.maxima[0] == 0.0
    wanted = range(goods) if by_good else [columns - 1]
    chosen, amplifications, distances = [], [], []
    for k in wanted:
        column = _column(tree, own, k)
        one = VARIANTS[variant](column, contract, by_good or goods == 1)
        chosen.append(one)
        amplification, distance = _reach(column, one, tree.diameter, public)
        amplifications.append(amplification)
        distances.append(distance)
    largest = max(one.largest for one in chosen)

    def over_goods(values: list[float]) -> Vector:
        return np.array(values if by_good else values * goods)

    stretch = chosen[0].stretch
    return Terms(
        weight=over_goods([one.weight for one in chosen]),
        rest=over_goods([one.rest for one in chosen]),
        delta=over_goods([one.delta for one in chosen]),
        stretch=stretch,
        norm=(
            over_goods([one.weight / stretch for one in chosen]),
            {j: over_goods([one.behind[j] / stretch for one in chosen]) for j in tree.behind},
        ),
        by_good=by_good,
        limit=max(one.limit for one in chosen),
        amplification=max(amplifications),
        distance=max(distances),
        sensitivity=1.0 if public else 2.0 * largest,
        largest=largest,
    )


def foreseen(everybody: Sequence[Contribution], contract: Mapping[str, Any], public: bool) -> Terms:
    """The terms of the first of some agents, as far as they are equal at all: for whoever knows everybody.

    Args: ``everybody``: all agents' contributions; the others as for ``terms``.
    Raises:
        ValueError: as ``terms``.
    """
    middles = list(zip(*(one.middles for one in everybody), strict=True))
    tree = Gathered(
        total=tuple(map(math.fsum, zip(*(one.sums for one in everybody), strict=True))),
        maxima=tuple(map(max, zip(*(one.maxima for one in everybody), strict=True))),
        largest=tuple(
            tuple(sorted(column, reverse=True)[: most_capped(contract.get("cap", CAP))]) for column in middles
        ),
        agents=len(everybody),
        # What is said of the tree itself has no influence on what is asked for.
        depth=1,
        diameter=2,
        root="",
        first="",
        rounds=0,
        parent=None,
        children=(),
        hops=0,
        height=0,
        behind={},
    )
    return terms(tree, everybody[0], contract, public)


def _column(tree: Gathered, own: Contribution, k: int) -> Column:
    columns = own.low.size
    low, high = tree.total[k], tree.total[columns + k]
    behind = {
        j: (0.5 * (part.total[k] + part.total[columns + k]), part.agents, part.largest[k])
        for j, part in tree.behind.items()
    }
    return Column(
        agents=tree.agents,
        mid=own.middles[k],
        low_sum=low,
        mid_sum=0.5 * (low + high),
        high_max=tree.maxima[1 + k],
        low_min=-tree.maxima[1 + columns + k],
        ratio=tree.maxima[1 + 2 * columns + k],
        top=tree.largest[k],
        others=math.fsum(middles for middles, _, _ in behind.values()),
        behind=behind,
    )


def _reach(column: Column, chosen: Chosen, diameter: int, public: bool) -> tuple[float, float]:
    """Amplification and distance; see the top of this module."""
    delta, spread = chosen.delta * chosen.stretch, chosen.spread
    demands = (spread * diameter + 1.0) / (column.low_sum / delta) + diameter - 1  # (|U| + |E_i|) / r
    distance = spread * demands + 1.0 + spread + diameter
    if public:
        return demands, distance
    return column.high_max / delta * demands + chosen.largest * (1.0 + spread), distance
