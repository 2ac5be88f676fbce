"""Ratio consensus, Metropolis and flow updating: rounds, invariants, amnesia (spec 10, 3 and 9)."""

from __future__ import annotations

import math

import pytest

from benchmarks.consensus_rounds import inputs, network, second_eigenvalue
from benchmarks.lossy import Lossy
from node.consensus.averages import VETO
from node.consensus.flow import flow_updating
from node.consensus.metropolis import metropolis
from node.consensus.ratio import ratio
from node.protocol import Heard


def mean_of(x):
    return math.fsum(x.values()) / len(x)


def worst(net, x):
    return max(abs(say.report - mean_of(x)) for say in net.says.values())


# Ratio -------------------------------------------------------------------------------------------------


def check_mass(net, x):
    """y + sum S - sum RS = x and the same for z, of every agent, in the state before it deals its shares."""
    for i, say in net.says.items():
        y, z, *_, links = say.snapshot
        # Each tick rounds every link's four sums once.
        largest = 1.0 + max((abs(v) for _, *sums in links for v in sums), default=0.0)
        rounding = 2.0**-52 * largest * (1 + net.ticks)
        assert y + math.fsum(s - rs for _, s, _, rs, _ in links) == pytest.approx(x[i], abs=rounding)
        assert z + math.fsum(t - rt for _, _, t, _, rt in links) == pytest.approx(1.0, abs=rounding)


@pytest.mark.parametrize("graph", ["tree", "er"])
@pytest.mark.parametrize(("loss", "delay", "twice"), [(0.0, 0, 0.0), (0.3, 10, 0.2), (0.5, 3, 0.0)])
def test_ratio_keeps_every_agents_mass_after_every_step(graph, loss, delay, twice):
    hears = network(graph)
    x = inputs(hears, 1)
    net = Lossy({i: ratio(x[i], hears[i]) for i in hears}, hears, loss, 1, delay, twice)
    for _ in range(80):
        net.step()
        check_mass(net, x)


@pytest.mark.parametrize("primitive", [ratio, flow_updating])
@pytest.mark.parametrize("seed", range(3))
def test_loss_delay_order_and_duplicates_do_not_change_the_mean(primitive, seed):
    hears = network("er")
    x = inputs(hears, seed)
    net = Lossy({i: primitive(x[i], hears[i]) for i in hears}, hears, 0.3, seed, delay=10, twice=0.2)
    for _ in range(1500):
        net.step()
        if worst(net, x) < 1e-12:
            break
    assert worst(net, x) < 1e-12


@pytest.mark.parametrize("primitive", [ratio, flow_updating])
@pytest.mark.parametrize("crashed", [1, 5, 15])
@pytest.mark.parametrize("memory", ["none", "old", "fresh"])
def test_restarts_without_and_with_old_snapshots_leave_the_mean_as_it_was(primitive, crashed, memory):
    hears = network("er")
    x = inputs(hears, 3)
    victims = sorted(hears)[: 2 * crashed : 2]
    net = Lossy({i: primitive(x[i], hears[i]) for i in hears}, hears, 0.3, 3)
    kept = {}
    for k in range(300):
        if k in (8, 13):
            kept |= {i: net.says[i].snapshot for i in victims if k == 8 or memory == "fresh"}
        if k == 13:
            for i in victims:
                net.crash(i)
        if k == 33:
            for i in victims:
                resume = None if memory == "none" else kept[i]
                net.restart(i, primitive(x[i], hears[i], resume=resume))
        net.step()
        if primitive is ratio and k > 33:
            check_mass(net, x)
    assert worst(net, x) < 1e-9


def test_two_neighbours_that_crash_together_twice_leave_the_mean_as_it_was():
    hears = network("er")
    x = inputs(hears, 4)
    pair = [next(iter(hears)), hears[next(iter(hears))][0]]
    for primitive in (ratio, flow_updating):
        net = Lossy({i: primitive(x[i], hears[i]) for i in hears}, hears, 0.2, 4, delay=5, twice=0.2)
        for k in range(700):
            for i in pair:
                if k in (15, 60):
                    net.crash(i)
                if k in (30, 62):
                    net.restart(i, primitive(x[i], hears[i]))
            net.step()
        assert worst(net, x) < 1e-11


def test_plain_reset_of_the_readers_sums_would_be_noticed():
    """So that the tests above can fail: a restart that keeps y and zeroes S is the known error."""
    hears = network("er")
    x = inputs(hears, 3)
    net = Lossy({i: ratio(x[i], hears[i]) for i in hears}, hears)
    for _ in range(10):
        net.step()
    victim = min(hears)
    y, z, *rest, links = net.says[victim].snapshot
    torn = (y, z, *rest, tuple((j, 0.0, 0.0, rs, rt) for j, _, _, rs, rt in links))
    net.restart(victim, ratio(x[victim], hears[victim], resume=torn))
    for _ in range(400):
        net.step()
    assert worst(net, x) > 1e-4


@pytest.mark.parametrize("primitive", [ratio, flow_updating])
def test_a_neighbour_gone_for_good_is_unwound_and_the_rest_find_their_own_mean(primitive):
    hears = network("er")
    x = inputs(hears, 5)
    net = Lossy({i: primitive(x[i], hears[i]) for i in hears}, hears, 0.3, 5)
    for _ in range(20):
        net.step()
    for i in (min(hears), max(hears)):
        net.remove(i)
        del x[i]
    for _ in range(400):
        net.step()
    assert worst(net, x) < 1e-11


def test_a_link_made_later_starts_from_zero_and_speaks_privately():
    hears = {"a": ["b"], "b": ["a", "c"], "c": ["b"]}
    x = {"a": 0.1, "b": 0.5, "c": 0.9}
    net = Lossy({i: ratio(x[i], hears[i]) for i in hears}, hears)
    for _ in range(5):
        net.step()
    assert all(not say.to for say in net.says.values())
    net.hears["a"].append("d")
    net.hears["d"], x["d"] = ["a"], 2.5
    net._newest["d"], net._gone["d"], net._lives["d"] = {}, [], 0
    net.protocols["d"] = ratio(x["d"], ["a"])
    net.says["d"] = next(net.protocols["d"])
    # It speaks one tick before "a" knows that the link is there: what "a" says then is not meant for it.
    net.hears["d"] = []
    net.step()
    net.hears["d"] = ["a"]
    for _ in range(400):
        net.step()
    assert set(net.says["a"].to) == {"b", "d"}
    assert worst(net, x) < 1e-12


def test_ratio_gives_the_sum_where_one_agent_has_all_the_weight():
    hears = network("er")
    x = inputs(hears, 6)
    first = min(hears)
    net = Lossy({i: ratio(x[i], hears[i], weight=float(i == first)) for i in hears}, hears, 0.3, 6)
    vetoes = 0
    for _ in range(400):
        vetoes += sum(say.report == VETO for say in net.says.values())
        net.step()
    assert vetoes > 0
    assert max(abs(say.report - math.fsum(x.values())) for say in net.says.values()) < 1e-10


def test_an_estimate_whose_weight_is_not_positive_is_vetoed():
    g = ratio(1.0, ["b"])
    next(g)
    say = g.send(Heard({"b": (-3.0, -2.0)}))  # a neighbour that takes back what an earlier life handed out
    assert say.report == VETO
    assert say.record["estimate"] == 1.0  # the previous one


@pytest.mark.parametrize("told", ["x", (1.0,), (1, 2), 3.0, ("a", 1.0)])
def test_a_private_part_that_cannot_be_read_is_as_good_as_lost(told):
    one, other = ratio(1.0, ["b"]), ratio(1.0, ["b"])
    next(one), next(other)
    assert one.send(Heard({"b": None}, {"b": told})).body == other.send(Heard({})).body
    if type(told) is not float:
        one, other = flow_updating(1.0, ["b"]), flow_updating(1.0, ["b"])
        next(one), next(other)
        assert one.send(Heard({"b": (0, 2.0)}, {"b": told})).to == other.send(Heard({"b": (0, 2.0)})).to


# Flow updating -----------------------------------------------------------------------------------------


def test_flows_are_antisymmetric_whenever_no_message_is_in_flight():
    """One agent moves at a time and hears all that was said before: none is in flight then."""
    hears = network("er")
    x = inputs(hears, 7)
    protocols = {i: flow_updating(x[i], hears[i]) for i in hears}
    says = {i: next(g) for i, g in protocols.items()}
    last: dict[tuple[str, str], float] = {}
    order = sorted(hears) * 60
    for i in order:
        said = {j: says[j].body for j in hears[i]}
        told = {j: says[j].to[i] for j in hears[i] if i in says[j].to}
        says[i] = protocols[i].send(Heard(said, told))
        for j, flow, *_ in says[i].snapshot[3]:
            if j in told and last.get((i, j)) == told[j]:
                assert flow != -told[j]  # heard before: what was done since stands
            elif j in told:
                assert flow == -told[j]
            last[i, j] = told.get(j)
    own = {i: x[i] - math.fsum(says[i].to.values()) for i in hears}
    assert math.fsum(own.values()) == pytest.approx(math.fsum(x.values()), abs=1e-6)
    assert max(abs(v - mean_of(x)) for v in own.values()) < 1e-6


def test_a_restarted_agent_lets_its_neighbours_memory_of_the_flow_stand():
    g = flow_updating(1.0, ["b", "c"])
    assert not next(g).to
    say = g.send(Heard({"b": (40, 0.5)}, {"b": 0.25}))
    assert set(say.to) == {"b"}
    assert say.report == VETO  # c has not been heard
    assert say.snapshot[3][0][:2] == ("b", -0.25)


# Metropolis --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accelerated", [False, True])
def test_metropolis_conserves_the_sum(accelerated):
    hears = network("er")
    x = inputs(hears, 8)
    rho = second_eigenvalue(hears) if accelerated else None
    net = Lossy({i: metropolis(x[i], hears[i], rho) for i in hears}, hears)
    for _ in range(60):
        net.step()
        total = math.fsum(say.report for say in net.says.values())
        assert total == pytest.approx(math.fsum(x.values()), abs=1e-12)


@pytest.mark.parametrize("rho", [-0.1, 1.0, math.nan])
def test_metropolis_refuses_a_rho_that_is_none(rho):
    with pytest.raises(ValueError, match="rho"):
        next(metropolis(1.0, ["b"], rho))


def test_metropolis_does_not_go_on_without_a_neighbour():
    g = metropolis(1.0, ["b", "c"])
    next(g)
    with pytest.raises(RuntimeError, match=r"\['c'\]"):
        g.send(Heard({"b": 1}, gone=("c",)))


@pytest.mark.parametrize("primitive", [ratio, flow_updating, metropolis])
@pytest.mark.parametrize("x", [math.nan, math.inf])
def test_inputs_that_are_not_finite_are_refused(primitive, x):
    with pytest.raises(ValueError, match="finite"):
        next(primitive(x, ["b"]))
