"""Strategic agents: best responses as a rule of play, among agents and without convergence."""

from __future__ import annotations

import itertools
import math

import pytest

from node import lockstep
from node.mechanisms.network import checks, strategic
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.multicast import Q1
from node.mechanisms.network.optimum import program, solve
from node.mechanisms.network.prices import Dynamics
from node.mechanisms.network.responder import MOST_PRICE
from node.mechanisms.network.sequential import play, settle
from node.mechanisms.network.takers import taker
from node.protocols.network.life import network, own_of
from runner.simulation.ledger import Ledger
from runner.testing import Network
from tests.node.network import instances
from tests.node.network.test_protocol import STORM
from topologies import load_scenario

STRATEGIC = Dynamics("strategic", start=1.2)


def responders(contracts, dynamics=STRATEGIC):
    return {i: taker(c, dynamics) for i, c in contracts.items()}


@pytest.mark.parametrize("name", ["network-corn-5", "network-multicast-9", "network-microgrid-7"])
def test_agents_respond_as_in_sequential_play_bit_for_bit(name):
    chosen = ["mechanism.prices=strategic", "mechanism.start=1.2", "stopping.max_rounds=9"]
    parts = load_scenario(name, chosen).parts("test")
    ended = lockstep.run({i: network(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()})
    contracts = {i: own_of(p).contract for i, p in parts.items()}
    players = responders(contracts)
    *_, step = itertools.islice(play(players), 8)
    _, shares = settle(players, step)
    assert {r.steps for r in ended.results.values()} == {9}
    for i, result in ended.results.items():
        assert (result.allocation, result.tax) == (step.shares[i].allocation, shares[i].tax)


def without_tail(entry):
    return entry[:-2]


@pytest.mark.parametrize("kind", ["corn", "tree", "local_goods"])
def test_every_message_is_the_best_response_to_the_last_tables(kind):
    contracts = getattr(instances, kind)()
    one, two = itertools.islice(play(responders(contracts)), 2)
    every = strategic.limits(contracts, one.tables)
    for i, c in contracts.items():
        own = {name: one.tables[name] for name in c.channels}
        # What an agent can know of the rest: the least of all, unless that is its own.
        mine = min(every[name] for name in c.channels if name in every)
        rest = least if (least := min(every.values())) < mine else FREE
        best = strategic.best_response(c, own, rest, strategic.MOST * c.highest)
        assert {n: without_tail(two.tables[n][i]) for n in c.channels} == best.quotes


@pytest.mark.parametrize("start", [0.3, 1.2, 4.0])
def test_best_responses_stay_away_from_the_optimum_and_regret_does_not_vanish(start):
    contracts = instances.corn()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    steps = list(itertools.islice(play(responders(contracts, Dynamics("strategic", start=start))), 40))
    largest = max(optimum.allocation.values())
    for step in steps[-20:]:
        off = max(abs(step.shares[i].allocation - x) for i, x in optimum.allocation.items())
        assert off > 0.1 * largest
    assert max(strategic.regrets(contracts, steps[-1].tables).values()) > 1e-2


def distances(contracts, steps):
    """The error of every step, relative to the largest share; no capacity is exceeded in any."""
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    found = []
    for step in steps:
        x = {i: share.allocation for i, share in step.shares.items()}
        assert checks.overshoot(contracts, x) == 0.0
        assert checks.unequal(contracts, x) == 0.0
        off = max(abs(x[i] - best) for i, best in optimum.allocation.items())
        found.append(off / max(optimum.allocation.values()))
    return found


def group_price(step, contracts, name):
    """The largest sum of q1 of a group on a link."""
    members = next(iter(contracts.values())).groups[name].values()
    return max(math.fsum(step.tables[name][j][Q1] for j in group) for group in members)


def test_two_members_of_a_group_close_the_gap_of_its_price_twice():
    # l1 has groups {a1, a2}, {a3, a4} and {a5}. Group A quotes 3 in all, B 2, C 1. Each
    # of A answers as if the other stayed: q1 = wbar - the other's = 1.5 - 1.5 = 0, so A falls from 3 to 0:
    # twice the way to 1.5. That is w - wbar times 1 - G, G = 2 members (but for the small slack terms).
    contracts = instances.tree(eta=1e-9, xi=1e-9)
    said = {"a1": 1.5, "a2": 1.5, "a3": 1.0, "a4": 1.0, "a5": 1.0}
    tables = {
        name: {i: (0.4, said[i], said[i], 1.0) for i in link.members}
        for name, link in contracts["a1"].links.items()
    }
    own = (
        contracts["a1"].reply(0.4, tables, 0.5)["l1"][Q1] + contracts["a2"].reply(0.4, tables, 0.5)["l1"][Q1]
    )
    assert own - 1.5 == pytest.approx((1 - 2) * (3.0 - 1.5), abs=1e-6)


def test_full_best_responses_make_multicast_prices_diverge_and_quarter_steps_leave_them_stuck():
    contracts = instances.tree()
    steps = list(itertools.islice(play(responders(contracts, Dynamics("strategic", start=2.0))), 170))
    assert min(distances(contracts, steps)) > 0.1
    assert group_price(steps[-1], contracts, "l2") > 1e34
    every = [q for step in steps for table in step.tables.values() for entry in table.values() for q in entry]
    assert max(every) <= MOST_PRICE  # finite, whatever happens
    damped = Dynamics("strategic", start=2.0, kappa=0.25)
    steps = list(itertools.islice(play(responders(contracts, damped)), 120))
    assert min(distances(contracts, steps)) > 0.1
    assert max(group_price(step, contracts, "l2") for step in steps) < 4.0


def test_linear_prices_that_start_too_low_are_never_raised():
    contracts = instances.five()
    steps = list(itertools.islice(play(responders(contracts, Dynamics("strategic", start=1.0))), 40))
    assert {entry[1] for entry in steps[-1].tables["row"].values()} == {1.0}  # 1.599 at the optimum
    assert max(entry[0] for entry in steps[-1].tables["row"].values()) > 1e3 * 4.0
    errors = distances(contracts, steps)
    assert min(errors[5:]) > 0.3
    assert errors[-1] == pytest.approx(errors[10], rel=1e-3)


def test_linear_prices_that_start_too_high_creep_down():
    contracts = instances.five()
    steps = list(itertools.islice(play(responders(contracts, Dynamics("strategic", start=6.0))), 120))
    prices = [max(entry[1] for entry in step.tables["row"].values()) for step in steps]
    assert all(b <= a for a, b in itertools.pairwise(prices))
    assert 1.599 < prices[-1] < 1.7
    # What is left of the slack takes a part of it away that falls with its square.
    assert max(distances(contracts, steps)[80:]) > 1e-2


@pytest.mark.parametrize("start", [0.3, 1.2, 4.0])
def test_with_a_public_good_best_responses_stay_away_from_the_optimum(start):
    contracts = instances.local_goods()
    steps = itertools.islice(play(responders(contracts, Dynamics("strategic", start=start))), 30)
    assert min(distances(contracts, steps)[10:]) > 0.1


@pytest.mark.parametrize("kind", ["corn", "line", "tree", "five", "local_goods"])
def test_the_gap_of_strategic_play_bounds_what_is_missing(kind):
    contracts = getattr(instances, kind)()
    optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    for step in itertools.islice(play(responders(contracts)), 12):
        welfare = sum(c.valuation.value(step.shares[i].allocation) for i, c in contracts.items())
        assert optimum.welfare - welfare <= step.gap + 1e-12 * max(1.0, step.gap)


@pytest.mark.parametrize("name", ["network-multicast-9", "network-microgrid-7"])
def test_what_is_in_use_holds_every_capacity_though_best_responses_do_not_converge(name):
    chosen = ["mechanism.prices=strategic", "mechanism.start=1.2", "stopping.max_rounds=8"]
    parts, made = load_scenario(name, chosen).parts("test"), []
    contracts = {i: own_of(p).contract for i, p in parts.items()}
    ledger = Ledger(contracts, lambda: made[0].agents if made else {})
    net = Network(parts, ledger.protocol, seed=2, faults={**STORM, "seed": 2})
    made.append(net)
    net.advance(1.0)
    net.kill(min(parts), 0.4)
    net.run()
    net.assert_equals_lockstep()
    assert ledger.changes > 10 * len(parts)
    assert ledger.over == 0


@pytest.mark.parametrize("kind", ["line", "tree", "local_goods"])
def test_a_responder_made_from_its_state_says_the_same(kind):
    contracts = getattr(instances, kind)()
    players = responders(contracts)
    next(itertools.islice(play(players), 4, None))
    again = responders(contracts)
    for i, player in players.items():
        again[i].restore(player.state())
        assert again[i].announce(1.0) == player.announce(1.0)


@pytest.mark.parametrize("kind", ["corn", "tree", "five"])
def test_best_responses_go_the_whole_way_at_most(kind):
    with pytest.raises(ValueError, match=r"kappa 1\.5 with best responses; expected at most 1"):
        taker(getattr(instances, kind)()["a1"], Dynamics("strategic", kappa=1.5))
