"""Runs over processes and a real broker, while signals and a proxy make things go wrong."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.flooding import flood, resident
from benchmarks.jobs import events
from broker import topics
from broker.proxy import Proxy
from runner import UserError, launch, run_async
from runner.chaos import Chaos
from tests.processes.live import Live, outcome
from tests.processes.stage import SLOWLY
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.processes.live import Spy

RING = "ring-12"
PLAIN = ("record.every=0",)
BACK = ("recovery.restart=true", "recovery.durable=snapshot")


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Chaos]:
    """The chaos of each run, as it is made."""
    kept: list[Chaos] = []
    real = Chaos.__init__

    def init(self: Chaos, *how: Any) -> None:
        real(self, *how)
        kept.append(self)

    monkeypatch.setattr(Chaos, "__init__", init)
    return kept


async def undisturbed(scenario: str, tmp_path: Path) -> Any:
    return outcome(
        await run_async(scenario, overrides=PLAIN, plot=False, virtual=True, out=tmp_path / "virtual")
    )


async def disturbed(scenario: str, *overrides: str) -> tuple[Any, list[str]]:
    async with Live(scenario, *PLAIN, *overrides) as live:
        return outcome(await live.result()), live.warnings


async def test_whoever_is_killed_stands_still_or_forgets_the_answer_is_the_same(
    spy: Spy, tmp_path: Path, made
):
    kinds = (
        {"kind": "crash", "at": 0, "agents": ["a00"], "down": 0.2},  # before it has joined
        {"kind": "crash", "at": 20, "agents": ["a01", "a02"], "down": 0.1},
        {"kind": "amnesia", "at": 40, "agents": ["a05"], "down": 0.1},
        {"kind": "pause", "at": 60, "agents": ["a08"], "lasts": 0.5},
        {"kind": "crash", "at": 60, "agents": ["a08"], "down": 0.1},  # it stands still and dies
    )
    told, warnings = await disturbed(RING, *BACK, SLOWLY, events(*kinds), "faults.slow.a03=3")
    assert told == await undisturbed(RING, tmp_path)
    assert len(made[0].done) == len(kinds)
    assert sum("killed by signal 9" in text for text in warnings) == 5


async def test_a_broker_killed_with_and_without_its_store_does_not_change_the_answer(
    spy: Spy, tmp_path: Path, made
):
    kills = (
        {"kind": "broker-kill", "at": 20, "down": 0.1, "forget": False},
        {"kind": "crash", "at": 20, "agents": ["a04"], "down": 0.01},  # comes back and finds no broker
        {"kind": "broker-kill", "at": 50, "down": 0.1, "forget": True},
    )
    told, _ = await disturbed(RING, *BACK, SLOWLY, events(*kills))
    assert told == await undisturbed(RING, tmp_path)
    assert len(made[0].done) == len(kills)


async def test_lost_late_repeated_and_cut_messages_do_not_change_the_answer(spy: Spy, tmp_path: Path, made):
    told, _ = await disturbed(
        RING,
        "faults.loss=0.3",
        "faults.duplicate=0.1",
        "faults.reorder=0.1",
        "faults.delay=[0.0,0.005]",
        events(
            {"kind": "cut", "at": 10, "links": [["a00", "a01"]], "lasts": 1.5},
            {"kind": "partition", "at": 12, "groups": [["a03", "a04", "a05"]], "lasts": 1.5},
        ),
    )
    assert told == await undisturbed(RING, tmp_path)
    counts = made[0].proxy.counts
    # Of what went down to the agents; as much came up, unharmed.
    assert 0.1 < counts["lost"] / (counts["lost"] + counts["passed"]) < 0.3
    assert counts["repeated"]
    assert counts["delayed"]
    assert made[0].weather.lost_on_cuts


async def test_all_agents_killed_at_once_come_back_to_the_same_answer(spy: Spy, tmp_path: Path):
    everybody = {"kind": "crash", "at": 40, "agents": [f"a{k:02}" for k in range(12)], "down": 0.1}
    told, warnings = await disturbed(RING, *BACK, "recovery.durable=round", SLOWLY, events(everybody))
    assert told == await undisturbed(RING, tmp_path)
    assert sum("killed by signal 9" in text for text in warnings) == 12


async def test_a_free_run_bears_crashes_loss_and_a_slow_agent_and_keeps_its_promise(spy: Spy):
    kills = (
        {"kind": "crash", "at": 10, "agents": ["a00"], "down": 0.2},
        {"kind": "amnesia", "at": 20, "agents": ["a05"], "down": 0.1},
        {"kind": "crash", "at": 40, "agents": ["a03"], "down": 0.2},
    )
    async with Live(
        "star-9", *PLAIN, *BACK, "synchrony.mode=free", "faults.loss=0.2", "faults.slow.a07=3", events(*kills)
    ) as live:
        result = await live.result()
    assert result.kept_promise
    assert result.synchrony == "free"
    assert sum("killed by signal 9" in text for text in live.warnings) == 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((events({"kind": "crash", "at": 0, "agents": ["a00"]}),), "recovery.restart = true"),
        ((*BACK, "faults.storm={between=[0,1],broker_kill=1}", "broker.url=mqtt://127.0.0.1:9"), "embedded"),
        (
            (
                "broker.connections=host",
                events({"kind": "cut", "at": 0, "links": [["a00", "a01"]], "lasts": 1}),
            ),
            'broker.connections = "agent"',
        ),
    ],
    ids=["no-restart", "foreign-broker", "shared-connections"],
)
async def test_faults_that_cannot_be_had_are_refused_before_anything_starts(
    tmp_path: Path, overrides, expected
):
    with pytest.raises(UserError, match=expected):
        await run_async(RING, overrides=(*PLAIN, *overrides), plot=False, out=tmp_path / "run")


async def test_whoever_loses_the_very_first_connection_makes_another(
    spy: Spy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    accepted: list[Any] = []
    accept = Proxy._accepted

    def lose_the_first(self: Proxy, client: Any) -> None:
        accept(self, client)
        accepted.append(client)
        if len(accepted) <= 12:
            client.abort()

    monkeypatch.setattr(Proxy, "_accepted", lose_the_first)
    told, warnings = await disturbed(RING, "faults.delay=[0.0,0.001]")
    assert told == await undisturbed(RING, tmp_path)
    assert len(accepted) == 24
    assert warnings == []


async def test_faults_that_the_run_was_too_short_for_are_named(spy: Spy):
    late = events({"kind": "pause", "at": 500.0, "agents": ["a00"], "lasts": 1.0})
    _, warnings = await disturbed("star-9", late)
    assert warnings == ["the run ended before 1 of its 1 faults could happen"]


async def test_a_flood_of_malformed_messages_is_counted_and_costs_no_memory(spy: Spy, tmp_path: Path):
    loaded = load_scenario("star-9", PLAIN)
    # The hub is flooded by one of its neighbours, through that one's own permissions.
    hub, neighbour = "a00", "a01"
    # They play on until the flood is over and counted, and would for hours.
    parts = {i: replace(p, contract={"rounds": 10**8}) for i, p in loaded.parts("flood").items()}
    sent = [0]
    heard: list[tuple[int, int, float]] = []  # of the hub: round, malformed messages counted, MiB

    def watch(agent: str, info: dict[str, Any]) -> None:
        if agent == hub and info["state"] == "playing" and info["round"] >= 100:
            counted = sum(info["rejected"].get(kind, 0) for kind in ("undecodable", "header", "not-finite"))
            heard.append((info["round"], counted, resident(spy.pid_of(hub))))

    settings = launch.Settings(
        None, None, tmp_path, watch, pytest.fail, protocol="benchmarks.exchange:exchange"
    )
    playing = asyncio.create_task(launch.run_processes(loaded, parts, "flood", settings))
    async with asyncio.timeout(100), ending(playing):

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():
                assert not playing.done(), playing.exception()
                await asyncio.sleep(0.01)

        await until(lambda: bool(heard))
        target = topics.to("flood", neighbour, hub)
        flooding = asyncio.create_task(flood(spy.address, spy.grants[neighbour], target, sent))
        async with ending(flooding):
            # The rounds go on while it lasts.
            await until(lambda: sent[0] > 5000 and heard[-1][0] > heard[0][0] + 100)
        # Where a client or the broker cannot keep up, messages may be lost.
        await until(lambda: heard[-1][1] > 0.9 * sent[0])
        before, after = heard[0], heard[-1]
        await until(lambda: heard[-1][0] > after[0])
    assert before[1] == 0
    assert max(memory for _, _, memory in heard) - before[2] < 20.0


@contextlib.asynccontextmanager
async def ending(task: asyncio.Task[Any]) -> AsyncIterator[None]:
    """Cancel it at the end."""
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
