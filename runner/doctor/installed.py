"""Versions of Python and of everything the package needs, and the programs that it can make use of."""

from __future__ import annotations

import re
import shutil
import sys
from importlib import metadata

from broker.embedded import find_server
from broker.transport import BrokerError
from runner.doctor.finding import Finding

PYTHON = (3, 11)
# A requirement as pyproject.toml writes them: name, bounds, and for an extra the marker with its name.
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?P<bounds>[^;]*?)\s*(?:;\s*(?P<marker>.*))?\Z")
_BOUND = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][^,\s]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
# Extras that a user may want; the others are for who develops the package.
EXTRAS = {"plot": "figures", "compose": "vicinal compose", "fast": "a faster event loop"}


def python() -> Finding:
    """The interpreter."""
    found = f"{sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < PYTHON:
        return Finding("Python", "broken", found, "expected 3.11 or newer")
    return Finding("Python", "ok", found)


def packages() -> list[Finding]:
    """Each package that vicinal requires, and those of the extras for users."""
    try:
        needed = metadata.requires("vicinal") or []
        ours = metadata.version("vicinal")
    except metadata.PackageNotFoundError:
        return [Finding("vicinal", "broken", "is not installed", "pip install vicinal")]
    findings = [Finding("vicinal", "ok", ours)]
    for requirement in needed:
        parts = _REQUIREMENT.match(requirement)
        assert parts is not None, requirement
        extra = _EXTRA.search(parts["marker"] or "")
        if extra is None or extra[1] in EXTRAS:
            findings.append(package(parts["name"], parts["bounds"], extra[1] if extra else None))
    return findings


def package(name: str, bounds: str, extra: str | None = None) -> Finding:
    """One package, held against its bounds.

    Args:
        name: of the distribution.
        bounds: as ``>=2.5,<2.6``.
        extra: the extra that it belongs to; None: it is needed.
    """
    fix = f"pip install vicinal[{extra}]" if extra is not None else f"pip install '{name}{bounds}'"
    why = f"for {EXTRAS[extra]}: " if extra is not None else ""
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "broken" if extra is None else "absent", "is not installed", why + fix)
    if not fits(found, bounds):
        return Finding(name, "broken" if extra is None else "poor", found, f"expected {bounds}: {fix}")
    return Finding(name, "ok", found)


def fits(version: str, bounds: str) -> bool:
    """Whether a version keeps all bounds; what follows its numbers (rc1, .post1) does not count."""
    for operator, bound in _BOUND.findall(bounds):
        seen, wanted = _numbers(version), _numbers(bound)
        width = max(len(seen), len(wanted))
        seen, wanted = seen + (0,) * (width - len(seen)), wanted + (0,) * (width - len(wanted))
        holds = {
            ">=": seen >= wanted,
            "<=": seen <= wanted,
            "==": seen == wanted,
            "!=": seen != wanted,
            "<": seen < wanted,
            ">": seen > wanted,
        }
        if not holds[operator]:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def programs() -> list[Finding]:
    """What is there beside Python's packages, and what it would be for. Nothing of it is needed."""
    try:
        mosquitto = Finding("mosquitto", "ok", find_server("mosquitto"))
    except BrokerError:
        mosquitto = Finding("mosquitto", "absent", "not found", 'for broker.server = "mosquitto"')
    return [
        mosquitto,
        _program("docker", ("docker",), "to start what `vicinal compose` writes"),
        _program("chromium", ("chromium", "chromium-browser", "google-chrome"), "to test the page"),
    ]


def _program(name: str, binaries: tuple[str, ...], use: str) -> Finding:
    found = next((path for binary in binaries if (path := shutil.which(binary))), None)
    if found is None:
        return Finding(name, "absent", "not on PATH", use)
    return Finding(name, "ok", found)
