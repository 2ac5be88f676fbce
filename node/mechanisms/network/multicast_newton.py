"""Newton's prices of multicast: those of receivers on links, all groups of a link with one sum.

The dual function of chapter 2 is D(mu) = sum over receivers of max (v_i(y) - P_i y) + sum over links of
c_l lambda_l, with P_i = sum over own links of a_il mu_il, over mu >= 0 whose sum is lambda_l in every group
of link l: the amounts m_kl of groups have no utility, so their prices have to cancel. D bends only with the
P_i, by 1/|v_i''|. So the model that is minimised (``group_model``) is

    sum over receivers of -y_i dP_i + dP_i^2 / (2 |v_i''|)  +  sum over links of c_l lambda_l

over the same mu. Nothing of it adds up over receivers: everybody is told of every receiver its demand,
1/|v''| and surplus. Unlike the sums of unicast these are single quotes, and they leave the link.

Claim: every limit point of the kept points minimises D, so under (A4) allocations come to the optimum. The
proof is that of ``newton``: 1/|v''| is bounded on [0, H_i], so with all parts 1 and some multiple of the
curvatures the model is an upper bound of D on all of these mu, linear terms and all. It is bounded from
below, though it does not bend in most directions: lambda_l >= 0, and in P it is a strictly convex quadratic.
So it has a minimum, which is lower than D at a point that is no minimiser, by an amount that is bounded away
from 0 near it. Only P and lambda matter for that; mu itself need not be unique.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.group_model import Bend, Capacity, minimise
from node.mechanisms.network.multicast import ring
from node.mechanisms.network.multicast_taker import left_idle
from node.mechanisms.network.newton import Path
from node.mechanisms.network.taker import Taker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Quote, Tables
    from node.mechanisms.network.multicast import Multicast
    from node.mechanisms.network.prices import Dynamics
    from node.part import AgentId

RingPrices = dict[str, dict["AgentId", float]]  # link -> receiver -> mu


@dataclass(frozen=True, slots=True)
class Receiver:
    """A receiver as the network is told of it.

    Attributes:
        group: of the receiver.
        coefficient: a, on the link of the report.
        price: mu, there.
        demand: y.
        clipped: 1 if its demand is 0 or the largest one, else 0.
        spread: 1/|v''| at y.
        surplus: v(y) - P y.
    """

    group: str
    coefficient: float
    price: float
    demand: float
    clipped: float
    spread: float
    surplus: float

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        numbers = (self.coefficient, self.price, self.demand, self.clipped, self.spread, self.surplus)
        return (self.group, *numbers)


@dataclass(frozen=True, slots=True)
class Report:
    """What the network is told of a link: its capacity and its receivers, ids ascending."""

    capacity: float
    receivers: Mapping[AgentId, Receiver]

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        return (self.capacity, tuple((i, r.pack()) for i, r in self.receivers.items()))

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Report:
        """Inverse of ``pack``."""
        capacity, rows = values
        return cls(capacity, {i: Receiver(*packed) for i, packed in rows})

    @staticmethod
    def accepts(name: str, packed: Any) -> bool:
        """Whether a value may be a packed report."""
        return (
            type(packed) is tuple
            and len(packed) == 2
            and type(packed[0]) is float
            and 0.0 < packed[0] < math.inf
            and type(packed[1]) is tuple
            and all(
                type(row) is tuple and len(row) == 2 and type(row[0]) is str and _receiver(row[1])
                for row in packed[1]
            )
            and len({row[1][0] for row in packed[1]}) > 1
            and len({row[0] for row in packed[1]}) == len(packed[1])
        )


def _receiver(packed: Any) -> bool:
    return (
        type(packed) is tuple
        and len(packed) == 7
        and type(packed[0]) is str
        and all(type(v) is float and 0.0 <= v < math.inf for v in packed[1:])
        and packed[1] > 0.0
        and packed[4] in (0.0, 1.0)
        and packed[5] > 0.0
    )


class RingPath(Path[Report, RingPrices]):
    """The points of a multicast network."""

    unpack = staticmethod(Report.unpack)

    def value(self, found: Mapping[str, Report]) -> float:
        """D at a point."""
        surplus: dict[AgentId, float] = {}
        paid: list[float] = []
        for report in found.values():
            surplus |= {i: r.surplus for i, r in report.receivers.items()}
            prices = {i: r.price for i, r in report.receivers.items()}
            paid.append(report.capacity * _largest_sum(report, prices))
        return math.fsum((*surplus.values(), *paid))

    def _trial(self, kept: Mapping[str, Report], part: float, times: float) -> tuple[RingPrices, float]:
        now, told = dict[str, list[float]](), dict[str, Receiver]()
        links: dict[str, Capacity] = {}
        for name, report in kept.items():
            groups: dict[str, dict[AgentId, float]] = {}
            for i, r in report.receivers.items():
                groups.setdefault(r.group, {})[i] = r.coefficient
                now.setdefault(i, []).append(r.coefficient * r.price)
                told[i] = r
            links[name] = Capacity(report.capacity, {k: groups[k] for k in sorted(groups)})
        bends = {
            i: Bend(math.fsum(now[i]), r.demand, times * r.spread * (part if r.clipped else 1.0))
            for i, r in sorted(told.items())
        }
        prices = minimise(bends, links)
        gained: list[float] = []
        then: dict[AgentId, list[float]] = {i: [] for i in bends}
        for name, report in kept.items():
            before = {i: r.price for i, r in report.receivers.items()}
            gained.append(
                report.capacity * (_largest_sum(report, before) - _largest_sum(report, prices[name]))
            )
            for i, r in report.receivers.items():
                then[i].append(r.coefficient * prices[name][i])
        for i, bend in bends.items():
            d = math.fsum((*then[i], -bend.price))
            gained.append(d * (bend.demand - 0.5 * bend.spread * d))
        return prices, math.fsum(gained)


def _largest_sum(report: Report, prices: Mapping[AgentId, float]) -> float:
    """lambda: the largest sum of a group; all are the same but for rounding."""
    sums: dict[str, list[float]] = {}
    for i, r in report.receivers.items():
        sums.setdefault(r.group, []).append(prices[i])
    return max(map(math.fsum, sums.values()))


class MulticastNewton(Taker):
    """A receiver.

    Args:
        contract: its side.
        dynamics: ``start`` is the first sum of prices of every group on every link.
    """

    contract: Multicast

    def __init__(self, contract: Multicast, dynamics: Dynamics) -> None:
        super().__init__(dynamics)
        self.contract = contract
        self._prices: RingPrices = {}
        for name, groups in contract.groups.items():
            start = {i: dynamics.start / len(members) for members in groups.values() for i in members}
            self._prices[name] = dict(sorted(start.items()))
        self._following = self._prices
        self._path = RingPath()

    def announce(self, guess: float) -> dict[str, Quote]:
        """(y, q1 = mu, q2 = mu of the successor, rho) and whether y is clipped, 1/|v''|, v(y) - P y."""
        c, mu = self.contract, self._prices
        self._ask(math.fsum(link.coefficients[c.me] * mu[name][c.me] for name, link in c.links.items()))
        clipped = float(self.demand <= 0.0 or self.demand >= c.highest)
        # 0 can be demanded for nothing, so this is never negative but for rounding.
        surplus = max(0.0, c.valuation.value(self.demand) - self.price * self.demand)
        rho = guess if c.strong else 0.0
        entries: dict[str, Quote] = {}
        for name, link in c.links.items():
            _, after = ring(c.groups[name], link, c.me)
            q2 = mu[name][after] if after != c.me else 0.0
            entries[name] = (self.demand, mu[name][c.me], q2, rho, clipped, self.spread, surplus)
        return entries

    def summaries(self, tables: Tables) -> dict[str, tuple[Any, ...]]:
        """Reports of the links whose first member this agent is."""
        found: dict[str, tuple[Any, ...]] = {}
        for name, link in self.contract.links.items():
            if link.members[0] != self.contract.me:
                continue
            receivers: dict[AgentId, Receiver] = {}
            for group, members in self.contract.groups[name].items():
                for i in members:
                    y, q1, _, _, *tail = tables[name][i]
                    receivers[i] = Receiver(group, link.coefficients[i], q1, y, *tail)
            found[name] = Report(link.capacity, dict(sorted(receivers.items()))).pack()
        return found

    def accepts(self, name: str, packed: Any) -> bool:
        """Whether a value may be a packed report."""
        return Report.accepts(name, packed)

    def learn(self, summaries: Mapping[str, tuple[Any, ...]]) -> None:
        """Everybody's reports of this round; ``update`` then makes the move."""
        moved = self._path.move({name: Report.unpack(packed) for name, packed in summaries.items()})
        self._following = {name: moved[name] for name in self.contract.channels}

    def update(self, tables: Tables) -> float:
        """Make the move that was learnt; the largest of what prices leave, relative to the capacity."""
        worst = 0.0
        for name, link in self.contract.links.items():
            mu, tops = self._prices[name], list[float]()
            for members in self.contract.groups[name].values():
                loads = {i: link.coefficients[i] * tables[name][i][0] for i in members}
                tops.append(max(loads.values()))
                worst = max(
                    worst, *((tops[-1] - loads[i]) / link.capacity for i in members if mu[i] > 0.0), 0.0
                )
            excess = math.fsum((*tops, -link.capacity))
            if excess > 0.0 or any(mu.values()):
                worst = max(worst, abs(excess) / link.capacity)
        self._prices = self._following
        return worst

    def idle_value(self, tables: Tables, factor: float) -> float:
        """lambda c - sum mu a x of the links that this agent leads."""
        return left_idle(self.contract, self._prices, tables, factor)

    def state(self) -> tuple[Any, ...]:
        """Prices of the own links and the path."""
        return (tuple(tuple(mu.values()) for mu in self._prices.values()), self._path.state())

    def restore(self, state: tuple[Any, ...]) -> None:
        """Inverse of ``state``."""
        prices, path = state
        self._prices = {
            name: dict(zip(mu, values, strict=True))
            for (name, mu), values in zip(self._prices.items(), prices, strict=True)
        }
        self._path.restore(path)
