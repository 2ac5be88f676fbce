"""Free-running mode: the newest message of each neighbour at ticks of one's own, and nothing waited for."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from broker import codec
from broker.virtual import uniform_delay
from node.agent import Agent
from node.combinators import in_rounds, throughout
from node.consensus.counters import counters
from node.consensus.ratio import ratio
from node.consensus.windows import windows
from node.free import JITTER
from node.protocol import Say, together
from node.states import GONE, JOINING, LINGERING, PLAYING
from node.status import Status
from node.store import MemoryStore, Saved
from runner import testing
from runner.testing import Network

PATH = [("a", "b"), ("b", "c")]
RING = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
TICK = 0.05


def parts_of(edges, tick=None):
    """Everybody's part; with a tick agents run freely."""
    how = {} if tick is None else {"synchrony": "free", "tick": tick}
    return testing.parts_of(edges, **how)


def listen(part, resume=None, ticks=10**9):
    """Says what it has heard so far, as text; a snapshot at each Say."""
    k, heard = resume if resume is not None else (0, ())
    while k < ticks:
        ears = yield Say(
            f"{part.agent}{k}", kind="listen", accepts=lambda b, src: type(b) is str, snapshot=(k, heard)
        )
        heard = (*heard, "".join(f"{j}:{body} " for j, body in ears.said.items()).strip())
        k += 1
    return heard


class Wire:
    """One agent by hand: what it published, and messages from its neighbours."""

    def __init__(self, name="b", make=listen, tick=TICK, edges=PATH, **how):
        self.now, self.out = 0.0, []
        self.part = parts_of(edges, tick=tick)[name]
        self.make = make
        self.start_again(**how)

    def start_again(self, **how):
        self.agent = Agent(
            self.part,
            self.make,
            lambda topic, payload, *, retain=False: self.out.append((topic, payload, retain)),
            lambda: self.now,
            nonce="mine",
            **how,
        )

    def said(self):
        return [codec.decode(p).body for t, p, _ in self.out if t.endswith("/say")]

    def status(self, name, state="up", nonce="theirs", incarnation=0, epoch=0):
        payload = Status(state, incarnation, epoch, self.part.digest(), nonce).pack()
        self.agent.receive_status(name, payload)

    def start(self):
        self.agent.hello()
        self.status(self.agent.id, nonce="mine")

    def message(self, src, round_, body="x", incarnation=0, since=0, epoch=0, kind="listen"):
        data = codec.encode(codec.Prefix("test", src, incarnation, since), epoch, round_, kind, body)
        self.agent.receive(codec.decode(data))

    def tick(self, times=1):
        for _ in range(times):
            self.now = max(self.now, self.agent.keeper.deadline)
            self.agent.tick(self.now)

    @property
    def heard(self):
        """What the protocol was sent at each tick."""
        return self.agent.conversation.saying.snapshot[1]


# -- ticks ----------------------------------------------------------------------------------------------


def test_an_agent_plays_as_soon_as_it_hears_itself_and_waits_for_nobody():
    wire = Wire()
    assert wire.agent.state == JOINING
    wire.start()
    assert wire.agent.state == PLAYING
    wire.tick(3)
    assert wire.said() == ["b0", "b1", "b2", "b3"]
    assert wire.heard == ("", "", "")


def test_ticks_keep_the_period_with_a_jitter_of_a_fifth():
    wire = Wire()
    wire.start()
    times = []
    for _ in range(500):
        wire.tick()
        times.append(wire.now)
    pauses = np.diff(times)
    assert pauses.min() >= TICK * (1 - JITTER) - 1e-12
    assert pauses.max() <= TICK * (1 + JITTER) + 1e-12
    assert pauses.std() > 0.1 * TICK
    assert abs(pauses.mean() - TICK) < 0.02 * TICK


def test_the_newest_message_counts_may_be_heard_again_and_older_ones_are_dropped():
    wire = Wire()
    wire.start()
    wire.message("a", 4, "new")
    wire.message("a", 3, "old")
    wire.message("a", 4, "other words")
    wire.tick(2)
    wire.message("a", 9, "newer")
    wire.message("c", 0, "late")
    wire.tick()
    assert wire.heard == ("a:new", "a:new", "a:newer c:late")
    assert wire.agent.rejected == {"overtaken": 1, "duplicate": 1}
    assert wire.agent.traffic.received == 3


def test_a_body_that_cannot_be_read_is_counted_and_the_older_one_stays():
    wire = Wire()
    wire.message("c", 0, 7)  # before it could be told
    wire.start()
    wire.message("a", 0, "good")
    wire.message("a", 1, 1.5)
    wire.tick()
    assert wire.heard == ("a:good",)
    assert wire.agent.rejected == {"body": 2}


def test_the_kind_is_not_compared():
    wire = Wire()
    wire.start()
    wire.message("a", 0, "good", kind="another")
    wire.tick()
    assert wire.heard == ("a:good",)


def test_messages_of_an_older_life_or_epoch_are_dropped_and_a_newer_epoch_starts_again():
    wire = Wire()
    wire.start()
    wire.message("a", 7, "first life")
    wire.message("a", 2, "restarted", incarnation=1, since=7)
    wire.message("a", 9, "of the dead", incarnation=0)
    wire.tick()
    assert wire.heard == ("a:restarted",)
    wire.message("c", 0, "again", epoch=3)
    assert (wire.agent.epoch, wire.agent.round) == (3, 0)
    wire.message("a", 5, "stale", incarnation=1)
    wire.tick()
    assert wire.heard == ("c:again",)
    assert wire.agent.rejected == {"stale-incarnation": 1, "stale-epoch": 1}


def test_agents_in_rounds_and_free_ones_refuse_each_other():
    assert parts_of(PATH)["a"].digest() != parts_of(PATH, tick=1.0)["a"].digest()
    assert parts_of(PATH, tick=2.0)["a"].digest() == parts_of(PATH, tick=1.0)["a"].digest()


@pytest.mark.parametrize("tick", [0.0, -1.0, float("nan"), float("inf")])
def test_a_tick_that_is_none_is_refused(tick):
    with pytest.raises(ValueError, match="expected a tick > 0 s"):
        Wire(tick=tick)


# -- the end --------------------------------------------------------------------------------------------


def test_an_agent_that_has_returned_repeats_its_last_words_every_tick_until_its_neighbours_are_done():
    wire = Wire(make=partial(listen, ticks=2))
    wire.start()
    wire.tick(2)
    assert wire.agent.state == LINGERING
    wire.tick(3)
    assert wire.said() == ["b0", "b1", "b1", "b1", "b1"]
    assert wire.agent.traffic.resent == 3
    wire.status("a", "done")
    assert wire.agent.waiting_for() == ("c",)
    wire.status("c", "gone")
    assert wire.agent.state == GONE


def test_it_leaves_neighbours_that_are_silent_and_answers_when_one_speaks_again():
    wire = Wire(make=partial(listen, ticks=2))
    wire.start()
    wire.status("c", "done")
    wire.message("a", 0)
    wire.tick(2)
    while wire.agent.state is LINGERING:
        wire.tick()
    assert 10.0 < wire.now < 11.0
    del wire.out[:]
    wire.message("a", 1)
    wire.message("a", 1)  # a copy: an answer, for all it knows
    assert [(t, codec.decode(p).body) for t, p, _ in wire.out] == [("test/b/to/a", "b1")]


def test_a_neighbour_that_speaks_faster_than_it_ticks_is_told_the_last_words_at_the_pace_of_ticks_only():
    wire = Wire(make=partial(listen, ticks=2))
    wire.start()
    wire.tick(2)
    wire.status("c", "done")
    wire.agent.tick(wire.now + 20.0)
    assert wire.agent.state is GONE
    del wire.out[:]
    for k in range(1000):
        wire.now += 0.001
        wire.message("a", k)
    assert 10 <= len(wire.out) <= 1.0 / (0.5 * TICK) + 1


# -- memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 3, 1000])
def test_what_was_heard_is_logged_before_it_is_answered_and_a_new_life_goes_on_from_there(every):
    store = MemoryStore()
    wire = Wire(store=store, snapshot_every=every)
    wire.start()
    rng = random.Random(1)
    counts = Counter()
    for k in range(20):
        for src in "ac":
            if rng.random() < 0.4:
                wire.message(src, counts[src], f"{k}")
                counts[src] += 1
        wire.tick()
        # A twin that comes back now says the same, has heard the same, and is heard as newer.
        twin = Wire()
        twin.start_again(store=store, snapshot_every=every)
        store.begin(0)
        assert twin.agent.conversation.kept[-1][0][0] == "test/b/say"
        mine, theirs = (codec.decode(a.conversation.kept[-1][0][1]) for a in (wire.agent, twin.agent))
        assert (mine.body, mine.round) == (theirs.body, theirs.round)
        assert (theirs.incarnation, theirs.since) == (1, theirs.round)
        assert twin.heard == wire.heard
        assert twin.agent.keeper._newest.keys() == wire.agent.keeper._newest.keys()


def test_the_log_holds_a_message_once():
    store = MemoryStore()
    wire = Wire(store=store, snapshot_every=1000)
    wire.start()
    wire.message("a", 0, "once")
    wire.tick(5)
    assert [len(entry) for entry in store.saved.log] == [2, 1, 1, 1, 1]  # and who is gone


def test_a_neighbour_that_has_forgotten_what_it_said_makes_all_start_again():
    wire = Wire()
    wire.start()
    wire.message("a", 7, "first life")
    wire.message("a", 9, "knows only five ticks", incarnation=1, since=5)
    assert wire.agent.epoch == 1
    assert wire.said()[-1] == "b0"


def test_an_agent_without_its_memory_waits_for_all_hellos_and_opens_an_epoch():
    wire = Wire(incarnation=3)
    wire.start()
    wire.status("a", epoch=1)
    assert wire.agent.state == JOINING
    wire.status("c", epoch=4)
    assert (wire.agent.state, wire.agent.epoch) == (PLAYING, 5)


# -- over a network -------------------------------------------------------------------------------------


def average(part, resume=None, rule="windows"):
    """The mean of the agents' letters, stopped by a rule that keeps rounds."""
    x = float(ord(part.agent) - ord("a"))
    hears = part.hears

    def side(state):
        return windows(2, 1e-6, state) if rule == "windows" else counters(3, state)

    local = None if rule == "windows" else 1e-7
    fold = {} if rule == "windows" else {"fold": throughout}
    return together(
        lambda r: ratio(x, hears, tolerance=local, resume=r),
        lambda r: in_rounds(side, hears, resume=r, **fold),
        resume,
    )


def lossy(loss, longest):
    def fate(rng, src, dst, topic, now):
        if rng.random() < loss:
            return ()
        return tuple(rng.uniform(0.0005, longest) for _ in range(1 + (rng.random() < 0.2)))

    return fate


def pulse(agent):
    """The round of the stopping rule in its last words."""
    return agent.conversation.saying.body[1][0]


@pytest.mark.parametrize("rule", ["windows", "counters"])
@pytest.mark.parametrize("seed", range(4))
def test_averages_end_right_and_in_one_round_of_their_rule_under_loss_delay_and_uneven_ticks(seed, rule):
    parts = parts_of(RING, tick=TICK)
    parts["c"] = replace(parts["c"], tick=10 * TICK)
    net = Network(parts, partial(average, rule=rule), seed, durable=False, fate=lossy(0.3, 10 * TICK))
    results = net.run(limit=3000.0)
    assert all(abs(r.estimate - 1.5) <= 1e-6 for r in results.values())
    assert len({pulse(agent) for agent in net.agents.values()}) == 1
    assert set(net.rejected) <= {"duplicate", "overtaken"}


class Torn(MemoryStore):
    """Loses the newest entries of its log with every life."""

    def load(self):
        if self.saved is not None:
            del self.saved.log[-2:]
        return super().load()


@pytest.mark.parametrize("kind", ["exact", "forgotten", "torn"])
@pytest.mark.parametrize("rule", ["windows", "counters"])
@pytest.mark.parametrize("seed", range(3))
def test_killed_agents_come_back_and_the_answer_is_as_right(seed, rule, kind):
    net = Network(
        parts_of(RING, tick=TICK),
        partial(average, rule=rule),
        seed,
        fate=lossy(0.2, 3 * TICK),
        store=lambda name: Torn() if kind == "torn" else MemoryStore(),
        snapshot_every=5,
    )
    rng = random.Random(seed)
    for _ in range(5):
        at, name = rng.uniform(0.0, 6.0), rng.choice("abcd")
        kill = partial(net.kill, name, rng.uniform(0.01, 1.0), forget=kind == "forgotten")
        net.call_later(at, kill)
    results = net.run(limit=3000.0)
    assert all(abs(r.estimate - 1.5) <= 1e-6 for r in results.values())
    assert len({(agent.epoch, pulse(agent)) for agent in net.agents.values()}) == 1
    if kind == "exact":
        assert {agent.epoch for agent in net.agents.values()} == {0}


def test_a_clean_network_costs_a_message_a_tick_and_no_copies_before_the_end():
    parts = parts_of(RING, tick=TICK)
    net = Network(parts, partial(listen, ticks=20), durable=False, fate=uniform_delay(0.001, 0.002))
    net.run_until(lambda: all(a.conversation.finished for a in net.agents.values()), 100.0)
    assert [agent.traffic.sent for agent in net.agents.values()] == [20] * 4


def test_a_store_of_another_form_counts_as_none():
    store = MemoryStore()
    store.begin(0)
    store.reset(Saved(0, 0))
    store.append([b"nothing of ours"])
    wire = Wire(store=store)
    assert wire.agent.amnesic
