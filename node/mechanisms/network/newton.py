"""Projected Newton on the dual function, from link sums that everybody knows (second-order prices).

Of unicast: D(z) = sum over agents of max (v_i(y) - P_i y) + sum over links of z_l c_l is convex in prices
z >= 0. Its slope is -excess, its curvature H_lm = sum over agents on l and m of a_l a_m / |v''|. The first
member of a link adds up the link's part, and the whole network is told (``Summary``), so that all make the
same move:

    z+ = argmin over z+ >= 0 of  -excess d + d H d / 2,  d = z+ - kept

Of linear constraints the same: y from [d_i, H_i], and beside the prices of rows, which are >= 0, those of
the equalities x_m = x_{m+1} between neighbours of a group, which may be negative: the two prices of a pair in
one. Coefficients, so also H_lm for l other than m, may be negative. An agent tells what it gains over its
floor d_i, and c_l is counted less A_l d: D less a constant.

An agent whose demand is clipped does not react, and counts with a part of its 1/|v''| only. A point is kept
if D falls by a tenth of what the model says. Otherwise the part grows fourfold, up to 1, and then H is
doubled again and again.

Claim: every limit point of the kept points minimises D, so under (A4) allocations come to the optimum. For
1/|v''| is bounded on [d_i, H_i], below and above, so some multiple of H with all parts 1 makes the model an
upper bound of D, and a trial with it is kept: finitely many trials lead on from every point that is no
minimiser. What a kept trial gains is bounded away from 0 near such a point, because the multiples of H that
are tried stay bounded; and D is bounded from below. The optimum is in the range of all y, d_i < x_i* <= H_i,
so D has the minimum of the whole dual function there. Signs of coefficients do not matter.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.quadratic import minimise

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_PART = 0.05
# Of what the model says a kept point has to gain so much.
GAIN = 0.1
# Roundings of D that are no reason to reject a point.
ROUNDINGS = 8.0 * sys.float_info.epsilon


@dataclass(frozen=True, slots=True)
class Summary:
    """What the network is told of a link.

    Attributes:
        price: z.
        excess: sum of a y, less c.
        value: the link's part of D: z c, and the surplus of the agents whose first link it is.
        curvature: link m, not before this one -> (sum of a_l a_m / |v''| over agents on both that react, the
            same over those that are clipped).
        signed: whether the price may be negative: that of an equality.
    """

    price: float
    excess: float
    value: float
    curvature: Mapping[str, tuple[float, float]]
    signed: bool = False

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        rows = tuple((m, free, clipped) for m, (free, clipped) in self.curvature.items())
        return (self.price, self.excess, self.value, rows, self.signed)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Summary:
        """Inverse of ``pack``."""
        price, excess, value, rows, signed = values
        return cls(price, excess, value, {m: (free, clipped) for m, free, clipped in rows}, signed)


class Path:
    """The points that are tried, one after the other; the same bits at every agent."""

    def __init__(self) -> None:
        self._part, self._times, self._promised = LEAST_PART, 1.0, 0.0
        self._kept: Mapping[str, Summary] = {}

    def move(self, found: Mapping[str, Summary]) -> dict[str, float]:
        """Take in what was found at the last point; the prices to try next."""
        value = math.fsum(s.value for s in found.values())
        before = math.fsum(s.value for s in self._kept.values())
        if not self._kept or value <= before - GAIN * self._promised + ROUNDINGS * abs(before):
            self._kept, self._part, self._times = dict(found), max(LEAST_PART, 0.5 * self._part), 1.0
        elif self._part < 1.0:
            self._part = min(1.0, 4.0 * self._part)
        else:
            self._times *= 2.0
        names = sorted(self._kept)
        at = {name: k for k, name in enumerate(names)}
        hessian = [[0.0] * len(names) for _ in names]
        for name, summary in self._kept.items():
            for other, (free, clipped) in summary.curvature.items():
                entry = self._times * (free + self._part * clipped)
                hessian[at[name]][at[other]] = hessian[at[other]][at[name]] = entry
        for k, name in enumerate(names):
            # Rows may depend on each other, and all agents of a link may be clipped.
            hessian[k][k] += 1e-9 * sum(self._kept[name].curvature[name])
        start = [self._kept[name].price for name in names]
        excess = [self._kept[name].excess for name in names]
        signed = [self._kept[name].signed for name in names]
        point, self._promised = minimise(hessian, excess, start, signed)
        return dict(zip(names, point, strict=True))

    def state(self) -> tuple[Any, ...]:
        """Between two moves; plain values."""
        kept = tuple((name, summary.pack()) for name, summary in self._kept.items())
        return (self._part, self._times, self._promised, kept)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        self._part, self._times, self._promised, kept = state
        self._kept = {name: Summary.unpack(values) for name, values in kept}
