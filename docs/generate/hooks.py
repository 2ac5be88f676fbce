"""What MkDocs calls while it builds the site: generated pages, links into the code, formulas, drawings.

Nothing here fetches anything. Every page is also legible where it lies: links go to files of the checkout,
and only the site turns them into pages of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import commands
import formulas
import scenario_keys
import sources
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

GENERATED = {"reference/scenario.md": scenario_keys.page, "reference/commands.md": commands.page}
# A drawing that is put into the page itself takes the colours of the theme, light or dark.
_DRAWING = re.compile(r'<img alt="([^"]*)" src="([^"]*\.svg)" ?/?>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Formulas: a block fenced as ``math`` becomes a drawing."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "math", "format": formulas.block})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated: references, pages of the project's other texts, and the sources linked to."""
    for path, page in GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    pages = {
        f"docs/{file.src_uri}": Path(file.abs_src_path).read_text("utf-8")
        for file in files.documentation_pages()
        if file.abs_src_path is not None and file.generated_by is None
    }
    for path, content in sources.pages(pages).items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links out of ``docs/`` lead to the page that the site has for that file."""
    return sources.rewritten(markdown, page.file.src_uri)


def on_page_content(html: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Drawings are put into the page, so that their text can be read by machines and takes its colours."""
    folder = (Path(config.docs_dir) / page.file.src_uri).parent

    def inlined(match: re.Match[str]) -> str:
        path = folder / match[2]
        # Pages are files: the address of a picture is relative to the page, as in the source.
        drawing = path.resolve().read_text("utf-8")
        return f'<div class="drawing" role="img" aria-label="{match[1]}">{drawing}</div>'

    return _DRAWING.sub(inlined, html)
