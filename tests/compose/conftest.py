"""Projects written for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner.compose.project import Project, Wishes, write
from topologies import load_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

DEMOS = Path(__file__).parents[2] / "docker"
TREE = DEMOS / "tree-7" / "scenario.toml"


@pytest.fixture
def compose(tmp_path: Path) -> Callable[..., Project]:
    """Write the tree of seven, or another scenario, as a project below ``tmp_path``."""

    def written(*overrides: str, out: str = "project", scenario: Path = TREE, **wishes: object) -> Project:
        return write(load_scenario(scenario, overrides), Wishes(tmp_path / out, **wishes))  # type: ignore[arg-type]

    return written
