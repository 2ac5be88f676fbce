"""The observed rate and the convergence plot."""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runner.plot import PlotUnavailable, allocation_errors, deviations, draw_convergence, observed_rate
from runner.record import Batch, PartWriter, Record, read
from tests.runner.results import result_of

if TYPE_CHECKING:
    from pathlib import Path

START = 60


def optimum(n: int, goods: int = 1) -> dict[str, list[float]]:
    return {f"n{i:02d}": [1.0 + i + 0.5 * k for k in range(goods)] for i in range(n)}


def recorded(
    directory: Path, n: int = 5, rounds: int = 200, rate: float = 0.9, goods: int = 1, floor: float = 0.0
) -> Record:
    """A made-up run: x_i(k) = x_i* + (-1)^i rate^k, with a floor of rounding."""
    random = np.random.default_rng(7)
    writer = PartWriter(directory, "r1")
    k = np.arange(rounds)
    for i, (agent, best) in enumerate(optimum(n, goods).items()):
        shrink = rate**k + floor * random.uniform(0.2, 1.0, rounds)
        names = (
            ["allocation", "price"]
            if goods == 1
            else [f"{w}.{g}" for w in ("allocation", "price") for g in range(goods)]
        )
        columns = (*names, "tax", "residual")
        values = np.column_stack(
            [
                *[x + (-1) ** i * shrink for x in best],
                *[4.0 + 0.5 * shrink for _ in best],
                (-1.0) ** i * (2 + (i == n - 1) * (n % 2) * -2) + shrink,
                0.1 * shrink,
            ]
        )
        writer.append(Batch(agent, columns, START + k, 1e9 + k * 0.01, values))
    writer.flush()
    return read(directory)


def test_the_errors_are_the_largest_deviation_over_the_largest_share(tmp_path: Path):
    errors = allocation_errors(recorded(tmp_path, n=4, rounds=3, rate=0.5), optimum(4))
    assert errors.rounds.tolist() == [60, 61, 62]
    np.testing.assert_allclose(errors.values, [1 / 4, 0.5 / 4, 0.25 / 4], rtol=1e-12)


def test_prices_are_held_against_each_agent_s_own(tmp_path: Path):
    own = {f"n{i:02d}": [4.0 - i] for i in range(4)}
    errors = deviations(recorded(tmp_path, n=4, rounds=3, rate=0.5), "price", own)
    # The made-up prices are 4 + rate^k / 2 for all; the last agent's is the furthest off.
    np.testing.assert_allclose(errors.values, [3.5 / 4, 3.25 / 4, 3.125 / 4], rtol=1e-12)


def test_an_agent_without_an_optimum_does_not_count(tmp_path: Path):
    record = recorded(tmp_path, n=4, rounds=3)
    best = optimum(4)
    del best["n03"]
    assert allocation_errors(record, best).values[0] == pytest.approx(1 / 3)
    assert np.isnan(allocation_errors(record, {}).values).all()


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.976, 0.999])
def test_a_geometric_rate_is_found(tmp_path: Path, rate: float):
    rounds = min(4000, int(math.log(1e-9) / math.log(rate)))
    assert observed_rate(recorded(tmp_path, rounds=rounds, rate=rate), optimum(5)) == pytest.approx(
        rate, abs=1e-6
    )


def test_the_floor_of_rounding_does_not_slow_the_rate(tmp_path: Path):
    record = recorded(tmp_path, rounds=800, rate=0.9, floor=1e-14)
    assert observed_rate(record, optimum(5)) == pytest.approx(0.9, abs=2e-3)


def test_a_rate_recorded_every_fifth_round_is_per_round(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    k = np.arange(0, 300, 5)
    writer.append(Batch("n00", ("allocation",), k, 1e9 + k, (1.0 + 0.95**k)[:, None]))
    writer.flush()
    assert observed_rate(read(tmp_path), {"n00": [1.0]}) == pytest.approx(0.95, abs=1e-9)


def test_no_rate_where_there_is_none(tmp_path: Path):
    assert observed_rate(Record(), optimum(5)) is None
    for name, shape in {"short": {"rounds": 6}, "flat": {"rate": 1.0}, "growing": {"rate": 1.05}}.items():
        (tmp_path / name).mkdir()
        assert observed_rate(recorded(tmp_path / name, **shape), optimum(5)) is None


@pytest.mark.parametrize(
    "shape",
    [
        {"n": 31, "rounds": 120},
        {"goods": 2},
        {"rounds": 1},
        {"rate": 1.05},
        {"n": 1, "rate": 0.0},
    ],
    ids=["usual", "two-goods", "one-round", "diverging", "exact-at-once"],
)
def test_a_plot_is_drawn(tmp_path: Path, shape: dict[str, Any]):
    record = recorded(tmp_path, **shape)
    n, goods = shape.get("n", 5), shape.get("goods", 1)
    result = result_of(
        optimal_allocation=optimum(n, goods),
        multiplier=[4.0] * goods,
        stopped_in_round=int(record.round.max()),
    )
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = tmp_path / f"convergence{suffix}"
        draw_convergence(record, result, path)
        assert path.read_bytes().startswith(magic)
    assert not list(tmp_path.glob(".convergence*"))


def test_the_plot_reads_only_what_is_there(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    k = np.arange(20)
    writer.append(Batch("n00", ("allocation",), k, 1e9 + k, (1.0 + 0.5**k)[:, None]))
    writer.append(Batch("n01", ("allocation",), k[:10], 1e9 + k[:10], (1.0 + 0.5 ** k[:10])[:, None]))
    writer.flush()
    result = result_of(optimal_allocation={"n00": [1.0], "n01": [1.0], "n02": [1.0]})
    draw_convergence(read(tmp_path), result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").exists()


def test_an_empty_record_has_no_plot(tmp_path: Path):
    with pytest.raises(PlotUnavailable, match="no allocation"):
        draw_convergence(Record(), result_of(), tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()


def test_without_matplotlib_the_way_to_get_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    actual = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return actual(name, package)

    record = recorded(tmp_path, rounds=20)
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(PlotUnavailable, match=r"pip install vicinal\[plot\]"):
        draw_convergence(record, result_of(), tmp_path / "plot.png")


def test_a_path_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        draw_convergence(recorded(tmp_path, rounds=20), result_of(), tmp_path / "absent" / "plot.png")
