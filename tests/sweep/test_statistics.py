"""Confidence intervals against SciPy's and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from runner.sweep.statistics import Estimate, estimate, student, summarise


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 19, 50, 51, 99, 1000, 30_000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_students_quantile_is_scipys(freedom, level):
    assert student(freedom, level) == pytest.approx(stats.t.ppf(0.5 + level / 2, freedom), rel=1e-9)


def test_students_interval_is_scipys():
    x = [3.0, 4.5, 1.0, 9.0, 2.0]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(x), scale=stats.sem(x))
    found = estimate(x)
    assert (found.runs, found.mean, found.deviation) == (
        5,
        pytest.approx(3.9),
        pytest.approx(np.std(x, ddof=1)),
    )
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


@pytest.mark.parametrize(("interval", "least"), [("student", 0.92), ("bootstrap", 0.88)])
def test_an_interval_holds_the_mean_about_as_often_as_it_says(interval, least):
    rng = np.random.default_rng(7)
    found = [estimate(rng.normal(2.0, 3.0, 20).tolist(), interval) for _ in range(100)]
    held = np.mean([e.low <= 2.0 <= e.high for e in found])
    assert least <= held <= 0.99


def test_a_bootstrap_interval_is_the_same_every_time_and_lopsided_where_values_are():
    x = [1.0, 1.1, 1.2, 1.0, 50.0]
    found = estimate(x, "bootstrap")
    assert found == estimate(x, "bootstrap")
    assert found.low >= 1.0  # Student's goes below 0
    assert estimate(x).low < 0.0
    assert found.high - found.mean > found.mean - found.low


def test_one_run_has_no_interval_and_none_no_mean():
    assert estimate([]) == Estimate(0)
    assert estimate([4.0]) == Estimate(1, 4.0)


def test_an_interval_that_is_none_is_refused():
    with pytest.raises(ValueError, match="expected student or bootstrap"):
        estimate([1.0], "normal")


def test_runs_that_failed_are_counted_and_left_out():
    rows = [
        {"k": 1, "rounds": 4, "error": None, "kept": True},
        {"k": 1, "rounds": 6, "error": None, "kept": False},
        {"k": 1, "rounds": None, "error": "no", "kept": None},
        {"k": 2, "rounds": None, "error": "no", "kept": None},
    ]
    one, two = summarise(rows, ["k"], ["rounds"], "student")
    assert (one["parameters"], one["runs"], one["failed"], one["broken"]) == ({"k": 1}, 3, 1, 1)
    assert (one["metrics"]["rounds"].runs, one["metrics"]["rounds"].mean) == (2, 5.0)
    assert two["metrics"]["rounds"] == Estimate(0)
