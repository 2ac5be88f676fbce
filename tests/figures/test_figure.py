"""Figures are drawn, of every kind of run, complete or not at all, and the same each time."""

from __future__ import annotations

import importlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.text import Text

from runner.figures import figure, lines
from runner.figures.canvas import Label, PlotUnavailable, label_ends, page
from runner.figures.placing import places
from runner.figures.run import Run, open_runs
from runner.record import Batch, PartWriter, Record, read
from tests.figures.made_up import optimum, recorded
from tests.runner.results import result_of
from topologies import load_scenario

if TYPE_CHECKING:
    from pathlib import Path


def made_up(record: Record, **result: Any) -> Run:
    return Run("demo", result_of(**result), record, load_scenario("star-9"))


# Every metric once, every kind of run once.
DRAWN = {
    "private": ["convergence", "prices", "taxes", "messages"],
    "two-goods": ["allocations"],
    "summary": ["residuals", "graph"],
    "network": ["convergence", "prices", "loads"],
    "consensus": ["convergence", "estimates"],
    "counted": ["convergence", "counts"],
    "apart": ["convergence", "estimates"],
    "exact": ["graph"],
    "free": ["convergence"],
}


@pytest.mark.parametrize(("kind", "what"), DRAWN.items(), ids=DRAWN)
def test_every_kind_of_run_is_drawn(runs: dict[str, Path], tmp_path: Path, kind: str, what: list[str]):
    path = tmp_path / "all.svg"
    figure.draw(open_runs([runs[kind]]), what, path)
    text = path.read_text()
    assert text.startswith("<?xml")
    # A panel each, or one for each good; beside a graph a scale of colours, unless all have the same.
    scales = "graph" in what and kind != "exact"
    assert len(re.findall(r'id="axes_\d+"', text)) == len(what) + scales + (kind == "two-goods")
    assert not list(tmp_path.glob(".*"))


def test_every_metric_is_among_those_drawn():
    assert {name for what in DRAWN.values() for name in what} == set(figure.WHAT)


def test_several_runs_share_a_figure_and_are_named_in_it(runs: dict[str, Path], tmp_path: Path):
    chosen = open_runs([runs["private"], runs["free"], runs["summary"]])
    assert [run.label for run in chosen] == ["private", "free", "summary"]
    path = tmp_path / "several.png"
    what = ["convergence", "prices", "messages", "graph"]
    figure.draw(chosen, what, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_figure_is_the_same_file(runs: dict[str, Path], tmp_path: Path):
    (run,) = open_runs([runs["private"]])
    for name in ("a.svg", "b.svg"):
        figure.draw([run], ["graph"], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_network_run_leaves_a_picture(runs: dict[str, Path]):
    assert (runs["multicast"] / "convergence.png").read_bytes().startswith(b"\x89PNG")


def test_lines_of_runs_differ_without_colour_too(tmp_path: Path):
    with page(tmp_path / "p.png", (4, 3)) as drawn:
        axes = drawn.subplots()
        for k in range(figure.MOST_RUNS):
            lines.draw_run(axes, k, f"run {k}", [0, 1], [0, k])
        looks = {(str(line._dash_pattern), line.get_marker()) for line in axes.lines}
    assert len(looks) == figure.MOST_RUNS


def test_names_at_the_ends_of_lines_do_not_cover_one_another(tmp_path: Path):
    with page(tmp_path / "p.png", (4, 3)) as drawn:
        axes = drawn.subplots()
        axes.plot([0, 1], [0, 1])
        label_ends(axes, [Label(1, 0.5, f"agent {k}", "black") for k in range(6)], 2.0)
        drawn.canvas.draw()
        # Of the words alone, without the line that leads to the curve.
        boxes = [Text.get_window_extent(text) for text in axes.texts]
    for one, other in itertools.combinations(boxes, 2):
        assert one.y0 >= other.y1 - 1 or other.y0 >= one.y1 - 1


@pytest.mark.parametrize(
    "shape",
    [{"n": 70, "rounds": 20}, {"rounds": 1, "goods": 2}, {"rate": 1.05}, {"n": 1, "rate": 0.0}],
    ids=["many", "one-round", "diverging", "exact-at-once"],
)
def test_the_overview_is_drawn(tmp_path: Path, shape: dict[str, Any]):
    record = recorded(tmp_path, **shape)
    n, goods = shape.get("n", 5), shape.get("goods", 1)
    run = made_up(
        record,
        n=n,
        optimal_allocation=optimum(n, goods),
        multiplier=[4.0] * goods,
        stopped_in_round=int(record.round.max()),
    )
    path = tmp_path / "convergence.png"
    figure.draw_overview(run, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".convergence*"))


def test_the_overview_draws_what_is_there(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    k = np.arange(20)
    writer.append(Batch("n00", ("allocation",), k, 1e9 + k, (1.0 + 0.5**k)[:, None]))
    writer.append(Batch("n01", ("allocation",), k[:10], 1e9 + k[:10], (1.0 + 0.5 ** k[:10])[:, None]))
    writer.flush()
    run = made_up(read(tmp_path), optimal_allocation={"n00": [1.0], "n01": [1.0], "n02": [1.0]})
    figure.draw_overview(run, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").exists()


def test_an_empty_record_has_no_plot(tmp_path: Path):
    with pytest.raises(PlotUnavailable, match="nothing recorded"):
        figure.draw_overview(made_up(Record()), tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_without_matplotlib_the_way_to_get_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    actual = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return actual(name, package)

    run = made_up(recorded(tmp_path, rounds=20), optimal_allocation=optimum(5))
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(PlotUnavailable, match=r"pip install vicinal\[plot\]"):
        figure.draw_overview(run, tmp_path / "plot.png")


def test_a_path_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    with pytest.raises(FileNotFoundError), page(tmp_path / "absent" / "plot.png", (1, 1)):
        pass
    with pytest.raises(ZeroDivisionError), page(tmp_path / "plot.png", (1, 1)):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "scenario",
    ["binary-tree-31", "ring-12", "directed-8", "erdos-renyi-31", "summary-tree-1023", "summary-er-1023"],
)
def test_no_two_agents_stand_in_one_place(scenario: str):
    loaded = load_scenario(scenario)
    spots = places(loaded.graph, loaded.directed)
    assert spots.shape == (len(loaded.agents), 2)
    assert len(np.unique(spots.round(9), axis=0)) == len(loaded.agents)
    np.testing.assert_array_equal(spots, places(loaded.graph, loaded.directed))
