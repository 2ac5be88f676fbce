"""What a planner who knows every utility would choose: the yardstick, never used by agents.

An interior-point method of its own, independent of the mechanisms' dynamics, polished by Newton's method on
the constraints found active (spec of chapters 1-3, section 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from node.mechanisms.network.linear import Linear
from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.unicast import Unicast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.mechanisms.network.contract import Contract
    from node.mechanisms.network.valuations import Valuation
    from node.numbers import Matrix, Vector
    from node.part import AgentId

ITERATIONS = 200


class NotSolved(Exception):
    """The planner's problem was not solved to the accuracy that judging needs."""


@dataclass(frozen=True, slots=True)
class Program:
    """max sum of utilities subject to rows x <= limits and x >= 0.

    Attributes:
        sharing: for every variable the agents that get it; none for an auxiliary variable.
        rows: shape (rows, variables).
        limits: shape (rows,).
        names: of the channel whose capacity a row is; empty for a row that only ties auxiliary variables.
        start: a point strictly inside, shape (variables,).
        ties: row -> (link, receiver) if it is a x <= m of multicast.
    """

    sharing: tuple[tuple[AgentId, ...], ...]
    rows: Matrix
    limits: Vector
    names: tuple[str, ...]
    start: Vector
    ties: Mapping[int, tuple[str, AgentId]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Optimum:
    """What the planner would choose.

    Attributes:
        allocation: agent -> x_i*.
        prices: link or row -> its multiplier.
        welfare: sum of v_i(x_i*).
        residual: the largest violation of a KKT condition, relative to the size of its terms.
        receivers: of multicast, link -> receiver -> the multiplier of a x <= m_k.
    """

    allocation: Mapping[AgentId, float]
    prices: Mapping[str, float]
    welfare: float
    residual: float
    receivers: Mapping[str, Mapping[AgentId, float]] = field(default_factory=dict)


def program(contracts: Mapping[AgentId, Contract]) -> Program:
    """The planner's problem over everybody's side of one mechanism.

    Raises:
        TypeError: if the agents play different mechanisms.
    """
    kinds = {type(contract) for contract in contracts.values()}
    if len(kinds) != 1:
        raise TypeError(f"one mechanism expected, got {sorted(kind.__name__ for kind in kinds)}")
    agents = sorted(contracts)
    first = contracts[agents[0]]
    if isinstance(first, Linear):
        return _linear({i: c for i, c in contracts.items() if isinstance(c, Linear)})
    if not isinstance(first, Unicast | Multicast):
        raise TypeError(f"no network mechanism: {type(first).__name__}")
    at = {i: k for k, i in enumerate(agents)}
    links = {
        name: link
        for c in contracts.values()
        if isinstance(c, Unicast | Multicast)
        for name, link in c.links.items()
    }
    sharing: list[tuple[AgentId, ...]] = [(i,) for i in agents]
    entries: list[dict[int, float]] = []
    limits: list[float] = []
    names: list[str] = []
    ties: dict[int, tuple[str, AgentId]] = {}
    for name in sorted(links):
        link = links[name]
        if isinstance(first, Unicast):
            entries.append({at[j]: a for j, a in link.coefficients.items()})
        else:
            total = {}
            for members in link.of_group().values():
                total[len(sharing)] = 1.0
                for j in members:
                    ties[len(entries)] = (name, j)
                    entries.append({at[j]: link.coefficients[j], len(sharing): -1.0})
                    limits.append(0.0)
                    names.append("")
                sharing.append(())
            entries.append(total)
        limits.append(link.capacity)
        names.append(name)
    rows = _dense(entries, len(sharing))
    start = np.empty(len(sharing))
    # Half the capacity of every link to its groups in equal parts, half of that to each member.
    for i, k in at.items():
        own = contracts[i]
        assert isinstance(own, Unicast | Multicast)
        start[k] = min(
            0.25 * link.capacity / (link.coefficients[i] * len(link.members)) for link in own.links.values()
        )
    k = len(at)
    if isinstance(first, Multicast):
        for name in sorted(links):
            for _ in links[name].of_group():
                start[k] = 0.5 * links[name].capacity / len(links[name].of_group())
                k += 1
    return Program(tuple(sharing), rows, np.array(limits), tuple(names), start, ties)


def _linear(contracts: Mapping[AgentId, Linear]) -> Program:
    sharing = sorted({c.group.members if c.group is not None else (i,) for i, c in contracts.items()})
    at = {i: k for k, members in enumerate(sharing) for i in members}
    rows = {name: row for c in contracts.values() for name, row in c.rows.items()}
    entries = [{at[on[0]]: a for a, on in rows[name].reduced} for name in sorted(rows)]
    # Amounts without a row are held by their ceilings; so is everybody, which changes nothing else.
    ceilings = [min(contracts[i].highest for i in members) for members in sharing]
    limits = [rows[name].capacity for name in sorted(rows)]
    matrix = np.vstack([_dense(entries, len(sharing)), np.eye(len(sharing))])
    names = (*sorted(rows), *("" for _ in sharing))
    start = np.array([0.75 * contracts[members[0]].lowest for members in sharing])
    return Program(tuple(sharing), matrix, np.array([*limits, *ceilings]), names, start)


def _dense(entries: Sequence[Mapping[int, float]], width: int) -> Matrix:
    matrix = np.zeros((len(entries), width))
    for row, entry in enumerate(entries):
        matrix[row, list(entry)] = list(entry.values())
    return matrix


def solve(problem: Program, valuations: Mapping[AgentId, Valuation]) -> Optimum:
    """Solve the planner's problem.

    Raises:
        NotSolved: if the KKT conditions are missed by more than 1e-7 of the size of their terms.
    """
    planner = _Planner(problem, valuations)
    x, prices, bounds = planner.interior()
    best = (x, prices, bounds)
    residual = planner.residual(*best)
    polished = planner.polish(*best)
    if polished is not None and planner.residual(*polished) < residual:
        best, residual = polished, planner.residual(*polished)
    if not residual <= 1e-7:
        raise NotSolved(f"the planner's KKT conditions are missed by {residual:.3g}")
    x, prices, _ = best
    allocation = {i: float(x[k]) for k, members in enumerate(problem.sharing) for i in members}
    receivers: dict[str, dict[AgentId, float]] = {}
    for row, (name, j) in problem.ties.items():
        receivers.setdefault(name, {})[j] = float(prices[row])
    return Optimum(
        {i: allocation[i] for i in sorted(allocation)},
        {name: float(p) for name, p in zip(problem.names, prices, strict=True) if name},
        math.fsum(valuations[i].value(x_i) for i, x_i in allocation.items()),
        residual,
        receivers,
    )


class _Planner:
    """The numbers of one problem; x, prices of the rows, and multipliers of x >= 0."""

    def __init__(self, problem: Program, valuations: Mapping[AgentId, Valuation]) -> None:
        self.problem = problem
        self.rows, self.limits = problem.rows, problem.limits
        self._valuations = [[valuations[i] for i in members] for members in problem.sharing]

    def slope(self, x: Vector) -> Vector:
        return np.array(
            [sum(v.slope(t) for v in vs) for vs, t in zip(self._valuations, x.tolist(), strict=True)]
        )

    def curvature(self, x: Vector) -> Vector:
        return np.array(
            [sum(v.curvature(t) for v in vs) for vs, t in zip(self._valuations, x.tolist(), strict=True)]
        )

    def residual(self, x: Vector, prices: Vector, bounds: Vector) -> float:
        slope = self.slope(x)
        scale = float(np.abs(slope).max()) + 1e-300
        size = float(np.abs(x).max()) + 1e-300
        slack = self.limits - self.rows @ x
        free = np.abs(slope - self.rows.T @ prices + bounds).max() / scale
        over = max(0.0, float((-slack).max()), float((-x).max())) / size
        loose = max(float((prices * np.abs(slack)).max()), float((bounds * np.abs(x)).max())) / (scale * size)
        signs = max(0.0, float((-prices).max()), float((-bounds).max())) / scale
        return max(float(free), over, loose, signs)

    def interior(self) -> tuple[Vector, Vector, Vector]:
        """Predictor and corrector steps from the start until the residual no longer falls."""
        x = self.problem.start.copy()
        scale = max(1e-9, float(np.abs(self.slope(x)).max()))
        matrix = np.vstack([self.rows, -np.eye(x.size)])
        limits = np.concatenate([self.limits, np.zeros(x.size)])
        m = self.limits.size
        slack = limits - matrix @ x
        dual = scale * float(np.median(slack)) / slack
        best, least, since = (x, dual[: self.limits.size], dual[self.limits.size :]), math.inf, 0
        for _ in range(ITERATIONS):
            gradient = -self.slope(x) + matrix.T @ dual
            hessian = self.curvature(x)
            missing = matrix @ x + slack - limits

            def step(target: Vector) -> tuple[Vector, Vector, Vector]:
                weights = dual / slack  # noqa: B023 - called within this iteration only
                # The rows of x >= 0 add to the diagonal only.
                system = (self.rows.T * weights[:m]) @ self.rows + np.diag(hessian + weights[m:])  # noqa: B023
                right = -gradient - matrix.T @ (weights * missing + target / slack)  # noqa: B023
                dx = np.linalg.solve(system, right)
                ds = -missing - matrix @ dx  # noqa: B023
                return dx, ds, (target - dual * ds) / slack  # noqa: B023

            try:
                dx, ds, dd = step(-dual * slack)
                mean = float(dual @ slack) / slack.size
                reach = min(_reach(slack, ds), _reach(dual, dd))
                then = float((dual + reach * dd) @ (slack + reach * ds)) / slack.size
                target = (then / mean) ** 3 * mean - dual * slack - ds * dd
                dx, ds, dd = step(target)
            except np.linalg.LinAlgError:
                break  # as far as the conditioning lets it come; judged by the residual
            reach = 0.995 * min(_reach(slack, ds), _reach(dual, dd))
            x, slack, dual = x + reach * dx, slack + reach * ds, dual + reach * dd
            found = (x, dual[: self.limits.size], dual[self.limits.size :])
            residual = self.residual(*found)
            if residual < least:
                best, least, since = found, residual, 0
            else:
                since += 1
            # Newton polishes what is left; near the end conditioning lets the residual wander.
            if least < 1e-9 and since >= 3:
                break
            if residual < 1e-13 or not np.isfinite(residual) or residual > 1e3 * max(least, 1e-9):
                break
        return best

    def polish(self, x: Vector, prices: Vector, bounds: Vector) -> tuple[Vector, Vector, Vector] | None:
        """Newton on the stationarity of what is free and the tightness of what is scarce."""
        slack = self.limits - self.rows @ x
        scale, size = float(np.abs(self.slope(x)).max()), float(np.abs(x).max())
        scarce = np.flatnonzero(prices / scale > np.abs(slack) / size)
        free = np.flatnonzero(bounds / scale <= x / size)
        x, prices = (
            np.where(bounds / scale > x / size, 0.0, x),
            np.where(prices / scale > np.abs(slack) / size, prices, 0.0),
        )
        rows = self.rows[np.ix_(scarce, free)]
        for _ in range(8):
            slope = self.slope(x)
            errors = np.concatenate(
                [slope[free] - rows.T @ prices[scarce], (self.limits - self.rows @ x)[scarce]]
            )
            system = np.block(
                [[-np.diag(self.curvature(x)[free]), -rows.T], [-rows, np.zeros((scarce.size, scarce.size))]]
            )
            try:
                change = np.linalg.solve(system, -errors)
            except np.linalg.LinAlgError:  # dependent rows: prices are not unique, any will do
                change = np.linalg.lstsq(system, -errors, rcond=None)[0]
            x, prices = x.copy(), prices.copy()
            x[free] += change[: free.size]
            prices[scarce] += change[free.size :]
            if not np.isfinite(x).all() or (x < -1e-6 * size).any():
                return None
            if float(np.abs(change[: free.size]).max(initial=0.0)) <= 1e-16 * size:
                break
        return x, prices, np.maximum(0.0, self.rows.T @ prices - self.slope(x)) * (x <= 0.0)


def _reach(values: Vector, change: Vector) -> float:
    """The largest step in [0, 1] that keeps values >= 0."""
    falling = change < 0.0
    return min(1.0, float((-values[falling] / change[falling]).min())) if falling.any() else 1.0
