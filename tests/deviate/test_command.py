"""``vicinal deviate`` as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runner import cli
from runner.deviate.lab import Wish, experiment
from runner.deviate.play import Stage
from topologies import load_scenario

CORN = ["deviate", "network-corn-5", "--agent", "a3", "--quiet"]
PAGE = (Path(__file__).parents[2] / "docs" / "deviate.md").read_text("utf-8")
CODE = re.search(r"```python\n(# late\.py\n.*?)```", PAGE, re.DOTALL)[1]
PLAIN = ("--quiet", "--json", "--set", "record.plot=false")  # a figure takes a second


def called(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = cli.main([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_numbers_and_a_figure(tmp_path, capsys):
    out = tmp_path / "out"
    code, said, _ = called(capsys, *CORN, "--strategy", "exaggerate", "--size", "0.7", "--out", out)
    assert code == 0
    assert "others held:  nobody gains" in said
    assert re.search(r"naive: +0\.7 gains 0\.08992 \(\+15\.3 %\)", said)
    kept = json.loads((out / "deviation.json").read_text())
    assert [p["size"] for p in kept["points"]] == [0.7, 1.0]
    assert (out / "deviation.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "resolved.json").is_file()


def test_json_is_one_object_and_what_is_on_file(tmp_path, capsys):
    out = tmp_path / "out"
    code, said, errors = called(
        capsys, *CORN, *PLAIN, "--strategy", "randomise", "--sizes", "0,0.1", "--out", out
    )
    assert (code, errors) == (0, "")
    printed = json.loads(said)
    assert printed.pop("directory") == str(out)
    assert printed == json.loads((out / "deviation.json").read_text())
    assert [p["learning"]["rest"] for p in printed["points"]] == [True, False]


@pytest.mark.parametrize("sizes", ["-1,1", "-1:1:3"])
def test_sizes_may_begin_with_a_negative_one(tmp_path, capsys, sizes):
    star = ["deviate", "star-9", "--agent", "a02", "--strategy", "shift", *PLAIN]
    code, said, _ = called(capsys, *star, "--sizes", sizes, "--rounds", "3", "--out", tmp_path / "out")
    assert code == 0
    assert [p["size"] for p in json.loads(said)["points"]] == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [("0.5:1.5:3", [0.5, 1.0, 1.5]), ("0.6,0.8", [0.6, 0.8, 1.0]), ("0.2:0.8:4", [0.2, 0.4, 0.6, 0.8, 1.0])],
)
def test_the_honest_size_is_always_tried(tmp_path, capsys, sizes, expected):
    _, said, _ = called(
        capsys, *CORN, *PLAIN, "--strategy", "exaggerate", "--sizes", sizes, "--out", tmp_path / "out"
    )
    assert [p["size"] for p in json.loads(said)["points"]] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*CORN, "--strategy", "exagerate"), r"exagerate: no such strategy; .*\(did you mean exaggerate\?\)"),
        ((*CORN, "--agent", "a33", "--strategy", "scale"), r"--agent a33: no agent .*\(did you mean a3\?\)"),
        ((*CORN, "--strategy", "scale", "--size", "0"), "scale: size 0: expected a number > 0"),
        ((*CORN, "--strategy", "scale", "--sizes", "1:2"), "--sizes 1:2: expected A:B:K"),
        ((*CORN, "--strategy", "scale", "--sizes", "1,x"), "--sizes 1,x: expected A:B:K"),
        ((*CORN, "--strategy", "scale", "--rounds", "0"), "--rounds 0: expected a whole number >= 1"),
        ((*CORN, "--strategy", "price-take"), "price takers by the rule"),
        ((*CORN, "--strategy", "math:pi"), "expected a class derived from node.strategies.Strategy"),
        ((*CORN, "--strategy", "nowhere:Liar"), "No module named 'nowhere'"),
        (("deviate", "consensus-set-er-31", "--agent", "a00", "--strategy", "scale"), "no payoffs"),
        (
            ("deviate", "star-9", "--agent", "a00", "--strategy", "scale", "--set", 'synchrony.mode="free"'),
            'expected "rounds"',
        ),
        (("deviate", "star-99", "--agent", "a00", "--strategy", "scale"), "star-99"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said, errors = called(capsys, *arguments)
    assert (code, said) == (2, "")
    assert errors.count("\n") == 1
    assert re.search(message, errors)
    assert not list(tmp_path.iterdir())


def test_the_class_of_the_page_is_a_strategy(tmp_path, capsys, monkeypatch):
    (tmp_path / "late.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    arguments = ("deviate", "star-9", "--agent", "a02", "--strategy", "late:Late", "--size", "0.5", *PLAIN)
    code, said, _ = called(capsys, *arguments, "--out", "out")
    assert code == 0
    late, honest = json.loads(said)["points"]
    assert honest["learning"]["payoffs"] == json.loads(said)["honest"]["payoffs"]
    # It ends where the same lie from the first round on ends, which takes the others longer.
    early = experiment(Stage.of(load_scenario("star-9")), Wish(("a02",), "exaggerate", (0.5,))).points[0]
    assert late["learning"]["payoffs"]["a02"] == pytest.approx(early.learning.payoffs["a02"], rel=1e-6)
    assert late["learning"]["payoffs"] != early.learning.payoffs


def test_an_equilibrium_that_is_none_is_an_exit_code(tmp_path, capsys, monkeypatch):
    from node.mechanisms.private_goods import PrivateGoods

    charged = PrivateGoods.outcome

    def free(self, message, view):
        outcome = charged(self, message, view)
        return type(outcome)(outcome.allocation, outcome.price, 0.0)

    monkeypatch.setattr(PrivateGoods, "outcome", free)
    arguments = ("deviate", "star-9", "--agent", "a02", "--strategy", "shift", "--size", "1")
    code, said, _ = called(capsys, *arguments, "--set", "record.plot=false", "--out", tmp_path / "out")
    assert code == 1
    assert "this is no equilibrium" in said


@pytest.mark.processes
@pytest.mark.broker
def test_over_a_broker_the_same_payoffs_come_out(tmp_path, capsys):
    arguments = (*CORN, *PLAIN, "--strategy", "constant", "--size", "0.7", "--over", "broker")
    code, said, _ = called(capsys, *arguments, "--out", tmp_path / "out")
    assert code == 0
    stage = Stage.of(load_scenario("network-corn-5"))
    here = experiment(stage, Wish(("a3",), "constant", (0.7,)))
    there = json.loads(said)["points"]
    assert [p["learning"]["payoffs"] for p in there] == [p.learning.payoffs for p in here.points]
