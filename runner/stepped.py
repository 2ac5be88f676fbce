"""A run in one process and without a network: all agents in turn, round by round.

The same generators as everywhere else, in the loop that is the reference for every other way of running
them (``node.lockstep``): allocations, prices, taxes, rounds and the number of messages are the same bits.
What there is not: delays, copies, faults, encoded messages and therefore bytes. It is some ten times faster
than the virtual network, and the way to run many thousands of agents.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from node import lockstep
from node.errors import AgentError
from node.protocols.registry import protocol_of
from node.telemetry import Telemetry
from runner.errors import Interrupted, RunFailed
from runner.record import PartWriter, decode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from node.part import Part
    from node.protocol import Say
    from runner.world import ProtocolOf

# Seconds between two accounts of progress; of many agents, as many times longer as the account itself takes.
REPORT_EVERY, REPORT_SHARE = 0.5, 20.0
# Rounds between two visits of the disk.
FLUSH_EVERY = 256


def in_turn(
    parts: Mapping[str, Part],
    protocol: ProtocolOf,
    observe: Callable[[int, Mapping[str, Say]], None],
    passed: type[Exception],
) -> lockstep.Lockstep:
    """Play in lockstep, errors told as those of a run.

    Args:
        parts: agent -> its part.
        protocol: what every agent plays.
        observe: called with every round and what is said in it.
        passed: what comes through as it is.
    Raises:
        RunFailed: naming the agent that cannot go on.
    """
    try:
        return lockstep.run(
            {name: protocol(part, None) for name, part in parts.items()},
            {name: part.hears for name, part in parts.items()},
            observe,
        )
    except passed:
        raise
    except AgentError as error:
        raise RunFailed(str(error)) from error
    except Exception as error:
        # The protocol is the user's code: whatever it raises ends the run, named.
        where = "; ".join(getattr(error, "__notes__", []))
        raise RunFailed(f"{where}: {type(error).__name__}: {error}") from error


def run_stepped(
    parts: Mapping[str, Part],
    directory: Path | None = None,
    watch: Callable[[str, dict[str, Any]], None] | None = None,
    *,
    protocol: ProtocolOf = protocol_of,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[dict[str, dict[str, Any]], float]:
    """Let the agents of a scenario play in lockstep.

    Args:
        parts: agent -> its part.
        directory: where the record goes; None records nothing.
        watch: called with (agent, progress) now and then.
        protocol: what every agent plays.
        stopped: asked in every round whether to give up.
    Returns:
        What every agent reports of itself, and the seconds it took.
    Raises:
        RunFailed: naming the agent that cannot go on.
        Interrupted: if ``stopped()``.
    """
    began = time.monotonic()
    scribe = _Scribe(parts, directory)
    report_at, first = began, next(iter(parts))
    facts: dict[str, float] = {}  # all that one agent has measured: constants are said once
    private: Counter[str] = Counter()  # rounds in which an agent told its neighbours different things

    def observe(round_: int, says: Mapping[str, Say]) -> None:
        nonlocal report_at
        if stopped():
            raise Interrupted("stopped")
        scribe.take(round_, says)
        private.update(name for name, say in says.items() if say.to)
        facts.update(says[first].record or {})
        now = time.monotonic()
        if watch is not None and now >= report_at:
            for name, say in says.items():
                known = facts if name == first else say.record
                watch(name, {"state": "playing", "round": round_, "kind": say.kind, "record": known})
            after = time.monotonic()
            report_at = after + max(REPORT_EVERY, REPORT_SHARE * (after - now))

    try:
        ended = in_turn(parts, protocol, observe, Interrupted)
    finally:
        scribe.close()
    seconds = time.monotonic() - began
    return {name: _account(part, ended, private[name]) for name, part in parts.items()}, seconds


class _Scribe:
    """Records the agents that are to be recorded, under the rules of ``node.telemetry``."""

    def __init__(self, parts: Mapping[str, Part], directory: Path | None) -> None:
        self._telemetry: dict[str, Telemetry] = {}
        if directory is not None:
            self._writer = PartWriter(directory, next(iter(parts.values())).run)
            self._telemetry = {
                name: Telemetry(part.run, name, 0, part.record_every)
                for name, part in parts.items()
                if part.record_every
            }

    def take(self, round_: int, says: Mapping[str, Say]) -> None:
        """What was measured in the round before comes with what is said in this one."""
        for name, telemetry in self._telemetry.items():
            if (record := says[name].record) is not None:
                telemetry.add(max(round_ - 1, 0), record)
        if round_ % FLUSH_EVERY == FLUSH_EVERY - 1:
            self._write(last=False)

    def close(self) -> None:
        """What is left, also of a run that has failed."""
        if self._telemetry:
            self._write(last=True)
            self._writer.flush()

    def _write(self, *, last: bool) -> None:
        for name, telemetry in self._telemetry.items():
            for payload in telemetry.take(0.0, last=last):
                self._writer.append(decode_batch(payload, name))
            telemetry.discard()


def _account(part: Part, ended: lockstep.Lockstep, private: int) -> dict[str, Any]:
    """As ``node.account.describe``. A round is one broadcast and one pulse for whoever is heard and does not
    listen, or, in ``private`` of them, one message a neighbour."""
    peers, listeners = {*part.hears, *part.heard_by}, set(part.heard_by)
    public = bool(listeners) + sum(j not in listeners for j in part.hears)
    return {
        "agent": part.agent,
        "result": asdict(ended.results[part.agent]),
        "stranded": None,
        "neighbours": tuple(sorted(peers)),
        "absent": {},
        "rounds": ended.rounds,
        "sent": private * len(peers) + (ended.rounds - private) * public,
        "sent_bytes": 0,
        "received": ended.rounds * len(peers),
        "received_bytes": 0,
        "resent": 0,
        "restarts": 0,
        "rejected": {},
        "restarted_by": {},
        "heard_from": dict.fromkeys(sorted(peers), ended.rounds),
        "first_round_at": None,
        "incarnation": 0,
        "epoch": 0,
        "replayed": 0,
        "not_durable": None,
    }
