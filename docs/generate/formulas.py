"""Formulas drawn when the site is built: LaTeX in, SVG out, in the colour of the text around it.

So they show without any script and without the network. The LaTeX is kept as the drawing's description.
"""

from __future__ import annotations

import html
import re
import warnings
from typing import Any

# Points; the size of the text around is set by the style sheet, relative to this.
SIZE = 20.0
TALLEST = 6
_TAG = re.compile(r"\s*\\tag\{([^}]*)\}\s*$")


def block(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """A fenced block: one formula; ``\\tag{...}`` at its end goes to the right margin."""
    tag = _TAG.search(source)
    number = f'<span class="math-tag">({html.escape(tag[1])})</span>' if tag else ""
    return f'<div class="{css_class}">{drawn(_TAG.sub("", source))}{number}</div>'


def drawn(latex: str) -> str:
    """One formula as an SVG element that scales with the text.

    Raises:
        ValueError: naming the formula, if it is none.
    """
    with warnings.catch_warnings():
        # It asks for its font in a way that Python 3.11 and 3.12 call old, and 3.13 does not.
        warnings.simplefilter("ignore", DeprecationWarning)
        import ziamath

    try:
        formula = ziamath.Latex(latex, size=SIZE, color="currentColor")
        drawing: str = formula.svg()
    except Exception as error:  # whatever the parser trips over, the formula is what has to be mended
        raise ValueError(f"formula {latex!r}: {type(error).__name__}: {error}; expected LaTeX") from error
    width, height = formula.getsize()
    if height > TALLEST * SIZE:
        # Some brackets around sums come out as tall as the page.
        raise ValueError(f"formula {latex!r}: {height / SIZE:.0f} lines tall; expected at most {TALLEST}")
    size = f'style="width:{width / SIZE:.3f}em;height:{height / SIZE:.3f}em"'
    described = f'role="img" aria-label="{html.escape(latex.strip())}"'
    return re.sub(r'width="[\d.]+" height="[\d.]+"', lambda _: f"{size} {described}", drawing, count=1)
