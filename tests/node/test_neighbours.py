"""Who is there: going on without a neighbour, taking it back, and what comes of it when that was wrong."""

from __future__ import annotations

import random

import pytest

from broker import codec, topics
from node import lockstep
from node.agent import Agent
from node.consensus.ratio import ratio
from node.neighbours import Neighbours
from node.part import Part
from node.protocol import Say
from node.protocols.registry import protocol_of
from node.states import GONE, JOINING, PLAYING
from node.status import Status
from runner.testing import Network, parts_of

GRACE = 3.0
RING = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "f"), ("f", "a")]
VALUES = {i: {"family": "value", "value": [0.1 * (k + 1)]} for k, i in enumerate("abcdef")}
SET = {"mechanism": "consensus", "primitive": "set"}
RATIO = {
    "mechanism": "consensus",
    "primitive": "ratio",
    "stopping": {"rule": "windows", "tolerance": 1e-6},
}


def parts(edges=RING, contract=SET, **how):
    return parts_of(edges, contract=contract, private=VALUES, on_down="continue", grace=GRACE, **how)


def long(part, resume=None):
    """Rounds that take their time, then the set of everybody's values."""
    for _ in range(300):
        yield Say(None, kind="long")
    return (yield from protocol_of(part))


def network(edges=RING, contract=SET, seed=0, faults=None, make=long, **how):
    return Network(parts(edges, contract, **how), make, seed, faults)


def survivors(net):
    """agent -> its part as far as the links are that it ended with; both ends must agree."""
    left = {}
    for name, agent in net.agents.items():
        for j in agent.peers:
            assert name in net.agents[j].peers, f"{name} plays with {j}, but not the other way round"
        left[name] = agent.neighbours.part
    return left


def components(left):
    seen, found = set(), []
    for name in left:
        if name in seen:
            continue
        group, fringe = set(), [name]
        while fringe:
            i = fringe.pop()
            if i not in group:
                group.add(i)
                fringe.extend(left[i].hears)
        seen |= group
        found.append(sorted(group))
    return found


def assert_equals_lockstep_of_what_is_left(net, make=long):
    left = survivors(net)
    for group in components(left):
        ended = lockstep.run({i: make(left[i]) for i in group}, {i: left[i].hears for i in group})
        assert len({net.agents[i].epoch for i in group}) == 1
        for i in group:
            assert net.agents[i].state == GONE
            assert net.agents[i].result == ended.results[i]


# -- going on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_others_go_on_without_one_that_died(seed):
    net = network(seed=seed)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.kill("c", float("inf"))
    died = net.now
    net.run(200.0)
    assert net.now - died > GRACE
    assert_equals_lockstep_of_what_is_left(net)
    assert {agent.result.agents for agent in net.agents.values()} == {5}
    assert {agent.epoch for agent in net.agents.values()} <= {1, 2}


def test_whoever_is_told_to_wait_waits():
    net = Network(parts_of(RING, contract=SET, private=VALUES), long)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.kill("c", float("inf"))
    net.advance(60.0)
    assert net.agents["b"].state == PLAYING
    assert net.agents["b"].waiting_for() == ("c",)


def test_the_others_go_on_at_once_without_one_that_leaves_even_if_they_would_wait():
    net = Network(parts_of(RING, contract=SET, private=VALUES), long)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.leave("c")
    left = net.now
    net.run_until(lambda: min(net.agents[j].epoch for j in "bd") > 0)
    assert net.now - left < 0.1
    net.run(200.0)
    assert_equals_lockstep_of_what_is_left(net)
    assert net.agents["b"].neighbours.absent == {"c": "has left for good"}


def test_a_graph_that_falls_apart_ends_in_parts():
    path = RING[:-1]
    net = network(path)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.kill("c", float("inf"))
    net.run(200.0)
    assert components(survivors(net)) == [["a", "b"], ["d", "e", "f"]]
    assert_equals_lockstep_of_what_is_left(net)
    assert [net.agents[i].result.agents for i in "abdef"] == [2, 2, 3, 3, 3]


def test_an_agent_that_is_left_alone_has_itself():
    net = network([("a", "b")])
    net.run_until(lambda: net.agents["a"].round > 20)
    net.kill("b", float("inf"))
    net.run(200.0)
    assert net.agents["a"].result.value == (0.1,)


def test_an_agent_that_comes_back_after_it_was_given_up_is_taken_in_again():
    net = network(seed=1)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.kill("c", 3 * GRACE)
    net.run_until(lambda: "c" in net.agents["b"].neighbours.absent)
    gave_up = net.agents["b"].epoch
    net.run(300.0)
    assert len(survivors(net)["c"].hears) == 2
    assert {agent.result.agents for agent in net.agents.values()} == {6}
    assert min(agent.epoch for agent in net.agents.values()) > gave_up
    assert_equals_lockstep_of_what_is_left(net)


def test_an_agent_that_was_only_slow_is_taken_back_by_all_its_neighbours():
    net = network(seed=2)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.pause("c", 3 * GRACE)
    net.run_until(lambda: all("c" in net.agents[j].neighbours.absent for j in "bd"))
    net.run(300.0)
    assert {agent.result.agents for agent in net.agents.values()} == {6}
    assert_equals_lockstep_of_what_is_left(net)


def test_a_partition_gives_two_parts_which_come_together_again():
    cut = {"event": [{"kind": "partition", "at": 1.0, "groups": [["a", "b", "c"]], "lasts": 4 * GRACE}]}
    net = network(seed=3, faults=cut, make=slowly)
    net.run_until(lambda: net.now > 3 * GRACE + 1.0)
    assert components(survivors(net)) == [["a", "b", "c"], ["d", "e", "f"]]
    net.run(2000.0)
    assert components(survivors(net)) == [["a", "b", "c", "d", "e", "f"]]
    assert_equals_lockstep_of_what_is_left(net, slowly)


def slowly(part, resume=None):
    for _ in range(3000):
        yield Say(None, kind="slowly")
    return (yield from protocol_of(part))


def test_a_link_on_which_nothing_passes_in_one_direction_is_not_used_in_either():
    dead = {"link": [{"links": [["a", "b"]], "loss": 1.0}], "until": 1e6}
    net = network(seed=4, faults=dead)
    net.run(2000.0)
    left = survivors(net)
    assert (left["a"].hears, left["b"].hears) == (("f",), ("c",))
    assert_equals_lockstep_of_what_is_left(net)


def test_a_broker_that_is_away_for_longer_than_the_grace_makes_nobody_give_up_anybody():
    net = network(seed=5)
    net.run_until(lambda: net.agents["a"].round > 20)
    net.world.kill_broker(5 * GRACE)
    net.run(300.0)
    assert {agent.epoch for agent in net.agents.values()} == {0}
    assert {agent.result.agents for agent in net.agents.values()} == {6}


# -- coming late ------------------------------------------------------------------------------------------


def test_the_others_start_without_one_that_does_not_say_hello_and_take_it_in_when_it_does():
    late = {"event": [{"kind": "join", "at": 2 * GRACE, "agents": ["c"]}]}
    net = network(faults=late, make=slowly)
    net.run_until(lambda: net.agents["b"].round > 10)
    assert GRACE < net.now < GRACE + 2.0
    assert net.agents["b"].neighbours.absent == {"c": "has not said hello for 3 s"}
    assert "c" not in net.agents
    net.run(2000.0)
    assert {agent.result.agents for agent in net.agents.values()} == {6}
    assert_equals_lockstep_of_what_is_left(net, slowly)


def test_agents_that_would_wait_wait_for_one_that_joins_late():
    late = {"event": [{"kind": "join", "at": 20.0, "agents": ["c"]}]}
    net = Network(parts_of(RING, contract=SET, private=VALUES), long, faults=late)
    net.advance(19.0)
    assert net.agents["b"].state == JOINING
    net.run(200.0)
    net.assert_equals_lockstep()


def test_one_that_joins_when_all_have_their_results_makes_them_anew():
    late = {"event": [{"kind": "join", "at": 10 * GRACE, "agents": ["c"]}]}
    net = network(faults=late)
    net.run_until(lambda: all(net.agents[i].state == GONE for i in "abdef"))
    assert {net.agents[i].result.agents for i in "abdef"} == {5}
    net.run(300.0)
    assert {agent.result.agents for agent in net.agents.values()} == {6}
    assert_equals_lockstep_of_what_is_left(net)


# -- free mode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_free_run_starts_again_without_one_that_died(seed):
    net = network(contract=RATIO, seed=seed, make=protocol_of, synchrony="free", tick=0.05)
    net.run_until(lambda: net.agents["a"].round > 15)
    net.kill("c", float("inf"))
    net.run(300.0)
    assert {agent.result.agents for agent in net.agents.values()} == {5}
    mean = sum(VALUES[i]["value"][0] for i in "abdef") / 5
    assert all(abs(agent.result.value[0] - mean) <= 1e-6 for agent in net.agents.values())


def bare(part, resume=None):
    """An average without a survey, which goes on when a neighbour is lost; it never ends by itself."""
    return ratio(part.utility["value"][0], part.hears, max_rounds=800, resume=resume)


@pytest.mark.parametrize("kill", [False, True])
def test_a_protocol_that_survives_a_loss_is_told_and_goes_on_in_its_epoch(kill):
    net = network(make=bare, synchrony="free", tick=0.05)
    net.run_until(lambda: net.agents["a"].round > 30)
    net.world.lives["c"].alive = False  # silent, for good
    net.world.lives["c"].client.abort()
    del net.world.lives["c"]
    net.world.lost.add("c")
    net.run_until(lambda: all("c" in net.agents[j].neighbours.absent for j in "bd"))
    if kill:  # a log that knows who is gone
        net.advance(0.5)
        net.kill("b", 0.2)
    net.run(300.0)
    mean = sum(VALUES[i]["value"][0] for i in "abdef") / 5
    assert {agent.epoch for agent in net.agents.values()} == {0}
    assert all(abs(agent.result.estimate - mean) <= 1e-9 for agent in net.agents.values())


def test_one_that_was_slow_meets_a_protocol_that_went_on_without_it_in_a_new_epoch():
    net = network(make=bare, synchrony="free", tick=0.05)
    net.run_until(lambda: net.agents["a"].round > 30)
    net.pause("c", 3 * GRACE)
    net.run(300.0)
    mean = sum(VALUES[i]["value"][0] for i in "abcdef") / 6
    assert {agent.epoch for agent in net.agents.values()} == {1}
    assert all(abs(agent.result.estimate - mean) <= 1e-9 for agent in net.agents.values())


# -- by hand ----------------------------------------------------------------------------------------------


class Wire:
    """Agent b between a and c, by hand."""

    def __init__(self, on_down="continue", make=None):
        self.now, self.out = 0.0, []
        self.part = Part("b", "test", ("a", "c"), ("a", "c"), {}, {}, on_down=on_down, grace=GRACE)
        self.agent = Agent(self.part, make or self.talk, self.publish, lambda: self.now, nonce="mine")
        self.agent.hello()
        self.status("b", nonce="mine")

    @staticmethod
    def talk(part, resume=None):
        k = 0
        while True:
            yield Say((part.hears, k), kind="talk")
            k += 1

    def publish(self, topic, payload, *, retain=False):
        self.out.append((topic, payload))

    def status(self, src, state="up", nonce="theirs", **how):
        said = {"incarnation": 0, "epoch": 0, **how}
        self.agent.receive_status(src, Status(state, digest=self.part.digest(), nonce=nonce, **said).pack())

    def say(self, src, round_=0, epoch=0, incarnation=0):
        payload = codec.encode(codec.Prefix("test", src, incarnation), epoch, round_, "talk", None)
        self.agent.receive(codec.decode(payload))

    def pass_(self, seconds, *alive):
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            for j in alive:
                self.status(j, epoch=self.agent.epoch)
            self.status("b", nonce="mine")
            self.agent.tick(self.now)

    def last(self, kind):
        """The newest message of this kind: ``say``, ``to/a``, ..., or the newest status."""
        found = [p for t, p in self.out if t.endswith(f"/{kind}")]
        return codec.unpack(found[-1]) if kind == "status" else codec.decode(found[-1])


def test_words_go_to_those_alone_who_are_played_with():
    wire = Wire()
    wire.status("a")
    wire.status("c")
    assert wire.last("say").body == (("a", "c"), 0)
    del wire.out[:]
    wire.pass_(GRACE + 3.0, "a")
    assert wire.agent.epoch == 1
    words = [
        (topic, message)
        for topic, payload in wire.out
        if not topic.endswith("/status")
        for message in codec.decode_all(payload)[0]
        if message.epoch == 1
    ]
    assert {topic for topic, _ in words} == {topics.to("test", "b", "a")}
    assert words[-1][1].body == (("a",), 0)
    assert wire.last("status")["without"] == ("c",)
    assert wire.last("status")["hears"] == ()


def test_an_absent_neighbour_that_does_not_hear_this_agent_is_not_taken_back_but_told_that_it_is_heard():
    wire = Wire()
    wire.status("a")
    wire.status("c")
    wire.pass_(GRACE + 3.0, "a")
    del wire.out[:]
    wire.now += 1.0
    wire.status("c", without=("b",))
    assert wire.agent.neighbours.absent.keys() == {"c"}
    assert wire.last("status")["hears"] == ("c",)
    wire.status("c", without=("b",), hears=("b",))
    assert not wire.agent.neighbours.absent
    assert wire.agent.epoch == 2


def test_a_neighbour_that_counts_this_agent_absent_is_given_up_after_the_grace():
    wire = Wire()
    wire.status("a")
    wire.status("c")
    for _ in range(int(GRACE / 0.25) + 2):
        wire.status("c", without=("b",), epoch=wire.agent.epoch)
        wire.pass_(0.25, "a")
    assert wire.agent.neighbours.absent == {"c": "plays on without this agent"}


@pytest.mark.parametrize("what", ["message", "status"])
def test_a_word_of_an_absent_neighbour_takes_it_back_in_its_epoch_if_that_is_newer(what):
    for epoch, expected in ((1, 2), (5, 5)):
        wire = Wire()
        wire.status("a")
        wire.status("c")
        wire.pass_(GRACE + 3.0, "a")
        if what == "message":
            wire.say("c", epoch=epoch)
        else:
            wire.status("c", epoch=epoch)
        assert wire.agent.epoch == expected
        assert wire.last("say").body == (("a", "c"), 0)


def test_nothing_that_a_neighbour_said_before_it_left_for_good_brings_it_back():
    wire = Wire("wait")
    wire.status("a")
    wire.status("c")
    wire.status("c", "quit")
    assert wire.agent.epoch == 1
    wire.say("c", epoch=7)
    wire.status("c")
    assert wire.agent.epoch == 1
    assert wire.agent.rejected["stale-incarnation"] == 2
    wire.status("c", "join", incarnation=1)  # a new life is another matter
    assert (wire.agent.epoch, wire.agent.neighbours.absent) == (2, {})


def test_an_agent_that_has_left_hears_and_says_nothing_more():
    wire = Wire()
    wire.status("a")
    wire.status("c")
    wire.agent.quit()
    assert wire.last("status")["state"] == "quit"
    del wire.out[:]
    wire.status("a", epoch=9)
    wire.say("a", epoch=9)
    wire.pass_(5.0)
    assert (wire.agent.state, wire.out) == (GONE, [])


def test_too_few_agents_are_no_end_but_a_wait_for_others():
    rules = {
        "mechanism": "private-goods",
        "capacities": [3.0],
        "eta": 25.0,
        "parameters": "tuned",
        "learning": "cournot",
        "stopping": {"rule": "counters", "tolerance": 0.1, "scale": None},
    }
    wants = {i: {"family": "quadratic", "theta": [-1.0], "sigma": [10.0]} for i in "abc"}
    pair = parts_of([("a", "b"), ("b", "c")], contract=rules, private=wants, on_down="continue", grace=GRACE)
    net = Network(pair, protocol_of, faults={"event": [{"kind": "join", "at": 30.0, "agents": ["c"]}]})
    net.run_until(lambda: net.agents["a"].conversation.stranded is not None)
    assert net.agents["a"].conversation.stranded == (
        "agent a: 2 left in its part of the network; the contract needs at least 3 agents"
    )
    results = net.run(300.0)
    assert {result.agents for result in results.values()} == {3}


def test_what_is_known_of_neighbours_is_ordered_and_costs_little():
    part = Part("b", "test", ("c", "a"), ("c", "a"), {}, {}, on_down="continue")
    known = Neighbours(part, 0.0)
    assert known.part is part
    assert (known.everybody, known.peers, known.hears) == (("a", "c"),) * 3
    known.drop({"c": "why"}, 0.0)
    assert (known.part.hears, known.part.heard_by) == (("a",), ("a",))
    known.admit("c")
    assert known.part is part


@pytest.mark.parametrize("seed", range(6))
def test_any_storm_ends_with_results_that_equal_lockstep_of_what_is_left(seed):
    rng = random.Random(seed)
    faults = {
        "loss": 0.1,
        "until": 20.0,
        "storm": {"between": [0.0, 15.0], "crash": 2, "pause": 2, "cut": 2, "partition": 1, "lasts": [1, 8]},
        "event": [{"kind": rng.choice(["leave", "join"]), "at": rng.uniform(0, 12), "agents": ["e"]}],
    }
    net = network(seed=seed, faults=faults, make=slowly)
    net.run_until(lambda: net.now > 2.0)
    net.kill("b", float("inf"))
    net.run(3000.0)
    assert_equals_lockstep_of_what_is_left(net, slowly)
