"""The settlement: with strong balance taxes add up to zero, and nothing else changes."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest

from node import lockstep
from node.mechanisms.network import checks, strategic
from node.mechanisms.network.contract import Share
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import gather, play, settle
from node.mechanisms.network.takers import taker
from node.protocols.network.facts import contract_of
from node.protocols.network.life import UNSETTLED, network
from runner.testing import Network
from tests.node.network import instances
from topologies import load_scenario

BUNDLED = (
    *("network-corn-5", "network-abilene-18", "network-nsfnet-24"),
    *("network-multicast-9", "network-wireless-8", "network-microgrid-7"),
)


@cache
def loaded(name, *overrides):
    return load_scenario(name, overrides)


@cache
def played(name, *overrides):
    """(contracts, results, kinds of all rounds)."""
    scenario = loaded(name, *overrides)
    parts, rules, kinds = scenario.parts("test"), scenario.contract(), []
    ended = lockstep.run(
        {i: network(p) for i, p in parts.items()},
        {i: p.hears for i, p in parts.items()},
        lambda round_, says: kinds.append(says[min(says)].kind),
    )
    contracts = {i: contract_of(i, rules, own) for i, own in scenario.utilities.items()}
    return contracts, ended.results, kinds


def imbalance(results):
    shares = {i: Share(r.allocation, r.tax) for i, r in results.items()}
    return checks.imbalance(shares, {i: r.price for i, r in results.items()})


@pytest.mark.parametrize("name", BUNDLED)
def test_taxes_with_strong_balance_add_up_to_rounding(name):
    _, results, kinds = played(name)
    assert all(r.satisfied for r in results.values())
    assert imbalance(results) <= 1e-14
    # One exchange more than play, in place of one without a word that made room.
    depth = next(iter(results.values())).depth
    assert kinds[-depth:] == ["settlement"] * depth
    assert kinds.count("settlement") == depth


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("network-corn-5", "stopping.max_rounds=1"),
        ("network-abilene-18", "stopping.max_rounds=4"),
        ("network-multicast-9", "stopping.max_rounds=3"),
        ("network-wireless-8", "stopping.max_rounds=2"),
        ("network-corn-5", "mechanism.exchange=convergecast"),
        ("network-corn-5", "mechanism.prices=newton"),
        ("network-multicast-9", "mechanism.prices=newton"),
        ("network-microgrid-7", "mechanism.prices=newton"),
        ("network-microgrid-7", "mechanism.prices=padr"),
        ("network-microgrid-7", "stopping.rule=observed"),
    ],
)
def test_they_do_with_other_rules_and_where_play_is_cut_short(name, override):
    assert imbalance(played(name, override)[1]) <= 1e-11


@pytest.mark.parametrize("name", BUNDLED)
def test_allocations_and_taxes_are_what_the_contract_makes_of_the_last_quotes(name):
    contracts, results, _ = played(name)
    tables = gather({i: r.quotes for i, r in results.items()})
    least = min(strategic.limits(contracts, tables).values())
    for i, c in contracts.items():
        share = c.share({n: tables[n] for n in c.channels}, c.factor(least))
        assert c.factor(least) == results[i].factor
        # A mean of equal amounts, in a group, may be off in the last place.
        assert share.allocation == pytest.approx(results[i].allocation, rel=3e-16)
        assert share.tax == results[i].tax


@pytest.mark.parametrize("balance", ["weak", "strong"])
def test_a_settled_guess_is_the_best_answer_to_all_others(balance):
    contracts, results, _ = played("network-corn-5", f"mechanism.balance={balance}")
    tables = gather({i: r.quotes for i, r in results.items()})
    factor = next(iter(results.values())).factor
    for i, r in results.items():
        y, p, rho = r.quotes["corn"]
        assert rho == (factor if balance == "strong" else 0.0)
        for other in (0.5 * rho, 1.1 * rho + 0.1):
            changed = {"corn": {**tables["corn"], i: (y, p, other)}}
            tax = contracts[i].share(changed, factor).tax
            assert tax > r.tax if balance == "strong" else tax == r.tax


def test_who_says_another_guess_in_the_settlement_pays_for_it_itself():
    scenario = loaded("network-corn-5")
    honest = played("network-corn-5")[1]

    def lying(made):
        made.settle = lambda quotes: {name: (9.0 * y, p, rho + 0.5) for name, (y, p, rho) in quotes.items()}
        return made

    parts = scenario.parts("test")
    ended = lockstep.run(
        {i: network(p, behave=lying if i == "a2" else None) for i, p in parts.items()},
        {i: p.hears for i, p in parts.items()},
    )
    lied = ended.results
    assert {i: r.allocation for i, r in lied.items()} == {i: r.allocation for i, r in honest.items()}
    # The demand is none of what can be said anew.
    assert lied["a2"].quotes["corn"][0] == honest["a2"].quotes["corn"][0]
    assert lied["a2"].tax == pytest.approx(honest["a2"].tax + 0.25, abs=1e-9)
    assert all(lied[i].tax < honest[i].tax for i in lied if i != "a2")
    assert imbalance(lied) > 1e-3


def test_under_linear_constraints_the_settled_demand_is_feasible_and_changes_nobodys_own_tax():
    contracts, results, _ = played("network-microgrid-7")
    tables = gather({i: r.quotes for i, r in results.items()})
    for i, c in contracts.items():
        assert results[i].demand == results[i].allocation
        assert results[i].factor == 1.0
        own = {n: tables[n] for n in c.channels}
        for name, row in c.rows.items():
            if i in row.coefficients:
                changed = {**own[name], i: (2.0 * own[name][i][0], *own[name][i][1:])}
                assert c.back(name, changed) == c.back(name, own[name])


def test_agents_go_on_until_nothing_of_what_they_pay_would_get_lost():
    # At this accuracy the last allocation alone would leave a slack that is charged for and given to nobody.
    contracts, results, _ = played("network-microgrid-7", "stopping.tolerance=0.1")
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    first = next(iter(results.values()))
    steps = list(itertools.islice(play(takers, first.moves), first.steps - 1))
    lost = [
        max(c.unsettled({n: step.tables[n] for n in c.channels}, step.factor) for c in contracts.values())
        for step in steps
    ]
    error = 0.1 * max(r.allocation for r in results.values())
    assert all(claim.holds(steps[-3].gap, error) for claim in steps[-3].claims.values())
    assert lost[-3] > UNSETTLED >= lost[-2]
    assert imbalance(results) <= 1e-10


def test_momentum_may_carry_sums_of_groups_apart_but_not_those_that_are_settled():
    contracts = instances.tree()
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    worst = 0.0
    for step in itertools.islice(play(takers), 60):
        for name, table in step.tables.items():
            groups = contracts["a1"].groups[name].values()
            worst = max(worst, float(np.ptp([math.fsum(table[j][1] for j in k) for k in groups])))
        tables, shares = settle(takers, step)
        for name, table in tables.items():
            sums = [math.fsum(table[j][1] for j in k) for k in contracts["a1"].groups[name].values()]
            assert max(sums) - min(sums) <= 1e-13 * max(1.0, *sums)
        total, size = checks.balance(shares)
        assert abs(total) <= 1e-12 * max(1.0, size)
    assert worst > 1e-3


def test_taxes_of_equal_agents_vanish_and_are_not_held_against_their_own_rounding():
    shares = {i: Share(1.0, tax) for i, tax in zip("abc", (1e-16, 1e-16, -3e-16), strict=True)}
    assert checks.imbalance(shares, dict.fromkeys("abc", 2.0)) <= checks.BALANCED
    assert checks.imbalance(shares, dict.fromkeys("abc", 0.0)) == pytest.approx(0.2)
    assert checks.imbalance(dict.fromkeys("abc", Share(0.0, 0.0)), dict.fromkeys("abc", 0.0)) == 0.0


def test_a_crash_in_the_middle_of_the_settlement_changes_no_bit():
    overrides = ("topology.links=ring", "stopping.max_rounds=2")
    scenario = loaded("network-corn-5", *overrides)
    _, results, kinds = played("network-corn-5", *overrides)
    first = kinds.index("settlement")
    net = Network(scenario.parts("test"), network, seed=3, faults={"loss": 0.1, "seed": 3})
    while net.agents["a3"].round < first + 1:
        net.advance(0.01)
    assert net.agents["a3"].round < len(kinds)
    net.kill("a3", 0.5)
    net.run()
    assert {i: agent.result for i, agent in net.agents.items()} == results
