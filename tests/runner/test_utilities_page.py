"""docs/utilities.md does what it says: its module and its scenario are taken from the page and run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from node.utilities import build
from runner import run
from topologies import ScenarioError, load_scenario

PAGE = (Path(__file__).parents[2] / "docs" / "utilities.md").read_text("utf-8")


@pytest.fixture
def comfort(tmp_path):
    """The files of the page, and the scenario's path."""
    for text in re.findall(r"```(?:python|toml)\n(.*?)```", PAGE, re.DOTALL):
        name = re.match(r"# (\S+)\n", text)[1]
        # A module is imported once in a process, and every test has a folder of its own.
        (tmp_path / name.replace("comfort", tmp_path.name)).write_text(
            text.replace("comfort:", f"{tmp_path.name}:")
        )
    return tmp_path / f"{tmp_path.name}.toml"


def test_the_example_runs_and_reaches_its_optimum(comfort):
    result = run(comfort, virtual=True, out=comfort.parent / "run")
    assert result.kept_promise
    assert sum(x for (x,) in result.allocation.values()) == pytest.approx(10.0, abs=1e-6)
    assert result.multiplier[0] > 0


def test_the_example_keeps_the_bounds_it_declares(comfort):
    for spec in load_scenario(comfort).utilities.values():
        utility = build(spec)
        lowest, highest = utility.curvature
        for price in np.linspace(-100, 100, 41):
            x = utility.demand(np.array([price]))
            assert abs(utility.gradient(x)[0] - price) <= 1e-12 * (1 + abs(price))
        x = np.linspace(-20, 20, 4001)
        slopes = -np.diff([utility.gradient(np.array([v]))[0] for v in x]) / np.diff(x)
        assert lowest[0] - 1e-9 <= slopes.min()
        assert slopes.max() <= highest[0] + 1e-9


def test_the_message_about_a_misspelt_argument_is_the_one_on_the_page(comfort):
    comfort.write_text(comfort.read_text().replace("target =", "targt ="))
    (shown,) = re.findall(r"^    comfort\.toml: (.*)$", PAGE, re.MULTILINE)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(comfort)
    said = str(caught.value).replace(str(comfort), "comfort.toml").replace(f"{comfort.stem}:", "comfort:")
    assert said == f"comfort.toml: {shown}"
