"""The published figures of one capacity shared by five, on an instance with which they come out."""

from __future__ import annotations

import itertools

import pytest

from node.mechanisms.network import checks, naive
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.sequential import gather, play
from node.mechanisms.network.strategic import payoff, with_demand
from node.mechanisms.network.takers import taker
from tests.node.network import instances


def planned(contracts):
    return solve(program(contracts), {i: c.valuation for i, c in contracts.items()})


def late(errors):
    return tuple(max((k + 1 for k, e in enumerate(errors) if e >= t), default=0) for t in (1e-2, 1e-4, 1e-6))


@pytest.mark.parametrize(
    ("dynamics", "published"),
    [
        (Dynamics("padr"), (4, 5, 6)),
        (Dynamics("fast"), (5, 6, 8)),
        (Dynamics("fast", kappa=0.5), (4, 10, 15)),
        (Dynamics("padr", kappa=0.5), (10, 16, 23)),
        (Dynamics("padr", kappa=1.9), (23, 67, 111)),
        (Dynamics("constant", gamma=0.3), (14, 33, 52)),
    ],
)
def test_price_moves_are_as_many_as_published(dynamics, published):
    contracts = instances.published_corn()
    optimum = planned(contracts)
    takers = {i: taker(c, dynamics) for i, c in contracts.items()}
    errors = [
        max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
        for step in itertools.islice(play(takers), 150)
    ]
    assert late([e / max(optimum.allocation.values()) for e in errors]) == published


def test_hiding_demand_pays_as_published_without_the_mechanism_and_costs_with_it():
    contracts = instances.published_corn()
    found = {}
    for report in (1.0, 0.7):
        rounds = naive.iterate(contracts, 0.1, reports={"a1": report})
        prices, demands = next(itertools.islice(rounds, 400, None))
        found[report] = (prices["corn"], naive.payoff(contracts["a1"], prices, demands))
    assert found[1.0] == pytest.approx((2.933, 0.5220), abs=5e-4)
    assert found[0.7] == pytest.approx((2.768, 0.5534), abs=5e-4)
    assert 100.0 * (found[0.7][1] / found[1.0][1] - 1.0) == pytest.approx(6.0, abs=0.05)
    tables = gather(checks.equilibrium(contracts, planned(contracts)))
    lie = with_demand(contracts["a1"], tables, FREE, 0.7 * tables["corn"]["a1"][0])
    assert payoff(contracts["a1"], tables, FREE, lie) < payoff(contracts["a1"], tables, FREE)


def test_the_naive_iteration_takes_the_published_rounds_from_price_two_and_never_settles_with_large_steps():
    contracts = instances.published_corn()
    optimum = planned(contracts)

    def rounds(gamma):
        errors = [
            max(abs(demands[i] - x) for i, x in optimum.allocation.items())
            for _, demands in itertools.islice(naive.iterate(contracts, gamma, start=2.0), 300)
        ]
        return late([e / max(optimum.allocation.values()) for e in errors])

    assert rounds(0.1) == (50, 111, 172)
    assert rounds(5.0)[0] == rounds(20.0)[0] == 300
