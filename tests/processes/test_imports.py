"""What starts fast imports little; looked for among the modules, not at a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest


def imported(code):
    """The modules that a fresh interpreter has after running ``code``."""
    script = f"{code}\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["compose", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import contextlib\nfrom runner.cli import main\n"
        f"with contextlib.suppress(SystemExit): main({arguments!r})"
    )
    heavy = {"numpy", "networkx", "pydantic", "pyarrow", "rich", "gmqtt", "aiomqtt", "msgpack", "yaml"}
    assert imported(code) & heavy == set()


def test_agent_imports_only_what_it_plays_with():
    modules = imported(
        "import node.process, node.__main__, node.protocols.allocate\n"
        "import broker.mqtt; from broker.transport import Address\n"
        "broker.mqtt.make_transport('gmqtt', Address('h', 1), 'c', print)"
    )
    assert "numpy" in modules  # the net has no hole
    assert (
        modules & {"networkx", "pydantic", "pyarrow", "rich", "matplotlib", "scipy", "aiomqtt", "paho"}
        == set()
    )
    assert modules & {"topologies", "runner"} == set()
