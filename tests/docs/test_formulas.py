"""Formulas are drawn when the site is built."""

from __future__ import annotations

import re
import sys

import pytest

from tests.docs.blocks import DOCS, blocks, pages

sys.path.insert(0, str(DOCS / "generate"))
import formulas

pytest.importorskip("ziamath", reason="in the extra docs")


def test_every_formula_of_the_documentation_can_be_drawn():
    found = [block for page in pages() for block in blocks(page) if block.language == "math"]
    assert len(found) > 40
    for block in found:
        assert formulas.block(block.text, "math", "math", {}, None).count("<svg") == 1, block.where


def test_a_drawing_scales_with_the_text_and_says_what_it_is():
    drawing = formulas.block(r"x_i < y_i \tag{4.15, E1}", "math", "math", {}, None)
    assert re.search(r'style="width:[\d.]+em;height:[\d.]+em"', drawing)
    assert 'aria-label="x_i &lt; y_i"' in drawing
    assert '<span class="math-tag">(4.15, E1)</span>' in drawing
    assert "currentColor" in drawing


def test_what_is_no_formula_is_refused_with_its_text():
    with pytest.raises(ValueError, match="frac"):
        formulas.drawn(r"\frac{1}")
