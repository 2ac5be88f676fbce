"""``run_async`` may be cancelled at any moment, and leaves neither a process nor an open socket."""

from __future__ import annotations

import asyncio
import gc
import json
import os

import pytest

from runner import run_async
from tests.processes import table
from tests.processes.live import ENDLESS, Live


async def test_cancelling_ends_everything_before_it_returns(spy):
    async with Live("star-9", *ENDLESS) as run:
        await run.until_playing(9, beyond=20)
        run.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run.task
        assert not table.family()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_timeout_is_a_cancellation_and_the_directory_says_so(spy, tmp_path):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.8):
            await run_async("star-9", overrides=ENDLESS, out=tmp_path / "run")
    assert not table.family()
    assert "ended from outside" in json.loads((tmp_path / "run" / "failed.json").read_text())["error"]


# What of a run may just have come into being when it is cancelled.
MOMENTS = {
    "nothing": lambda spy: True,
    **{
        role: lambda spy, role=role: table.by_role().get(role)
        for role in ("fork-server", "guard", "broker", "recorder", "host")
    },
    "start messages": lambda spy: spy.starts,
}


# After these the runner ends by force what it has waited for.
LIMITS = ("runner.hosts.LEAVE_TIMEOUT", "runner.scribe.STOP_TIMEOUT", "runner.launch.GOODBYE_TIMEOUT")


@pytest.mark.parametrize("moment", MOMENTS)
async def test_cancelling_while_it_starts_leaves_nothing(spy, moment, monkeypatch):
    for limit in LIMITS:
        monkeypatch.setattr(limit, 10 * table.WAIT)
    descriptors = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(run_async("star-9", overrides=ENDLESS))
    async with asyncio.timeout(table.WAIT):
        while not MOMENTS[moment](spy):  # noqa: ASYNC110  # the process table raises no events
            await asyncio.sleep(0)
    task.cancel()
    # A busy machine may take seconds to import what it then ends; nothing waits for these limits.
    done, _ = await asyncio.wait({task}, timeout=table.WAIT)
    assert done, f"cancelled at {moment}, it did not return"
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    del task, done
    gc.collect()  # an open socket that is only forgotten warns, and warnings are errors
    table.until(lambda: not table.family(), "all processes have ended")
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_two_runs_side_by_side_do_not_meet(spy, tmp_path):
    one, other = await asyncio.gather(
        run_async("star-9", out=tmp_path / "one", plot=False),
        run_async("directed-8", out=tmp_path / "other", plot=False),
    )
    assert one.kept_promise
    assert other.kept_promise
    assert one.dropped.keys() | other.dropped.keys() <= {"duplicate"}
