"""Which runs a grid means, and what is no grid."""

from __future__ import annotations

import tomllib

import pytest

from runner.errors import UserError
from runner.sweep.grid import cells, check, combinations, known_keys, read_grid, typed
from topologies import bundled


def test_commas_inside_brackets_and_quotes_belong_to_a_value():
    grid = read_grid(["environment.capacities=[9.0],[3.0, 4.0]", 'mechanism={name="a,b", xi=1},{name="c"}'])
    assert grid == {
        "environment.capacities": ("[9.0]", "[3.0, 4.0]"),
        "mechanism": ('{name="a,b", xi=1}', '{name="c"}'),
    }


def test_all_combinations_times_all_seeds_the_last_key_fastest():
    grid = read_grid(["environment.eta=10,20", "learning.dynamics=cournot,exponential"])
    assert [tuple(v for _, v in c) for c in combinations(grid)] == [
        ("10", "cournot"),
        ("10", "exponential"),
        ("20", "cournot"),
        ("20", "exponential"),
    ]
    found = cells(grid, range(3, 5))
    assert [cell.seed for cell in found] == [3, 4] * 4
    assert found[2].overrides == ("environment.eta=10", "learning.dynamics=exponential")


def test_without_a_grid_there_are_the_seeds():
    assert [cell.seed for cell in cells(read_grid([]), range(3))] == [0, 1, 2]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("environment.etta=1,2", r"environment.etta: no key .*\(did you mean environment.eta\?\)"),
        ("stoping.tolerance=1e-3", r"\(did you mean stopping.tolerance\?\)"),
        ("tolerance=1e-3", r"\(did you mean stopping.tolerance\?\)"),
        ("topology.agnets=7", r"\(did you mean topology.agents\?\)"),
        ("environment.eta", "expected key=value,value"),
        ("environment.eta=1,,2", "expected key=value,value"),
        ("=1", "expected key=value,value"),
        ("seed=1,2", "expected --seeds A-B"),
    ],
)
def test_what_is_no_grid_names_what_is_near(option, message):
    with pytest.raises(UserError, match=message):
        read_grid([option])


def test_a_key_given_twice_is_refused():
    with pytest.raises(UserError, match="given twice"):
        read_grid(["environment.eta=1", "environment.eta=2"])


def test_every_key_that_a_bundled_scenario_uses_is_known():
    known = known_keys()
    for name, _, path in bundled():
        for section, table in tomllib.loads(path.read_text("utf-8")).items():
            keys = [f"{section}.{key}" for key in table] if isinstance(table, dict) else [section]
            assert set(keys) <= known, name


def test_a_value_that_never_fits_is_a_mistake():
    grid = read_grid(["mechanism.parameters=tuned,eta", "mechanism.xi=0.9"])
    with pytest.raises(UserError, match=r"mechanism.xi.*from --grid mechanism.xi"):
        check("star-9", (), grid, 0)


def test_a_value_that_fits_some_of_the_others_is_none():
    # Averages over ticks are refused in free mode, and Cournot's is the first of the grid that goes with it.
    grid = read_grid(["synchrony.mode=free,rounds", "learning.dynamics=exponential,cournot"])
    assert check("star-9", (), grid, 4).spec.seed == 4


def test_numbers_stay_numbers_and_the_rest_is_text():
    grid = read_grid(["topology.agents=7,15", "environment.eta=10,2.5", "learning.k=1,x", "topology='a','b'"])
    assert typed(grid) == {
        "topology.agents": {"7": 7, "15": 15},
        "environment.eta": {"10": 10.0, "2.5": 2.5},
        "learning.k": {"1": "1", "x": "x"},
        "topology": {"'a'": "a", "'b'": "b"},
    }
