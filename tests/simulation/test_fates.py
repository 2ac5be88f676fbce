"""What befalls deliveries and agents in the virtual network, fault by fault."""

from __future__ import annotations

import random
from functools import partial

import pytest

from broker.faults import HELD_BACK, Barrier, FaultyLinks, Rates
from broker.virtual import DEFAULT_DELAY
from node.states import GONE, LINGERING
from node.store import MemoryStore
from runner.fate import fate_of
from runner.testing import Network, parts_of
from runner.virtual import run_virtual
from runner.world import World
from tests.node.test_recovery import mix
from topologies import load_scenario
from topologies.faults import BrokerKill, Cut, Faults, Partition, Pause

PATH = [("a", "b"), ("b", "c"), ("c", "d")]


def many(fate, src="a", dst="b", now=1.0, n=4000):
    rng = random.Random(1)
    return [fate(rng, src, dst, "r/a/say", now) for _ in range(n)]


def test_rates_are_kept_and_cease():
    fate = FaultyLinks(Rates(loss=0.3, duplicate=0.2), until=10.0)
    sizes = [len(delays) for delays in many(fate)]
    assert 0.27 < sizes.count(0) / len(sizes) < 0.33
    assert 0.12 < sizes.count(2) / len(sizes) < 0.16  # of those that are not lost
    assert {len(delays) for delays in many(fate, now=10.0)} == {1}


def test_delays_are_added_and_a_reordered_message_is_held_back():
    late = [d[0] for d in many(FaultyLinks(Rates(delay=(1.0, 2.0))))]
    assert min(late) >= 1.0
    assert max(late) <= 2.0 + DEFAULT_DELAY[1]
    held = [d[0] for d in many(FaultyLinks(Rates(reorder=0.5)))]
    assert 0.4 < sum(d > DEFAULT_DELAY[1] for d in held) / len(held) < 0.55
    assert max(held) <= HELD_BACK + DEFAULT_DELAY[1]


def test_what_a_slow_agent_says_takes_longer_even_after_the_end_of_faults():
    fate = FaultyLinks(Rates(), slow={"a": 10.0}, until=0.0)
    assert max(d[0] for d in many(fate)) > 9 * DEFAULT_DELAY[1]
    assert max(d[0] for d in many(fate, "b", "a")) <= DEFAULT_DELAY[1]
    assert fate.slowest == 10 * DEFAULT_DELAY[1]


def test_a_cut_has_one_direction_and_two_ends():
    fate = FaultyLinks(Rates(), barriers=[Barrier(1.0, 2.0, frozenset({("a", "b")}))])
    passes = {now: bool(many(fate, now=now, n=1)[0]) for now in (0.99, 1.0, 1.99, 2.0)}
    assert passes == {0.99: True, 1.0: False, 1.99: False, 2.0: True}
    assert all(many(fate, "b", "a", now=1.5, n=50))


def test_a_partition_stops_what_passes_between_groups_and_nothing_within():
    events = [Partition(kind="partition", at=0.0, groups=(("a",), ("b", "c")), lasts=9.0)]
    fate = fate_of(Faults(), events)

    def passes(src, dst):
        return bool(many(fate, src, dst, n=1)[0])

    assert [passes("a", "b"), passes("b", "c"), passes("c", "d"), passes("d", "e")] == [
        False,
        True,
        False,
        True,
    ]
    assert passes("a", "a")  # what an agent hears of itself passes no link


def test_links_may_have_rates_of_their_own():
    faults = Faults.model_validate({"loss": 0.5, "link": [{"links": [["a", "b"]], "loss": 0.0}]})
    fate = fate_of(faults, [])
    assert all(many(fate))
    assert not all(many(fate, "b", "a"))


def undisturbed():
    return Network(parts_of(PATH), mix).lockstep().results


def world_of(events=(), faults=None, **how):
    faults = faults or Faults()
    world = World(
        parts_of(PATH), mix, 3, fate=fate_of(faults, events), store=lambda name: MemoryStore(), **how
    )
    world.start(events)
    return world


@pytest.mark.parametrize("forget", [False, True])
def test_a_broker_that_dies_and_comes_back_changes_nothing(forget):
    world = world_of(
        [BrokerKill(kind="broker-kill", at=at, down=0.5, forget=forget) for at in (0.01, 0.3, 1.2)]
    )
    world.run(100.0)
    assert {i: a.result for i, a in world.agents.items()} == undisturbed()
    assert world.network.now > 1.7


def test_a_paused_agent_hears_later_what_reached_it_meanwhile():
    world = world_of([Pause(kind="pause", at=0.2, agents=("b",), lasts=4.0)])
    world.run(100.0, lambda: world.network.now > 0.25)
    standing = world.agents["b"].round
    world.run(100.0, lambda: world.network.now > 4.1)
    assert world.agents["b"].round == standing
    assert world.agents["d"].round <= standing + 3
    world.run(100.0)
    assert {i: a.result for i, a in world.agents.items()} == undisturbed()


def test_an_agent_that_is_killed_twice_at_once_comes_back_once():
    world = world_of()
    for at in (0.2, 0.2, 0.25):
        world.network.call_later(at, partial(world.kill, "b", 0.1))
    world.run(100.0)
    assert world.agents["b"].incarnation == 1
    assert all(agent.state == GONE for agent in world.agents.values())


def test_a_partition_of_a_minute_heals_and_the_run_ends_within_ten_seconds():
    cut = Cut(kind="cut", at=0.3, links=(("b", "c"), ("c", "b")), lasts=60.0)
    world = world_of([cut])
    world.run(100.0)
    assert {i: a.result for i, a in world.agents.items()} == undisturbed()
    assert 60.3 < world.network.now < 70.3


@pytest.mark.parametrize("durable", [True, False])
def test_a_scenario_with_faults_has_the_answer_of_one_without(durable):
    storm = "{between=[0, 2], crash=3, amnesia=1, pause=1, cut=1, partition=1, broker_kill=1, lasts=[0.1, 1]}"
    faults = ["faults.loss=0.1", "faults.until=3", f"faults.storm={storm}"]
    calm = load_scenario("feeder-8", ["record.every=0"])
    wild = load_scenario("feeder-8", ["record.every=0", *faults])
    expected, seconds = run_virtual(calm.parts("r"), 1)
    found, longer = run_virtual(wild.parts("r"), 1, faults=wild.spec.faults, durable=durable)
    assert {i: r["result"] for i, r in found.items()} == {i: r["result"] for i, r in expected.items()}
    assert longer > seconds
    assert max(r["incarnation"] for r in found.values()) > 0


def test_an_agent_killed_after_the_end_leaves_although_nobody_is_left_to_greet_it():
    world = world_of(exit_when_gone=True)
    world.run(100.0, lambda: any(agent.state == LINGERING for agent in world.agents.values()))
    world.kill(next(i for i, agent in world.agents.items() if agent.state == LINGERING), 30.0)
    world.run(100.0, lambda: all(agent.state == GONE for agent in world.agents.values()))
    world.network.forget()  # the broker was restarted without its store: nobody's last status is retained
    world.run(100.0)
    assert {i: a.result for i, a in world.agents.items()} == undisturbed()
