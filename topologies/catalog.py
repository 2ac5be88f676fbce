"""The scenarios that come with the package, and how a name or path on the command line is found."""

from __future__ import annotations

import tomllib
from pathlib import Path

from topologies.errors import ScenarioError
from topologies.nearest import nearest

_FOLDER = Path(__file__).parent


def bundled() -> list[tuple[str, str, Path]]:
    """The bundled scenarios as (name, title, path), by name."""
    return [
        (path.stem, str(tomllib.loads(path.read_text("utf-8")).get("title", "")), path)
        for path in sorted(_FOLDER.glob("*.toml"))
    ]


def find(source: str | Path) -> Path:
    """Turn what a user typed into the path of a file.

    Args:
        source: path of a scenario file, or the name of a bundled scenario. A file wins over a name.
    Raises:
        ScenarioError: if there is neither; the text suggests the bundled name that comes closest.
    """
    path = Path(source)
    try:
        if path.is_file():
            return path
        named = _FOLDER / f"{source}.toml"
        if path.name == str(source) and named.is_file():
            return named
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ScenarioError(
            f"{source}: {error.strerror}; expected a TOML file or a bundled scenario"
        ) from None
    names = sorted(other.stem for other in _FOLDER.glob("*.toml"))
    near = nearest(path.stem, names)
    hint = f"did you mean the bundled scenario {near!r}? " if near is not None else ""
    what = "is a folder" if path.is_dir() else "no such file or bundled scenario"
    raise ScenarioError(f"{source}: {what}; {hint}expected a TOML file or one of {', '.join(names)}")
