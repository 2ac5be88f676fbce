"""Runs in containers that do not end well: who is to blame is named, with the exit codes of `vicinal run`."""

from __future__ import annotations

import json
import signal
import time

import pytest

from broker import topics
from node import report, status
from node.status import DOWN
from runner import cli
from tests.compose.conftest import TREE
from tests.compose.deployment import WAIT, Deployment
from tests.compose.someone import Someone, address_of

pytestmark = [pytest.mark.mosquitto, pytest.mark.broker, pytest.mark.processes]


@pytest.fixture
def broker(mosquitto, compose):
    """A tree of three whose broker runs, and nothing else."""
    overrides = ("topology.agents=3", "record.every=0", "recovery.restart=true")
    with Deployment(compose(*overrides)) as deployment:
        deployment.up("broker")
        deployment.healthy("broker")
        yield deployment


@pytest.fixture
def deployment(broker):
    """The same with a recorder that listens."""
    broker.up("recorder")
    broker.healthy("recorder")
    return broker


def until(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def witness(deployment):
    """A connection of the user who may read everything, and does not judge this run."""
    return Someone(address_of(deployment, "recorder", "recorder"))


async def test_an_agent_that_cannot_go_on_ends_the_run(deployment):
    """One agent's rules are others: who notices first says so, and the run has failed for everybody."""
    file = deployment.folder("agent-a02") / "secrets" / "part.json"
    start = json.loads(file.read_text())
    start["agents"][0]["part"]["contract"]["capacities"] = [8.0]
    file.chmod(0o600)
    file.write_text(json.dumps(start))
    deployment.up("agent-a00")
    async with witness(deployment) as reader:
        # It has said by what rules it plays, before there is anybody with whom it would not go on.
        said = topics.status(deployment.project.run, "a00")
        await reader.transport.subscribe([said])
        await reader.until(lambda: said in reader.heard)
    deployment.up("agent-a01")
    deployment.up("agent-a02")
    assert deployment.processes["recorder"].wait(WAIT) == 1
    assert "plays by other rules" in deployment.err("recorder").splitlines()[-1]
    (run_dir,) = (deployment.project.out / "runs").iterdir()
    assert "plays by other rules" in json.loads((run_dir / "failed.json").read_text())["error"]
    # The agent itself has left with a code that Docker shows, and one line.
    failed = deployment.processes["agent-a02"]
    assert failed.wait(WAIT) == 1
    assert deployment.err("agent-a02").startswith("vicinal agent: agent a02: neighbour ")


async def test_a_killed_agent_is_named_when_docker_ends_the_others(deployment):
    agent = deployment.up("agent-a01")  # alone it waits for its neighbours
    until(lambda: "as agent-a01" in deployment.err("broker"))
    async with witness(deployment) as reader:
        will = topics.status(deployment.project.run, "a01")
        await reader.transport.subscribe([will])
        agent.kill()
        # Who subscribed first is told first: when the will is heard here, the recorder has it.
        await reader.until(lambda: will in reader.heard and status.read(reader.heard[will]).state == DOWN)
    recorder = deployment.processes["recorder"]
    recorder.send_signal(signal.SIGTERM)
    assert recorder.wait(WAIT) == 1
    said = deployment.err("recorder").splitlines()[-1]
    assert said == "vicinal: the connection of agent a01 was lost before it had a result"


async def test_an_agent_that_was_killed_and_has_forgotten_all_finds_the_others_there(deployment):
    topic = topics.report(deployment.project.run, "a01")

    def result():
        what, content = report.read(judge.heard[topic], "a01") if topic in judge.heard else ("", {})
        return content if what == report.RESULT else None

    for k in range(3):
        deployment.up(f"agent-a0{k}")
    assert deployment.processes["recorder"].wait(WAIT) == 0
    async with Someone(address_of(deployment, "recorder", "judge")) as judge:
        await judge.transport.subscribe([topic])
        await judge.until(result)
        first = result()
        deployment.processes["agent-a01"].kill()
        deployment.processes["agent-a01"].wait()
        deployment.up("agent-a01")
        await judge.until(lambda: result() and result()["incarnation"] > first["incarnation"], WAIT)
        second = result()
    assert second["epoch"] > first["epoch"]  # all of them have started again
    assert second["result"] == first["result"]


def test_a_run_that_does_not_begin_is_given_up(broker, tmp_path, capsys):
    access, out = broker.folder("recorder") / "secrets" / "recorder.json", str(tmp_path / "run")
    asked = ["record", str(TREE), "--set=topology.agents=3", "--access", str(access), "--out", out]
    assert cli.main([*asked, "--quiet", "--patience", "0.1"]) == 1
    assert "no progress for 0.1 s: no agent has been heard of" in capsys.readouterr().err


def test_a_recorder_without_a_broker_or_with_a_file_of_something_else(compose, tmp_path, capsys):
    with Deployment(compose()) as deployment:
        access = deployment.folder("recorder") / "secrets" / "recorder.json"
        for file, said in (
            (access, f"mqtts://localhost:{deployment.ports[8883]}"),
            (tmp_path / "none.json", "none.json: No such file"),
            (TREE, "not JSON"),
            (access.with_name("scenario.json"), "expected what `vicinal compose` writes"),
        ):
            out = tmp_path / "run"
            asked = ["record", str(TREE), "--out", str(out), "--quiet", "--access", str(file)]
            assert cli.main(asked) == 2
            printed = capsys.readouterr().err
            assert said in printed
            assert printed.count("\n") == 1
            assert not out.exists()
