"""Net prices of a group that shares a public good, in place of a price for every pair of neighbours.

Spec of chapters 1-3, section 5b, "Ch. 3 groups". Only pi_i, by how much a member pays more or less than the
rows ask of it, moves demands. The sum over the group is 0. A step is that of FAST-PADR on the constraint that
all demands are equal, projected in the metric of the scales:

    w = pi + beta (pi - before),  pi_i := w_i + g_i (y_i - sum g y / sum g),  g_i = kappa |v_i''| / s_i

with s_i = 1 + the sum of |A_li| over i's rows in use. Every member keeps a replica of all offsets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.mechanisms.network.prices import NOISE, Dynamics, Safeguard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.part import AgentId

OffsetState = tuple[tuple[float, ...], tuple[float, ...], float, float, float, int]


class OffsetPrices:
    """One agent's replica of all members' offsets.

    Attributes:
        announced: member -> w, what demands answer to this round.
        pairs: by position m, the sum of w over the members up to m: the net price of the pair m, m+1.
    """

    def __init__(self, dynamics: Dynamics, members: Sequence[AgentId]) -> None:
        self._dynamics, self._members = dynamics, tuple(members)
        self._offsets = dict.fromkeys(self._members, 0.0)
        self._before = dict(self._offsets)
        self._counter = 1.0
        self._guard = Safeguard(dynamics.kappa)
        self.announced: Mapping[AgentId, float] = dict(self._offsets)
        self.pairs: tuple[float, ...] = (0.0,) * (len(self._members) - 1)

    def state(self) -> OffsetState:
        """Between two rounds."""
        guard = self._guard
        best = guard.best if math.isfinite(guard.best) else -1.0  # infinities are no message
        now, before = tuple(self._offsets.values()), tuple(self._before.values())
        return (now, before, self._counter, guard.kappa, best, guard.since)

    def restore(self, state: OffsetState) -> None:
        """Inverse of ``state``."""
        now, before, self._counter, kappa, best, since = state
        self._offsets = dict(zip(self._members, now, strict=True))
        self._before = dict(zip(self._members, before, strict=True))
        self._guard.kappa, self._guard.best, self._guard.since = kappa, best if best >= 0 else math.inf, since

    def follow(self, dynamics: Dynamics) -> None:
        """Go on from here by another rule; momentum starts anew."""
        self._dynamics, self._before, self._counter = dynamics, dict(self._offsets), 1.0

    def announce(self) -> None:
        """Set ``announced`` and ``pairs``. Call once a round."""
        beta = 0.0
        if self._dynamics.fast:
            counter, self._counter = self._counter, 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * self._counter**2))
            beta = (counter - 1.0) / self._counter
        self.announced = {i: p + beta * (p - self._before[i]) for i, p in self._offsets.items()}
        w = [self.announced[i] for i in self._members]
        self.pairs = tuple(math.fsum(w[: m + 1]) for m in range(len(w) - 1))

    def quoted(self, member: AgentId) -> tuple[float, float, float, float]:
        """The prices of the pairs that a member is in, each >= 0: of mine <= its and mine >= its towards the
        successor, then of its <= mine and its >= mine towards the predecessor; 0 where there is none."""
        k = self._members.index(member)
        after = self.pairs[k] if k < len(self.pairs) else 0.0
        last = self.pairs[k - 1] if k else 0.0
        return max(after, 0.0), max(-after, 0.0), max(last, 0.0), max(-last, 0.0)

    def update(
        self,
        demands: Mapping[AgentId, float],
        counts: Mapping[AgentId, float],
        spreads: Mapping[AgentId, float],
    ) -> float:
        """Move all offsets.

        Args:
            demands: member -> y.
            counts: member -> s.
            spreads: member -> 1/|v''|.
        Returns:
            The largest distance of a demand from the weighted mean.
        """
        w, fast = self.announced, self._dynamics.fast
        kappa = self._guard.kappa if fast else self._dynamics.kappa
        g = {i: kappa / (counts[i] * spreads[i]) for i in self._members}
        mean = math.fsum(g[i] * demands[i] for i in self._members) / math.fsum(g.values())
        new = {i: w[i] + g[i] * (demands[i] - mean) for i in self._members}
        residual = max(abs(demands[i] - mean) for i in self._members)
        if fast:
            turned = math.fsum((new[i] - w[i]) * (new[i] - self._offsets[i]) / g[i] for i in self._members)
            stuck = self._guard.watch(residual, NOISE * max(map(abs, demands.values())))
            if turned < 0.0 or stuck:
                self._counter = 1.0
        self._before, self._offsets = self._offsets, new
        return residual
