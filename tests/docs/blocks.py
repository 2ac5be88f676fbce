"""The code blocks of a Markdown page: fenced ones, and indented ones that are commands.

A comment that no reader sees may stand before a block and say how it is tested:

    <!-- excerpt: REASON -->    it is compiled only, as the body of a function
    <!-- unrun: REASON -->      it is checked, not run, on a page whose commands are run
    <!-- virtual: REASON -->    what it runs is run over the virtual network
    <!-- exits 2 -->            its last command ends with this exit code
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^( *)(`{3,})([^`]*)$")
_MARK = re.compile(r"^<!-- (excerpt|unrun|virtual|exits)(?::| ) *(.*) -->$")
_NAMED = re.compile(r"^# ([\w-]+\.(?:py|toml))$")
_SHELLS = {"bash": "sh", "shell": "sh", "py": "python"}
# An indented block is a formula, a table of a terminal or a session; what begins like this is a session.
COMMANDS = ("vicinal", "make", "python", "pip", "cd", "mkdir", "docker", "mosquitto", "source", "sudo", ".")


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        page: path in the checkout.
        line: of its first line, from 1.
        language: of the fence; of one without, and of indented blocks, ``sh`` if it is a session.
        title: what a reader sees above it, if anything.
        text: its lines, without the indentation of the block.
        mark, reason: of the comment before it; empty if there is none.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that a reader is to save it as: its first line says so."""
        named = _NAMED.match(self.text.partition("\n")[0])
        return named[1] if named else None

    def commands(self) -> list[str]:
        """The commands of a session, one a line, without prompts, comments and output.

        A line that is indented, or comes after a backslash, goes on with the one before.
        """
        lines: list[str] = []
        session = self.language == "console"
        for line in self.text.splitlines():
            if session and not line.startswith("$ "):
                continue
            bare = re.sub(r"(^|\s)#( .*|)$", "", line.removeprefix("$ ")).rstrip()
            if not bare:
                continue
            if lines and (bare.startswith(" ") or lines[-1].endswith("\\")):
                lines[-1] = lines[-1].removesuffix("\\").rstrip() + " " + bare.strip()
            else:
                lines.append(bare)
        return lines


def blocks(path: Path) -> list[Block]:
    """All blocks of a page, in order."""
    return list(_blocks(path.read_text("utf-8").splitlines(), str(path.relative_to(ROOT))))


def _blocks(lines, page):
    k, mark, reason = 0, "", ""
    while k < len(lines):
        line = lines[k]
        if fence := _FENCE.match(line):
            indent, ticks, info = fence.groups()
            start = k + 1
            k = start
            while not re.match(rf"^ *{ticks}`*\s*$", lines[k]):
                k += 1
            text = "\n".join(inner.removeprefix(indent) for inner in lines[start:k])
            language, _, rest = info.strip().partition(" ")
            title = re.search(r'title="([^"]*)"', rest)
            language = _session_or(text, "text") if not language else _SHELLS.get(language, language)
            yield Block(page, start + 1, language, title[1] if title else "", text, mark, reason)
            mark = reason = ""
        elif line.startswith("    ") and line.strip() and (k == 0 or not lines[k - 1].strip()):
            start = k
            while k < len(lines) and (lines[k].startswith("    ") or not lines[k].strip()):
                k += 1
            text = "\n".join(inner.removeprefix("    ") for inner in lines[start:k]).rstrip()
            k -= 1
            yield Block(page, start + 1, _session_or(text, "indented"), "", text, mark, reason)
            mark = reason = ""
        elif found := _MARK.match(line.strip()):
            mark, reason = found.groups()
        elif line.strip():
            mark = reason = ""
        k += 1


def _session_or(text, other):
    """``sh`` if the first word is a command, or else ``other``."""
    first = text.split()[0].removeprefix(".venv/bin/") if text.strip() else ""
    return "sh" if first in COMMANDS else other


def pages() -> list[Path]:
    """README.md and every page of the documentation, ascending."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


class _Loader(yaml.SafeLoader):
    """mkdocs.yml may hold tags for Python names, which do not matter here."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def navigation() -> list[str]:
    """The pages in the navigation of the site, in its order, as paths below ``docs/``."""
    config = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Loader)
    return list(_leaves(config["nav"]))


def _leaves(entry):
    if isinstance(entry, str):
        yield entry
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from _leaves(inner)
