"""Prices of a multicast link: one a member, all groups with one sum (spec of chapters 1-3, section 5)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.prices import NOISE, Dynamics, Safeguard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RingState = tuple[tuple[float, ...], tuple[float, ...], float, bool, float, float, int]


def project(
    points: Mapping[str, float],
    scales: Mapping[str, float],
    groups: Mapping[str, Sequence[str]],
    capacity: float,
) -> dict[str, float]:
    """Project prices onto {mu >= 0, every group's sum the same lambda >= 0} with linear cost c lambda.

    mu_i = [u_i + g_i nu_k]_+ with the group's sum lambda and sum over groups of nu_k = -c (lambda = 0 if the
    nu_k that make all of a group zero sum up to at least -c). nu_k(lambda) is concave and piecewise linear,
    so Newton's iteration from lambda = 0 rises to the solution and reaches it after finitely many pieces.

    Args:
        points: member -> u_i.
        scales: member -> g_i > 0.
        groups: group -> members.
        capacity: c.
    """
    lines = [sorted((-points[i] / scales[i], i) for i in members) for members in groups.values()]
    price = 0.0
    for _ in range(sum(map(len, lines)) + 2):
        nus, slope = [], 0.0
        for line in lines:
            nu, rise = _level(line, points, scales, price)
            nus.append(nu)
            slope += 1.0 / rise
        missing = -capacity - math.fsum(nus)
        if not missing > 0.0:
            break
        following = price + missing / slope
        if not following > price:
            break
        price = following
    if price == 0.0:
        return dict.fromkeys(points, 0.0)
    found: dict[str, float] = {}
    for line, nu in zip(lines, nus, strict=True):
        found.update({i: max(0.0, points[i] + scales[i] * nu) for _, i in line})
    return {i: found[i] for i in points}


def _level(
    line: Sequence[tuple[float, str]], points: Mapping[str, float], scales: Mapping[str, float], price: float
) -> tuple[float, float]:
    """(nu with sum of [u + g nu]_+ = price, and the slope of that sum to the right of it)."""
    total_u = total_g = 0.0
    for k, (_, i) in enumerate(line):
        total_u, total_g = total_u + points[i], total_g + scales[i]
        nu = (price - total_u) / total_g
        if k + 1 == len(line) or nu < line[k + 1][0]:
            return nu, total_g
    raise AssertionError("a group without members")


class RingPrices:
    """One agent's replica of all members' prices mu on a multicast link.

    Attributes:
        announced: member -> z, what is quoted this round.
        busy: whether the groups' maxima exceeded the capacity last round.
    """

    def __init__(self, dynamics: Dynamics, capacity: float, groups: Mapping[str, Sequence[str]]) -> None:
        self._dynamics, self._capacity, self._groups = dynamics, capacity, groups
        # Equal prices within a group; every group's sum is the start price of the link.
        start = {i: dynamics.start / len(members) for members in groups.values() for i in members}
        self._members = tuple(sorted(start))
        self.prices = {i: start[i] for i in self._members}
        self._before = dict(self.prices)
        self.announced = dict(self.prices)
        self._counter, self.busy = 1.0, True
        self._guard = Safeguard(dynamics.kappa)

    def state(self) -> RingState:
        """Between two rounds."""
        guard = self._guard
        best = guard.best if math.isfinite(guard.best) else -1.0  # infinities are no message
        prices, before = tuple(self.prices.values()), tuple(self._before.values())
        return (prices, before, self._counter, self.busy, guard.kappa, best, guard.since)

    def restore(self, state: RingState) -> None:
        """Inverse of ``state``."""
        prices, before, self._counter, self.busy, kappa, best, since = state
        self.prices = dict(zip(self._members, prices, strict=True))
        self._before = dict(zip(self._members, before, strict=True))
        self._guard.kappa, self._guard.best, self._guard.since = kappa, best if best >= 0 else math.inf, since

    def follow(self, dynamics: Dynamics) -> None:
        """Go on from here by another rule; momentum starts anew."""
        self._dynamics, self._before, self._counter = dynamics, dict(self.prices), 1.0

    def announce(self) -> Mapping[str, float]:
        """z of this round, all members'. Call once a round."""
        if not self._dynamics.fast:
            self.announced = dict(self.prices)
            return self.announced
        counter, self._counter = self._counter, 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * self._counter**2))
        beta = (counter - 1.0) / self._counter
        self.announced = {i: max(0.0, p + beta * (p - self._before[i])) for i, p in self.prices.items()}
        return self.announced

    def in_use(self, member: str) -> bool:
        """Whether the link counts in the scale of this member's other links."""
        return not self._dynamics.fast or self.announced[member] > 0.0 or self.busy

    def update(
        self,
        loads: Mapping[str, float],
        coefficients: Mapping[str, float],
        counts: Mapping[str, float],
        spreads: Mapping[str, float],
    ) -> float:
        """Move all members' prices.

        Args:
            loads: member -> a y.
            coefficients: member -> a.
            counts: member -> s, the sum of its coefficients on links in use.
            spreads: member -> 1/|v''|.
        Returns:
            The largest projected excess |new - z| / g over members, in units of the link.
        """
        z, kappa = self.announced, self._guard.kappa
        if self._dynamics.gamma is not None:
            scales = dict.fromkeys(self._members, self._dynamics.gamma)
        elif self._dynamics.fast:
            scales = {
                i: kappa / (coefficients[i] * max(counts[i], coefficients[i]) * spreads[i])
                for i in self._members
            }
        else:
            gamma = self._dynamics.kappa / max(
                coefficients[i] * counts[i] * spreads[i] for i in self._members
            )
            scales = dict.fromkeys(self._members, gamma)
        points = {i: z[i] + scales[i] * loads[i] for i in self._members}
        new = project(points, scales, self._groups, self._capacity)
        residual = max(abs(new[i] - z[i]) / scales[i] for i in self._members)
        excess = (
            math.fsum(max(loads[i] for i in members) for members in self._groups.values()) - self._capacity
        )
        if self._dynamics.fast:
            turned = math.fsum((new[i] - z[i]) * (new[i] - self.prices[i]) / scales[i] for i in self._members)
            if turned < 0.0:
                self._counter = 1.0
            if excess > 0.0 or any(z.values()):
                stuck = self._guard.watch(residual, NOISE * self._capacity)
                self._counter = 1.0 if stuck else self._counter
        self.busy = excess > 0.0
        self._before, self.prices = self.prices, new
        return residual
