"""What figures show is what was measured: series of real runs held against their results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from runner.figures import series
from runner.figures.convergence import _curves, _messages_a_round, distance
from runner.figures.measures import tax_balance
from runner.figures.run import Held, Run, open_runs
from runner.record import Batch, PartWriter, read
from tests.runner.results import result_of

if TYPE_CHECKING:
    from pathlib import Path


def opened(runs: dict[str, Path], kind: str) -> Run:
    return open_runs([runs[kind]])[0]


@pytest.mark.parametrize("kind", ["private", "two-goods", "public", "free", "network"])
def test_allocations_end_at_the_result_and_have_the_optimum_as_target(runs: dict[str, Path], kind: str):
    run = opened(runs, kind)
    every = series.allocations(run)
    assert len(every) == len(next(iter(run.result.allocation.values())))
    for good, each in enumerate(every):
        for k, agent in enumerate(each.names):
            # The last recorded round is the one before the last: close, and equal in a network only.
            within = 0.0 if kind == "network" else 1e-4
            assert each.values[-1, k] == pytest.approx(run.result.allocation[agent][good], abs=within)
            assert each.targets[k] == run.result.optimal_allocation[agent][good]


@pytest.mark.parametrize("kind", ["network", "multicast"])
def test_the_error_of_a_network_run_ends_at_that_of_the_outcome(runs: dict[str, Path], kind: str):
    run = opened(runs, kind)
    assert distance(run).values[-1] == run.result.allocation_error
    # The agents played on: what was measured after the outcome is on file all the same.
    assert read(runs[kind]).series("step")[1].max() == run.record.series("step")[1].max() + 1


@pytest.mark.parametrize(("kind", "within"), [("network", 1e-3), ("multicast", 0.05)])
def test_link_prices_approach_the_multipliers(runs: dict[str, Path], kind: str, within: float):
    run = opened(runs, kind)
    (links,) = series.prices(run)
    assert links.of == "link"
    assert set(links.names) == set(run.result.link_prices)
    for k, name in enumerate(links.names):
        assert links.values[-1, k] == pytest.approx(run.result.link_prices[name], abs=within)


@pytest.mark.parametrize("kind", ["network", "multicast"])
def test_loads_never_exceed_one_and_end_at_what_is_in_use(runs: dict[str, Path], kind: str):
    run = opened(runs, kind)
    (loads,) = series.loads(run)
    assert loads.values.max() <= 1.0
    used = [run.result.used[name] for name in loads.names]
    np.testing.assert_allclose(loads.values[-1], used, rtol=1e-15)


def test_the_taxes_of_a_round_are_those_of_the_record(runs: dict[str, Path]):
    run = opened(runs, "private")
    (taxes,) = series.taxes(run)
    assert dict(zip(taxes.names, taxes.values[-1], strict=True)) == run.record.latest("tax")


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        ("private", ["loads", "estimates"]),
        ("network", ["estimates"]),
        ("consensus", ["prices", "allocations", "taxes", "loads"]),
        ("exact", list(series.METRICS)),
    ],
)
def test_a_run_has_no_series_of_what_it_does_not_do(runs: dict[str, Path], kind: str, absent: list[str]):
    run = opened(runs, kind)
    assert [name for name, of in series.METRICS.items() if not of(run)] == [
        name for name in series.METRICS if name in absent
    ]


def test_the_distance_of_a_consensus_is_that_of_the_worst_estimate(runs: dict[str, Path]):
    run = opened(runs, "consensus")
    errors = distance(run)
    assert errors.values[0] > 1e-2
    assert errors.values[-1] < 1e-6


def test_the_taxes_of_some_agents_are_not_shown_as_the_budget_of_all(runs: dict[str, Path]):
    whole, part = opened(runs, "private"), opened(runs, "summary")
    assert "70 of 127 agents" in part.partly
    assert any("taxes" in curve.text for curve in _curves(whole))
    assert not any("taxes" in curve.text for curve in _curves(part))


def test_a_free_agent_that_has_stopped_keeps_what_it_had(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    ticks = np.array([3, 4, 5])
    writer.append(Batch("n00", ("allocation",), ticks, 1e9 + ticks, np.array([[1.0], [2.0], [3.0]])))
    writer.append(Batch("n01", ("allocation",), ticks[1:2], 1e9 + ticks[1:2], np.array([[7.0]])))
    writer.flush()
    run = Run("r", result_of(2, synchrony="free"), read(tmp_path), tmp_path)
    assert isinstance(run.record, Held)
    rounds, values, _ = run.record.series("allocation")
    assert rounds.tolist() == [3, 4, 5]
    np.testing.assert_array_equal(values, [[1.0, np.nan], [2.0, 7.0], [3.0, 7.0]])
    in_rounds = Run("r", result_of(2), read(tmp_path), tmp_path).record.series("allocation")[1]
    assert np.isnan(in_rounds[2, 1])  # there a missing row is a missing row


@pytest.mark.parametrize("kind", ["private", "directed", "network", "consensus"])
def test_messages_are_counted_as_the_run_counted_them(runs: dict[str, Path], kind: str):
    run = opened(runs, kind)
    assert _messages_a_round(run) * run.result.rounds == run.result.messages


def test_a_run_that_somebody_left_is_that_of_those_who_stayed(runs: dict[str, Path]):
    run = opened(runs, "left")
    (gone,) = run.result.left
    (each,) = series.allocations(run)
    assert gone not in each.names
    assert len(each.names) == run.result.agents == 8
    assert np.isfinite(tax_balance(run.record).values[-1])
