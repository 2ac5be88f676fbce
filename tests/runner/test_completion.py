"""The printed scripts complete what is typed, in a real shell."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from runner.cli import main
from topologies.reporting import dotted_keys

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("shtab")

# What bash does at a Tab, the words typed so far given as arguments.
TAB = '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_vicinal; printf "%s\\n" "${COMPREPLY[@]}"'


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, with what happens at a Tab below it."""
    path = tmp_path_factory.mktemp("completion") / "vicinal.bash"
    path.write_text(printed("bash") + TAB)
    return path


def printed(shell: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        parts: list[str] = []
        patch.setattr("sys.stdout.write", parts.append)
        assert main(["completion", shell]) == 0
    return "".join(parts)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["comple"], ["completion"]),
        (["run", "network-mi"], ["network-microgrid-7"]),
        (["run", "star-9", "--lock"], ["--lockstep"]),
        (["run", "star-9", "--set", "stopping.t"], ["stopping.tolerance"]),
        (["plot", "r", "--what", "alloc"], ["allocations"]),
        (["plot", "r", "--what", "prices,ta"], ["prices,taxes"]),
        (["plot", "r", "--format", ""], ["png", "svg"]),
        (["reproduce", ""], ["chapter4"]),
        (["show", "there"], ["there.toml"]),
    ],
)
def test_bash_completes(script: Path, tmp_path: Path, typed: list[str], completed: list[str]) -> None:
    (tmp_path / "there.toml").touch()
    (tmp_path / "there.txt").touch()
    done = subprocess.run(
        ["bash", script, "vicinal", *typed], cwd=tmp_path, capture_output=True, text=True, timeout=20
    )
    assert sorted(filter(None, done.stdout.split("\n"))) == completed, done.stderr


def test_zsh_gets_a_script_with_all_scenarios_and_metrics() -> None:
    text = printed("zsh")
    assert text.startswith("#compdef vicinal")
    assert "network-corn-5" in text
    assert "_values -s , metric convergence prices" in text
    if zsh := shutil.which("zsh"):
        assert subprocess.run([zsh, "-n"], input=text, text=True, timeout=20).returncode == 0


def test_every_key_of_the_file_format_is_completed() -> None:
    keys = dotted_keys()
    assert len(keys) == len(set(keys))
    for key in (
        "seed", "topology.agents", "topology.p", "environment.capacities", "environment.features",
        "mechanism.xi", "mechanism.primitive", "mechanism.balance", "utilities.class", "learning.dynamics",
        "stopping.tolerance", "synchrony.tick", "recovery.durable", "broker.url", "record.every",
    ):  # fmt: skip
        assert key in keys
