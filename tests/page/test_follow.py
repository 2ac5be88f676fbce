"""Following a run that goes on: what is heard at a broker by a user that may say nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from broker import topics
from broker.access import agent_grant, observer_grant
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from node.status import DOWN, UP, Status
from node.telemetry import Telemetry
from runner import directory, journal
from runner.page import scene
from runner.page.follow import Follower
from tests.page.conftest import WAIT
from tests.processes.live import ENDLESS, Live

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def batch(run: str, agent: str, **values: float) -> bytes:
    telemetry = Telemetry(run, agent, 0, 1)
    telemetry.add(3, values)
    (payload,) = telemetry.take(0.0)
    return payload


def test_messages_fill_frames_and_states_and_what_is_wrong_is_counted(recorded: Path) -> None:
    follower = Follower(scene.read(recorded))
    run = str(follower.scene.meta["run"])
    follower.receive(topics.telemetry(run, "a02"), batch(run, "a02", tax=1.5))
    assert follower.frames.values["tax"][3, 2] == 1.5
    follower.receive(topics.status(run, "a02"), Status(UP, 0, 0, "d", "n").pack())
    assert "".join(follower.states) == "--u------"
    follower.receive(topics.status(run, "a02"), Status(DOWN, 0, 0, "d", "n").pack())
    assert follower.states[2] == "x"
    follower.receive(topics.telemetry("other", "a02"), batch(run, "a02", tax=9.0))
    follower.receive("nonsense", b"")
    follower.receive(topics.telemetry(run, "a02"), b"\xff\xff")
    follower.receive(topics.status(run, "a02"), b"\x01")
    follower.receive(topics.telemetry(run, "zz"), batch(run, "zz", tax=9.0))
    assert dict(follower.rejected) == {"topic": 2, "undecodable": 1, "status": 1}
    assert follower.frames.used == 4


@pytest.mark.broker
async def test_observer_hears_measurements_and_statuses_and_can_say_nothing() -> None:
    observer, agent = observer_grant("r"), agent_grant("r", "a", ("b",), ("b",))
    heard: dict[str, list[str]] = {"observer": [], "agent": []}
    all_came = asyncio.Event()
    async with EmbeddedBroker([observer, agent]) as broker:

        async def join(name: str, grant: object, filters: list[str]) -> object:
            address = replace(broker.address, user=grant.user, password=grant.password)

            def receive(topic: str, payload: bytes) -> None:
                heard[name].append(topic)
                if len(heard["observer"]) >= 2 and heard["agent"]:
                    all_came.set()

            transport = make_transport("gmqtt", address, name, receive)
            await transport.open()
            await transport.subscribe(filters)
            return transport

        one = await join("observer", observer, ["r/+/telemetry", "r/+/status"])
        other = await join("agent", agent, ["r/a/status"])
        one.publish("r/a/status", b"forged")
        other.publish("r/a/say", b"not for observers")
        other.publish("r/a/telemetry", b"1")
        other.publish("r/a/status", b"2")
        async with asyncio.timeout(WAIT):
            await all_came.wait()
        await one.close()
        await other.close()
    assert heard == {"observer": ["r/a/telemetry", "r/a/status"], "agent": ["r/a/status"]}


@pytest.mark.processes
async def test_follower_sees_a_run_begin_play_and_end_with_its_whole_record(tmp_path: Path) -> None:
    out = tmp_path / "run"
    async with Live("star-9", hosts=1, out=out) as live, asyncio.timeout(WAIT):
        await live.until(lambda: "observer" in (scene.alive(out) or {}), "it says where to look on")
        follower = Follower(scene.read(out))
        follower.open()
        assert follower.live
        await asyncio.gather(follower.follow(), live.task)
    assert not follower.live
    assert not (out / "live.json").exists()
    assert not (out / "events.jsonl").exists(), "nothing has happened"
    result = json.loads((out / "result.json").read_text())
    assert follower.sketch()["outcome"]["rounds"] == result["rounds"]
    again = Follower(scene.read(out))
    again.open()
    assert follower.frames.pack(0, follower.frames.used) == again.frames.pack(0, again.frames.used)
    assert dict(follower.rejected) == {}


def test_run_that_ends_while_it_is_looked_at_is_not_taken_for_one_that_was_cut_off(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(recorded, run_dir)
    result = (run_dir / "result.json").rename(tmp_path / "result.json")
    directory.announce(run_dir)

    def and_then_it_ends(ask: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def asked(where: Path) -> Any:
            answer = ask(where)
            if result.exists():
                result.rename(run_dir / "result.json")
                directory.conclude(run_dir)
            return answer

        return asked

    for name in ("alive", "ended"):
        monkeypatch.setattr(scene, name, and_then_it_ends(getattr(scene, name)))
    follower = Follower(scene.read(run_dir))
    follower.open()
    assert not follower.live
    assert follower.sketch()["outcome"]["rounds"] > 30


@pytest.mark.processes
async def test_what_befell_a_run_is_on_its_time_line(tmp_path: Path) -> None:
    out = tmp_path / "run"
    overrides = [
        *ENDLESS,  # it must not be over before anything befalls it
        "recovery.restart=true",
        "recovery.durable=snapshot",
        'faults.event=[{kind="crash", at=0.0, agents=["a03"], down=0.2}]',
    ]
    async with Live("star-9", *overrides, out=out) as live:
        await live.until(lambda: "back" in [e["kind"] for e in journal.read(out)], "the agent is back")
        follower = Follower(scene.read(out))
        follower.open()
    kinds = [(event["kind"], event["agents"]) for event in follower.events]
    assert kinds == [("crash", [3]), ("down", [3]), ("back", [3])]
    assert follower.events[0]["text"] == "crash a03 for 0.2 s"
    times = [event["time"] for event in follower.events]
    assert times == sorted(times)
