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

An agent whose demand is clipped does not react, and counts with a part of its 1/|v''| only: see ``Path``.
Multicast has another dual function, and a module of its own: ``multicast_newton``.

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
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

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

    @staticmethod
    def accepts(name: str, packed: Any) -> bool:
        """Whether a value may be the packed summary of the link or row of that name."""
        return (
            type(packed) is tuple
            and len(packed) == 5
            and all(type(v) is float for v in packed[:3])
            and type(packed[4]) is bool
            and (packed[0] >= 0.0 or packed[4])
            and type(packed[3]) is tuple
            and all(
                type(row) is tuple
                and len(row) == 3
                and type(row[0]) is str
                and name <= row[0]
                and all(type(v) is float and (v >= 0.0 or name < row[0]) for v in row[1:])
                for row in packed[3]
            )
            and any(row[0] == name for row in packed[3])
        )


class Told(Protocol):
    """What the network is told of a link."""

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        ...


T = TypeVar("T", bound=Told)
Prices = TypeVar("Prices")


class Path(ABC, Generic[T, Prices]):
    """The points that are tried, one after the other; the same bits at every agent.

    A point is kept if D falls by a tenth of what the model says. Otherwise the part with which clipped agents
    count grows fourfold, up to 1, and then the curvature is doubled again and again.
    """

    def __init__(self) -> None:
        self._part, self._times, self._promised = LEAST_PART, 1.0, 0.0
        self._kept: Mapping[str, T] = {}

    @abstractmethod
    def value(self, found: Mapping[str, T]) -> float:
        """D at a point."""

    @abstractmethod
    def _trial(self, kept: Mapping[str, T], part: float, times: float) -> tuple[Prices, float]:
        """(the prices that minimise the model at a kept point, how much lower it is there)."""

    @staticmethod
    @abstractmethod
    def unpack(values: tuple[Any, ...]) -> T:
        """From plain values."""

    def move(self, found: Mapping[str, T]) -> Prices:
        """Take in what was found at the last point; the prices to try next."""
        value, before = self.value(found), self.value(self._kept)
        if not self._kept or value <= before - GAIN * self._promised + ROUNDINGS * abs(before):
            self._kept, self._part, self._times = dict(found), max(LEAST_PART, 0.5 * self._part), 1.0
        elif self._part < 1.0:
            self._part = min(1.0, 4.0 * self._part)
        else:
            self._times *= 2.0
        prices, self._promised = self._trial(self._kept, self._part, self._times)
        return prices

    def state(self) -> tuple[Any, ...]:
        """Between two moves; plain values."""
        kept = tuple((name, told.pack()) for name, told in self._kept.items())
        return (self._part, self._times, self._promised, kept)

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        self._part, self._times, self._promised, kept = state
        self._kept = {name: self.unpack(values) for name, values in kept}


class LinkPath(Path[Summary, dict[str, float]]):
    """Of prices of links and rows, from sums."""

    unpack = staticmethod(Summary.unpack)

    def value(self, found: Mapping[str, Summary]) -> float:
        """D at a point; of linear constraints less a constant."""
        return math.fsum(s.value for s in found.values())

    def _trial(
        self, kept: Mapping[str, Summary], part: float, times: float
    ) -> tuple[dict[str, float], float]:
        names = sorted(kept)
        at = {name: k for k, name in enumerate(names)}
        hessian = [[0.0] * len(names) for _ in names]
        for name, summary in kept.items():
            for other, (free, clipped) in summary.curvature.items():
                entry = times * (free + part * clipped)
                hessian[at[name]][at[other]] = hessian[at[other]][at[name]] = entry
        for k, name in enumerate(names):
            # Rows may depend on each other, and all agents of a link may be clipped.
            hessian[k][k] += 1e-9 * sum(kept[name].curvature[name])
        start = [kept[name].price for name in names]
        excess = [kept[name].excess for name in names]
        signed = [kept[name].signed for name in names]
        point, promised = minimise(hessian, excess, start, signed)
        return dict(zip(names, point, strict=True)), promised
