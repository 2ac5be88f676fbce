"""Learning dynamics of the user's own: found beside the scenario, played like any other."""

from __future__ import annotations

import itertools
import re
import textwrap
from pathlib import Path

import pytest

from runner import run
from topologies import ScenarioError, load_scenario

# Modules are imported once in a process, so each test needs a name of its own.
NUMBERS = itertools.count()

PAGE = (Path(__file__).parents[2] / "docs" / "learning.md").read_text("utf-8")
MUTE = """

class Mute:
    def update(self, said):
        return said
"""
# The example of the page does what the page says.
CODE = re.search(r"```python\n(# thirds\.py\n.*?)```", PAGE, re.DOTALL)[1] + MUTE


def write(folder, attribute="Thirds"):
    name = f"thirds_{next(NUMBERS)}"
    (folder / f"{name}.py").write_text(CODE)
    path = folder / "thirds.toml"
    text = f"""
        [topology]
        generator = "ring"
        agents = 5
        [environment]
        kind = "public-goods"
        eta = 5.0
        [learning]
        dynamics = "{name}:{attribute}"
        [record]
        every = 0
        """
    path.write_text(textwrap.dedent(text))
    return path, name


def test_a_dynamic_beside_the_scenario_is_played_and_kept_with_the_record(tmp_path):
    path, name = write(tmp_path)
    result = run(path, virtual=True, out=tmp_path / "run")
    assert result.kept_promise
    assert result.allocation_error <= 1e-6
    assert (tmp_path / "run" / f"{name}.py").read_text() == CODE


def test_it_plays_other_rounds_than_cournot(tmp_path):
    path, _ = write(tmp_path)
    results = [
        run(path, virtual=True, out=tmp_path / str(k), overrides=overrides)
        for k, overrides in enumerate(([], ["learning.dynamics=cournot"]))
    ]
    assert results[0].play_rounds > results[1].play_rounds


@pytest.mark.parametrize(
    ("attribute", "got", "expected"),
    [
        ("Mute", "has no method spread, state, restore", "update, spread, state, restore"),
        ("Nobody", "not in the module", "one of its names"),
    ],
)
def test_a_class_that_is_no_dynamic_is_a_mistake_in_the_scenario(tmp_path, attribute, got, expected):
    path, _ = write(tmp_path, attribute)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: learning.dynamics: ")
    seen, _, wanted = line.partition("; expected ")
    assert got in seen
    assert expected in wanted
