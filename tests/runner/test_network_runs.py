"""Network scenarios from file to table: virtual runs judged, and one over processes and a broker."""

from __future__ import annotations

import dataclasses
import io
import json
import re

import pytest
from rich.console import Console

from runner import run
from runner.network import NetworkResult
from runner.table import print_result


def played(tmp_path, name, *overrides, **options):
    return run(name, overrides=overrides, out=tmp_path / "run", plot=False, **options)


@pytest.mark.parametrize("name", ["network-corn-5", "network-wireless-8", "network-microgrid-7"])
def test_a_virtual_run_keeps_its_promise_and_reports_errors_and_regrets(tmp_path, name):
    result = played(tmp_path, name, "mechanism.moves=1", virtual=True)
    assert isinstance(result, NetworkResult)
    assert result.kept_promise, result.verdict
    assert result.proved
    assert result.overshoot == 0.0
    assert result.worst_payoff >= 0.0
    # Distance and regret fall together; the record has both, step by step.
    assert len(result.errors) > 3
    assert result.errors[0] > 10 * result.errors[max(result.errors)]
    first, last = result.regrets[min(result.regrets)], result.regrets[max(result.regrets)]
    assert first > 100 * last
    # The last step is the one that came out, two before the one in which all knew that it would do.
    assert list(result.errors) == list(range(result.steps - 2))
    assert result.errors[result.steps - 3] == result.allocation_error
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["allocation"] == result.allocation
    assert written["steps"] == result.steps


def test_strategic_play_warns_reports_error_and_regret_of_every_step_and_breaks_its_promise(tmp_path):
    told = []
    result = played(tmp_path, "network-corn-strategic-5", virtual=True, warn=told.append)
    assert any("They do not converge here" in text for text in told)
    assert not result.kept_promise
    assert result.steps == 40
    assert list(result.errors) == list(result.regrets) == list(range(39))
    assert result.errors[38] == result.allocation_error
    assert min(list(result.errors.values())[10:]) > 0.1
    assert min(result.regrets.values()) > 0.1
    text = io.StringIO()
    print_result(result, Console(file=text, width=200))
    assert "never within 0.01" in text.getvalue()
    assert "best responses: they do not converge" in text.getvalue()


@pytest.mark.parametrize("name", ["network-multicast-9", "network-microgrid-7"])
def test_strategic_play_of_the_other_mechanisms_warns_and_breaks_its_promise_but_no_capacity(tmp_path, name):
    told = []
    chosen = ("mechanism.prices=strategic", "stopping.max_rounds=12")
    result = played(tmp_path, name, *chosen, virtual=True, warn=told.append)
    assert any("They do not converge here" in text for text in told)
    assert not result.kept_promise
    assert result.steps == 12
    assert min(result.errors.values()) > 0.1
    assert min(result.regrets.values()) > 1e-2
    assert result.overshoot == 0.0
    assert result.gap_holds


def test_regrets_of_a_long_run_are_those_of_every_kth_step(tmp_path, monkeypatch):
    monkeypatch.setattr("runner.network_record.RECORDED", 20)
    result = played(tmp_path, "network-corn-5", "mechanism.moves=1", "stopping.tolerance=1e-9", virtual=True)
    last = max(result.errors)
    stride = -(-(last + 1) * 5 // 20)
    assert stride > 1
    assert list(result.regrets) == sorted({*range(0, last + 1, stride), last})


def test_a_run_that_is_cut_short_breaks_its_promise(tmp_path):
    result = played(tmp_path, "network-abilene-18", "stopping.max_rounds=4", "record.every=0", virtual=True)
    assert not result.kept_promise
    assert not result.proved
    assert result.stopped_unsatisfied == 18
    assert "18 agents unsatisfied" in result.verdict
    text = io.StringIO()
    print_result(result, Console(file=text, width=200))
    assert re.search(r"accuracy +not reached", text.getvalue())
    assert result.overshoot == 0.0


def test_an_observed_end_comes_sooner_and_says_that_nothing_is_proved(tmp_path):
    overrides = ("record.every=0", "stopping.tolerance=1e-3")
    sooner = run(
        "network-wireless-8",
        overrides=(*overrides, "stopping.rule=observed"),
        virtual=True,
        out=tmp_path / "a",
    )
    later = run("network-wireless-8", overrides=overrides, virtual=True, out=tmp_path / "b")
    assert sooner.steps < later.steps
    assert (sooner.proved, later.proved) == (False, True)
    assert sooner.kept_promise
    assert later.kept_promise


def test_taxes_that_do_not_balance_break_the_promise_and_are_crossed_out(tmp_path):
    result = played(tmp_path, "network-corn-5", "record.every=0", virtual=True)
    assert result.kept_promise
    assert result.imbalance <= 1e-14
    broken = dataclasses.replace(result, imbalance=2e-9)
    assert not broken.kept_promise
    assert "taxes 2e-09 off balance" in broken.verdict
    for shown, mark in ((result, "✓"), (broken, "✗")):
        text = io.StringIO()
        print_result(shown, Console(file=text, width=200))
        (line,) = (line for line in text.getvalue().splitlines() if "sum of taxes" in line)
        assert line.strip().startswith(mark)


def test_weak_balance_is_broken_by_a_deficit_alone(tmp_path):
    result = played(tmp_path, "network-corn-5", "mechanism.balance=weak", "record.every=0", virtual=True)
    assert result.kept_promise
    assert result.tax_sum > 1.0
    assert result.imbalance == 0.0


def test_the_table_shows_outcome_and_promises(tmp_path):
    result = played(tmp_path, "network-corn-5", virtual=True)
    text = io.StringIO()
    print_result(result, Console(file=text, width=200), agents=True)
    shown = text.getvalue()
    for words in ("overshoot", "sum of taxes", "regret", "proved", "steps", "a5", "price-taking"):
        assert words in shown, words


@pytest.mark.processes
@pytest.mark.broker
def test_processes_over_a_broker_come_to_the_bits_of_the_virtual_run(tmp_path):
    real = run("network-corn-5", overrides=("record.every=0",), hosts=2, out=tmp_path / "real")
    virtual = run("network-corn-5", overrides=("record.every=0",), virtual=True, out=tmp_path / "virtual")
    assert real.kept_promise
    for fact in ("allocation", "taxes", "prices", "steps", "gap", "rounds"):
        assert getattr(real, fact) == getattr(virtual, fact), fact
