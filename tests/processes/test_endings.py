"""However a run ends, every process ends, the record stays readable, and the message says why."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

import tests
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from runner import RunFailed, launch, record, run_async
from runner.launch import Settings, run_processes
from tests.processes import table
from tests.processes.commands import ENDLESS
from tests.processes.live import Live, outcome
from topologies import load_scenario

EVERYBODY = {"fork_server": 1, "host": 9, "guard": 1, "broker": 1, "recorder": 1}


# So much of the record is on file, of everybody, before anything ends the run.
ROWS, AGENTS = 100, load_scenario("star-9").agents


def recorded(out):
    if not any((out / "telemetry").glob("part-*.parquet")):
        return False
    kept = record.read(out)
    return len(kept) > ROWS and kept.agents == AGENTS


@pytest.fixture
def endless(vicinal, tmp_path):
    """A run of nine processes that plays, and of which all have been recorded."""
    out = tmp_path / "run"
    command = vicinal.start("run", "star-9", "--quiet", "--json", "--out", out, *ENDLESS)
    command.until(lambda: recorded(out), "everybody is recorded")
    roles = command.until_roles(**EVERYBODY)
    return command, out, roles


def message(finished):
    """What went wrong; warnings may stand before it, a traceback may not."""
    assert "Traceback" not in finished.err
    (line,) = [line for line in finished.err.splitlines() if line.startswith("vicinal: ")]
    return line


def assert_all_end(command):
    within = command.few_seconds
    table.until(lambda: not table.family(), f"every process has ended: {table.by_role()}", within)


def assert_readable(out):
    kept = record.read(out)
    assert kept.unreadable == ()
    assert kept.agents == AGENTS
    assert len(kept) > ROWS


def test_ctrl_c_ends_everything_in_order(endless):
    command, out, _ = endless
    command.press_ctrl_c()
    finished = command.wait(command.few_seconds)
    assert finished.code == 130
    assert finished.err.strip() == "vicinal: ended by SIGINT; every process has been stopped"
    assert finished.out == ""
    # Its message is true: nothing has to be waited for.
    assert not table.family()
    assert_readable(out)


def test_impatient_ctrl_c_does_not_cut_the_clean_up_short(endless):
    command, out, _ = endless
    while not command.ended:
        command.press_ctrl_c()
        time.sleep(0.01)
    finished = command.wait()
    # The last one may have met an interpreter that was done and on its way out.
    assert finished.code in (130, -signal.SIGINT)
    assert finished.err.strip() == "vicinal: ended by SIGINT; every process has been stopped"
    assert not table.family()
    assert_readable(out)


def test_sigterm_ends_everything_in_order(endless):
    command, out, _ = endless
    os.kill(command.pid, signal.SIGTERM)
    finished = command.wait(command.few_seconds)
    assert finished.code == 130
    assert "SIGTERM" in finished.err
    assert not table.family()
    assert_readable(out)


def test_interrupted_run_leaves_the_reason_beside_its_record(endless):
    command, out, _ = endless
    command.press_ctrl_c()
    command.wait(command.few_seconds)
    assert json.loads((out / "failed.json").read_text())["error"]
    assert not (out / "result.json").exists()


def test_killed_runner_takes_everything_with_it(endless):
    command, out, _ = endless
    os.kill(command.pid, signal.SIGKILL)
    assert command.wait().code == -signal.SIGKILL
    assert_all_end(command)
    assert_readable(out)


@pytest.mark.parametrize("role", ["guard", "fork-server", "recorder"])
def test_ctrl_c_while_the_processes_start(vicinal, tmp_path, role):
    command = vicinal.start("run", "star-9", "--quiet", "--out", tmp_path / "run", *ENDLESS)
    command.until(lambda: table.by_role().get(role), f"there is a {role}")
    command.press_ctrl_c()
    finished = command.wait(command.few_seconds)
    assert finished.code == 130
    assert message(finished) == "vicinal: ended by SIGINT; every process has been stopped"
    assert not table.family()


@pytest.mark.parametrize("role", ["guard", "fork-server", "recorder"])
def test_runner_killed_while_the_processes_start(vicinal, tmp_path, role):
    command = vicinal.start("run", "star-9", "--quiet", "--out", tmp_path / "run", *ENDLESS)
    command.until(lambda: table.by_role().get(role), f"there is a {role}")
    os.kill(command.pid, signal.SIGKILL)
    assert_all_end(command)
    assert command.wait().err == ""


def test_ctrl_c_ends_a_virtual_run(vicinal, tmp_path):
    out = tmp_path / "run"
    command = vicinal.start("run", "star-9", "--virtual", "--quiet", "--out", out, *ENDLESS)
    command.until(lambda: (out / "telemetry").is_dir(), "the run has begun")
    command.press_ctrl_c()
    assert command.wait(command.few_seconds).code == 130


def test_nohup_is_respected(vicinal, tmp_path):
    out = tmp_path / "run"
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        command = vicinal.start("run", "star-9", "--quiet", "--out", out)
    finally:
        signal.signal(signal.SIGHUP, previous)
    command.until(lambda: table.by_role().get("host"), "the run has begun")
    os.kill(command.pid, signal.SIGHUP)
    finished = command.wait()
    assert (finished.code, finished.err) == (0, "")


def test_killed_agent_is_named_with_the_signal(endless):
    command, out, roles = endless
    # Hosts are forked in the order of their agents' ids.
    os.kill(roles["host"][4], signal.SIGKILL)
    finished = command.wait(command.few_seconds)
    assert finished.code == 1
    assert message(finished) == "vicinal: the process of agent a04 was killed by signal 9"
    assert not table.family()
    assert_readable(out)


def test_killed_broker_is_named(endless):
    command, out, roles = endless
    os.kill(roles["broker"][0], signal.SIGKILL)
    finished = command.wait(command.few_seconds)
    assert finished.code == 1
    assert re.match(r"vicinal: the broker ended: .*-9", message(finished))
    assert not table.family()
    assert_readable(out)


def test_killed_fork_server_ends_everything(endless):
    command, out, roles = endless
    os.kill(roles["fork-server"][0], signal.SIGKILL)
    finished = command.wait(command.few_seconds)
    assert finished.code == 1
    assert re.search(r"fork server .* ended with code -9", message(finished))
    assert_all_end(command)
    assert_readable(out)


async def test_killed_recorder_costs_the_record_and_nothing_else(spy, tmp_path):
    expected = outcome(await run_async("star-9", virtual=True, plot=False, out=tmp_path / "virtual"))
    spy.hold("a00", 20, tmp_path)
    async with Live("star-9") as run:
        await run.until_playing(9)
        (recorder,) = table.by_role()["recorder"]
        os.kill(recorder, signal.SIGKILL)
        await run.until(lambda: run.warnings, "it is missed")
        spy.let_go()
        assert outcome(await run.result()) == expected
    (warning,) = [text for text in run.warnings if "recorder" in text]
    assert "-9" in warning


def test_killed_recorder_is_a_warning_on_the_command_line(vicinal, tmp_path):
    # One agent stands still until it is woken here: the run does not end before its recorder.
    still = '--set=faults.event=[{kind="pause", at=0, agents=["a00"], lasts=1000.0}]'
    command = vicinal.start("run", "star-9", "--quiet", "--json", "--out", tmp_path / "run", still)
    command.until(lambda: table.stopped(table.by_role().get("host", ())), "one agent stands still")
    roles = command.until_roles(host=9, recorder=1)
    os.kill(roles["recorder"][0], signal.SIGKILL)
    command.until(lambda: "recorder" not in table.by_role(), "the recorder has ended")
    for pid in table.stopped(roles["host"]):
        os.kill(pid, signal.SIGCONT)
    finished = command.wait()
    assert finished.code == 0
    assert finished.json()["allocation_error"] <= 1e-6
    assert "warning: the recorder" in finished.err
    assert not table.family()


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """Play a protocol of tests/processes/broken.py."""
    monkeypatch.setenv("PYTHONPATH", str(Path(tests.__file__).parent.parent))

    async def play(function, hosts=None):
        loaded = load_scenario("star-9")
        settings = Settings(
            hosts,
            None,
            tmp_path,
            watch=lambda agent, progress: None,
            warn=lambda text: None,
            protocol=f"tests.processes.broken:{function}",
        )
        async with asyncio.timeout(table.WAIT):
            await run_processes(loaded, loaded.parts("broken"), "broken", settings)

    return play


@pytest.mark.parametrize("hosts", [None, 2])
async def test_failing_protocol_is_named_with_agent_round_and_cause(broken, hosts):
    with pytest.raises(RunFailed, match=r"agent a03, round 7 \(doomed\): ArithmeticError: the till does not"):
        await broken("raises", hosts)


async def test_protocol_failing_before_it_speaks_is_named(broken):
    with pytest.raises(RunFailed, match=r"agent a0\d, round 0 .*LookupError: a0\d lost its notes"):
        await broken("raises_at_once")


async def test_missing_protocol_is_named(broken):
    with pytest.raises(RunFailed, match=r"tests\.processes\.broken:absent"):
        await broken("absent")


async def test_nothing_is_printed_by_agents_that_are_ended(broken, capfd):
    with pytest.raises(RunFailed):
        await broken("raises_at_once")
    assert capfd.readouterr() == ("", "")


def test_agent_that_is_told_to_end_while_it_connects_ends():
    # On uvloop a connection cancelled in the making is never told that it was lost.
    uvloop = pytest.importorskip("uvloop")

    async def connect_and_cancel():
        async with EmbeddedBroker([]) as broker:
            for turns in range(40):
                transport = make_transport("gmqtt", broker.address, f"c{turns}", lambda *_: None)
                opening = asyncio.create_task(transport.open())
                for _ in range(turns):
                    await asyncio.sleep(0)
                opening.cancel()
                done, _ = await asyncio.wait({opening}, timeout=2.0)
                assert done, f"cancelled after {turns} turns of the loop, open() did not return"
                await transport.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(connect_and_cancel())


async def test_run_without_progress_is_given_up_naming_who_waits_for_whom(spy, monkeypatch):
    loaded = load_scenario("star-9", ENDLESS_KEYS)
    stopped = []

    def stop_one(agent, info):
        if agent == "a05" and info["round"] >= 20 and not stopped:
            stopped.append(spy.pid_of("a05"))
            os.kill(stopped[0], signal.SIGSTOP)

    async def once_it_stands_still(*how):
        # A machine that starts slowly makes no progress either.
        while not stopped:  # noqa: ASYNC110  # set by a callback that may come before
            await asyncio.sleep(0.01)
        await judge(*how)

    judge = launch._outcome
    monkeypatch.setattr(launch, "_outcome", once_it_stands_still)
    settings = Settings(None, None, Path.cwd(), watch=stop_one, warn=lambda text: None, stall_timeout=3.0)
    waiting = r"no progress for 3 s: agent a0\d \(playing, round \d+\) waits for a0[05]"
    with pytest.raises(RunFailed, match=waiting):
        await run_processes(loaded, loaded.parts("stuck"), "stuck", settings)


ENDLESS_KEYS = [option.removeprefix("--set=") for option in ENDLESS]
