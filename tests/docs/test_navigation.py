"""Every page has a place in the navigation of the site, and every place a page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, navigation, pages
from topologies.generators import Section

sys.path.insert(0, str(DOCS / "generate"))
import scenario_keys
import sources


def test_every_page_is_in_the_navigation():
    written = {str(page.relative_to(DOCS)) for page in pages() if page.is_relative_to(DOCS)}
    assert written - set(navigation()) == set(), "pages that nobody finds; add them to nav in mkdocs.yml"


def test_the_navigation_leads_to_pages_only():
    written = {str(page.relative_to(DOCS)) for page in pages() if page.is_relative_to(DOCS)}
    generated = {"reference/scenario.md", "reference/commands.md", *sources.TEXTS.values()}
    assert set(navigation()) - written - generated == set()
    assert len(set(navigation())) == len(navigation())


def test_every_key_of_a_scenario_file_is_in_its_reference():
    def models(kind):
        for inner in kind.__subclasses__():
            yield inner
            yield from models(inner)

    told = {model for table in scenario_keys.tables() for model in table.models}
    # Bases are not tables of their own, and a distribution is a value.
    bases = {model for model in models(Section) if model.__subclasses__()}
    found = {m for m in models(Section) if m.__module__.startswith("topologies") and m.__name__ != "Uniform"}
    assert found - told - bases == set()
    page = scenario_keys.page()
    for model in told:
        for key, field in model.model_fields.items():
            assert f"| `{field.alias or key}` |" in page or f"`{key} = " in page


@pytest.mark.parametrize(
    ("row", "there"),
    [
        ("| `tolerance` | number | (0, 1) | `1e-06` |", True),
        ("| `capacities` | list | at least 1 long | must be given |", True),
        ("| `port` | whole number | [0, 65535] | `0` |", True),
        ("| `uniform` |", False),
    ],
)
def test_a_row_says_type_range_and_default(row, there):
    assert (row in scenario_keys.page()) == there


def test_links_out_of_the_documentation_lead_to_pages_of_the_site():
    page = "[the agent](../node/agent.py), [learning](../node/learning), `[x](../no.py)` and [other](b.md#c)"
    assert sources.rewritten(page, "a.md") == (
        "[the agent](source/node/agent.py.md), [learning](source/node/learning/index.md), "
        "`[x](../no.py)` and [other](b.md#c)"
    )
    assert sources.rewritten("[a](docs/index.md)", "project/contributing.md") == "[a](../index.md)"
    assert sources.rewritten("[mechanism.md](mechanism.md)", "a.md") == "[The mechanisms](mechanism.md)"
    with pytest.raises(ValueError, match=r"docs/a\.md: link to node/nobody\.py"):
        sources.pages({"docs/a.md": "[x](../node/nobody.py)"})


def test_no_page_names_a_place_of_one_machine():
    for page in pages():
        text = page.read_text("utf-8")
        for place in (Path.home(), ROOT):
            # As a whole: on another machine either may be a folder as short as one that a page speaks of.
            assert place == Path("/") or not re.search(
                rf"(?<![\w.-]){re.escape(str(place))}(?![\w-])", text
            ), page


def test_every_link_of_a_page_leads_to_a_file_of_the_repository():
    # Pages are read there, too, not only on the site, which has more of them.
    for page in pages():
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", re.sub(r"`[^`\n]*`", "", text)):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page}: link to {target}"
