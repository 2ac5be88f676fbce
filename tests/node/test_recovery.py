"""Crashes: an agent killed at any instant comes back, and the run ends with the same answer."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.virtual import Stalled
from node.consensus.counters import counters
from node.protocol import Say, together
from node.store import DiskStore, MemoryStore, Saved, StoreMismatch
from runner.testing import Network, parts_of

PATH = [("a", "b"), ("b", "c"), ("c", "d")]
CYCLE = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")]
ROUNDS = 40


def mix(part, resume=None):
    """Depends on every message of every round; a snapshot at each Say."""
    x, k = resume if resume is not None else (np.array([ord(part.agent[0]) / 7.0, 1.0 / 3.0]), 0)
    while k < ROUNDS:
        heard = yield Say(x * 1.1 + k, kind="mix", snapshot=(x, k))
        x, k = np.sin(sum(heard.said.values(), x)), k + 1
    return tuple(x.tolist())


def whisper(part, resume=None):
    """The same with private words."""
    total, k = resume if resume is not None else (float(ord(part.agent[0])), 0)
    while k < ROUNDS:
        private = {j: float(ord(j[0]) * (k + 1)) for j in part.heard_by}
        heard = yield Say(total, to=private, kind="whisper", snapshot=(total, k))
        total, k = total + sum(heard.said.values()) * 1e-3 + sum(heard.told.values()), k + 1
    return total


def stopping(part, resume=None):
    """Averaging that all stop in the same round, by counters."""

    def average(state):
        x, quiet = state if state is not None else (float(ord(part.agent[0])), False)
        while True:
            heard = yield Say(x, kind="average", report=quiet, snapshot=(x, quiet))
            new = (x + sum(heard.said.values())) / (1 + len(heard.said))
            x, quiet = new, abs(new - x) <= 1e-3
            if heard.verdict is not None:
                return x

    return together(average, lambda state: counters(3, state), resume)


def nested(part, resume=None):
    """Snapshots only from below a ``yield from``: none of them counts."""
    x = yield from mix(part)
    y = yield from mix(part)
    return x + y


def lossy(loss):
    def fate(rng, src, dst, topic, now):
        return () if rng.random() < loss else (rng.uniform(0.0005, 0.03),)

    return fate


@pytest.mark.parametrize("protocol", [mix, whisper, stopping, nested])
@pytest.mark.parametrize("edges", [PATH, CYCLE], ids=["path", "directed"])
def test_a_killed_agent_comes_back_and_nothing_changes(virtual_network, edges, protocol):
    for seed in range(6):
        net = virtual_network(edges, protocol, seed, directed=edges is CYCLE, snapshot_every=7)
        rng = random.Random(seed)
        for _ in range(5):
            at, victim = rng.uniform(0.0, 0.8), rng.choice(sorted(net.parts))
            net.call_later(at, partial(net.kill, victim, rng.uniform(0.01, 0.5)))
        net.run()
        net.assert_equals_lockstep()
        assert {a.epoch for a in net.agents.values()} == {0}


@given(
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.4),
    kills=st.lists(
        st.tuples(st.floats(0.0, 3.0), st.sampled_from("abcd"), st.floats(0.001, 1.0)), max_size=8
    ),
    every=st.integers(1, 50),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_kills_at_any_instant_under_loss_change_nothing(seed, loss, kills, every):
    net = Network(parts_of(PATH), mix, seed, fate=lossy(loss), snapshot_every=every)
    for at, victim, down_for in kills:
        net.call_later(at, partial(net.kill, victim, down_for))
    net.run(limit=2e3)
    net.assert_equals_lockstep()
    assert {a.epoch for a in net.agents.values()} == {0}


@given(
    seed=st.integers(0, 2**32),
    kills=st.lists(
        st.tuples(st.floats(0.05, 0.4), st.sampled_from("abcd"), st.floats(0.001, 0.5), st.booleans()),
        max_size=5,
    ),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_an_agent_that_lost_its_memory_opens_an_epoch_and_the_answer_is_the_same(seed, kills):
    net = Network(parts_of(PATH), mix, seed, snapshot_every=7)
    for at, victim, down_for, forget in kills:
        net.call_later(at, partial(net.kill, victim, down_for, forget=forget))
    net.run(limit=2e3)
    net.assert_equals_lockstep()
    assert len({a.epoch for a in net.agents.values()}) == 1


def test_all_agents_killed_at_once_go_on_from_their_stores(virtual_network):
    net = virtual_network(PATH, mix, snapshot_every=7)
    net.run_until(lambda: net.agents["b"].round >= 20)
    for name in net.parts:
        net.kill(name, 0.1)
    net.run_until(lambda: len(net.agents) == len(net.parts))
    assert min(a.round for a in net.agents.values()) >= 18
    net.run()
    net.assert_equals_lockstep()


def test_an_agent_with_an_older_memory_than_its_neighbours_need_opens_an_epoch(virtual_network):
    net = virtual_network(PATH, mix, snapshot_every=7)
    net.run_until(lambda: net.agents["b"].round >= 5)
    left = net.world.stores["b"].saved
    old = replace(left, log=left.log[:1])
    net.run_until(lambda: net.agents["b"].round >= 12)
    net.kill("b", 0.5)
    net.world.stores["b"].saved = old
    net.run()
    net.assert_equals_lockstep()
    assert {a.epoch for a in net.agents.values()} == {1}


def test_a_run_with_an_agent_that_does_not_come_back_waits(virtual_network):
    net = virtual_network(PATH, mix, durable=False)
    net.run_until(lambda: net.agents["b"].round >= 5)
    net.kill("b", math.inf)
    with pytest.raises(Stalled):
        net.run(limit=30.0)
    assert net.agents["a"].waiting_for() == ("b",)


# -- the disk -----------------------------------------------------------------------------------------


def disk(tmp_path, identity="run/agent", sync=True):
    return DiskStore(tmp_path / "agent", identity, sync=sync)


FILLED = Saved(0, 3, b"snapshot", b"previous", telemetry=b"rows")
HEARD = [(b"x", b"yy"), (b"", b"z" * 5000)]


def fill(tmp_path):
    store = disk(tmp_path)
    store.begin(4)
    store.reset(FILLED)
    for entry in HEARD:
        store.append(entry)
    store.close()


def test_a_store_gives_back_what_was_put_into_it(tmp_path):
    assert disk(tmp_path).load() == (-1, None)
    fill(tmp_path)
    life, saved = disk(tmp_path).load()
    assert (life, saved) == (4, replace(FILLED, log=HEARD))


def test_the_next_life_appends_where_the_last_one_ended(tmp_path):
    fill(tmp_path)
    store = disk(tmp_path)
    store.load()
    store.append((b"more",))
    store.close()
    assert disk(tmp_path).load()[1].log == [*HEARD, (b"more",)]


def test_a_log_cut_anywhere_gives_back_its_whole_entries(tmp_path):
    fill(tmp_path)
    path = tmp_path / "agent" / "log"
    data = path.read_bytes()
    seen = set()
    # At every byte of every head; in the 5,000 bytes alike that are the end of it, here and there.
    for cut in [*range(200), *range(200, len(data) - 50, 97), *range(len(data) - 50, len(data))]:
        path.write_bytes(data[:cut])
        log = disk(tmp_path).load()[1].log
        assert log == HEARD[: len(log)]
        seen.add(len(log))
        store = disk(tmp_path, sync=False)  # how long a disk takes is not the point
        store.append((b"after",))
        store.close()
        assert disk(tmp_path).load()[1].log[-1] == (b"after",)
    assert seen == {0, 1}


@pytest.mark.parametrize("name", ["snapshot", "life"])
def test_a_small_file_with_any_byte_changed_or_cut_counts_as_none(tmp_path, name):
    fill(tmp_path)
    path = tmp_path / "agent" / name
    data = path.read_bytes()
    for k in range(len(data)):
        for broken in (data[:k], data[:k] + bytes([data[k] ^ 0x40]) + data[k + 1 :]):
            path.write_bytes(broken)
            life, saved = disk(tmp_path).load()
            assert (saved is None) if name == "snapshot" else (life == -1)


def test_a_log_of_an_older_snapshot_is_not_replayed(tmp_path):
    fill(tmp_path)
    path = tmp_path / "agent" / "log"
    old = path.read_bytes()
    store = disk(tmp_path)
    store.reset(Saved(0, 9, b"newer", None))
    store.close()
    path.write_bytes(old)
    assert disk(tmp_path).load()[1] == Saved(0, 9, b"newer", None)


def test_a_store_of_another_run_or_agent_is_refused_by_name(tmp_path):
    fill(tmp_path)
    with pytest.raises(StoreMismatch, match="'run/agent', expected version 2 of 'other/agent'"):
        disk(tmp_path, "other/agent").load()


def test_a_full_disk_ends_the_promise_and_not_the_run(virtual_network):
    class Full(MemoryStore):
        def append(self, heard):
            raise OSError(28, os.strerror(28))

    net = virtual_network(PATH, mix, store=lambda name: Full() if name == "b" else MemoryStore())
    net.run()
    net.assert_equals_lockstep()
    assert net.agents["b"].memory.failure == "agent b is no longer durable: No space left on device"
    assert net.agents["a"].memory.failure is None
