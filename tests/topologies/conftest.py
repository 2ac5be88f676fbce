from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Four agents on a path, all of it written out; tests replace single lines.
SMALL = """
title = "four on a path"

[topology]
nodes = ["a", "b", "c", "d"]
edges = [["a", "b"], ["b", "c"], ["c", "d"]]

[environment]
capacities = [4.0]
eta = 5.0

[utilities.agents]
a = { theta = -1.0, sigma = 10.0 }
b = { theta = -0.5, sigma = 12.0 }
c = { theta = -2.0, sigma = 11.0 }
d = { theta = -1.5, sigma = 15.0 }
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes ``SMALL`` with one piece of text replaced, or another text, and gives its path."""

    def write(old: str = "", new: str = "", *, text: str = SMALL, name: str = "small.toml") -> Path:
        assert old in text
        path = tmp_path / name
        path.write_text(text.replace(old, new) if old else text, "utf-8")
        return path

    return write
