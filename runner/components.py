"""Who played with whom in the end: the parts into which a network has fallen, by what the agents report.

A report (``node.account.describe``) names the agent's epoch and the neighbours that it counted present. A run
is settled when the reports fit together: what i says of j is what j says of i, in the same epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Reports = Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Roll:
    """Who was not there all the time, filled in by whoever lets the agents play.

    Attributes:
        left: agents that left for good, and said so -> when, in seconds.
        died: agents that died for good -> when.
        joined: agents that were started late -> when.
        accounts: of those that are gone: their counters (``runner.lives.Lives.total``).
    """

    left: dict[str, float] = field(default_factory=dict)
    died: dict[str, float] = field(default_factory=dict)
    joined: dict[str, float] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def gone(self) -> dict[str, float]:
        """Agents that are not there any more."""
        return {**self.died, **self.left}


@dataclass(frozen=True, slots=True)
class Component:
    """Agents that came to one result together.

    Attributes:
        agents: all that took part, ascending.
        unheard: those of them that were gone before they had told their own result.
        epoch: the computation, counted from 0.
        diameter, rounds: of it; in free mode the ticks of the agent that had most. None if it is stranded.
        stranded: why it has no result, in words; None if it has one.
    """

    agents: tuple[str, ...]
    unheard: tuple[str, ...]
    epoch: int
    diameter: int | None
    rounds: int | None
    stranded: str | None

    @property
    def size(self) -> int:
        """How many took part."""
        return len(self.agents)

    @property
    def heard(self) -> tuple[str, ...]:
        """Those whose result is known."""
        return tuple(i for i in self.agents if i not in self.unheard) if self.unheard else self.agents

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return {
            "size": self.size,
            "epoch": self.epoch,
            "diameter": self.diameter,
            "rounds": self.rounds,
            "stranded": self.stranded,
            "unheard": list(self.unheard),
            "agents": list(self.agents),
        }


def current(reports: Reports, gone: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The reports without those of agents that are gone and without whom the others started anew since."""
    stale = {
        j
        for i, report in reports.items()
        if i not in gone
        for j in gone
        if j in reports and (j in report["absent"] or _differ(reports, i, j))
    }
    return {i: report for i, report in reports.items() if i not in stale} if stale else dict(reports)


def contradiction(reports: Reports) -> str | None:
    """What does not fit together in what the agents report; None if the run is settled."""
    silent: dict[str, tuple[str, int]] = {}
    for i, report in reports.items():
        for j in report["neighbours"]:
            if j in reports:
                if i not in reports[j]["neighbours"]:
                    return f"agent {i} counts {j} present, {j} does not count {i}"
                if _differ(reports, i, j):
                    return f"agent {i} ended in epoch {report['epoch']}, {j} in {reports[j]['epoch']}"
            else:
                k, epoch = silent.setdefault(j, (i, report["epoch"]))
                if epoch != report["epoch"]:
                    return f"agent {i} ended in epoch {report['epoch']} with {j}, {k} in {epoch}"
    return None


def components_of(
    reports: Reports, links: Collection[tuple[str, str]], *, free: bool = False
) -> list[Component]:
    """The parts of the network, the largest first.

    Args:
        reports: of all that have told what came of them.
        links: of the scenario's graph.
        free: whether agents ran freely; ticks differ.
    Raises:
        RunFailed: if the reports contradict each other.
    """
    if (wrong := contradiction(reports)) is not None:
        raise RunFailed(f"the agents' accounts contradict each other: {wrong}")
    present: dict[str, set[str]] = {i: set(report["neighbours"]) for i, report in reports.items()}
    for i, report in reports.items():
        for j in report["neighbours"]:
            present.setdefault(j, set()).add(i)
    found: list[Component] = []
    seen: set[str] = set()
    for start in sorted(reports):
        if start not in seen:
            group = _connected([start], present)
            seen |= group
            counted = (reports[start]["result"] or {}).get("agents", 0)
            if len(group) < counted:
                group = _connected([start], _with_unknown(present, reports, links))
            overtaken = _overtaken(start, group, reports, links) if len(group) < counted else None
            found.append(overtaken or _component(sorted(group), reports, free=free))
    return sorted(found, key=lambda c: (-c.size, c.agents))


def _connected(starts: Collection[str], present: Mapping[str, Collection[str]]) -> set[str]:
    group, fringe = set(starts), list(starts)
    while fringe:
        for j in present.get(fringe.pop(), ()):
            if j not in group:
                group.add(j)
                fringe.append(j)
    return group


def _with_unknown(
    present: Mapping[str, set[str]], reports: Reports, links: Collection[tuple[str, str]]
) -> dict[str, set[str]]:
    """Two that are both gone may have been neighbours: nobody is left to say so."""
    absent = {j for report in reports.values() for j in report["absent"]}
    more = {i: set(others) for i, others in present.items()}
    for i, j in links:
        if not {i, j} & (absent | set(reports)):
            more.setdefault(i, set()).add(j)
            more.setdefault(j, set()).add(i)
    return more


def _overtaken(
    start: str, group: set[str], reports: Reports, links: Collection[tuple[str, str]]
) -> Component | None:
    """A part whose result some that had found it with them have given up since: the agents between them have
    left for good, so nobody could tell these. What they hold is of a computation that is no more.

    Args:
        start: an agent of the part that has a result.
        group: those of it that are known; fewer than took part.
    """
    epoch, known = reports[start]["epoch"], set(reports)
    across: dict[str, set[str]] = {}
    for i, j in links:
        across.setdefault(i, set()).add(j)
        across.setdefault(j, set()).add(i)
    silent = _connected(group - known, {i: near - known for i, near in across.items()})
    for i in sorted(known - group):
        parted = across.get(i, set()) & silent & set(reports[i]["absent"])
        if parted and reports[i]["epoch"] > epoch:
            why = (
                f"its result, of epoch {epoch}, was found with others, of which {i} has begun again in epoch "
                f"{reports[i]['epoch']}; nobody was left to tell agent {start}"
            )
            return Component(tuple(sorted(group)), tuple(sorted(group - known)), epoch, None, None, why)
    return None


def _component(members: list[str], reports: Reports, *, free: bool) -> Component:
    heard = [i for i in members if i in reports]
    first = reports[heard[0]]
    epoch, stranded = first["epoch"], first["stranded"]
    unheard = tuple(i for i in members if i not in reports)
    if any((reports[i]["result"] is None) != (stranded is not None) for i in heard):
        raise RunFailed(f"of the agents {', '.join(heard[:8])} some have a result and others have none")
    if stranded is not None:
        return Component(tuple(members), unheard, epoch, None, None, stranded)
    counted = common("agents", {i: reports[i]["result"]["agents"] for i in heard})
    if counted != len(members):
        raise RunFailed(
            f"agent {heard[0]} and those connected with it counted {counted} of themselves, but there are "
            f"{len(members)}"
        )
    rounds = {i: reports[i]["rounds"] for i in heard}
    return Component(
        tuple(members),
        unheard,
        epoch,
        int(common("diameter", {i: reports[i]["result"]["diameter"] for i in heard})),
        max(rounds.values()) if free else int(common("rounds", rounds)),
        None,
    )


def common(what: str, values: Mapping[str, Any]) -> Any:
    """The value that all agents report, bit for bit.

    Raises:
        RunFailed: if they do not.
    """
    first = next(iter(values.values()))
    if any(value != first for value in values.values()):
        raise RunFailed(f"the agents disagree on {what}: {dict(list(values.items())[:8])}")
    return first


def _differ(reports: Reports, i: str, j: str) -> bool:
    """Whether two that counted each other present ended in different computations."""
    return j in reports[i]["neighbours"] and reports[i]["epoch"] != reports[j]["epoch"]
