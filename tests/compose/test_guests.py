"""`vicinal run` over a generated Mosquitto: with a password, with a certificate, and what does not fit."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import time
from dataclasses import replace

import pytest

from broker import topics
from broker.transport import BrokerRefused
from runner import cli
from runner.compose.certificates import Authority
from tests.compose.conftest import TREE
from tests.compose.deployment import WAIT, Deployment
from tests.compose.someone import Someone, address_of, guest_of

pytestmark = [pytest.mark.mosquitto, pytest.mark.broker, pytest.mark.processes]

PAST = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)
clients = pytest.mark.parametrize("client", ["gmqtt", "aiomqtt"])


@pytest.fixture
def vicinal_run(tmp_path, capsys):
    """Run three agents in one process; exit code and what was said on standard error."""

    def call(*arguments):
        settings = ("star-9", "--set=topology.agents=3", "--hosts=1", "--quiet", "--set=record.plot=false")
        code = cli.main(["run", *settings, "--out", str(tmp_path / "run"), *map(str, arguments)])
        return code, capsys.readouterr().err

    return call


@pytest.fixture
def refused(tmp_path, vicinal_run, monkeypatch):
    """The one line with which a run is refused, before there is any process of an agent."""

    async def start(self):
        raise AssertionError("a process was started")

    def call(*arguments):
        with monkeypatch.context() as patched:
            patched.setattr("runner.hosts.Hosts.start", start)
            code, said = vicinal_run(*arguments)
        assert code == 2, said
        assert said.startswith("vicinal: ")
        assert said.count("\n") == 1
        assert not (tmp_path / "run").exists()
        return said

    return call


# --- with a password ------------------------------------------------------------------------------------


def url_of(address, host="localhost"):
    return f"mqtts://{address.user}:{address.password}@{host}:{address.port}"


@clients
def test_a_run_with_a_password_and_an_authority(emptied, vicinal_run, client):
    guest = guest_of(emptied)
    asked = ("--broker", url_of(guest), "--ca", guest.ca, f"--set=broker.client={client}")
    assert vicinal_run(*asked) == (0, "")


def test_the_keys_of_a_scenario_do_the_same_relative_to_its_file(emptied, tmp_path):
    guest = guest_of(emptied)
    (tmp_path / "ca.pem").write_bytes((emptied.project.out / "secrets" / "ca.pem").read_bytes())
    text = f'[broker]\nurl = "{url_of(guest, "127.0.0.1")}"\nca = "ca.pem"\n[record]\nplot = false\n'
    scenario = tmp_path / "mine.toml"
    scenario.write_text(f"{TREE.read_text().replace('agents = 7', 'agents = 3')}\n{text}")
    out = tmp_path / "run"
    assert cli.main(["run", str(scenario), "--hosts=1", "--quiet", "--out", str(out)]) == 0
    kept = [path.read_text() for path in out.iterdir() if path.suffix in (".toml", ".json")]
    assert not any(guest.password in text for text in kept)


async def test_a_guest_hears_and_says_nothing_among_the_agents(emptied):
    words = topics.say(emptied.project.run, "a01")
    async with (
        Someone(guest_of(emptied)) as guest,
        Someone(address_of(emptied, "agent-a01")) as agent,
        Someone(address_of(emptied, "recorder", "recorder")) as witness,
    ):
        await guest.transport.subscribe(["#"])
        await witness.transport.subscribe([words])
        guest.transport.publish(words, b"forged")
        guest.transport.publish("other/a01/say", b"mine")
        await guest.until_heard("other/a01/say", b"mine")
        agent.transport.publish(words, b"genuine")
        await witness.until(lambda: words in witness.heard)
        assert witness.heard[words] == b"genuine"
        guest.transport.publish("other/a01/say", b"mark")
        await guest.until_heard("other/a01/say", b"mark")
        assert set(guest.heard) == {"other/a01/say"}


async def test_an_agent_is_nobody_at_the_guests_door(emptied):
    agent = Someone(replace(address_of(emptied, "agent-a01"), port=emptied.ports[8884]))
    with pytest.raises(BrokerRefused):
        await agent.transport.open()


@clients
def test_an_authority_that_is_missing_or_another_one(emptied, refused, tmp_path, client):
    guest = guest_of(emptied)
    asked = ("--broker", url_of(guest), f"--set=broker.client={client}")
    assert "is not signed by an authority that this system trusts" in refused(*asked)
    assert "No such file" in refused(*asked, "--ca", tmp_path / "none.pem")
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("other", 1).certificate)
    said = refused(*asked, "--ca", other)
    assert f"is not signed by ca = {other}" in said
    assert guest.password not in said


def test_an_authority_for_a_broker_in_the_clear_is_a_mistake(refused):
    said = refused("--broker", "mqtt://127.0.0.1:1", "--ca", "ca.pem")
    assert "ca = ca.pem is of no use without TLS" in said


def test_and_so_is_one_for_the_embedded_broker(refused):
    assert "the embedded broker speaks no TLS" in refused("--ca", "ca.pem")


def test_faults_of_messages_cannot_be_made_inside_tls(emptied, vicinal_run):
    guest = guest_of(emptied)
    code, said = vicinal_run("--broker", url_of(guest), "--ca", guest.ca, "--set=faults.loss=0.1")
    assert code == 2
    assert "inside TLS nobody can tell them apart" in said


# --- with a certificate -----------------------------------------------------------------------------------


@contextlib.contextmanager
def broker_of(project, **changed):
    """The broker of a project; ``changed``: contents of secrets that are to be others."""
    for name, content in changed.items():
        file = project.out / "secrets" / f"{name.replace('_', '-')}.pem"
        file.unlink()
        file.write_bytes(content)
        file.chmod(0o400)
        os.chown(file, *project.owner)
    with Deployment(project) as deployment:
        deployment.up("broker")
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", deployment.ports[8884])).close()
                break
            except OSError:
                assert time.monotonic() < deadline, deployment.err("broker")
                time.sleep(0.02)
        ca = project.out / "secrets" / "ca.pem"
        yield "--broker", f"mqtts://localhost:{deployment.ports[8884]}", "--ca", ca


def pair(folder, issued):
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    return "--cert", cert, "--key", key


def test_a_run_with_a_client_certificate_and_with_those_that_do_not_fit(
    mosquitto, compose, vicinal_run, refused, tmp_path
):
    project = compose(guest="certificate")
    shown = ("--cert", project.out / "secrets/guest.pem", "--key", project.out / "secrets/guest-key.pem")
    with broker_of(project) as asked:
        assert vicinal_run(*asked, *shown) == (0, "")
        (tmp_path / "run").rename(tmp_path / "good")
        assert "client certificate" in refused(*asked)
        assert "needs both" in refused(*asked, *shown[:2])
        assert "No such file" in refused(*asked, "--cert", "none.pem", *shown[2:])
        stranger = pair(tmp_path, Authority("another", 1).client("guest"))
        assert "client certificate" in refused(*asked, *stranger)
        expired = pair(tmp_path, Authority("old", 1, PAST).client("guest"))
        assert "expected a certificate that is valid today" in refused(*asked, *expired)


@pytest.mark.parametrize(
    ("authority", "name", "said"),
    [
        (Authority("test", 1), "broker.example", "the broker's certificate is for another name"),
        (Authority("test", 1, PAST), "localhost", "cannot be used today: certificate has expired"),
    ],
    ids=["for another name", "expired"],
)
def test_a_broker_s_certificate_that_does_not_fit(mosquitto, compose, refused, authority, name, said):
    issued = authority.server([name])
    changed = {"ca": authority.certificate, "broker": issued.certificate, "broker_key": issued.key}
    with broker_of(compose(guest="certificate"), **changed) as asked:
        for client in ("gmqtt", "aiomqtt"):
            assert said in refused(*asked, f"--set=broker.client={client}")
