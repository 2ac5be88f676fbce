"""Projects written for the tests, and one of them carried out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.embedded import find_server
from broker.transport import BrokerError
from runner.compose.project import Project, Wishes, write
from tests.compose.deployment import WAIT, Deployment
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEMOS = Path(__file__).parents[2] / "docker"
TREE = DEMOS / "tree-7" / "scenario.toml"


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., Project]:
    """Write the tree of seven, or another scenario, as a project below ``tmp_path``."""

    def written(*overrides: str, out: str = "project", scenario: Path = TREE, **wishes: object) -> Project:
        return write(load_scenario(scenario, overrides), Wishes(tmp_path / out, **wishes))  # type: ignore[arg-type]

    return written


@pytest.fixture(scope="package")
def mosquitto() -> None:
    """Skips where there is none, or not the client that its health check asks with."""
    try:
        find_server("mosquitto")
    except BrokerError as error:
        pytest.skip(str(error))
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("no mosquitto_sub on PATH: install the mosquitto-clients package")


@pytest.fixture(scope="package")
def judged(mosquitto: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The tree of seven after its run: the recorder has judged it and exited; broker and agents stay.

    Killed agents would be started again, without their memory, guests are let in with a password, and a page
    shows the run; nothing else differs from the demo.
    """
    loaded = load_scenario(TREE, ["recovery.restart=true", "record.plot=false"])
    folder = tmp_path_factory.mktemp("compose")
    with Deployment(write(loaded, Wishes(folder / "tree", guest="password", page=True))) as deployment:
        deployment.all_up()
        assert deployment.processes["recorder"].wait(WAIT) == 0, deployment.err("recorder")
        yield deployment
        deployment.stop()
        codes = {service: process.returncode for service, process in deployment.processes.items()}
        assert set(codes.values()) == {0}, codes  # told to end, everybody ends in order


@pytest.fixture(scope="package")
def emptied(judged: Deployment) -> Deployment:
    """The same once the agents have been told to end: the broker alone, for tests who connect as agents."""
    judged.stop(*(service for service in judged.processes if service.startswith("agent-")))
    return judged
