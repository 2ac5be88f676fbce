"""Everybody's side found anew, and the search for deviations."""

from __future__ import annotations

import numpy as np
import pytest

from runner.check.deviations import Search, best_deviation
from runner.check.rebuilt import rebuild
from runner.result import environment_of
from topologies import load_scenario

CASES = {
    "private": ("ring-12", ()),
    "directed": ("directed-8", ()),
    "goods that interact": ("bundles-12", ()),
    "public": ("public-tree-31", ("topology.agents=7",)),
    "anchored": ("summary-tree-31", ("topology.agents=7",)),
    "weighted": ("summary-tree-31", ("topology.agents=7", "mechanism.variant=weighted")),
    "plain": ("summary-tree-31", ("topology.agents=7", "mechanism.variant=plain")),
    "public summary": ("summary-public-63", ("topology.agents=9",)),
}


@pytest.fixture(params=CASES)
def case(request):
    name, overrides = CASES[request.param]
    loaded = load_scenario(name, list(overrides))
    rebuilt = rebuild(loaded, "run")
    optimum = environment_of(loaded.contract(), loaded.utilities).optimum()
    return rebuilt, rebuilt.nash(optimum), optimum


def test_the_nash_message_is_everybodys_best_response_and_gives_the_optimum(case):
    rebuilt, nash, optimum = case
    for agent, contract in rebuilt.contracts.items():
        view = rebuilt.view(agent, nash)
        assert np.abs(contract.best_response(view) - nash[agent]).max() <= 1e-9 * rebuilt.size(nash)
        outcome = contract.outcome(nash[agent], view)
        assert outcome.allocation == pytest.approx(optimum.allocation[agent], abs=1e-8)
        assert outcome.price == pytest.approx(optimum.prices[agent], abs=1e-8)


def test_the_search_alone_comes_near_to_the_best_response(case):
    """From a message that is wrong in its demand, without being told the best response."""
    rebuilt, nash, _ = case
    agent = sorted(nash)[1]
    contract, view = rebuilt.contracts[agent], rebuilt.view(agent, nash)
    looking = Search(contract, view, [1])
    wrong = nash[agent].copy()
    wrong[0] += 0.5
    best, start = looking.payoff(nash[agent]), looking.payoff(wrong)
    reached, _ = looking.climb(wrong)
    assert start < best
    assert best - reached <= 0.02 * (best - start)
    assert reached <= best + 1e-9 * max(1.0, abs(best))


def test_what_is_found_is_no_less_than_the_best_response_and_no_more_at_the_nash_message(case):
    rebuilt, nash, _ = case
    agent = sorted(nash)[0]
    contract, view = rebuilt.contracts[agent], rebuilt.view(agent, nash)
    near = [nash[j] for j in rebuilt.hears[agent]]
    found = best_deviation(contract, view, nash[agent], near, [0], search=True)
    has = Search(contract, view, [0]).payoff(nash[agent])
    assert -1e-12 <= (found.payoff - has) / found.scale <= 1e-9
    assert found.tried > 50
