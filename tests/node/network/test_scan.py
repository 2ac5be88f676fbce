"""The quick scan of demands agrees with the contracts, and finds what a slow search finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from node.mechanisms.network import strategic
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.scan import payoffs
from node.mechanisms.network.sequential import play
from node.mechanisms.network.takers import taker
from tests.node.network import instances

BALANCES = {
    "corn": ({"strong": True}, {"strong": False}),
    "line": ({"strong": True}, {"strong": False}),
    "tree": ({"strong": True}, {"strong": False}),
    "five": ({"balance": "equilibrium"}, {"balance": "weak"}, {"balance": "everywhere"}),
    "local_goods": ({"balance": "equilibrium"}, {"balance": "weak"}),
}
CASES = [(kind, rules) for kind, several in BALANCES.items() for rules in several]


@pytest.mark.parametrize(("kind", "rules"), CASES)
def test_the_quick_scan_gives_the_payoffs_of_the_contract(kind, rules):
    contracts = getattr(instances, kind)(**rules)
    takers = {i: taker(c, Dynamics("padr")) for i, c in contracts.items()}
    for step in itertools.islice(play(takers), 0, 20, 6):
        every = strategic.limits(contracts, step.tables)
        for c in contracts.values():
            own = {n: step.tables[n] for n in c.channels}
            for rest in (strategic.rest_of(c, every), 0.3):
                ys = np.geomspace(max(c.lowest, 1e-4), 20.0, 12)
                slow = [
                    strategic.payoff(c, own, rest, strategic.with_demand(c, own, rest, y))
                    for y in ys.tolist()
                ]
                quick = payoffs(c, own, rest)
                assert quick is not None
                assert quick(ys) == pytest.approx(slow, rel=1e-12, abs=1e-13)


def test_the_search_finds_the_best_of_a_fine_grid():
    contracts = instances.line()
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    step = next(itertools.islice(play(takers), 2, None))
    every = strategic.limits(contracts, step.tables)
    for c in contracts.values():
        own, rest = {n: step.tables[n] for n in c.channels}, strategic.rest_of(c, every)
        found = strategic.best_response(c, own, rest)
        at = payoffs(c, own, rest)
        assert at is not None
        assert found.payoff >= at(np.geomspace(1e-4, 1e3, 20001)).max() - 1e-9
        assert found.payoff == strategic.payoff(c, own, rest, found.quotes)


def test_a_contract_without_a_quick_form_is_searched_all_the_same():
    contracts = instances.tree(printed=True)
    takers = {i: taker(c, Dynamics("fast")) for i, c in contracts.items()}
    step = next(play(takers))
    assert payoffs(contracts["a1"], step.tables, 1.0) is None
    every = strategic.limits(contracts, step.tables)
    own = {n: step.tables[n] for n in contracts["a1"].channels}
    assert strategic.best_response(contracts["a1"], own, strategic.rest_of(contracts["a1"], every)).gain > 0.0
