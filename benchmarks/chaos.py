"""What real faults do to the main job: 31 processes, a real broker, signals and a proxy.

python -m benchmarks.chaos --what kill10|killall|broker|loss|flood [--repeats K] [--durable D]

Every repetition is compared with an undisturbed run in virtual time: allocation, taxes, prices and rounds
have to be equal to the last bit. One line of JSON a repetition, and one that sums up; exit code 1 if any
repetition went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker import topics
from broker.mqtt import make_transport
from runner import RunFailed, chaos, launch, run_async
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.transport import Address

SCENARIO = "binary-tree-31"
AGENTS = [f"a{k:02}" for k in range(31)]
# Played to a far tighter tolerance the main job takes some four times as many rounds: time for faults.
LONGER = ("stopping.tolerance=1e-12",)
# With these parameters it takes 6953: time for a broker to die three times.
LONGEST = ("mechanism.parameters=eta", "stopping.tolerance=1e-9")
# Nothing is judged by eye, so nothing is recorded.
PLAIN = ("record.every=0",)
PER_SECOND = 5000


def facts(result: Any) -> dict[str, Any]:
    """What must not depend on anything that happens to messages and processes."""
    plain = result.as_dict()
    return {
        "allocation": {i: [x.hex() for x in row] for i, row in plain["allocation"].items()},
        "prices": {i: [x.hex() for x in row] for i, row in plain["prices"].items()},
        "taxes": {i: tax.hex() for i, tax in plain["taxes"].items()},
        "rounds": plain["rounds"],
    }


class Observer:
    """Watches one run: who is where, when the broker came back, when everybody played again."""

    def __init__(self) -> None:
        self.rounds: dict[str, int] = {}
        self.warnings: list[str] = []
        self.killed = 0
        self.back: list[float] = []  # when a broker was there again
        self.again: list[float] = []  # seconds from there until every agent had gone on
        self._pending: tuple[float, dict[str, int]] | None = None

    def watch(self, agent: str, info: Mapping[str, Any]) -> None:
        """Take in progress."""
        self.rounds[agent] = info["round"]
        if self._pending is not None:
            at, rounds = self._pending
            if all(self.rounds[i] > r for i, r in rounds.items()) or info["state"] == "lingering":
                self.again.append(time.monotonic() - at)
                self._pending = None

    def warn(self, text: str) -> None:
        """Take in a warning."""
        self.warnings.append(text)
        self.killed += "was killed by signal" in text

    def broker_is_back(self) -> None:
        """A broker has been started again."""
        self.back.append(time.monotonic())
        self._pending = (self.back[-1], dict(self.rounds))


async def play(observer: Observer, *overrides: str) -> tuple[dict[str, Any], Any]:
    """One run over processes; its facts and its result."""
    with tempfile.TemporaryDirectory() as directory:
        result = await run_async(
            SCENARIO,
            overrides=(*PLAIN, *overrides),
            plot=False,
            out=Path(directory) / "run",
            watch=observer.watch,
            warn=observer.warn,
        )
    return facts(result), result


async def undisturbed(*overrides: str) -> dict[str, Any]:
    """The same job in virtual time, where nothing goes wrong."""
    with tempfile.TemporaryDirectory() as directory:
        result = await run_async(
            SCENARIO, overrides=(*PLAIN, *overrides), plot=False, out=Path(directory) / "run", virtual=True
        )
    return facts(result)


def events(*tables: Mapping[str, Any]) -> str:
    """Events as an override of ``faults.event``."""
    return "faults.event=[" + ",".join(_inline(table) for table in tables) + "]"


def _inline(table: Mapping[str, Any]) -> str:
    return "{" + ",".join(f"{key}={json.dumps(value)}" for key, value in table.items()) + "}"


async def kill(number: int, durable: str, k: int, span: float) -> dict[str, Any]:
    """SIGKILL: some agents at random times, or all of them at once."""
    rng = random.Random(k)
    if number < len(AGENTS):
        victims = rng.sample(AGENTS, number)
        plan = [{"at": round(rng.uniform(0.0, span), 3), "agents": [victim]} for victim in victims]
    else:
        plan = [{"at": round(rng.uniform(0.0, span), 3), "agents": AGENTS}]
    observer = Observer()
    told, result = await play(
        observer,
        *LONGER,
        "recovery.restart=true",
        f"recovery.durable={durable}",
        events(*({"kind": "crash", "down": 0.05, **event} for event in plan)),
    )
    return {
        "same": told == await reference(*LONGER),
        "seconds": result.seconds,
        "killed": observer.killed,
        "warnings": [w for w in observer.warnings if "killed by signal" not in w],
    }


_references: dict[tuple[str, ...], dict[str, Any]] = {}


async def reference(*overrides: str) -> dict[str, Any]:
    """``undisturbed``, once."""
    if overrides not in _references:
        _references[overrides] = await undisturbed(*overrides)
    return _references[overrides]


async def kill_broker(k: int) -> dict[str, Any]:
    """kill -9 of the broker three times, once with its store deleted."""
    rng = random.Random(k)
    observer = Observer()
    forget = rng.randrange(3)
    times = [2.0 + 2.5 * n + rng.uniform(0.0, 1.0) for n in range(3)]
    real = launch.EmbeddedBroker.restart

    async def restart(self: Any, **how: Any) -> Any:
        address = await real(self, **how)
        observer.broker_is_back()
        return address

    launch.EmbeddedBroker.restart = restart  # type: ignore[method-assign]
    try:
        told, result = await play(
            observer,
            *LONGEST,
            "recovery.restart=true",
            events(
                *(
                    {"kind": "broker-kill", "at": round(at, 3), "down": 0.3, "forget": n == forget}
                    for n, at in enumerate(times)
                )
            ),
        )
    finally:
        launch.EmbeddedBroker.restart = real  # type: ignore[method-assign]
    return {
        "same": told == await reference(*LONGEST),
        "seconds": result.seconds,
        "killed": len(observer.back),
        "playing_again_after": observer.again,
    }


async def lose(loss: float, both_ways: bool, k: int) -> dict[str, Any]:
    """PUBLISH packets dropped by the proxy, against a run through the proxy without."""
    told, calm = await play(Observer(), "faults.loss=1e-12", f"faults.seed={k}")
    counts: dict[str, int] = {}
    real = chaos.LinkWeather.__init__

    def upwards(self: Any, *how: Any) -> None:
        real(self, *how)
        self.upwards = both_ways

    real_close = chaos.Chaos.close

    async def close(self: Any) -> None:
        counts.update(self.proxy.counts)
        await real_close(self)

    chaos.LinkWeather.__init__, chaos.Chaos.close = upwards, close  # type: ignore[method-assign]
    try:
        lossy, result = await play(Observer(), f"faults.loss={loss}", f"faults.seed={k}")
    finally:
        chaos.LinkWeather.__init__, chaos.Chaos.close = real, real_close  # type: ignore[method-assign]
    return {
        "same": told == lossy == await reference(),
        "seconds": result.seconds,
        "calm_seconds": calm.seconds,
        "ratio": result.seconds / calm.seconds,
        "ratio_of_playing": _playing(result) / _playing(calm),
        "rounds": result.rounds,
        "dropped": counts["lost"] / (counts["lost"] + counts["passed"]),
        "copies_per_message": result.retransmissions / result.published,
    }


def _playing(result: Any) -> float:
    """Seconds from the first round to the last."""
    return float(result.seconds - (result.first_round_seconds or 0.0))


MALFORMED = (
    b"",
    b"\x00",
    b"\xc1" * 40,  # a byte that MessagePack never uses
    b"\x99" + b"\xc0" * 9,
    os.urandom(300),
    b"\x91" * 2000,
    b"\xdf\xff\xff\xff\xff",
    bytes([0x99, 0xA1, 0x72, 0xA1, 0x72, 0, 0, 0, 0, 0xA0, 0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0, 0xC0]),
)


async def flood(address: Address, user: Any, topic: str, sent: list[int]) -> None:
    """Publish ``PER_SECOND`` malformed messages a second, in bursts of a hundredth, until cancelled."""
    mine = replace(address, user=user.user, password=user.password)
    transport = make_transport("gmqtt", mine, secrets.token_hex(8), lambda topic, payload: None)
    await transport.open()
    try:
        began = time.monotonic()
        while True:
            for k in range(sent[0], int((time.monotonic() - began) * PER_SECOND)):
                transport.publish(topic, MALFORMED[k % len(MALFORMED)])
                sent[0] += 1
            await asyncio.sleep(0.01)
    finally:
        sent[0] -= transport.dropped
        await transport.close()


def resident(pid: int) -> float:
    """Memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def exchange(rounds: int, flooded: bool) -> dict[str, Any]:
    """So many rounds of neighbour exchange; agent a01 may be flooded by its neighbour a00 meanwhile."""
    loaded = load_scenario(SCENARIO, PLAIN)
    parts = {i: replace(p, contract={"rounds": rounds}) for i, p in loaded.parts("flood").items()}
    made: dict[str, Any] = {}
    memory: list[float] = []
    sent = [0]
    flooding: list[asyncio.Task[None]] = []

    class Hosts(launch.Hosts):
        def __init__(self, *how: Any) -> None:
            super().__init__(*how)
            made["hosts"] = self

    class Broker(launch.EmbeddedBroker):
        def __init__(self, grants: Any, **how: Any) -> None:
            super().__init__(grants, **how)
            made["broker"], made["grants"] = self, {grant.user: grant for grant in grants}

    def watch(agent: str, info: Mapping[str, Any]) -> None:
        if agent != "a01" or info["state"] != "playing" or info["round"] < 200:
            return
        if flooded and not flooding:
            target = topics.to("flood", "a00", "a01")
            flooder = flood(made["broker"].address, made["grants"]["agent-a00"], target, sent)
            flooding.append(asyncio.create_task(flooder, name="flood"))
        memory.append(resident(made["hosts"].pids[AGENTS.index("a01")]))

    real = launch.Hosts, launch.EmbeddedBroker
    launch.Hosts, launch.EmbeddedBroker = Hosts, Broker  # type: ignore[misc]
    try:
        with tempfile.TemporaryDirectory() as directory:
            settings = launch.Settings(
                None, None, Path(directory), watch, print, protocol="benchmarks.exchange:exchange"
            )
            reports, seconds, _ = await launch.run_processes(loaded, parts, "flood", settings)
    finally:
        launch.Hosts, launch.EmbeddedBroker = real  # type: ignore[misc]
        for task in flooding:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return {
        "means": {i: report["result"]["mean"].hex() for i, report in reports.items()},
        "seconds": seconds,
        "sent": sent[0],
        "rejected": reports["a01"]["rejected"],
        "grown": max(memory) - memory[0],
    }


async def flooded(rounds: int) -> dict[str, Any]:
    """5,000 malformed messages a second to one agent, against the same run without."""
    calm, hit = await exchange(rounds, False), await exchange(rounds, True)
    return {
        "same": calm["means"] == hit["means"],
        "seconds": hit["seconds"],
        "calm_seconds": calm["seconds"],
        "ratio": hit["seconds"] / calm["seconds"],
        "sent": hit["sent"],
        "rejected": hit["rejected"],
        "memory_grown_mib": hit["grown"],
        "memory_grown_calm_mib": calm["grown"],
    }


async def repetition(chosen: argparse.Namespace, k: int) -> dict[str, Any]:
    """The k-th repetition of what was chosen."""
    match chosen.what:
        case "kill10":
            return await kill(10, chosen.durable, k, chosen.span)
        case "killall":
            return await kill(len(AGENTS), chosen.durable, k, chosen.span)
        case "broker":
            return await kill_broker(k)
        case "loss":
            return await lose(chosen.loss, chosen.both_ways, k)
        case _:
            return await flooded(chosen.rounds)


def main() -> int:
    """Repeat, print, sum up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("kill10", "killall", "broker", "loss", "flood"), required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--durable", choices=("none", "snapshot", "round"), default="snapshot")
    parser.add_argument("--span", type=float, default=2.5, help="seconds within which faults happen")
    parser.add_argument("--loss", type=float, default=0.3)
    parser.add_argument("--both-ways", action="store_true", help="drop on the way to the broker as well")
    parser.add_argument("--rounds", type=int, default=20_000, help="of exchange, for flood")
    chosen = parser.parse_args()
    done: list[dict[str, Any]] = []
    for k in range(chosen.repeats):
        try:
            done.append(asyncio.run(repetition(chosen, k)))
        except RunFailed as error:
            done.append({"same": False, "error": str(error)})
        print(json.dumps(done[-1]), flush=True)
    good = sum(each["same"] for each in done)
    summary: dict[str, Any] = {**vars(chosen), "same": f"{good} of {len(done)}"}
    for name in ("seconds", "ratio", "ratio_of_playing", "memory_grown_mib"):
        if values := [each[name] for each in done if name in each]:
            summary[name] = {"median": round(statistics.median(values), 3), "max": round(max(values), 3)}
    again = [seconds for each in done for seconds in each.get("playing_again_after", ())]
    if again:
        summary["playing_again_after"] = {"median": statistics.median(again), "max": max(again)}
    print(json.dumps(summary))
    return 0 if good == len(done) else 1


if __name__ == "__main__":
    sys.exit(main())
