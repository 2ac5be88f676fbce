"""Pages of the site for files outside of ``docs/`` that its pages link to.

A text such as CONTRIBUTING.md becomes a page, a module becomes a page with its code, a folder becomes a list
of its modules. So no link leaves the site, and none needs a server that shows the repository.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
# Texts of the project that have a place in the navigation.
TEXTS = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/benchmarks.md",
}
# [text](target), ![text](target); not inside code, which is cut out first.
_LINK = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?(\))")
_CODE = re.compile(r"(^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[ \t]*$|`+[^`\n]+`+)", re.MULTILINE | re.DOTALL)
# A link that shows the file's name shows the page's title on the site.
_NAMED = re.compile(r"\[[\w./-]+\.md\]\(([^)\s#]*\.md)")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_LANGUAGES = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".sh": "bash"}


def pages(written: Mapping[str, str]) -> dict[str, str]:
    """The pages that are needed besides those written.

    Args:
        written: path of a page in the checkout, ``docs/...``, to its Markdown.
    Returns:
        Path of a page in the site to its Markdown.
    Raises:
        ValueError: for a link to a file that is not there, naming page and link.
    """
    made = {TEXTS[path]: (ROOT / path).read_text("utf-8") for path in TEXTS}
    for origin, markdown in [*written.items(), *((path, made[TEXTS[path]]) for path in TEXTS)]:
        for target in _targets(markdown, origin):
            if _is_page_of_docs(target) or target in TEXTS:
                continue  # MkDocs itself looks after links to its pages
            if not (ROOT / target).exists():
                raise ValueError(
                    f"{origin}: link to {target}, which is not there; expected a file or a folder"
                )
            for path in (target, *(f"{target}/{name}" for name in _modules(target))):
                made.setdefault(place(path), _code_page(path))
    return made


def place(path: str) -> str:
    """Where the site has the page of a file or folder of the checkout."""
    if path in TEXTS:
        return TEXTS[path]
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}.md"


def origin_of(page: str) -> str:
    """The file of the checkout that a page of the site is made of; the inverse of ``place``."""
    texts = {where: path for path, where in TEXTS.items()}
    if page in texts:
        return texts[page]
    if page.startswith("source/"):
        return page.removeprefix("source/").removesuffix("/index.md").removesuffix(".md")
    return f"docs/{page}"


def rewritten(markdown: str, page: str) -> str:
    """Markdown whose links to files of the checkout lead to pages of the site.

    Args:
        markdown: of the page, links relative to the file it was made of.
        page: its path in the site.
    """
    if page.startswith("source/"):
        return markdown  # made here, with links that are right already
    origin = origin_of(page)

    def titled(match: re.Match[str]) -> str:
        target = ROOT / (_resolved(match[1], origin) or "")
        title = _TITLE.search(target.read_text("utf-8")) if target.is_file() else None
        return match[0] if title is None else f"[{title[1]}]({match[1]}"

    def moved(match: re.Match[str]) -> str:
        target = _resolved(match[2], origin)
        if target is None or (_is_page_of_docs(target) and origin.startswith("docs/")):
            return match[0]
        there = target.removeprefix("docs/") if _is_page_of_docs(target) else place(target)
        return (
            f"{match[1]}{posixpath.relpath(there, posixpath.dirname(page) or '.')}{match[3] or ''}{match[4]}"
        )

    return "".join(
        piece if code else _LINK.sub(moved, _NAMED.sub(titled, piece)) for code, piece in _pieces(markdown)
    )


def _pieces(markdown: str) -> Iterator[tuple[bool, str]]:
    """(whether it is code, text) of the whole, in order."""
    end = 0
    for match in _CODE.finditer(markdown):
        yield False, markdown[end : match.start()]
        yield True, match[0]
        end = match.end()
    yield False, markdown[end:]


def _targets(markdown: str, origin: str) -> Iterator[str]:
    for code, piece in _pieces(markdown):
        if not code:
            for match in _LINK.finditer(piece):
                target = _resolved(match[2], origin)
                if target is not None:
                    yield target


def _resolved(target: str, origin: str) -> str | None:
    """A link's target as a path in the checkout; None if it leads elsewhere or stays on the page."""
    if not target or re.match(r"[a-z]+:", target):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))


def _is_page_of_docs(path: str) -> bool:
    return path.startswith("docs/") and not path.endswith(".py") and not (ROOT / path).is_dir()


def _modules(path: str) -> list[str]:
    """Names of the modules directly in a folder, ascending; none of a file."""
    folder = ROOT / path
    return sorted(file.name for file in folder.glob("*.py")) if folder.is_dir() else []


def _code_page(path: str) -> str:
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"
    if (ROOT / path).is_dir():
        rows = [f"| [{name}]({name}.md) | {_summary(ROOT / path / name)} |" for name in _modules(path)]
        others = sorted(file.name for file in (ROOT / path).iterdir() if file.name not in _modules(path))
        rows += [f"| {name} | |" for name in others if not name.startswith(("__pycache__", "."))]
        return f"{hidden}# {path}\n\n| file | |\n|---|---|\n" + "\n".join(rows) + "\n"
    file = ROOT / path
    language = _LANGUAGES.get(file.suffix, "text")
    # More backticks than any in the file, or the block would end early.
    longest = max((len(run) for run in re.findall(r"`+", file.read_text("utf-8"))), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{hidden}# {path}\n\n{fence}{language}\n{file.read_text('utf-8')}{fence}\n"


def _summary(module: Path) -> str:
    """The first line of a module's docstring."""
    doc = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return doc.partition("\n")[0].replace("|", "\\|")
