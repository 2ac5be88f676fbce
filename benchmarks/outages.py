"""Lost memory, a network in two parts, and a neighbour that does not come back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console

from benchmarks.jobs import (
    AGENTS,
    BACK,
    Observer,
    calm,
    events,
    facts,
    ignore,
    play,
    reference,
    struck,
)
from runner import chaos
from runner.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RATIO = "consensus-ratio-tree-31"
# One half of the tree, cut off at its top.
HALF = [f"a{k:02}" for k in (1, 3, 4, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20, 21, 22)]
# A run that would take hours, for whoever waits for something else than its end.
ENDLESS = ("mechanism.parameters=proof", "environment.eta=1000.0", "stopping.tolerance=1e-9")
# Whom neighbours are to name, and for how long they stay away.
KILLED, FROZEN, DOWN = "a05", "a09", 30.0


async def amnesia(k: int) -> dict[str, Any]:
    """Five of 31 agents lose all memory at random times in a run of ratio consensus."""

    async def attempt(observer: Observer, until: float) -> dict[str, Any]:
        rng, (first, _) = random.Random(k), await calm(scenario=RATIO)
        plan = [
            {"kind": "amnesia", "at": round(rng.uniform(first, until), 3), "agents": [agent], "down": 0.1}
            for agent in rng.sample(AGENTS, 5)
        ]
        durability = "recovery.durable=snapshot"
        result = await play(observer.watch, observer.warn, *BACK, durability, events(*plan), scenario=RATIO)
        return {
            "same": facts(result) == await reference(scenario=RATIO),
            "mean_off": result.error,
            "seconds": result.seconds,
            "forgot": observer.killed,
        }

    return await struck(attempt, scenario=RATIO)


@contextlib.contextmanager
def _clocks() -> Iterator[dict[str, float]]:
    """When a run is ``launched`` and when the clock of its faults ``began``, in monotonic seconds."""
    clocks: dict[str, float] = {}
    real_init, real_begin = chaos.Chaos.__init__, chaos.Chaos.begin

    def init(self: Any, *how: Any) -> None:
        clocks["launched"] = time.monotonic()  # its first act, but for a few folders
        real_init(self, *how)

    def begin(self: Any, *how: Any) -> None:
        real_begin(self, *how)
        clocks["began"] = time.monotonic()

    chaos.Chaos.__init__, chaos.Chaos.begin = init, begin  # type: ignore[method-assign]
    try:
        yield clocks
    finally:
        chaos.Chaos.__init__, chaos.Chaos.begin = real_init, real_begin  # type: ignore[method-assign]


async def partition(lasts: float, k: int) -> dict[str, Any]:
    """The main job in a network that is in two halves for a minute, in virtual time and over processes."""
    expected, rng = await reference(), random.Random(k)

    def cut(at: float) -> str:
        return events({"kind": "partition", "at": round(at, 3), "lasts": lasts, "groups": [HALF]})

    # Undisturbed it takes some 6.4 virtual seconds.
    at = rng.uniform(1.0, 5.0)
    virtual = await play(ignore, ignore, cut(at), scenario="binary-tree-31", virtual=True)
    first, seconds = await calm()
    struck = rng.uniform(first, first + 0.5 * (seconds - first))
    with _clocks() as clocks:
        real = await play(ignore, ignore, cut(struck))
    return {
        "same": facts(virtual) == facts(real) == expected and min(virtual.seconds, real.seconds) > lasts,
        "seconds": real.seconds,
        "calm_seconds": seconds,
        "after_it_healed_virtual": virtual.seconds - at - lasts,
        "after_it_healed": clocks["launched"] + real.seconds - clocks["began"] - struck - lasts,
        "cut_off_for": real.seconds - seconds,
    }


async def down(k: int) -> dict[str, Any]:
    """SIGKILL to an agent that nobody starts again meanwhile, SIGSTOP to another one: how long until the
    progress display names each."""
    first, _ = await calm()
    at = round(first + random.Random(k).uniform(0.5, 1.5), 3)
    screen = Progress(Console(file=io.StringIO()), AGENTS, quiet=True)
    named: dict[str, float] = {}
    shown: list[str] = []
    both = asyncio.Event()

    def watch(agent: str, info: Mapping[str, Any]) -> None:
        screen.update(agent, info)
        text = screen.facts().get("seem to be down", "")
        for victim in (KILLED, FROZEN):
            if victim in text and "began" in clocks and (late := time.monotonic() - clocks["began"] - at) > 0:
                named.setdefault(victim, late)
        if len(named) == 2 and not both.is_set():
            shown.append(text)
            both.set()

    plan = events(
        {"kind": "crash", "at": at, "agents": [KILLED], "down": DOWN},
        {"kind": "pause", "at": at, "agents": [FROZEN], "lasts": DOWN},
    )
    with _clocks() as clocks:
        running = asyncio.create_task(play(watch, ignore, *BACK, *ENDLESS, plan), name="run")
        waiting = asyncio.create_task(both.wait(), name="both")
        try:
            await asyncio.wait({running, waiting}, timeout=at + DOWN, return_when=asyncio.FIRST_COMPLETED)
        finally:
            running.cancel()
            waiting.cancel()
            await asyncio.wait({running, waiting})
    if not running.cancelled() and (error := running.exception()) is not None:
        raise error
    return {
        "same": len(named) == 2,
        "killed_named_after": named.get(KILLED),
        "frozen_named_after": named.get(FROZEN),
        "shown": shown,
    }
