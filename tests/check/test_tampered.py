"""Each line of ``vicinal check`` passes on what was recorded, and fails, alone, on a matching forgery."""

from __future__ import annotations

import numpy as np
import pytest

from node.utilities import build
from runner import run
from runner.check.evidence import gather
from runner.check.judging import judge
from runner.check.lines import (
    CONTRACTION,
    DEVIATION,
    DISTRIBUTED,
    EFFICIENCY,
    FEASIBILITY,
    NAMES,
    NASH,
    PROBE,
    RATIONALITY,
    STOP,
    TAXES,
)
from tests.check import tampering

pytest.importorskip("cvxpy", reason="the convex program of `vicinal check`")

KINDS = {
    "private": "binary-tree-31",
    "public": "public-tree-31",
    "summary": "summary-tree-31",
    "goods that interact": "bundles-12",
    "directed": "directed-8",
    "log-cosh": "log-cosh-tree-31",
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Runs, each played once."""
    made = {}

    def of(name, overrides=()):
        if (name, overrides) not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            assert run(name, virtual=True, plot=False, out=out, overrides=overrides).kept_promise
            made[name, overrides] = out
        return made[name, overrides]

    return of


@pytest.fixture
def main_job(recorded, tmp_path):
    """A copy of the record of the main job, to be forged."""
    return tampering.copied(recorded("binary-tree-31"), tmp_path / "forged")


def failed(directory):
    return judge(directory).failed


def verdicts(directory):
    return {line.name: line.verdict for line in judge(directory).lines}


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_passes_on_what_was_recorded(recorded, kind):
    found = verdicts(recorded(KINDS[kind]))
    assert found == dict.fromkeys([name for name in NAMES if name != PROBE], "pass")


def test_what_the_run_says_of_itself_is_not_believed(main_job):
    path = main_job / "result.json"
    path.write_text('{"mode": "virtual", "allocation_error": 7.0, "tolerance": 0.0}')
    assert not failed(main_job)


def softest(evidence):
    """Two agents whose utilities are the least curved."""
    curved = {i: build(u).curvature[1].max() for i, u in evidence.loaded.utilities.items()}
    return sorted(curved, key=curved.__getitem__)[:2]


def test_a_trade_at_the_market_price_fails_efficiency_alone(main_job):
    """Nobody loses more than the square of what is traded, and what is handed out is the same in sum."""
    one, other = softest(gather(main_job))

    def trade(accounts):
        for agent, by in ((one, 1e-4), (other, -1e-4)):
            result = accounts[agent]["result"]
            result["allocation"][0] += by
            result["tax"] += by * result["price"][0]

    tampering.accounts(main_job, trade)
    assert failed(main_job) == (EFFICIENCY,)


def test_a_proxy_that_nobody_reads_fails_the_nash_message_alone(main_job):
    def repeat_wrongly(accounts):
        # A leaf of the tree: on no shortest way, so only its own tax tells, by the square.
        accounts["a30"]["result"]["message"][1][0] += 2e-5

    tampering.accounts(main_job, repeat_wrongly)
    assert failed(main_job) == (NASH,)


@pytest.mark.parametrize("by", [1e-3, -1e-3])
def test_a_payoff_that_messages_do_not_give_fails_the_best_deviation_alone(main_job, by):
    def redistribute(accounts):
        accounts["a03"]["result"]["tax"] += by
        accounts["a07"]["result"]["tax"] -= by

    tampering.accounts(main_job, redistribute)
    assert failed(main_job) == (DEVIATION,)


def test_too_much_handed_out_in_a_round_of_rest_fails_feasibility_alone(main_job):
    tampering.measurement(main_job, "allocation", lambda rounds: {(rounds[-3], "a05"): 1e-3})
    assert failed(main_job) == (FEASIBILITY,)


def test_shares_off_before_anybody_is_at_rest_are_no_breach(main_job):
    tampering.measurement(main_job, "allocation", lambda rounds: {(rounds[10], "a05"): 1e-3})
    assert not failed(main_job)


def test_money_that_vanishes_fails_taxes_alone(main_job):
    tampering.measurement(main_job, "tax", lambda rounds: {(rounds[-1], "a05"): -0.1})
    assert failed(main_job) == (TAXES,)


def test_an_agent_that_pays_for_others_fails_individual_rationality_alone(main_job):
    tampering.measurement(
        main_job, "tax", lambda rounds: {(rounds[-1], "a24"): 0.1, (rounds[-1], "a05"): -0.1}
    )
    assert failed(main_job) == (RATIONALITY,)


def test_a_residual_that_grows_fails_the_contraction_alone(main_job):
    tampering.measurement(main_job, "residual", lambda rounds: {(rounds[100], "a05"): 20.0})
    assert failed(main_job) == (CONTRACTION,)


def test_a_bound_that_is_not_the_scenarios_fails_the_contraction_alone(main_job):
    def flatter(accounts):
        for account in accounts.values():
            account["result"]["bound"] = 0.5

    tampering.accounts(main_job, flatter)
    assert failed(main_job) == (CONTRACTION,)


def leave_early(accounts):
    accounts["a05"]["rounds"] -= 1


def restless(accounts):
    accounts["a05"]["result"]["satisfied"] = False


@pytest.mark.parametrize("change", [leave_early, restless])
def test_an_agent_that_stops_otherwise_fails_the_stop_round_alone(main_job, change):
    tampering.accounts(main_job, change)
    assert failed(main_job) == (STOP,)


def hear_a_stranger(accounts):
    heard = accounts["a30"]["heard_from"]
    assert "a00" not in heard
    heard["a00"] = heard.pop(next(iter(heard)))


def drop_a_stranger(accounts):
    accounts["a30"]["rejected"]["stranger"] = 1


def hide_a_sender(accounts):
    accounts["a30"]["received"] += 1


@pytest.mark.parametrize("change", [hear_a_stranger, drop_a_stranger, hide_a_sender])
def test_a_message_that_no_edge_explains_fails_distributedness_alone(main_job, change):
    tampering.accounts(main_job, change)
    assert failed(main_job) == (DISTRIBUTED,)


def test_a_forged_message_of_a_summary_contract_is_found(recorded, tmp_path):
    forged = tampering.copied(recorded("summary-tree-31"), tmp_path / "forged")

    def demand_more(accounts):
        accounts["a05"]["result"]["message"][0][0] += 0.1

    tampering.accounts(forged, demand_more)
    assert {NASH, DEVIATION} <= set(failed(forged))


def test_a_residual_after_the_diameter_fails_an_exact_summary_contract(recorded, tmp_path):
    forged = tampering.copied(recorded("summary-tree-31"), tmp_path / "forged")
    tampering.measurement(forged, "residual", lambda rounds: {(rounds[-2], "a05"): 1e-9})
    assert failed(forged) == (CONTRACTION,)


def test_feature_amounts_that_differ_fail_feasibility_of_a_public_good_alone(recorded, tmp_path):
    forged = tampering.copied(recorded("public-tree-31"), tmp_path / "forged")
    tampering.measurement(forged, "allocation", lambda rounds: {(rounds[-2], "a05"): 1e-3})
    assert failed(forged) == (FEASIBILITY,)


# -- networks ------------------------------------------------------------------------------------------


@pytest.fixture
def corn(recorded, tmp_path):
    return tampering.copied(recorded("network-corn-5"), tmp_path / "forged")


def test_a_network_passes_every_line_that_applies(corn):
    found = verdicts(corn)
    assert {name for name, verdict in found.items() if verdict != "pass"} == {NASH, CONTRACTION}
    assert found[NASH] == found[CONTRACTION] == "does not apply"


def test_a_trade_on_a_link_fails_efficiency_alone(corn):
    def trade(accounts):
        for agent, by in (("a1", -1e-4), ("a2", 1e-4)):
            result = accounts[agent]["result"]
            result["allocation"] += by
            result["tax"] += by * result["price"]

    tampering.accounts(corn, trade)
    assert failed(corn) == (EFFICIENCY,)


def test_a_payoff_that_quotes_do_not_give_fails_the_best_deviation_alone(corn):
    def redistribute(accounts):
        accounts["a1"]["result"]["tax"] += 1e-3
        accounts["a2"]["result"]["tax"] -= 1e-3

    tampering.accounts(corn, redistribute)
    assert failed(corn) == (DEVIATION,)


def test_an_amount_in_use_beyond_a_capacity_fails_feasibility_alone(corn):
    tampering.measurement(corn, "in_use", lambda rounds: {(rounds[-1], "a3"): 1e-6})
    assert failed(corn) == (FEASIBILITY,)


def test_money_that_vanishes_from_a_network_fails_taxes_alone(corn):
    tampering.measurement(corn, "tax", lambda rounds: {(rounds[-1], "a3"): -1e-3})
    assert failed(corn) == (TAXES,)


def test_a_tax_that_is_off_by_a_tenth_of_the_accuracy_fails_taxes_and_the_payoff(corn):
    # Accounts are settled to rounding, whatever the accuracy of allocations (1e-6 here), and so are payoffs.
    def overcharge(accounts):
        accounts["a1"]["result"]["tax"] += 1e-7

    tampering.accounts(corn, overcharge)
    assert set(failed(corn)) == {TAXES, DEVIATION}


def test_a_flow_that_pays_for_another_fails_individual_rationality_alone(corn):
    tampering.measurement(corn, "tax", lambda rounds: {(rounds[-1], "a1"): 9.0, (rounds[-1], "a3"): -9.0})
    assert failed(corn) == (RATIONALITY,)


# -- consensus -----------------------------------------------------------------------------------------


def test_consensus_is_held_against_the_truth_in_the_last_bit(recorded, tmp_path):
    forged = tampering.copied(recorded("consensus-set-er-31"), tmp_path / "forged")
    found = verdicts(forged)
    assert [found[name] for name in (EFFICIENCY, STOP, DISTRIBUTED)] == ["pass"] * 3
    assert {found[name] for name in (NASH, DEVIATION, TAXES, RATIONALITY)} == {"does not apply"}

    def last_bit(accounts):
        value = next(iter(accounts.values()))["result"]["value"]
        value[0] = float(np.nextafter(value[0], np.inf))

    tampering.accounts(forged, last_bit)
    assert failed(forged) == (EFFICIENCY,)


def test_an_estimate_beyond_all_inputs_fails_feasibility_alone(recorded, tmp_path):
    forged = tampering.copied(recorded("consensus-ratio-tree-31"), tmp_path / "forged")
    assert not failed(forged)
    tampering.measurement(forged, "estimate", lambda rounds: {(rounds[3], "a05"): 1e6})
    assert failed(forged) == (FEASIBILITY,)
