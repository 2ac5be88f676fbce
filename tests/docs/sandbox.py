"""A folder in which the blocks of pages are worked through, as a reader would."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import io
import json
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from functools import partial
from typing import TYPE_CHECKING

import yaml

import runner
from runner import cli
from tests.docs.blocks import ROOT, Block
from topologies import load_scenario
from topologies.model import Scenario
from topologies.overrides import apply

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
# A table of a scenario file that a page explains by itself is held against the models within this one.
AROUND = {"topology": {"generator": "ring", "agents": 12}, "environment": {"capacities": [24.0]}}
# Reading a scenario of more agents than this takes seconds; its tables are checked, not its graph.
MANY = 20_000


class Sandbox:
    """One reader's folder and memory.

    Args:
        folder: empty; the reader's working folder.
        monkeypatch: undoes at the end what the blocks change.
        runs: whether commands are run, or only held against the parsers.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, runs: bool) -> None:
        self.folder, self.monkeypatch, self.runs = folder, monkeypatch, runs
        self.names: dict = {"__name__": "__page__"}
        self.said, self.code, self.tests = "", 0, []
        monkeypatch.chdir(folder)
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("COLUMNS", "80")
        # Paths in examples are those of a checkout.
        (folder / "topologies").symlink_to(ROOT / "topologies")

    def work_through(self, block: Block) -> None:
        """Do with a block what its reader does, or what can be checked of that.

        Raises:
            AssertionError: with page and line, for whatever goes wrong.
        """
        left_out = block.mark == "unrun" and block.language not in ("sh", "console")
        known = left_out or block.language in self._kinds
        assert known, f"{block.where}: language {block.language!r} cannot be tested"
        try:
            if block.mark == "excerpt":
                assert block.reason, "an excerpt needs a reason"
                code = textwrap.indent(block.text, "    ")
                compile("def page():\n" + code, block.where, "exec")
            elif left_out:
                assert block.reason, "leaving a block out needs a reason"
            else:
                self._kinds[block.language](self, block)
        except Exception as error:
            raise AssertionError(f"{block.where}: {type(error).__name__}: {error}") from error

    def _python(self, block: Block) -> None:
        if block.file is not None:
            (self.folder / block.file).write_text(block.text + "\n")
            if block.file.startswith("test_"):
                self.tests.append(block.file)
            else:
                self._forget(block.file.removesuffix(".py"))
            compile(block.text, block.where, "exec")
            return
        if block.mark == "virtual":
            assert block.reason, "running otherwise than the page needs a reason"
            self.monkeypatch.setattr(runner, "run", partial(cli_run(), virtual=True), raising=False)
        code = compile(block.text, block.where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            result = eval(code, self.names)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        self.said, self.code = out.getvalue(), 0

    def _forget(self, module: str) -> None:
        """A file that is written again is read again."""
        self.monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    def _toml(self, block: Block) -> None:
        data = tomllib.loads(block.text)
        name = block.file or "unnamed.toml"
        (self.folder / name).write_text(block.text + "\n")
        if {"topology", "environment"} <= data.keys():
            load_scenario(self.folder / name)
        else:
            Scenario.model_validate({**AROUND, **data})

    def _session(self, block: Block) -> None:
        commands = block.commands()
        for k, command in enumerate(commands):
            if self.runs and block.mark != "unrun":
                self._run(command)
                last = k == len(commands) - 1
                expected = int(block.reason) if last and block.mark == "exits" else 0
                assert self.code == expected, f"{command}: exit code {self.code}\n{self.said}"
            else:
                assert block.mark != "unrun" or block.reason, "not running a command needs a reason"
                check(command, self.folder)

    def _run(self, command: str) -> None:
        words = shlex.split(command)
        out = io.StringIO()
        match words:
            case ["vicinal", *arguments]:
                with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                    try:
                        self.code = cli.main(arguments)
                    except SystemExit as left:
                        self.code = int(left.code or 0)
                self.said = out.getvalue()
            case ["python", *arguments]:
                done = subprocess.run(
                    [sys.executable, *arguments],
                    cwd=self.folder,
                    env={**_environment(), "PYTHONPATH": f"{ROOT}"},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.said, self.code = done.stdout + done.stderr, done.returncode
            case ["mkdir", name]:
                (self.folder / name).mkdir()
            case ["cd", name]:
                self.folder = self.folder / name
                self.monkeypatch.chdir(self.folder)
                self.monkeypatch.syspath_prepend(str(self.folder))
            case _:
                raise AssertionError(f"{command!r} cannot be run here; mark the block unrun, with a reason")

    def _shown(self, block: Block) -> None:
        """Text under a title is what the block before it prints; ``...`` stands for anything."""
        if not (self.runs and block.title):
            return
        pattern = ".*?".join(re.escape(_even(piece)) for piece in block.text.split("..."))
        assert re.search(pattern, _even(self.said), re.DOTALL), (
            f"shown:\n{block.text}\n\nprinted:\n{self.said}"
        )

    def _json(self, block: Block) -> None:
        json.loads(block.text)

    def _yaml(self, block: Block) -> None:
        yaml.safe_load(block.text)

    def _indented(self, block: Block) -> None:
        first = block.text.split()[0]
        assert not first.startswith(("$", "vicinal.cli")), "a session is fenced as console or sh"

    def _math(self, block: Block) -> None:
        """A formula; the build of the site draws it or fails."""
        assert block.text.count("{") == block.text.count("}")

    _kinds = {  # noqa: RUF012
        "python": _python,
        "toml": _toml,
        "sh": _session,
        "console": _session,
        "text": _shown,
        "json": _json,
        "yaml": _yaml,
        "math": _math,
        "indented": _indented,
    }


def cli_run():
    """``runner.run`` itself, whatever a block before has put in its place."""
    from runner.api import run

    return run


def _environment() -> dict[str, str]:
    import os

    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}


def _even(text: str) -> str:
    """Without what differs in no way that a reader sees: blanks at the end of lines, empty lines around."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def check(command: str, folder: Path) -> None:
    """Hold a command against what there is: parsers, scenarios, targets, modules, scripts.

    Raises:
        AssertionError: if it could not work as it stands.
    """
    command = re.sub(r"<[a-z ]+>", "ID", command)  # what the reader is to put there
    for part in re.split(r"\s*(?:&&|;|\||\\$)\s*", command):
        words = shlex.split(part)
        while words and re.match(r"^[A-Za-z_]+=", words[0]):
            words = words[1:]
        if not words:
            continue
        words[0] = words[0].removeprefix(".venv/bin/")
        match words:
            case ["vicinal", *arguments] if _is_usage(part):
                _check_usage(arguments)
            case ["vicinal", *arguments]:
                _check_vicinal(arguments, folder)
            case ["make", *targets]:
                for target in targets:
                    assert "=" in target or target in MAKE_TARGETS, f"make {target}: no such target"
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module), f"no module {module}"
            case ["python", script, *_]:
                assert (ROOT / script).exists() or (folder / script).exists(), f"no file {script}"


def _is_usage(part: str) -> bool:
    return re.search(r"(?<![=\w,])\[", part) is not None


def _parser(name: str):
    parsers = dict(_parsers())
    assert name in parsers, f"vicinal {name}: no such command; there are {', '.join(sorted(parsers))}"
    return parsers[name]


def _parsers():
    for action in cli._parser()._actions:
        if hasattr(action, "choices") and isinstance(action.choices, dict):
            yield from action.choices.items()


def _check_usage(arguments: list[str]) -> None:
    known = {option for action in _parser(arguments[0])._actions for option in action.option_strings}
    for option in re.findall(r"--[a-z-]+", " ".join(arguments[1:])):
        assert option in known, f"vicinal {arguments[0]}: no option {option}"


def _check_vicinal(arguments: list[str], folder: Path) -> None:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            read = cli._parser().parse_args(arguments)
        except SystemExit as left:
            if left.code == 0:  # --help and --version
                return
            raise AssertionError(said.getvalue()) from None
    scenario = getattr(read, "scenario", None)
    overrides, seed = getattr(read, "overrides", []), getattr(read, "seed", None)
    for source in scenario if isinstance(scenario, list) else [scenario]:
        if source is None or source.startswith("runs/") or source == "SCENARIO":
            continue
        places = (folder / source, ROOT / source, ROOT / "topologies" / f"{source}.toml")
        path = next((place for place in places if place.is_file()), None)
        if path is None:  # a file of the reader's that no page shows
            assert "/" in source or source.endswith((".toml", ".json")), f"no scenario {source}"
            continue
        data = tomllib.loads(path.read_text("utf-8"))
        apply(data, overrides)
        if data["topology"].get("agents", 0) > MANY:
            Scenario.model_validate({"name": path.stem, **data})
        else:
            load_scenario(path, overrides, seed)
