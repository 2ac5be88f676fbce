"""The virtual network: what a broker would do, in seeded virtual time."""

from __future__ import annotations

import pytest

from broker.transport import Will
from broker.virtual import Stalled, VirtualNetwork, uniform_delay


def listening(network, name, *topics, will=None):
    heard = []
    client = network.connect(name, lambda topic, payload: heard.append((topic, payload)), will)
    client.subscribe(topics)
    return client, heard


def drain(network):
    with pytest.raises(Stalled, match="nothing is left"):
        network.run(lambda: False, 1e9)


def test_a_message_reaches_every_subscriber_once_and_nobody_else():
    network = VirtualNetwork(0)
    _, exact = listening(network, "exact", "r/a/say")
    _, wild = listening(network, "wild", "r/+/say", "r/#", "r/a/say")
    _, other = listening(network, "other", "r/b/say", "r/+/status")
    network.connect("src", lambda t, p: None).publish("r/a/say", b"x")
    drain(network)
    assert (exact, wild, other) == ([("r/a/say", b"x")], [("r/a/say", b"x")], [])


def test_the_same_seed_gives_the_same_history_and_another_seed_another():
    def history(seed):
        network = VirtualNetwork(seed)
        times = []
        network.connect("dst", lambda t, p: times.append((network.now, p))).subscribe(["t"])
        src = network.connect("src", lambda t, p: None)
        for k in range(50):
            src.publish("t", bytes([k]))
        drain(network)
        return times

    assert history(1) == history(1)
    assert history(1) != history(2)
    assert [p for _, p in history(1)] != sorted(p for _, p in history(1))  # messages overtake one another


def test_a_late_subscriber_gets_what_is_retained_until_it_is_cleared():
    network = VirtualNetwork(0)
    src = network.connect("src", lambda t, p: None)
    src.publish("r/a/status", b"old", retain=True)
    src.publish("r/a/status", b"new", retain=True)
    _, late = listening(network, "late", "r/a/status")
    _, wild = listening(network, "wild", "r/+/status")
    drain(network)
    assert late == wild == [("r/a/status", b"new")]
    src.publish("r/a/status", b"", retain=True)
    drain(network)
    _, later = listening(network, "later", "r/a/status")
    with pytest.raises(Stalled):
        network.run(lambda: bool(later), 1e9)


def test_the_will_is_published_on_abort_and_not_on_close():
    network = VirtualNetwork(0)
    _, heard = listening(network, "watcher", "w")
    network.connect("polite", lambda t, p: None, Will("w", b"polite")).close()
    network.connect("rude", lambda t, p: None, Will("w", b"rude")).abort()
    drain(network)
    assert heard == [("w", b"rude")]


def test_a_closed_client_neither_sends_nor_receives():
    network = VirtualNetwork(0)
    client, heard = listening(network, "c", "t")
    src = network.connect("src", lambda t, p: None)
    src.publish("t", b"on its way")
    client.close()
    client.publish("t", b"nothing")
    drain(network)
    assert heard == []


def test_fate_decides_about_every_copy():
    network = VirtualNetwork(0, lambda rng, src, dst, topic, now: {"lost": (), "twice": (1.0, 2.0)}[dst])
    _, lost = listening(network, "lost", "t")
    _, twice = listening(network, "twice", "t")
    network.connect("src", lambda t, p: None).publish("t", b"x")
    drain(network)
    assert (len(lost), len(twice), network.now) == (0, 2, 2.0)


def test_time_limits_are_errors_and_ranges_are_checked():
    network = VirtualNetwork(0)
    network.call_later(5.0, lambda: None)
    with pytest.raises(Stalled, match="within 1 virtual"):
        network.run(lambda: False, 1.0)
    with pytest.raises(ValueError, match="low <= high"):
        uniform_delay(2.0, 1.0)
