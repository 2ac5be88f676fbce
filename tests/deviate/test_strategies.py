"""Strategies by themselves: what they claim, ask for and repeat."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.takers import taker
from node.mechanisms.network.valuations import Log, demand
from node.strategies import STRATEGIES, Lie, Seen, Strategy, build, kind_of
from node.strategies.claims import Claimed, ClaimedValuation
from node.strategies.takers import Bent
from node.utilities import Quadratic
from tests.node.network import instances

SEEN = Seen("a1", 3, np.array([2.0]), Quadratic(np.array([-1.0]), np.array([5.0])))


@given(
    scale=st.floats(0.1, 10.0),
    shift=st.floats(-5.0, 5.0),
    theta=st.floats(-3.0, -0.2),
    sigma=st.floats(-5.0, 5.0),
    price=st.floats(-5.0, 5.0),
    ridge=st.floats(0.0, 5.0),
)
def test_a_claimed_utility_answers_as_the_quadratic_that_it_is(scale, shift, theta, sigma, price, ridge):
    claimed = Claimed(Quadratic(np.array([theta]), np.array([sigma])), Lie(scale, shift))
    same = Quadratic(np.array([scale * theta]), np.array([scale * sigma + shift]))
    x, p = np.array([0.7]), np.array([price])
    assert claimed.value(x) == pytest.approx(same.value(x), abs=1e-9)
    np.testing.assert_allclose(claimed.gradient(x), same.gradient(x), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(claimed.demand(p, ridge), same.demand(p, ridge), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(claimed.curvature, same.curvature)


def test_who_claims_not_to_care_demands_what_the_ridge_alone_says():
    claimed = Claimed(SEEN.utility, Lie(scale=0.0))
    assert claimed.demand(np.array([3.0]), 2.0) == pytest.approx(-1.5)  # argmax -3 x - x^2
    with pytest.raises(ValueError, match="scale > 0"):
        claimed.demand(np.array([3.0]))


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (2.0, 0.3), (1.0, -0.2)])
def test_a_claimed_valuation_demands_where_its_slope_is_the_price(scale, shift):
    claimed = ClaimedValuation(Log(4.0, 1.5), Lie(scale, shift))
    x = demand(claimed, 0.9, 0.0, 100.0)
    assert claimed.slope(x) == pytest.approx(0.9)
    assert (claimed.slope(x + 1e-5) - claimed.slope(x - 1e-5)) / 2e-5 == pytest.approx(-claimed.curvature(x))
    assert (claimed.value(x + 1e-5) - claimed.value(x - 1e-5)) / 2e-5 == pytest.approx(0.9)


@pytest.mark.parametrize("name", [name for name, kind in STRATEGIES.items() if kind.honest is not None])
@pytest.mark.parametrize("public", [True, False])
def test_a_strategy_at_its_honest_size_is_no_lie(name, public):
    strategy = build({"name": name, "size": kind_of(name).honest, "seed": 0})
    amounts, seen = np.array([1.3]), Seen("a1", 3, SEEN.price, SEEN.utility, public)
    assert strategy.lie(public).truth
    assert strategy.ask(amounts, seen) == amounts
    assert strategy.repeat(amounts, seen) == amounts


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("exaggerate", 0.7, 0.91), ("constant", 2.5, 2.5), ("price-take", 0.5, 1.4), ("price-take", 1.0, 1.5)],
)
def test_what_a_strategy_asks_for(name, size, expected):
    assert build({"name": name, "size": size, "seed": 0}).ask(np.array([1.3]), SEEN) == pytest.approx(
        expected
    )


def test_a_free_rider_withholds_what_it_owes_and_claims_a_public_good_to_be_worth_less():
    rider = build({"name": "free-ride", "size": 0.25, "seed": 0})
    public = Seen("a1", 3, SEEN.price, SEEN.utility, public=True)
    assert rider.repeat(np.array([4.0]), SEEN) == 3.0
    assert rider.repeat(np.array([4.0]), public) == 4.0
    assert (rider.lie(public=True), rider.lie(public=False)) == (Lie(scale=0.75), Lie())


def test_what_is_drawn_hangs_on_seed_agent_and_round_alone():
    def asked(seed, agent="a1", round_=3):
        strategy = build({"name": "randomise", "size": 0.3, "seed": seed})
        return float(strategy.ask(np.ones(1), Seen(agent, round_, SEEN.price, SEEN.utility))[0])

    assert asked(7) == asked(7)
    assert len({asked(7), asked(8), asked(7, "a2"), asked(7, "a1", 4)}) == 4


@pytest.mark.parametrize(
    ("name", "size"),
    [("scale", 0.0), ("exaggerate", -0.1), ("free-ride", 1.1), ("price-take", -0.1), ("randomise", -1.0)]
    + [(name, float("nan")) for name in STRATEGIES],
)
def test_a_size_out_of_range_is_refused(name, size):
    with pytest.raises(ValueError, match="expected"):
        build({"name": name, "size": size, "seed": 0})


@pytest.mark.parametrize("name", ["liar", "math:pi", "math:nothing", "no_such_module:Liar"])
def test_a_strategy_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="expected"):
        kind_of(name)


def test_a_price_taker_with_a_strategy_moves_prices_like_everybody_and_goes_on_after_a_restart():
    contracts = instances.corn()
    liar = Bent(taker(contracts["a3"], Dynamics()), build({"name": "exaggerate", "size": 0.5, "seed": 0}))
    honest = {i: taker(c, Dynamics()) for i, c in contracts.items()}
    again = Bent(taker(contracts["a3"], Dynamics()), build({"name": "exaggerate", "size": 0.5, "seed": 0}))
    for _ in range(5):
        entries = {i: t.announce(1.0) for i, t in honest.items()}
        truth, lie = entries["a3"]["corn"], liar.announce(1.0)["corn"]
        assert lie[0] == 0.5 * truth[0]
        assert lie[1:] == truth[1:]
        entries["a3"] = {"corn": lie}
        tables = {"corn": {i: entries[i]["corn"] for i in sorted(entries)}}
        for t in (*honest.values(), liar):
            t.update(tables)
        again.restore(liar.state())
        assert again.state() == liar.state()
    assert list(itertools.islice((again.announce(1.0) for _ in range(2)), 2)) == [
        liar.announce(1.0) for _ in range(2)
    ]


def test_what_is_no_amount_is_not_said():
    class Wrong(Strategy):
        def ask(self, wanted, seen):
            return np.array([np.nan])

    with pytest.raises(ValueError, match=r"ask gave \[nan\]; expected finite"):
        Bent(taker(instances.corn()["a3"], Dynamics()), Wrong(1.0)).announce(1.0)
