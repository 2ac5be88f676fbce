"""The embedded broker: starts when it should, says why when it cannot, and never outlives its owner."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import signal
import socket
import stat
import sys
import textwrap
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from broker import access, embedded, guarded, place
from broker.embedded import EmbeddedBroker, PortInUse
from broker.mqtt import make_transport
from broker.transport import Address, BrokerError
from tests.broker.conftest import WAIT, nobody
from tests.broker.failing import REASON, spoil

pytestmark = [pytest.mark.broker, pytest.mark.processes]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where brokers made in this test keep their directories."""
    monkeypatch.setattr(place, "MEMORY", tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def heard_first(monkeypatch):
    """The time that a server has to answer begins when it has printed something: a stand-in for one is a
    Python, which starts as fast as the machine lets it."""
    start = guarded.GuardedServer.start

    async def started(run, *command, **environment):
        await start(run, *command, **environment)
        async with asyncio.timeout(WAIT):
            while not run.log:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)

    monkeypatch.setattr(guarded.GuardedServer, "start", started)


async def end_of(pid: int) -> None:
    """Wait until a process, not necessarily a child, has ended."""
    if not hasattr(os, "pidfd_open"):
        pytest.skip("waiting for a process that is not a child needs Linux")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(WAIT):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def exists(path: str) -> bool:
    return os.path.exists(path)


async def test_start_and_stop_leave_nothing_behind(server, scratch):
    broker = EmbeddedBroker([access.recorder_grant("r")], server)
    address = await broker.start()
    assert address == broker.address
    assert address.user is None
    assert runs(broker.pid)
    pid = broker.pid
    await broker.stop()
    await broker.stop()
    assert not runs(pid)
    assert list(scratch.iterdir()) == []
    assert await broker.wait_ended() == "it was stopped"


async def test_files_are_private_and_passwords_are_gone_once_it_runs(server, scratch, grants):
    async with EmbeddedBroker(list(grants.values()), server):
        (directory,) = scratch.iterdir()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        everything = [path for path in directory.rglob("*") if path.is_file()]
        for path in everything:
            content = path.read_bytes()
            assert not any(grant.password.encode() in content for grant in grants.values())
        assert not [path for path in everything if path.name.startswith("secret")]


async def test_configuration_is_private_from_the_beginning(server, scratch, grants, monkeypatch):
    seen: list[int] = []
    write = embedded._write_private

    def write_and_look(path: Path, text: str) -> None:
        write(path, text)
        seen.append(stat.S_IMODE(path.stat().st_mode))

    monkeypatch.setattr(embedded, "_write_private", write_and_look)
    async with EmbeddedBroker(list(grants.values()), server):
        pass
    assert set(seen) == {0o600}


async def test_keyboard_signals_do_not_reach_it(server):
    async with EmbeddedBroker([], server) as broker:
        assert os.getsid(broker.pid) != os.getsid(0)
        assert os.getpgid(broker.pid) != os.getpgid(0)


async def test_two_run_side_by_side(server):
    async with EmbeddedBroker([], server) as one, EmbeddedBroker([], server) as two:
        assert one.address != two.address


async def test_requested_port_is_used(server):
    while True:
        with nobody() as free:
            pass
        try:
            async with EmbeddedBroker([], server, port=free.port) as broker:
                assert broker.address.port == free.port
                return
        except PortInUse:
            pass  # somebody else was faster


async def test_requested_port_in_use_is_named(server, scratch):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            await EmbeddedBroker([], server, port=port).start()
    assert list(scratch.iterdir()) == []


async def test_requested_port_taken_at_the_last_moment_is_named(server, monkeypatch, scratch):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        monkeypatch.setattr(embedded, "_available", lambda host, port: port)
        with pytest.raises(PortInUse, match=str(port)):
            await EmbeddedBroker([], server, port=port).start()
    assert list(scratch.iterdir()) == []


async def test_free_port_taken_at_the_last_moment_is_replaced(server, monkeypatch, scratch):
    with socket.create_server(("127.0.0.1", 0)) as sock:
        find, found = embedded._available, [sock.getsockname()[1]]
        monkeypatch.setattr(embedded, "_available", lambda *args: found.pop() if found else find(*args))
        async with EmbeddedBroker([], server) as broker:
            assert broker.address.port != sock.getsockname()[1]
    assert list(scratch.iterdir()) == []


async def test_port_that_another_broker_took_at_the_last_moment_is_replaced_though_that_one_answers(
    server, monkeypatch
):
    async with EmbeddedBroker([], server) as other:
        find, found = embedded._available, [other.address.port]
        monkeypatch.setattr(embedded, "_available", lambda *args: found.pop() if found else find(*args))
        async with EmbeddedBroker([], server) as broker:
            assert broker.address.port != other.address.port


async def test_foreign_host_is_an_error():
    with pytest.raises(BrokerError, match=r"192\.0\.2\.1"):
        await EmbeddedBroker([], host="192.0.2.1").start()


async def test_server_that_fails_to_start_is_quoted(server, monkeypatch, scratch):
    monkeypatch.setattr(access, f"{server}_config", lambda *args: "nonsense [")
    with pytest.raises(
        BrokerError, match=f"{server} did not start.*exit code.*\n(.*\n)*.*(nonsense|Parse error)"
    ):
        await EmbeddedBroker([], server).start()
    assert list(scratch.iterdir()) == []


async def test_server_that_cannot_be_executed(monkeypatch, scratch, tmp_path_factory):
    program = tmp_path_factory.mktemp("bin") / "nats-server"
    program.write_bytes(b"\x7fELF, but no more")
    program.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server", lambda server: str(program))
    with pytest.raises(BrokerError, match=f"{program}: {os.strerror(errno.ENOEXEC)}"):
        await EmbeddedBroker([]).start()
    assert list(scratch.iterdir()) == []


async def test_server_that_never_answers(monkeypatch, scratch, heard_first, tmp_path_factory):
    program = tmp_path_factory.mktemp("bin") / "nats-server"
    program.write_text(f"#!{sys.executable}\nprint('thinking', flush=True)\nimport signal\nsignal.pause()\n")
    program.chmod(0o700)
    monkeypatch.setattr(embedded, "find_server", lambda server: str(program))
    with pytest.raises(BrokerError, match=r"nats was not ready.*\nthinking"):
        await EmbeddedBroker([]).start(timeout=0.3)
    assert list(scratch.iterdir()) == []


async def test_missing_binary_says_how_to_get_it(server, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    with pytest.raises(BrokerError, match="install"):
        await EmbeddedBroker([], server).start()


def test_binary_is_the_one_that_came_with_this_interpreter():
    assert Path(embedded.find_server("nats")).parent == Path(sys.executable).parent


def test_unknown_server():
    with pytest.raises(BrokerError, match="'emqx'"):
        embedded.find_server("emqx")


async def test_unstarted_broker_says_so():
    broker = EmbeddedBroker([])
    await broker.stop()
    with pytest.raises(BrokerError, match="not started"):
        _ = broker.address


async def test_death_of_the_server_is_noticed(server, scratch):
    async with EmbeddedBroker([], server) as broker:
        os.kill(broker.pid, signal.SIGKILL)
        async with asyncio.timeout(WAIT):
            assert "exit code -9" in await broker.wait_ended()
    assert list(scratch.iterdir()) == []


async def test_server_does_not_survive_its_guard(server, scratch):
    async with EmbeddedBroker([], server) as broker:
        os.kill(broker._started._guard.pid, signal.SIGKILL)
        async with asyncio.timeout(WAIT):
            assert "guard" in await broker.wait_ended()
        await end_of(broker.pid)
    assert list(scratch.iterdir()) == []


async def test_terminated_guard_stops_the_server(server):
    async with EmbeddedBroker([], server) as broker:
        os.kill(broker._started._guard.pid, signal.SIGTERM)
        async with asyncio.timeout(WAIT):
            await broker.wait_ended()
        assert not runs(broker.pid)


async def test_stubborn_server_is_killed(monkeypatch, scratch, heard_first, tmp_path_factory):
    program = tmp_path_factory.mktemp("bin") / "nats-server"
    program.write_text(
        f"#!{sys.executable}\nimport signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\nwhile True: signal.pause()\n"
    )
    program.chmod(0o700)
    guard = Path(guarded.__file__).with_name("guard.py").read_text().replace("GRACE = 3.0", "GRACE = 0.1")
    impatient = tmp_path_factory.mktemp("guard") / "guard.py"
    impatient.write_text(guard)
    monkeypatch.setattr(guarded, "__file__", str(impatient))
    monkeypatch.setattr(embedded, "find_server", lambda server: str(program))
    with pytest.raises(BrokerError, match="up"):
        await EmbeddedBroker([]).start(timeout=0.3)
    assert list(scratch.iterdir()) == []


async def test_wait_ended_may_be_abandoned(server):
    async with EmbeddedBroker([], server) as broker:
        waiting = asyncio.create_task(broker.wait_ended())
        await asyncio.wait({waiting}, timeout=0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        transport = make_transport("gmqtt", broker.address, "x", lambda *_: None)
        with pytest.raises(BrokerError):  # it still answers
            await transport.open()


SPEAKER = access.Grant("speaker", "open-sesame", ("run/a/status",), ("run/a/status",))


@asynccontextmanager
async def speaker(address):
    received = asyncio.Queue()
    transport = make_transport(
        "gmqtt",
        replace(address, user="speaker", password="open-sesame"),
        secrets.token_hex(8),
        lambda *message: received.put_nowait(message),
    )
    await transport.open(WAIT)
    try:
        yield transport, received
    finally:
        await transport.close()


async def test_store_that_cannot_be_written_is_heard_of_and_the_broker_moves(tmp_path, scratch, monkeypatch):
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(place, "MEMORY", memory)
    spoil(monkeypatch, tmp_path)
    async with EmbeddedBroker([SPEAKER]) as broker:
        address = broker.address
        assert broker.place == memory
        async with speaker(address) as (transport, _), asyncio.timeout(WAIT):
            for _ in range(40):
                transport.publish("run/a/status", bytes(500), retain=True)
            assert (await broker.wait_unstored()).endswith(REASON)
        assert await broker.move() == scratch
        assert broker.address == address
        async with speaker(address) as (transport, _):
            transport.publish("run/a/status", b"again", retain=True)
        async with speaker(address) as (transport, received), asyncio.timeout(WAIT):
            await transport.subscribe(["run/a/status"])
            assert await received.get() == ("run/a/status", b"again")
        assert list(memory.iterdir()) == []
    assert {path.name for path in scratch.iterdir()} == {"memory", "limited-server"}


async def test_only_the_servers_own_words_tell_that_its_store_fails(scratch, tmp_path_factory):
    said = "[ERR] JetStream failed to store a msg on stream 's': no space left on device"
    quoted = (
        f'[7] 2026/01/01 00:00:00.5 [ERR] 127.0.0.1:5 - mid:4 - "x" - Publish Violation - Subject "{said}"'
    )
    program = tmp_path_factory.mktemp("bin") / "nats-server"
    program.write_text(
        f"#!{sys.executable}\nprint({quoted!r})\n"
        f"print('[7] 2026/01/01 00:00:01.5 ' + {said!r}, flush=True)\nimport signal\nsignal.pause()\n"
    )
    program.chmod(0o700)
    run = guarded.GuardedServer(Address("127.0.0.1", 1))
    try:
        await run.start([str(program)])
        async with asyncio.timeout(WAIT):
            assert await run.unstored == said
        assert quoted in run.log
    finally:
        await run.end()


async def test_log_that_grows_keeps_its_end_only(monkeypatch, scratch, tmp_path_factory):
    program = tmp_path_factory.mktemp("bin") / "nats-server"
    program.write_text(
        f"#!{sys.executable}\nfor k in range(150_000): print(f'{{k:099}}')\n"
        "import signal\nprint('all said', flush=True)\nsignal.pause()\n"
    )
    program.chmod(0o700)
    run = guarded.GuardedServer(Address("127.0.0.1", 1))
    try:
        await run.start([str(program)])
        async with asyncio.timeout(WAIT):
            while "all said" not in run.log_end:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        kept = sum(path.stat().st_size for path in run.directory.iterdir())
        assert 4e6 < kept < 9e6
        assert f"{149_999:099}\nall said" in run.log
    finally:
        await run.end()
    assert list(scratch.iterdir()) == []


OWNER = """
import asyncio, os, signal, sys
from broker.embedded import EmbeddedBroker

async def main():
    broker = EmbeddedBroker([])
    await broker.start()
    child = os.fork()
    if child == 0:
        signal.pause()
    run = broker._started
    print(os.getpid(), child, run._guard.pid, broker.pid, run.directory, flush=True)
    await broker.wait_ended()

asyncio.run(main())
"""


async def test_server_does_not_survive_a_killed_owner_even_with_forked_children():
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(OWNER), stdout=asyncio.subprocess.PIPE
    )
    child = 0
    try:
        async with asyncio.timeout(WAIT):
            *pids, directory = (await owner.stdout.readline()).decode().split()
        _, child, guard, server = map(int, pids)
        assert exists(directory)
        owner.kill()
        await end_of(server)
        await end_of(guard)
        assert runs(child)
        assert not exists(directory)
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        if owner.returncode is None:
            owner.kill()
        await owner.communicate()
