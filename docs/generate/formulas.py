"""Formulas drawn when the site is built: LaTeX in, SVG out, in the colour of the text around it.

So they show without any script and without the network. The LaTeX is kept as the drawing's description.
"""

from __future__ import annotations

import html
import re
from typing import Any

# Points; the size of the text around is set by the style sheet, relative to this.
SIZE = 20.0
_TAG = re.compile(r"\s*\\tag\{([^}]*)\}\s*$")


def block(source: str, language: str, css_class: str, options: Any, md: Any, **_: Any) -> str:
    """A fenced block, one formula a line; ``\\tag{...}`` at the end of a line goes to the right margin."""
    rows = []
    for line in source.strip().splitlines():
        tag = _TAG.search(line)
        number = f'<span class="math-tag">{html.escape(tag[1])}</span>' if tag else ""
        rows.append(f'<div class="math-row">{drawn(_TAG.sub("", line))}{number}</div>')
    return f'<div class="{css_class}">' + "".join(rows) + "</div>"


def drawn(latex: str) -> str:
    """One formula as an SVG element that scales with the text.

    Raises:
        ValueError: naming the formula, if it is none.
    """
    import ziamath

    try:
        formula = ziamath.Latex(latex, size=SIZE, color="currentColor")
        drawing: str = formula.svg()
    except Exception as error:  # whatever the parser trips over, the formula is what has to be mended
        raise ValueError(f"formula {latex!r}: {type(error).__name__}: {error}; expected LaTeX") from error
    width, height = formula.getsize()
    size = f'style="width:{width / SIZE:.3f}em;height:{height / SIZE:.3f}em"'
    described = f'role="img" aria-label="{html.escape(latex.strip())}"'
    return re.sub(r'width="[\d.]+" height="[\d.]+"', f"{size} {described}", drawing, count=1)
