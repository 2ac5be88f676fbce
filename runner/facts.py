"""What is true of every run, whatever its agents played."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from runner.components import Component, Roll, common, components_of, current
from runner.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended and that nobody has judged yet.

    Attributes:
        run: its run id.
        mode: ``processes``, ``virtual``, ``lockstep`` or ``observed``.
        reports: agent -> its last account, as ``node.account.describe``; of agents that are gone, if they had
            a result.
        seconds: wall (or virtual) time.
        launched_at: monotonic time of the launch; None in virtual time.
        run_dir: where the record is.
        roll: who was not there all the time.
    """

    run: str
    mode: str
    reports: Mapping[str, Mapping[str, Any]]
    seconds: float
    launched_at: float | None = None
    run_dir: str | None = None
    roll: Roll = field(default_factory=Roll)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The network's side of a finished run.

    Attributes:
        run, scenario: the run's id and the scenario's name.
        mode: ``processes``, ``virtual`` or ``lockstep``.
        synchrony: ``rounds`` or ``free``.
        agents: how many have a result; without leaves, deaths and cuts all, N.
        components: the parts that the network had fallen into when it ended, the largest first; usually one.
            What follows is of all together, or of the largest where that cannot be.
        left, died, joined: agents that left for good, died for good, were started late -> when, in seconds.
        diameter: largest distance between two agents of a part, as they found it.
        rounds: all rounds, survey and agreement included, of the last epoch; equal at every agent of a part,
            and here those of the part that had most. Free mode: the ticks of the agent that had most.
        stopped_in_round: the round, from 0, at whose end all agents stopped; in free mode of the stopping
            rule, counted with the survey and the agreement.
        messages, bytes: first copies received from neighbours, one per link and round, and their payloads (0
            in lockstep, where nothing is encoded); in free mode those that were newest when they came.
        published: messages published by agents for these, one per agent and round (or tick) on undirected
            graphs.
        retransmissions: further copies published.
        seconds: wall time from the launch to the last result (virtual seconds in a virtual run).
        first_round_seconds: wall time from the launch until every agent had completed its first round.
        dropped: messages that agents dropped, by kind.
        restarts: how often agents were started again. What is counted is that of all lives; of one that was
            killed what it did after its last account, 0.2 s at most, is not known (in virtual time all is).
        run_dir: where the record is; None if nothing was written.
    """

    run: str
    scenario: str
    mode: str
    synchrony: str = "rounds"
    agents: int
    diameter: int
    rounds: int
    stopped_in_round: int
    messages: int
    bytes: int
    published: int
    retransmissions: int
    seconds: float
    first_round_seconds: float | None
    dropped: dict[str, int]
    restarts: int = 0
    run_dir: str | None
    components: list[Component] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    died: dict[str, float] = field(default_factory=dict)
    joined: dict[str, float] = field(default_factory=dict)

    @property
    def stranded(self) -> list[str]:
        """Agents that ended without a result, because too few were left with them."""
        return [agent for part in self.components if part.stranded is not None for agent in part.heard]

    @property
    def component_size(self) -> dict[str, int]:
        """Agent -> how many were connected with it in the end, itself included."""
        return {agent: part.size for part in self.components for agent in part.heard}

    @property
    def trouble(self) -> str:
        """Who ended without a result, in words, to be put behind a verdict; "" if nobody has."""
        return f"; {len(self.stranded)} agents have no result" if self.stranded else ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        parts = [part.as_dict() for part in self.components]
        return {**asdict(self), "components": parts, "component_size": self.component_size}


def gather(
    loaded: LoadedScenario, ended: Ended
) -> tuple[dict[str, Any], list[Component], dict[str, dict[str, Any]]]:
    """Add up what the agents report of themselves.

    Returns:
        The fields of ``Facts``, by name; the parts of the network that have a result; and agent -> its
        result, of those whose result stands.
    Raises:
        RunFailed: if the agents' accounts contradict each other, or nobody has a result.
    """
    roll = ended.roll
    synchrony = str(loaded.spec.synchrony.mode)
    free = synchrony == "free"
    standing = current(ended.reports, roll.gone)
    if not free:
        for i, report in standing.items():
            if (report["result"] or {}).get("stopped") is not None:
                # `vicinal record` may be given another scenario than the agents.
                raise RunFailed(
                    f'agent {i} ran freely, but the scenario that judges it has synchrony.mode = "rounds"; '
                    "expected the scenario that the agents play"
                )
    parts = components_of(standing, loaded.graph.edges, free=free)
    if missing := [i for i in loaded.agents if i not in standing and i not in roll.gone]:
        raise RunFailed(f"agent {missing[0]} has told nothing")
    with_result = [part for part in parts if part.stranded is None]
    if not with_result:
        raise RunFailed(next((part.stranded for part in parts if part.stranded), "nobody is left"))
    results = {i: standing[i] for part in with_result for i in part.heard}
    results = {i: results[i] for i in sorted(results)}
    if free:
        stopped = max(_stopped({i: results[i] for i in part.heard}, part.rounds or 0) for part in with_result)
    else:
        stopped = max(part.rounds or 0 for part in with_result) - 1
    accounts = [*standing.values(), *(roll.accounts[i] for i in roll.accounts if i not in standing)]
    dropped: Counter[str] = Counter()
    for account in accounts:
        dropped.update(account["rejected"])
    first_rounds = [at for r in standing.values() if (at := r["first_round_at"]) is not None]
    facts = {
        "run": ended.run,
        "scenario": str(loaded.spec.name),
        "mode": ended.mode,
        "synchrony": synchrony,
        "agents": len(results),
        "diameter": max(part.diameter or 0 for part in with_result),
        "rounds": max(part.rounds or 0 for part in with_result),
        "stopped_in_round": stopped,
        "messages": sum(r["received"] for r in accounts),
        "bytes": sum(r["received_bytes"] for r in accounts),
        "published": sum(r["sent"] for r in accounts),
        "retransmissions": sum(r["resent"] for r in accounts),
        "seconds": ended.seconds,
        "first_round_seconds": max(first_rounds) - ended.launched_at
        if ended.launched_at is not None and first_rounds
        else None,
        "dropped": dict(sorted(dropped.items())),
        "restarts": sum(r["restarts"] for r in accounts),
        "run_dir": ended.run_dir,
        "components": parts,
        "left": dict(sorted(roll.left.items())),
        "died": dict(sorted(roll.died.items())),
        "joined": dict(sorted(roll.joined.items())),
    }
    return facts, with_result, {i: report["result"] for i, report in results.items()}


def _stopped(reports: Mapping[str, Mapping[str, Any]], ticks: int) -> int:
    """The round of the stopping rule; the last tick if ``max_rounds`` ended everybody."""
    stopped = {i: at for i, r in reports.items() if (at := r["result"]["stopped"]) is not None}
    return int(common("the round of the stopping rule", stopped)) if stopped else ticks - 1


def counted(what: str, values: Mapping[str, int], parts: list[Component], synchrony: str) -> int:
    """Rounds, the same at all agents of a part; or ticks, of the agent that had most. The most of all parts.

    Raises:
        RunFailed: if they differ and should not.
    """
    if synchrony == "free":
        return max(values.values())
    return max(int(common(what, {i: values[i] for i in part.heard})) for part in parts)
