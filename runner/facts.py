"""What is true of every run, whatever its agents played."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from runner.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from topologies import LoadedScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The network's side of a finished run.

    Attributes:
        run, scenario: the run's id and the scenario's name.
        mode: ``processes``, ``virtual`` or ``lockstep``.
        synchrony: ``rounds`` or ``free``.
        agents: N.
        diameter: largest distance between two agents, as they found it.
        rounds: all rounds, survey and agreement included; equal at every agent. Free mode: the ticks of the
            agent that had most.
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

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        return asdict(self)


def gather(
    loaded: LoadedScenario,
    run: str,
    mode: str,
    reports: Mapping[str, Mapping[str, Any]],
    seconds: float,
    launched_at: float | None,
    run_dir: str | None,
) -> dict[str, Any]:
    """The attributes of ``Facts``, from what every agent reports of itself.

    Args:
        loaded: the whole scenario.
        reports: agent -> what ``node.host.describe`` says of it.
        seconds: how long the run took.
        launched_at: monotonic time of the launch, to which ``first_round_at`` of the reports refers.
        run_dir: where the record is.
    Raises:
        RunFailed: if the agents' accounts contradict each other.
    """
    agents, synchrony = loaded.agents, str(loaded.spec.synchrony.mode)
    if synchrony == "rounds" and (
        free := [i for i in agents if reports[i]["result"].get("stopped") is not None]
    ):
        # `vicinal record` may be given another scenario than the agents.
        raise RunFailed(
            f'agent {free[0]} ran freely, but the scenario that judges it has synchrony.mode = "rounds"; '
            "expected the scenario that the agents play"
        )
    rounds = counted("rounds", {i: reports[i]["rounds"] for i in agents}, synchrony)
    found = common("agents", {i: reports[i]["result"]["agents"] for i in agents})
    if found != len(agents):
        raise RunFailed(f"the agents counted {found} of themselves, the scenario has {len(agents)}")
    dropped: Counter[str] = Counter()
    for report in reports.values():
        dropped.update(report["rejected"])
    first_rounds = [at for i in agents if (at := reports[i]["first_round_at"]) is not None]
    return {
        "run": run,
        "scenario": str(loaded.spec.name),
        "mode": mode,
        "synchrony": synchrony,
        "agents": len(agents),
        "diameter": common("diameter", {i: reports[i]["result"]["diameter"] for i in agents}),
        "rounds": rounds,
        "stopped_in_round": _stopped(reports, rounds) if synchrony == "free" else rounds - 1,
        "messages": sum(r["received"] for r in reports.values()),
        "bytes": sum(r["received_bytes"] for r in reports.values()),
        "published": sum(r["sent"] for r in reports.values()),
        "retransmissions": sum(r["resent"] for r in reports.values()),
        "seconds": seconds,
        "first_round_seconds": max(first_rounds) - launched_at
        if launched_at is not None and first_rounds
        else None,
        "dropped": dict(sorted(dropped.items())),
        "restarts": sum(r["restarts"] for r in reports.values()),
        "run_dir": run_dir,
    }


def _stopped(reports: Mapping[str, Mapping[str, Any]], ticks: int) -> int:
    """The round of the stopping rule; the last tick if ``max_rounds`` ended everybody."""
    stopped = {i: at for i, r in reports.items() if (at := r["result"]["stopped"]) is not None}
    return int(common("the round of the stopping rule", stopped)) if stopped else ticks - 1


def counted(what: str, values: Mapping[str, int], synchrony: str) -> int:
    """Rounds, the same at all agents; or ticks, of the agent that had most.

    Raises:
        RunFailed: if they differ and should not.
    """
    return max(values.values()) if synchrony == "free" else int(common(what, values))


def common(what: str, values: Mapping[str, Any]) -> Any:
    """The value that all agents report, bit for bit.

    Raises:
        RunFailed: if they do not.
    """
    first = next(iter(values.values()))
    if any(value != first for value in values.values()):
        raise RunFailed(f"the agents disagree on {what}: {dict(list(values.items())[:8])}")
    return first
