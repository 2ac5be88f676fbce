"""Weights of slack terms without an equilibrium are refused before a run, in any unit of money."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console

from runner import equilibrium, guarantee, run
from runner.errors import UserError
from runner.show import describe
from runner.table import print_result
from topologies import load_scenario

ABILENE = "network-abilene-18"
NETWORKS = [
    "network-corn-5",
    ABILENE,
    "network-nsfnet-24",
    "network-multicast-9",
    "network-wireless-8",
    "network-microgrid-7",
]


def valued(factor: float) -> str:
    """Abilene's utilities in a unit of money that is so many times smaller."""
    return f"environment.valuations.w={{uniform=[{5.0 * factor!r}, {20.0 * factor!r}]}}"


def refused(name: str, *overrides: str) -> str:
    with pytest.raises(UserError) as seen:
        guarantee.require(load_scenario(name, overrides), pytest.fail)
    return str(seen.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_bundled_networks_have_the_equilibrium_that_they_claim(name):
    assert equilibrium.found(load_scenario(name)) is None


@pytest.mark.parametrize(
    ("overrides", "named", "agent"),
    [
        (
            ("mechanism.eta=50.0", "mechanism.xi=50.0"),
            "mechanism.eta: got 50.0 and mechanism.xi = 50.0",
            "game-3",
        ),
        (("mechanism.xi=50.0",), "mechanism.xi: got 50.0", "game-3"),
        (("mechanism.eta=50.0",), "mechanism.eta: got 50.0", "film-2"),
    ],
)
def test_multicast_refuses_weights_that_are_too_large_and_names_those_to_blame(overrides, named, agent):
    said = refused("network-multicast-9", *overrides)
    assert f"network-multicast-9.toml: {named}, with which agent {agent} gains " in said


def test_a_default_eta_is_refused_in_a_smaller_unit_of_money_and_the_one_named_is_good():
    said = refused(ABILENE, valued(1e3))
    assert re.search(
        r"mechanism.eta: left out, so 0.02, with which agent f\d\d gains 1.36e\+04 by leaving", said
    )
    largest = float(re.search(r"expected at most ([0-9.e-]+), by a search", said)[1])
    assert equilibrium.found(load_scenario(ABILENE, [valued(1e3), f"mechanism.eta={largest}"])) is None
    assert "gains" in refused(ABILENE, valued(1e3), f"mechanism.eta={1.2 * largest}")


def test_the_largest_eta_goes_by_the_root_of_the_unit_of_money():
    # Slack terms go by (eta price)^2, concavity by the price: eta^2 money is what counts.
    def largest(factor: float) -> float:
        return float(
            re.search(r"at most ([0-9.e-]+),", refused(ABILENE, valued(factor), "mechanism.eta=99.0"))[1]
        )

    assert largest(1.0) / largest(1e4) == pytest.approx(1e2, rel=0.1)


def test_everywhere_balance_refuses_an_eta_with_which_somebody_had_better_stay_away():
    said = refused("network-wireless-8", "mechanism.eta=10.0")
    assert "mechanism.eta: got 10.0, with which agent t3 loses 7.22 by taking part in the equilibrium" in said
    # Where nothing is handed back off the equilibrium, every eta is good.
    other = load_scenario("network-wireless-8", ["mechanism.eta=10.0", "mechanism.balance=equilibrium"])
    assert equilibrium.found(other) is None


def test_on_one_link_every_eta_is_good():
    assert equilibrium.found(load_scenario("network-corn-5", ["mechanism.eta=1000.0"])) is None


def test_show_says_whether_there_is_an_equilibrium():
    assert "[equilibrium]  of 9 agents none is found" in describe(load_scenario("network-multicast-9"))
    bad = load_scenario("network-multicast-9", ["mechanism.xi=50.0"])
    assert "[equilibrium]  none to play: mechanism.xi: got 50.0" in describe(bad)


def test_a_run_without_an_equilibrium_breaks_its_promise_and_has_a_cross(tmp_path, monkeypatch):
    # As if the search before the run had found nothing.
    monkeypatch.setattr(equilibrium, "require", lambda loaded: None)
    for name, chosen, row, words in (
        ("network-multicast-9", ("mechanism.eta=50.0", "mechanism.xi=50.0"), "regret", "an agent gains "),
        ("network-wireless-8", ("mechanism.eta=10.0",), "worst payoff", "loses 7.22 by taking part"),
    ):
        out = tmp_path / name
        result = run(name, overrides=(*chosen, "record.every=0"), lockstep=True, plot=False, out=out)
        assert result.allocation_error <= result.tolerance
        assert not result.kept_promise
        assert words in result.verdict
        text = io.StringIO()
        print_result(result, Console(file=text, width=200))
        (line,) = (line for line in text.getvalue().splitlines() if line.strip()[1:].strip().startswith(row))
        assert line.strip().startswith("✗")


@pytest.mark.parametrize("name", ["network-corn-5", "network-wireless-8", "network-microgrid-7"])
def test_what_is_left_to_gain_after_an_early_stop_is_explained_by_the_distance(tmp_path, name):
    chosen = ("stopping.tolerance=0.3", "record.every=0")
    result = run(name, overrides=chosen, lockstep=True, plot=False, out=tmp_path / "run")
    assert result.kept_promise, result.verdict
    assert result.temptation <= 1e-9
    # A gain of a millionth of the payoff that the distance does not explain is too much.
    assert not dataclasses.replace(result, temptation=1e-6).kept_promise
    assert not dataclasses.replace(result, loss=1.0).kept_promise
