"""One curve over a real broker: every agent a process, every message through MQTT.

What travels is read where it may be: each agent records what it says beside what it gets, the recorder
collects that over the same broker, and the distances are computed from the record.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from broker.transport import parse_url
from node.protocols.registry import protocol_of
from runner import record
from runner.errors import RunFailed
from runner.launch import Settings, run_processes
from runner.reproduce.cases import Case
from runner.reproduce.curve import Curve
from runner.reproduce.yardstick import Yardstick

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from node.part import Part
    from node.protocol import Heard, Say
    from topologies import LoadedScenario

# The panel that is played: 31 processes, some 230 rounds.
PANEL = Case("public-goods", "tree", "exponential", 0)
PROTOCOL = "runner.reproduce.over_broker:traced"
_SAID = "said"


def traced(part: Part, resume: Any = None) -> Generator[Say, Heard, Any]:
    """The protocol that the part asks for; every message of play is recorded as well.

    Row k of the message of a round is ``said.k`` of that round. One good, and at most 59 agents: a row of the
    record has room for so many columns.
    """
    protocol = protocol_of(part, resume)
    say: Say = next(protocol)
    before: Say | None = None
    while True:
        # What was measured of a round comes with what is said in the next one.
        if say.record is not None and before is not None and before.kind.startswith("play"):
            said = before.body[0][:, 0].tolist()
            say.record = {**say.record, **{f"{_SAID}.{k}": value for k, value in enumerate(said)}}
        before = say
        heard = yield say
        try:
            say = protocol.send(heard)
        except StopIteration as stop:
            return stop.value


def play_over_broker(
    lockstep: Curve,
    directory: Path,
    *,
    broker: str | None = None,
    hosts: int | None = None,
    watch: Callable[[str, dict[str, Any]], None] = lambda agent, info: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Curve:
    """Play the case of a lockstep run over a broker, as many rounds as it took there.

    Args:
        lockstep: the run to repeat.
        directory: exists; keeps the record.
        broker: URL; None starts the embedded one.
        hosts: processes that carry the agents; None: one per agent.
        watch: called with (agent, progress).
        warn: called with what the user should know.
    Raises:
        RunFailed, UserError: as any run.
        RecordError: if the record is not whole.
    """
    # The last round counts once its successor has been said: one round more, and one to leave in.
    loaded = lockstep.case.scenario(f"stopping.max_rounds={lockstep.played + 2}", "record.every=1")
    run = f"reproduce-{lockstep.case.name}"
    address = None if broker is None else parse_url(broker)
    settings = Settings(hosts, address, directory, watch, warn, protocol=PROTOCOL)
    asyncio.run(run_processes(loaded, loaded.parts(run), run, settings))
    record.merge(directory)
    return curve_of(record.read(directory), lockstep.case, loaded)


def curve_of(recorded: record.Record, case: Case, loaded: LoadedScenario) -> Curve:
    """The distances, from what agents with the protocol ``traced`` recorded.

    Raises:
        RunFailed: if some agent's row of some round is missing.
    """
    agreed = {name: set(recorded.latest(name).values()) for name in ("xi", "delta")}
    if any(len(values) != 1 for values in agreed.values()):
        raise RunFailed(f"{case.name}: expected one xi and one delta at all agents, got {agreed}")
    (xi,), (delta,) = agreed["xi"], agreed["delta"]
    yardstick = Yardstick.of(loaded, xi, delta)
    rounds, messages, _ = recorded.goods(_SAID)
    _, allocation, _ = recorded.goods("allocation")
    _, price, _ = recorded.goods("price")
    if not rounds.size or any(np.isnan(part).any() for part in (messages, allocation, price)):
        raise RunFailed(f"{case.name}: the record is not whole: {rounds.size} rounds, some with gaps")
    off = np.array([yardstick.off_message(message[:, :, None]) for message in messages])
    close = np.flatnonzero(off <= case.tolerance)
    return Curve(
        case=case,
        xi=xi,
        delta=delta,
        nash_norm1=float(np.abs(yardstick.message).sum()),
        reached=int(close[0]) if close.size else None,
        played=rounds.size - 1,
        over="broker",
        rounds=rounds - rounds[0],
        message=off,
        allocation=np.array([yardstick.off_allocation(x) for x in allocation]),
        price=np.array([yardstick.off_price(p) for p in price]),
    )
