"""A flood of malformed messages to one agent, and what it costs the run that goes on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.jobs import AGENTS, PLAIN, SCENARIO
from broker import topics
from broker.mqtt import make_transport
from runner import launch
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.transport import Address

PER_SECOND = 5000
# Rounds before the flood begins, and of the run that tells how many rounds so many seconds are.
FIRST, TRIAL = 200, 2000
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
    began: list[float] = []
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
        if agent != "a01" or info["state"] != "playing" or info["round"] < FIRST:
            return
        if not began:
            began.append(time.monotonic())
            if flooded:
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
            reports, seconds, launched = await launch.run_processes(loaded, parts, "flood", settings)
    finally:
        launch.Hosts, launch.EmbeddedBroker = real  # type: ignore[misc]
        for task in flooding:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    return {
        "means": {i: report["result"]["mean"].hex() for i, report in reports.items()},
        "seconds": launched
        + seconds
        - began[0],  # from the beginning of the flood, or when it would have been
        "sent": sent[0],
        "rejected": reports["a01"]["rejected"],
        "grown": max(memory) - memory[0],
    }


async def flooded(seconds: float) -> dict[str, Any]:
    """5,000 malformed messages a second to one agent for so many seconds, against the same run without."""
    trial = await exchange(TRIAL, False)
    # A third more than the trial's pace asks for: the pace of a machine drifts, and start-up is slow.
    rounds = FIRST + int(1.33 * seconds * (TRIAL - FIRST) / trial["seconds"])
    calm, hit = await exchange(rounds, False), await exchange(rounds, True)
    return {
        "same": calm["means"] == hit["means"],
        "rounds": rounds,
        "seconds": hit["seconds"],
        "calm_seconds": calm["seconds"],
        "ratio": hit["seconds"] / calm["seconds"],
        "flooded_long_enough": hit["seconds"] >= seconds,
        "sent_a_second": hit["sent"] / hit["seconds"],
        "rejected": hit["rejected"],
        "memory_grown_mib": hit["grown"],
        "memory_grown_calm_mib": calm["grown"],
    }
