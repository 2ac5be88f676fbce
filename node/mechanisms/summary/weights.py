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

The factor of r is ``Terms.amplification``. It contains neither N nor L. With K > 1 goods and utilities that
are not separable k_i is a symmetric matrix, and all of this holds with Euclidean norms of the K numbers: the
mean of the slopes is the slope that belongs to some matrix with eigenvalues in the same interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.contraction import MARGIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.consensus.tree import Gathered
    from node.numbers import Vector
    from node.part import AgentId

VARIANTS = ("anchored", "weighted", "plain")
# The cap of weights where none is given. At 0.49 a dominant agent costs three to five times the rounds
# (spec of chapter 4, section 7), at 0.40 the others get too much.
CAP = 0.45


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


def most_capped(cap: float) -> int:
    """How many of the largest middles an agent needs to know: one more than can be capped."""
    return math.floor(1.0 / cap) + 1


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
        amplification: by which an allocation can be off for a residual of 1, the same at every agent.
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
    largest: float


@dataclass(frozen=True, slots=True)
class _Column:
    """Everything about one column (a good, or all goods) that the variants need; numbers of all agents."""

    agents: int
    mid: float  # own
    low_sum: float
    mid_sum: float
    high_max: float
    low_min: float
    ratio: float  # max c_i
    top: tuple[float, ...]  # largest middles, descending
    others: float  # sum of the middles of all others
    behind: Mapping[AgentId, tuple[float, int, tuple[float, ...]]]  # middles: sum, how many, largest ones


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a variant makes of a column."""

    weight: float
    rest: float
    delta: float
    spread: float  # m = max |1-G| over all agents
    limit: float
    largest: float  # weight
    behind: Mapping[AgentId, float]  # sum of weights
    stretch: float = 1.0


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
    chosen, amplifications = [], []
    for k in wanted:
        column = _column(tree, own, k)
        one = _CHOOSE[variant](column, contract, by_good or goods == 1)
        chosen.append(one)
        amplifications.append(_amplification(column, one, tree.diameter, public))

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
        largest=max(one.largest for one in chosen),
    )


def _column(tree: Gathered, own: Contribution, k: int) -> _Column:
    columns = own.low.size
    low, high = tree.total[k], tree.total[columns + k]
    behind = {
        j: (0.5 * (part.total[k] + part.total[columns + k]), part.agents, part.largest[k])
        for j, part in tree.behind.items()
    }
    return _Column(
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


def _anchored(column: _Column, contract: Mapping[str, Any], scalar: bool) -> _Chosen:
    total = column.mid_sum
    delta = float(contract.get("delta", total))
    ends = [total / delta * (1.0 - column.ratio), total / delta * (1.0 + column.ratio)]
    spread = max(abs(1.0 - g) for g in ends)
    return _Chosen(
        weight=column.mid / total,
        # Not 1 - w_i, which is inexact where one agent holds nearly all.
        rest=column.others / total,
        delta=delta,
        spread=spread,
        limit=spread,
        largest=column.top[0] / total,
        behind={j: middles / total for j, (middles, _, _) in column.behind.items()},
    )


def _plain(column: _Column, contract: Mapping[str, Any], scalar: bool) -> _Chosen:
    n = column.agents
    if n < 3:
        raise ValueError(f"variant 'plain' needs at least 3 agents, got {n}")
    delta = float(contract.get("delta", (1.0 + MARGIN) * n * column.high_max / 2.0))
    stretch = n / (n - 1)
    ends = (n * column.low_min / (stretch * delta), n * column.high_max / (stretch * delta))
    return _Chosen(
        weight=1.0 / n,
        rest=(n - 1) / n,
        delta=delta,
        spread=max(abs(1.0 - g) for g in ends),
        limit=_echoed(ends, 1.0 / n, scalar),
        largest=1.0 / n,
        behind={j: agents / n for j, (_, agents, _) in column.behind.items()},
        stretch=stretch,
    )


def _weighted(column: _Column, contract: Mapping[str, Any], scalar: bool) -> _Chosen:
    cap = float(contract.get("cap", CAP))
    if not 0 < cap < 0.5 or cap * column.agents < 1:
        raise ValueError(
            f"variant 'weighted': no weights of {column.agents} agents below a cap of {cap} sum to 1; "
            "expected a cap below 1/2 and at least 1/N"
        )
    scale, capped = water_level(column.mid_sum, column.top, cap)
    low, high = 1.0 - column.ratio, 1.0 + column.ratio
    # The largest hi_i/w_i, of whoever is capped and of the others.
    delta = float(contract.get("delta", high * max(1.0 / scale, column.top[0] / cap)))
    # (G without its factor 1 -+ c, weight): of each that is capped, and of all others at once.
    groups = [(mid / (cap * delta), cap) for mid in column.top[:capped]]
    if capped < len(column.top):
        groups.append((1.0 / (scale * delta), min(cap, scale * column.top[capped])))
    weight = min(cap, scale * column.mid)

    def behind(middles: float, largest: tuple[float, ...]) -> float:
        return scale * middles - math.fsum(max(0.0, scale * mid - cap) for mid in largest)

    return _Chosen(
        weight=weight,
        rest=1.0 - weight,
        delta=delta,
        spread=max(max(abs(1.0 - g * low), abs(1.0 - g * high)) for g, _ in groups),
        limit=max(_echoed((g * low, g * high), w, scalar) for g, w in groups),
        largest=max(w for _, w in groups),
        behind={j: behind(middles, largest) for j, (middles, _, largest) in column.behind.items()},
    )


def water_level(total: float, top: tuple[float, ...], cap: float) -> tuple[float, int]:
    """s with sum of min(cap, s mid_i) = 1, and how many agents are capped.

    Args:
        total: the sum of all middles.
        top: the largest middles, descending: at least one more than can be capped, or all there are.
        cap: < 1, and so that there is an s.
    """
    capped = 0
    while True:
        scale = (1.0 - capped * cap) / (total - math.fsum(top[:capped]))
        # Not sharply: where all agents but one are capped the last one may have just the cap.
        if capped == len(top) or scale * top[capped] <= cap * (1.0 + 1e-12):
            return scale, capped
        capped += 1


def _echoed(ends: tuple[float, float], weight: float, scalar: bool) -> float:
    """max of |1-G| + G w/(1-w); for matrices both terms may be largest at the same time."""
    echo = weight / (1.0 - weight)
    if scalar:
        return max(abs(1.0 - g) + g * echo for g in ends)
    return max(abs(1.0 - g) for g in ends) + ends[1] * echo


def _amplification(column: _Column, chosen: _Chosen, diameter: int, public: bool) -> float:
    """See the top of this module."""
    delta = chosen.delta * chosen.stretch
    demands = (chosen.spread * diameter + 1.0) / (column.low_sum / delta) + diameter - 1
    if public:
        return demands
    return column.high_max / delta * demands + chosen.largest * (1.0 + chosen.spread)


_CHOOSE = {"anchored": _anchored, "plain": _plain, "weighted": _weighted}
