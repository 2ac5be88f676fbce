"""The recorder process at its beginning and its end, as the runner sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from broker.access import recorder_grant
from broker.embedded import EmbeddedBroker
from broker.transport import Address
from runner.scribe import Scribe
from tests.processes import table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def silent() -> AsyncIterator[Address]:
    """A broker that takes connections and says nothing."""

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()


def scribe(broker: Address, directory: Path, warnings: list[str], **told: Any) -> Scribe:
    config = {
        "run": "r",
        "directory": str(directory),
        "client": "gmqtt",
        "client_id": "recorder",
        "user": None,
        "password": None,
        "place": broker.place(),
        "agents": ["n1"],
    }
    return Scribe(config, warnings.append, restart=True, **told)


async def stand_still(mine: Scribe) -> None:
    """Wait for the recorder's process, and stop it: it answers to nothing but SIGKILL."""
    while mine._life is None or "recorder" not in table.by_role():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
    (recorder,) = table.by_role()["recorder"]
    os.kill(recorder, signal.SIGSTOP)


async def test_recorder_called_off_before_it_listens_is_ended_and_not_waited_for(silent, tmp_path):
    warnings: list[str] = []
    mine = scribe(silent, tmp_path, warnings)
    starting = asyncio.create_task(mine.start())
    async with asyncio.timeout(table.WAIT):
        await stand_still(mine)
        starting.cancel()
        await asyncio.wait({starting})
        await mine.stop()
    assert not table.by_role().get("recorder")
    assert not warnings  # and it is not started again


async def test_recorder_whose_end_is_not_waited_for_is_ended(silent, tmp_path):
    mine = scribe(silent, tmp_path, [])
    starting = asyncio.create_task(mine.start())
    async with asyncio.timeout(table.WAIT):
        await stand_still(mine)
    mine._ready.set()  # as if it had listened: now it is asked and not ended
    await starting
    stopping = asyncio.create_task(mine.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert mine._life is not None
    await mine._life
    table.until(lambda: not table.by_role().get("recorder"), "the recorder has ended")


async def test_recorder_that_never_gets_ready_is_said_to_be_late_and_then_to_have_recorded_nothing(
    silent, tmp_path, monkeypatch
):
    monkeypatch.setattr("runner.scribe.READY_TIMEOUT", 0.1)
    warnings: list[str] = []
    mine = scribe(silent, tmp_path, warnings)
    async with asyncio.timeout(table.WAIT):
        await mine.start()
        assert warnings == ["the recorder is not ready after 0.1 s; the run goes on without it so far"]
        await mine.stop()
    assert warnings[1:] == ["the recorder never got ready; the run is not recorded"]


async def test_recorder_that_is_late_has_agents_say_again_what_it_has_not_heard(tmp_path, monkeypatch):
    monkeypatch.setattr("runner.scribe.READY_TIMEOUT", 0.0)
    grant = recorder_grant("r")
    warnings: list[str] = []
    listens = asyncio.Event()
    async with EmbeddedBroker([grant]) as broker, asyncio.timeout(table.WAIT):
        mine = scribe(broker.address, tmp_path, warnings, again=listens.set)
        mine._config |= {"user": grant.user, "password": grant.password}
        await mine.start()
        (late,) = warnings
        assert not listens.is_set()
        await listens.wait()
        await mine.stop()
    # Here nobody did; that is all there is to complain of.
    assert warnings == [late, "the record is incomplete: the last batch of n1 did not arrive"]
