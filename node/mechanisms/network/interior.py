"""Mehrotra's interior-point method for the model of ``group_model``, in plain floats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.quadratic import solve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.mechanisms.network.group_model import Bend, Pairs

# By how much the optimum may be missed, see ``Interior.missed``. A step that is to come nearer than ``ROUGH``
# and does not is taken back: near the end the equations of a step become singular.
ACCURACY, ROUGH = 1e-9, 1e-5
# Part of the way to the boundary that a step goes.
SHORT = 0.995


# x, m, u, mu, t, lambda.
Unknowns = tuple[list[float], list[float], list[float], list[float], list[float], list[float]]


class Interior:
    """The unknowns: x and m; u = m - a x and its price mu; t = c - sum of m and its price lambda.

    Attributes:
        x: by receiver.
        m: by group on a link.
        u, mu: by pair of a receiver and a link.
        t, price: by link.
        scale: of prices.
    """

    def __init__(self, bends: Sequence[Bend], pairs: Pairs) -> None:
        self._bends, self._p = bends, pairs
        self._begin()

    def _begin(self) -> None:
        """Strictly inside of what is not an equation: equal parts of the capacities, and a common price."""
        steep = [b.price + (b.demand + 1e-3) / b.spread for b in self._bends]
        reach = [sum(self._p.a[q] for q in pairs) for pairs in self._p.of]
        self.scale = max(1e-9, max(b.price / r for b, r in zip(self._bends, reach, strict=True)))
        self.scale = max(self.scale, 1e-3 * min(p / r for p, r in zip(steep, reach, strict=True)))
        self.x = [b.demand for b in self._bends]
        self.m = [0.5 * self._p.capacities[n] / len(self._p.groups[n]) for n in self._p.link]
        self.u = [0.5 * self.m[k] for k in self._p.group]
        self.mu = [self.scale / len(self._p.members[k]) for k in self._p.group]
        self.t = [0.5 * c for c in self._p.capacities]
        self.price = [self.scale] * len(self._p.capacities)

    def _residuals(self) -> tuple[list[float], list[float], list[float], list[float]]:
        """By how much stationarity in x and in m, and the definitions of u and t, are missed."""
        r1 = [
            b.price - (x - b.demand) / b.spread - math.fsum(self._p.a[q] * self.mu[q] for q in pairs)
            for b, x, pairs in zip(self._bends, self.x, self._p.of, strict=True)
        ]
        r2 = [
            math.fsum((*(self.mu[q] for q in on), -self.price[n]))
            for on, n in zip(self._p.members, self._p.link, strict=True)
        ]
        r3 = [
            self.m[k] - a * self.x[i] - u
            for i, k, a, u in zip(self._p.who, self._p.group, self._p.a, self.u, strict=True)
        ]
        r4 = [
            math.fsum((c, -t, *(-self.m[k] for k in on)))
            for c, t, on in zip(self._p.capacities, self.t, self._p.groups, strict=True)
        ]
        return r1, r2, r3, r4

    def missed(self) -> float:
        """The most by which an equation is missed, or the root of the mean product of a price and what it
        leaves, which where both vanish is what they are off by; relative to the whole."""
        r1, r2, r3, r4 = self._residuals()
        size = max(self._p.capacities)
        return max(
            math.sqrt(self._gap() / (self.scale * size)),
            max(map(abs, (*r1, *r2))) / (self.scale * max(1.0, *self._p.a)),
            max(map(abs, (*r3, *r4))) / size,
        )

    def _gap(self) -> float:
        products = [*map(float.__mul__, self.mu, self.u), *map(float.__mul__, self.price, self.t)]
        return math.fsum(products) / len(products)

    def solve(self, steps: int) -> None:
        """Up to so many steps, fewer if that is near enough or rounding lets it come no nearer."""
        missed = self.missed()
        for _ in range(steps):
            if missed <= ACCURACY:
                break
            old = (self.x, self.m, self.u, self.mu, self.t, self.price)
            new = self._stepped(old)
            if new is None:
                break
            self.x, self.m, self.u, self.mu, self.t, self.price = new
            before, missed = missed, self.missed()
            if ROUGH > missed >= before:
                self.x, self.m, self.u, self.mu, self.t, self.price = old
                break

    def _stepped(self, old: Unknowns) -> Unknowns | None:
        """Predict, see how far one gets, and correct. None if rounding makes the equations singular."""
        missed, gap = self._residuals(), self._gap()
        straight = self._direction(
            missed,
            [-p * u for p, u in zip(self.mu, self.u, strict=True)],
            [-p * t for p, t in zip(self.price, self.t, strict=True)],
        )
        if straight is None:
            return None
        _, _, du, dmu, dt, dprice = straight
        reach = self._reach(straight)
        there = [
            *zip(self.mu, dmu, self.u, du, strict=True),
            *zip(self.price, dprice, self.t, dt, strict=True),
        ]
        products = [(p + reach * dp) * (left + reach * d) for p, dp, left, d in there]
        aim = gap * max(0.0, math.fsum(products) / len(products) / gap) ** 3
        change = self._direction(
            missed,
            [aim - p * u - dp * d for p, u, dp, d in zip(self.mu, self.u, dmu, du, strict=True)],
            [aim - p * t - dp * d for p, t, dp, d in zip(self.price, self.t, dprice, dt, strict=True)],
        )
        if change is None:
            return None
        reach = min(1.0, SHORT * self._reach(change, 1.0 / SHORT))
        x, m, u, mu, t, price = (
            [v + reach * d for v, d in zip(values, moved, strict=True)]
            for values, moved in zip(old, change, strict=True)
        )
        return (x, m, u, mu, t, price) if min(*u, *mu, *t, *price) > 0.0 else None

    def _reach(self, change: Unknowns, most: float = 1.0) -> float:
        """The largest step up to ``most`` that keeps prices and what they leave >= 0."""
        _, _, *positive = change
        for values, moved in zip((self.u, self.mu, self.t, self.price), positive, strict=True):
            for v, d in zip(values, moved, strict=True):
                if v + most * d < 0.0:
                    most = -v / d
        return most

    def _direction(
        self,
        missed: tuple[list[float], list[float], list[float], list[float]],
        r5: Sequence[float],
        r6: Sequence[float],
    ) -> Unknowns | None:
        """Newton's change: x, u, mu, t and lambda eliminated, m is solved for. None if rounding makes the
        equations singular."""
        r1, r2, r3, r4 = missed
        a, who, group = self._p.a, self._p.who, self._p.group
        w = [p / u for p, u in zip(self.mu, self.u, strict=True)]
        v = [p / t for p, t in zip(self.price, self.t, strict=True)]
        given = [r / u - f * e for r, u, f, e in zip(r5, self.u, w, r3, strict=True)]
        h = [
            1.0 / b.spread + math.fsum(a[q] * a[q] * w[q] for q in pairs)
            for b, pairs in zip(self._bends, self._p.of, strict=True)
        ]
        b = [r - math.fsum(a[q] * given[q] for q in pairs) for r, pairs in zip(r1, self._p.of, strict=True)]
        n = len(self._p.link)
        matrix = [[0.0] * n for _ in range(n)]
        for on, factor in zip(self._p.groups, v, strict=True):
            for k in on:
                for j in on:
                    matrix[k][j] += factor
        for own, bend, weight in zip(self._p.of, self._bends, h, strict=True):
            for q in own:
                # w - (a w)^2 / h, written without the cancellation where w is large.
                others = math.fsum(a[p] * a[p] * w[p] for p in own if p != q)
                matrix[group[q]][group[q]] += w[q] * (1.0 / bend.spread + others) / weight
                for p in own:
                    if p != q:
                        matrix[group[q]][group[p]] -= a[q] * w[q] * a[p] * w[p] / weight
        right = [
            r2[k]
            + math.fsum(given[q] + w[q] * a[q] * b[who[q]] / h[who[q]] for q in self._p.members[k])
            - r6[number] / self.t[number]
            + v[number] * r4[number]
            for k, number in enumerate(self._p.link)
        ]
        dm = solve(matrix, right)
        if not all(abs(d) < 1e100 for d in dm):
            return None
        dx = [
            (b[i] + math.fsum(a[q] * w[q] * dm[group[q]] for q in pairs)) / h[i]
            for i, pairs in enumerate(self._p.of)
        ]
        du = [dm[group[q]] - a[q] * dx[who[q]] + r3[q] for q in range(len(a))]
        dmu = [given[q] - w[q] * (du[q] - r3[q]) for q in range(len(a))]
        dt = [r4[k] - math.fsum(dm[j] for j in on) for k, on in enumerate(self._p.groups)]
        dprice = [r / t - f * d for r, t, f, d in zip(r6, self.t, v, dt, strict=True)]
        return dx, dm, du, dmu, dt, dprice
