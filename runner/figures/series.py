"""What was measured in a run, by metric: numbers over rounds, a line for each agent or link."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from node.mechanisms.network import checks
from runner.consensus import ConsensusResult
from runner.errors import UserError
from runner.network import NetworkResult, contracts_of
from topologies.errors import listed
from topologies.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from runner.figures.run import Run

Vector = NDArray[np.float64]

# Of a network run; a load is worked out link by link, and more than this nobody sees on a page.
MOST_STEPS = 400


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity over the rounds.

    Attributes:
        title: what it is.
        axis: the same with its unit, for the axis.
        rounds: (R,) ascending.
        values: (R, L), NaN where nothing is known.
        names: (L,) of the lines: agents or links.
        targets: (L,) where they should end; NaN where nothing says so.
        log: whether it is a distance, which shrinks by factors.
        of: what a line is, ``agent`` or ``link``.
        target: what a target is, in words.
    """

    title: str
    axis: str
    rounds: NDArray[np.int64]
    values: Vector
    names: tuple[str, ...]
    targets: Vector
    log: bool = False
    of: str = "agent"
    target: str = "the optimum"

    def only(self, names: Sequence[str], where: str) -> Series:
        """The lines of these agents; links, which are nobody's, stay.

        Raises:
            UserError: for one of whom nothing was recorded.
        """
        if self.of != "agent":
            return self
        for name in names:
            if name not in self.names:
                raise UserError(
                    f"agent {name}: not among those that {where} recorded; expected one of "
                    f"{listed(self.names)}{did_you_mean(name, self.names)}"
                )
        at = [self.names.index(name) for name in names]
        return replace(self, values=self.values[:, at], names=tuple(names), targets=self.targets[at])


def allocations(run: Run) -> list[Series]:
    """What each agent gets, one series a good."""
    if isinstance(run.result, ConsensusResult):
        return []
    return _by_good(run, "allocation", f"units of the {run.good}", run.result.optimal_allocation)


def prices(run: Run) -> list[Series]:
    """What a unit costs: each agent's price of each good; in a network the price of every link."""
    if isinstance(run.result, ConsensusResult):
        return []
    if isinstance(run.result, NetworkResult):
        return _link_prices(run, run.result.link_prices)
    return _by_good(run, "price", "money a unit", run.result.optimal_prices)


def taxes(run: Run) -> list[Series]:
    """What each agent would pay if the run ended; negative: receive."""
    return _plain(run, "tax", "Taxes", "tax (money; negative: received)")


def residuals(run: Run) -> list[Series]:
    """How far each agent is from rest, in the unit of its stopping rule."""
    if isinstance(run.result, NetworkResult):
        unit = "part of a capacity"
    elif isinstance(run.result, ConsensusResult):
        unit = "unit of the values"
    else:
        unit = "units of demand"
    return _plain(run, "residual", "Residuals", f"residual ({unit})", log=True)


def estimates(run: Run) -> list[Series]:
    """What each agent of a consensus run holds for the common value."""
    if not isinstance(run.result, ConsensusResult):
        return []
    rounds, values, agents = run.record.goods("estimate")
    if not rounds.size:
        return []
    wanted, count = run.result.targets, values.shape[2]
    if run.result.primitive == "trimmed":
        wanted = {}  # only a range is promised
    nothing = [math.nan] * count
    targets = np.array([wanted.get(agent, nothing) for agent in agents], float)
    return [
        _known(
            Series(
                f"Estimates, number {k} of {count}" if count > 1 else "Estimates",
                "estimate (unit of the values)",
                rounds,
                values[:, :, k],
                agents,
                targets[:, k],
                target=sought(run.result),
            )
        )
        for k in range(count)
    ]


def sought(result: ConsensusResult) -> str:
    """What the estimates should come to, in words."""
    what = result.primitive if result.primitive in ("minimum", "maximum", "diameter") else "mean"
    return f"the {what}" + (" of its part" if len(result.components) > 1 else "")


def counts(run: Run) -> list[Series]:
    """How many agents' values each agent of a consensus run has taken in: set flooding, exact sums."""
    if not isinstance(run.result, ConsensusResult):
        return []
    size = run.result.component_size
    rounds, values, agents = run.record.series("known")
    if not rounds.size:
        return []
    targets = np.array([size.get(agent, math.nan) for agent in agents], float)
    whom = "all of its part" if len(run.result.components) > 1 else "all agents"
    return [_known(Series("Agents counted", "agents counted", rounds, values, agents, targets, target=whom))]


def loads(run: Run) -> list[Series]:
    """The part of each link's capacity that the allocations of a round take: of the largest part of the
    network that has a result, in its last epoch."""
    if not isinstance(run.result, NetworkResult):
        return []
    parts = [part for part in run.result.components if part.stranded is None]
    there = parts[0].agents if parts else run.loaded.agents
    rounds, values, recorded = run.record.series("allocation", parts[0].epoch if parts else None)
    if not set(there) <= set(recorded):
        return []  # the loads are those of all
    agents, values = there, values[:, [recorded.index(i) for i in there]]
    complete = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not complete.size:
        return []
    steps = complete[np.unique(np.linspace(0, len(complete) - 1, min(len(complete), MOST_STEPS)).astype(int))]
    contracts = contracts_of(run.loaded, agents)
    used = [checks.used(contracts, dict(zip(agents, row, strict=True))) for row in values[steps].tolist()]
    names = tuple(used[0])
    shares = np.array([[step[name] for name in names] for step in used])
    targets = np.full(len(names), math.nan)
    return [
        Series(
            "Loads of links", "load (part of the capacity)", rounds[steps], shares, names, targets, of="link"
        )
    ]


METRICS: Mapping[str, Callable[[Run], list[Series]]] = {
    "prices": prices,
    "allocations": allocations,
    "taxes": taxes,
    "residuals": residuals,
    "estimates": estimates,
    "counts": counts,
    "loads": loads,
}


def _by_good(run: Run, name: str, unit: str, optimal: Mapping[str, Sequence[float]]) -> list[Series]:
    rounds, values, agents = run.record.goods(name)
    if not rounds.size:
        return []
    goods, title = values.shape[2], f"{name.capitalize()}s"
    nothing = [math.nan] * goods
    target = np.array([optimal.get(agent, nothing) for agent in agents], float)
    return [
        _known(
            Series(
                f"{title}, {run.good} {k} of {goods}" if goods > 1 else title,
                f"{name} ({unit})",
                rounds,
                values[:, :, k],
                agents,
                target[:, k],
            )
        )
        for k in range(goods)
    ]


def _plain(
    run: Run, name: str, title: str, axis: str, *, target: float = math.nan, log: bool = False
) -> list[Series]:
    rounds, values, agents = run.record.series(name)
    if not rounds.size:
        return []
    return [_known(Series(title, axis, rounds, values, agents, np.full(len(agents), target), log=log))]


def _known(series: Series) -> Series:
    """Without the lines of which nothing is known."""
    keep = np.flatnonzero(~np.isnan(series.values).all(axis=0))
    names = tuple(series.names[k] for k in keep)
    return replace(series, values=series.values[:, keep], names=names, targets=series.targets[keep])


def _link_prices(run: Run, optimal: Mapping[str, float]) -> list[Series]:
    """The price of every link as its members quote it: their mean; of multicast the mean over groups of what
    the members of a group quote together (thesis sections 1.3, 2.3)."""
    quoted: dict[str, Any] = {}
    for name, (members, groups) in _members(run).items():
        rounds, values, agents = run.record.series(f"quote.{name}.1")
        at = [agents.index(agent) for agent in members if agent in agents]
        if not rounds.size or len(at) < len(members):
            continue
        if groups:
            together = [
                values[:, [agents.index(i) for i in members if groups[i] == group]].sum(axis=1)
                for group in sorted(set(groups.values()))
            ]
            quoted[name] = rounds, np.mean(together, axis=0)
        else:
            quoted[name] = rounds, values[:, at].mean(axis=1)
    if not quoted:
        return []
    every = np.unique(np.concatenate([rounds for rounds, _ in quoted.values()]))
    values = np.full((every.size, len(quoted)), math.nan)
    for k, (rounds, own) in enumerate(quoted.values()):
        values[np.searchsorted(every, rounds), k] = own
    targets = np.array([optimal.get(name, math.nan) for name in quoted])
    title, axis = "Prices of links", "price (money a unit of capacity)"
    return [Series(title, axis, every, values, tuple(quoted), targets, of="link")]


def _members(run: Run) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Link -> who pays for it, ids ascending, and the multicast group of each."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {}
    for own in run.loaded.utilities.values():
        for name, facts in (own["rows"] if "rows" in own else own["links"]).items():
            grouped = facts.get("groups", {}) if "links" in own else {}
            found[name] = sorted(facts["coefficients"]), dict(grouped)
    return {name: found[name] for name in sorted(found)}
