"""Laws of every run, whatever its agents played: when they stop, and who hears whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from runner.check.lines import DISTRIBUTED, STOP, Line, measured

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runner.check.evidence import Evidence


def stop_round(evidence: Evidence, satisfied: Callable[[dict[str, Any]], bool]) -> Line:
    """All agents stop in one and the same round, and all of them at rest.

    In free mode it is the round of the stopping rule, which keeps rounds of its own. In rounds mode the last
    row of everybody's record must be of one round, too.
    """
    results = evidence.results
    if evidence.free:
        stops = {i: result.get("stopped") for i, result in results.items()}
        what = "the round of the stopping rule"
    else:
        stops = {i: account["rounds"] for i, account in evidence.accounts.items()}
        what = "rounds played"
    common = max(set(stops.values()), key=lambda stop: (list(stops.values()).count(stop), str(stop)))
    off = [i for i, stop in stops.items() if stop != common]
    restless = [i for i, result in results.items() if not satisfied(result)]
    reason = f"agents that did not stop with the others ({what}: {common}); none may"
    flaw = None
    if restless:
        flaw = f"{len(restless)} agents were not at rest when they stopped: {_some(restless)}"
    elif off:
        flaw = f"stopped otherwise: {', '.join(f'{i} ({stops[i]})' for i in off[:5])}"
    elif late := _last_rows(evidence):
        flaw = late
    return measured(STOP, float(len(off)), 0.0, reason, flaw)


def _last_rows(evidence: Evidence) -> str | None:
    """What is wrong with where the records end, in rounds mode."""
    record = evidence.record
    if evidence.free or not len(record):
        return None
    newest = record.epoch == record.epoch.max()
    every = np.full(len(record.agents), -1, np.int64)
    np.maximum.at(every, record.agent[newest], record.round[newest])
    there = [k for k, agent in enumerate(record.agents) if agent in evidence.accounts]
    last = every[there]
    rounds = max(account["rounds"] for account in evidence.accounts.values())
    ends = zip((record.agents[k] for k in there), last.tolist(), strict=True)
    wrong = [f"{i} ({k})" for i, k in ends if k != last.max()]
    if wrong:
        return (
            f"the record of others goes to round {int(last.max())}, that of {', '.join(wrong[:5])} does not"
        )
    if last.size and last.max() >= rounds:
        return f"the record goes to round {int(last.max())}; agents report {rounds} rounds"
    return None


def distributed(evidence: Evidence) -> Line:
    """No message crossed a non-edge: whom each agent heard, against the graph.

    Synchronisation needs both directions of an edge, so a message from i to j is in order if either listens
    to the other.
    """
    graph, crossed, unaccounted = evidence.graph, [], []
    total = 0
    for i, account in evidence.accounts.items():
        near = set(graph.successors(i)) | set(graph.predecessors(i))
        heard = account["heard_from"]
        total += sum(heard.values())
        crossed += [f"{j} to {i} ({count})" for j, count in heard.items() if count and j not in near]
        if strange := account["rejected"].get("stranger"):
            crossed.append(f"a stranger to {i} ({strange}, dropped)")
        if sum(heard.values()) != account["received"]:
            unaccounted.append(i)
    flaw = None
    if crossed:
        flaw = f"crossed a non-edge: {', '.join(crossed[:5])}"
    elif unaccounted:
        flaw = f"messages received of which no sender is on file: {_some(unaccounted)}"
    edges = graph.number_of_edges()
    reason = f"senders that are no neighbours, of {total:,} messages; the graph has {edges:,} edges"
    return measured(DISTRIBUTED, float(len(crossed)), 0.0, reason, flaw)


def _some(agents: list[str]) -> str:
    return ", ".join(agents[:5]) + (" ..." if len(agents) > 5 else "")
