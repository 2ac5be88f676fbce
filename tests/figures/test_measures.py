"""Distances from the optimum, and the observed rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from runner.figures.measures import allocation_errors, deviations, observed_rate, tax_balance
from runner.record import Batch, PartWriter, Record, read
from tests.figures.made_up import optimum, recorded

if TYPE_CHECKING:
    from pathlib import Path


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


def test_the_budget_is_held_against_the_taxes_of_complete_rounds_only(tmp_path: Path):
    writer = PartWriter(tmp_path, "r1")
    k = np.arange(2)
    writer.append(Batch("n00", ("tax",), k, 1e9 + k, np.array([[3.0], [1.0]])))
    writer.append(Batch("n01", ("tax",), k[:1], 1e9 + k[:1], np.array([[-1.0]])))
    writer.flush()
    balance = tax_balance(read(tmp_path))
    assert balance.values[0] == 0.5  # |3 - 1| / (3 + 1)
    assert np.isnan(balance.values[1])  # what n01 pays in it is not known
