"""The families of utilities in scenario files: draws, checks, and what a user's class does there."""
# ruff: noqa: E501 (tables with one mistake a line)

from __future__ import annotations

import itertools
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.utilities import build
from topologies import ScenarioError, load_scenario
from topologies.valuations import rotated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PUBLIC = 'environment={kind="public-goods", features=%d, eta=25.0}'
TWO = "environment={capacities=[4.0, 8.0], eta=25.0}"
_NUMBERS = itertools.count()


def load(*overrides: str, seed: int | None = None) -> Any:
    topology = 'topology={nodes=["a0", "a1", "a2"], edges=[["a0", "a1"], ["a1", "a2"]]}'
    return load_scenario("ring-12", [topology, *overrides], seed)


def test_a_public_environment_brings_its_mechanism_and_its_features_along() -> None:
    scenario = load(PUBLIC % 2, "utilities={}", "mechanism={}")
    contract = scenario.contract()
    assert contract["mechanism"] == "public-goods"
    assert contract["features"] == 2
    assert "capacities" not in contract
    assert contract["stopping"]["scale"] == 1.0
    assert all(len(u["theta"]) == len(u["sigma"]) == 2 for u in scenario.utilities.values())
    assert (
        load('environment={kind="public-goods"}', "utilities={}", "mechanism={}").contract()["features"] == 1
    )


@pytest.mark.parametrize("name", ["public-tree-31", "public-er-31"])
@pytest.mark.parametrize("seed", range(5))
def test_the_public_instances_of_the_thesis_draw_what_the_private_ones_draw(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta, sigma = rng.uniform(-12.5, -0.02, 31), rng.uniform(10, 20, 31)
    utilities = load_scenario(name, seed=seed).utilities.values()
    assert [u["theta"] for u in utilities] == [[value] for value in theta.tolist()]
    assert [u["sigma"] for u in utilities] == [[value] for value in sigma.tolist()]


def test_log_cosh_draws_key_by_key_and_what_is_given_uses_no_random_numbers() -> None:
    scenario = load(TWO, 'utilities={family="log-cosh", seed=5, high=[2.0, 3.0], width={uniform=[1, 2]}}')
    rng = np.random.default_rng(5)
    low, sigma, width = rng.uniform(1 / 25, 1, (3, 2)), rng.uniform(10, 20, (3, 2)), rng.uniform(1, 2, (3, 2))
    for i, own in enumerate(scenario.utilities.values()):
        assert own == {
            "family": "log-cosh",
            "low": low[i].tolist(),
            "high": [2.0, 3.0],
            "sigma": sigma[i].tolist(),
            "centre": [0.0, 0.0],
            "width": width[i].tolist(),
        }


def test_quadratic_forms_draw_curvatures_then_rotations_then_sigma() -> None:
    scenario = load(TWO, 'utilities={family="quadratic-form", seed=5, curvature={uniform=[0.5, 4.0]}}')
    rng = np.random.default_rng(5)
    curvature, turns = rng.uniform(0.5, 4.0, (3, 2)), rng.standard_normal((3, 2, 2))
    sigma = rng.uniform(10, 20, (3, 2))
    for i, own in enumerate(scenario.utilities.values()):
        hessian = np.array(own["hessian"])
        basis, _ = np.linalg.qr(turns[i].T)  # columns, made orthonormal one after the other
        assert hessian == pytest.approx(-(basis * curvature[i]) @ basis.T, rel=1e-13, abs=1e-14)
        assert (hessian == hessian.T).all()
        assert own["sigma"] == sigma[i].tolist()
        assert not build(own).separable


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10**6))
def test_a_drawn_hessian_has_the_eigenvalues_that_were_drawn(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    curvature = rng.uniform(0.1, 10, k)
    hessian = np.array(rotated(curvature, rng.standard_normal((k, k))))
    assert np.linalg.eigvalsh(-hessian) == pytest.approx(np.sort(curvature), rel=1e-12)
    assert (hessian == hessian.T).all()


def test_a_drawn_hessian_is_the_same_on_every_machine() -> None:
    hessian = rotated(np.array([1.0, 3.0]), np.array([[0.3, -1.2], [2.0, 0.7]]))
    assert [[value.hex() for value in row] for row in hessian] == [
        ["-0x1.70f0f0f0f0f0dp+1", "-0x1.e1e1e1e1e1e1cp-2"],
        ["-0x1.e1e1e1e1e1e1cp-2", "-0x1.1e1e1e1e1e1e1p+0"],
    ]


def one(family: str, table: str) -> str:
    """Everybody's table is this one."""
    return f'utilities={{family="{family}", agents={{{", ".join(f"a{k}={table}" for k in range(3))}}}}}'


GIVEN = {
    "quadratic-form": "{ hessian = [[-2.0, 0.5], [0.5, -1.0]], sigma = [3.0, 4] }",
    "log-cosh": "{ low = 0.5, high = [2.0, 3.0], sigma = 4.0, centre = 1.0 }",
}


@pytest.mark.parametrize("family", GIVEN)
def test_utilities_given_agent_by_agent_are_taken_over(family: str) -> None:
    scenario = load(TWO, one(family, GIVEN[family]))
    expected = {
        "quadratic-form": {"hessian": [[-2.0, 0.5], [0.5, -1.0]], "sigma": [3.0, 4.0]},
        "log-cosh": {
            "low": [0.5, 0.5], "high": [2.0, 3.0], "sigma": [4.0, 4.0], "centre": [1.0, 1.0], "width": [1.0, 1.0],
        },
    }[family]  # fmt: skip
    assert list(scenario.utilities.values()) == [{"family": family, **expected}] * 3


# Overrides on three agents with two goods; then what the first line says.
MISTAKES = {
    one("log-cosh", "{low=0.5, high=2.0}"): ("utilities.agents.a0.sigma: missing", "a finite number"),
    one("log-cosh", "{low=0.5, high=2.0, sigma=1, peak=1}"): (
        "utilities.agents.a0.peak: unknown key", "one of low, high, sigma, centre, width",
    ),
    one("log-cosh", "{low=3.0, high=2.0, sigma=1}"): (
        "utilities.agents.a0.low: got low = 3.0 beside high = 2.0", "low at most high",
    ),
    one("log-cosh", "{low=0.5, high=[2.0, 25.0], sigma=1}"): (
        "utilities.agents.a0.high: got high = 25.0, the greatest curvature", "between 1/eta = 0.04 and eta = 25.0",
    ),
    one("log-cosh", "{low=[0.5, 0.01], high=2.0, sigma=1}"): (
        "utilities.agents.a0.low: got low = 0.01, the least curvature", "between 1/eta = 0.04 and eta = 25.0",
    ),
    one("log-cosh", "{low=0.5, high=2.0, sigma=1, width=0}"): ("utilities.agents.a0.width: got width = 0.0", "> 0"),
    one("log-cosh", "{low=0.5, high=2.0, sigma=[1, 2, 3]}"): (
        "utilities.agents.a0.sigma: got 3 numbers", "2, one per good of environment.capacities",
    ),
    one("log-cosh", "{low=0.5, high=nan, sigma=1}"): ("utilities.agents.a0.high: got nan", "a number > 0"),
    'utilities={family="log-cosh", low={uniform=[2, 3]}, high={uniform=[1, 1.5]}}': (
        "utilities.low.uniform: got [2.0, 3.0], from which agent a0 drew low = 2.", "low at most high",
    ),
    'utilities={family="log-cosh", high=30}': (
        "utilities.high: gives agent a0 high = 30.0, the greatest curvature (and 2 more agents likewise)", "eta = 25.0",
    ),
    'utilities={family="log-cosh", theta=-1}': ("utilities.theta: unknown key", "one of seed, family, low"),
    'utilities={family="log-cosh", width=[]}': ("utilities.width: got []", "{ uniform = [lo, hi] }, a finite number"),
    one("quadratic-form", "{hessian=[[-1.0, 3.0], [3.0, -1.0]], sigma=1}"): (
        "utilities.agents.a0.hessian: got curvatures (eigenvalues of -H) from -2.0", "between 1/eta = 0.04",
    ),
    one("quadratic-form", "{hessian=[[-1.0, 0.5], [0.4, -1.0]], sigma=1}"): (
        "utilities.agents.a0.hessian: got 0.4 in row 1, column 0, and 0.5 in row 0, column 1", "a symmetric matrix",
    ),
    one("quadratic-form", "{hessian=[[-1.0]], sigma=1}"): (
        "utilities.agents.a0.hessian: got 1 rows", "2 rows of 2 numbers",
    ),
    one("quadratic-form", "{hessian=[[-1.0, 0.5]], sigma=1}"): (
        "utilities.agents.a0.hessian: got [[-1.0, 0.5]]", "a list of K lists of K finite numbers",
    ),
    one("quadratic-form", "{hessian=-1.0, sigma=1}"): ("utilities.agents.a0.hessian: got -1.0", "a list of K lists"),
    'utilities={family="quadratic-form", curvature={uniform=[0.01, 0.02]}}': (
        "utilities.curvature.uniform: got [0.01, 0.02], from which agent a0 drew curvatures", "between 1/eta = 0.04",
    ),
    'utilities={family="quadratic-form", curvature=[1.0, 2.0, 3.0]}': (
        "utilities.curvature: got 3 numbers", "2, one per good",
    ),
    'utilities={family="custom"}': ("utilities.class: missing", '"module:Class"'),
    'utilities={family="custom", class="Mine"}': ('utilities.class: got "Mine"', '"module:Class"'),
    'utilities={family="custom", class="no_such_module:Mine"}': (
        "utilities.class: 'no_such_module:Mine': No module named 'no_such_module'", "in the scenario's folder or on",
    ),
    'utilities={family="custom", class="json:Mine"}': ("utilities.class: 'json:Mine': not in the module json (", "names"),
    'utilities={family="custom", class="json:dumps", parameters={when=2024-01-01}}': (
        "utilities.parameters.when: got ", "a table of the class's arguments",
    ),
    'utilities={family="custom", class="json:dumps", parameters={a={uniform=[2, 1]}}}': (
        "utilities.parameters.a.uniform: got [2, 1]", "lo <= hi",
    ),
    'utilities={family="custom", class="json:dumps", parameters={obj=1}}': (
        "utilities.parameters: agent a0: json:dumps: has no method value", "expected value, gradient and curvature",
    ),
}  # fmt: skip


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_in_a_family_is_named(override: str) -> None:
    got, expected = MISTAKES[override]
    with pytest.raises(ScenarioError) as caught:
        load(TWO, override)
    line = str(caught.value).splitlines()[0]
    assert got in line
    assert expected in line
    assert line.count("; expected ") == 1


def test_features_are_named_where_numbers_do_not_fit_them() -> None:
    with pytest.raises(
        ScenarioError, match=r"got 3 numbers.*; expected 2, one per feature of environment\.features"
    ):
        load(PUBLIC % 2, "mechanism={}", "utilities={theta=[-1, -1, -1]}")


CLASS = """
import numpy as np

class Mine:
    def __init__(self, target, weight=1.0, unit="kW", table=()):
        self.target, self.weight = target, weight
        self.curvature = (weight, weight)
        self.separable = True

    def value(self, x):
        return -0.5 * self.weight * float(np.sum((x - self.target) ** 2))

    def gradient(self, x):
        return -self.weight * (x - self.target)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Callable[..., Path]:
    """A scenario beside a module with a class; the module's name is its own, so that no test meets another's."""
    name = f"mine_{next(_NUMBERS)}"

    def write(utilities: str, code: str = CLASS, environment: str = "capacities = [4.0, 8.0]") -> Path:
        (tmp_path / f"{name}.py").write_text(code)
        path = tmp_path / "s.toml"
        path.write_text(
            '[topology]\nnodes = ["a0", "a1", "a2"]\nedges = [["a0", "a1"], ["a1", "a2"]]\n'
            f"[environment]\n{environment}\neta = 5.0\n"
            f'[utilities]\nfamily = "custom"\nclass = "{name}:Mine"\n{utilities}\n'
        )
        return path

    return write


def test_a_class_beside_the_scenario_gets_drawn_and_plain_arguments(mine: Callable[..., Path]) -> None:
    path = mine(
        'seed = 4\nparameters = { target = { uniform = [1, 2] }, unit = "W", table = [[1, 2], [3, 4]] }'
    )
    scenario = load_scenario(path)
    target = np.random.default_rng(4).uniform(1, 2, (3, 2)).tolist()
    assert [u["parameters"] for u in scenario.utilities.values()] == [
        {"target": row, "unit": "W", "table": [[1, 2], [3, 4]]} for row in target
    ]
    assert scenario.import_path == (str(path.parent),)
    assert [module.suffix for module in scenario.own_modules] == [".py"]
    part = scenario.parts("r")["a0"]
    assert build(part.utility).demand(np.zeros(2)) == pytest.approx(target[0])


def test_a_scenario_with_a_class_loads_again_from_what_it_resolves_to(mine: Callable[..., Path]) -> None:
    path = mine(
        "[utilities.agents]\na0 = { target = 1 }\na1 = { target = [1, 2.5], weight = 2.0 }\na2 = { target = 3 }"
    )
    once = load_scenario(path)
    again_path = path.parent / "resolved.json"
    again_path.write_text(json.dumps(once.resolved()))
    again = load_scenario(again_path)
    assert again.hash == once.hash
    assert again.utilities == once.utilities


@pytest.mark.parametrize(
    ("utilities", "said"),
    [
        (
            "parameters = { target = 1.0, weight = 7.0 }",
            "agent a0: mine_\\d+:Mine declares curvatures from 7.0 to 7.0",
        ),
        ("parameters = { target = 1.0, weigth = 7.0 }", "unexpected keyword argument 'weigth'"),
        ("", "missing 1 required positional argument: 'target' \\(and 2 more agents likewise\\)"),
        ("parameters = { target = 'warm' }", "Mine raised (UFuncTypeError|UFuncNoLoopError|TypeError|numpy)"),
        (
            "[utilities.agents]\na0 = { target = 1 }\na1 = { target = 1, weight = -1.0 }\na2 = { target = 1 }",
            r"utilities\.agents\.a1: agent a1: mine_\d+:Mine: curvature is \(-1\.0, -1\.0\); expected 0 < lowest",
        ),
    ],
)
def test_a_class_that_will_not_do_is_named_with_agent_and_reason(
    mine: Callable[..., Path], utilities: str, said: str
) -> None:
    with pytest.raises(ScenarioError, match=said) as caught:
        load_scenario(mine(utilities))
    assert len(str(caught.value).splitlines()) == 1
    assert "; expected " in str(caught.value)


def test_a_module_that_fails_to_import_is_named(mine: Callable[..., Path]) -> None:
    with pytest.raises(
        ScenarioError, match=r"utilities\.class: .*importing it raised ZeroDivisionError: division"
    ):
        load_scenario(mine("", code="1 / 0"))


def test_a_module_of_the_same_name_from_elsewhere_is_not_taken_in_silence(
    mine: Callable[..., Path], tmp_path: Path
) -> None:
    path = mine("parameters = { target = 1.0 }")
    load_scenario(path)
    other = tmp_path / "other"
    other.mkdir()
    for file in (path, *path.parent.glob("mine_*.py")):
        (other / file.name).write_text(file.read_text())
    with pytest.raises(
        ScenarioError, match=r"that Python has is \S+, not \S+other\S+; expected a module name"
    ):
        load_scenario(other / "s.toml")


def test_an_installed_module_hides_one_beside_the_scenario_and_that_is_said(
    mine: Callable[..., Path],
) -> None:
    path = mine("")
    (path.parent / "json.py").write_text(CLASS)
    path.write_text(re.sub(r'class = ".*"', 'class = "json:loads"', path.read_text()))
    with pytest.raises(ScenarioError, match="a module name that nothing else has"):
        load_scenario(path)
    assert sys.modules["json"] is json


numbers = st.floats(-100, 100)


@st.composite
def sections(draw: st.DrawFn) -> dict[str, Any]:
    k = draw(st.integers(1, 3))
    public = draw(st.booleans())
    environment = {"kind": "public-goods", "features": k} if public else {"capacities": [1.0] * k}
    family = draw(st.sampled_from(["quadratic", "quadratic-form", "log-cosh"]))
    lows = st.floats(0.21, 0.9)
    spans = lows.flatmap(lambda lo: st.floats(lo, 0.99).map(lambda hi: {"uniform": [lo, hi]}))
    utilities: dict[str, Any] = {
        "family": family,
        "sigma": draw(st.one_of(numbers, st.just({"uniform": [0, 1]}))),
    }
    if family == "quadratic-form":
        utilities["curvature"] = draw(spans)
    if family == "log-cosh":
        utilities |= {
            "low": draw(spans),
            "centre": draw(numbers),
            "width": {"uniform": [0.5, 3.0]},
            "high": 4.0,
        }
    if family == "quadratic":
        utilities["theta"] = -draw(lows)
    return {
        "seed": draw(st.integers(0, 2**32)),
        "topology": {"generator": "ring", "agents": draw(st.integers(3, 6))},
        "environment": {**environment, "eta": 5.0},
        "utilities": utilities,
    }


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sections())
def test_any_family_loads_again_from_what_it_resolves_to(tmp_path: Path, data: dict[str, Any]) -> None:
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(data))
    once = load_scenario(path)
    (tmp_path / "resolved.json").write_text(json.dumps(once.resolved()))
    again = load_scenario(tmp_path / "resolved.json")
    assert again.hash == once.hash
    assert again.utilities == once.utilities
    assert again.contract() == once.contract()
    for utility in once.utilities.values():
        lowest, highest = build(utility).curvature
        assert 1 / 5 < lowest.min() <= highest.max() < 5
