"""One agent by hand, between two neighbours whose words a test writes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from broker import codec, topics
from node.agent import Agent
from node.protocol import Say
from node.status import Status
from node.switchboard import Switchboard
from runner.testing import parts_of
from tests.node.instances import both_ways

PATH = both_ways([("a", "b"), ("b", "c")])


def mix(part, resume=None, rounds=12):
    """A protocol whose result depends on every message of every round, and on their order of summation."""
    x = np.array([float(ord(part.agent[0])) / 7.0, 1.0 / 3.0])
    for k in range(rounds):
        heard = yield Say(
            x * 1.1 + k, kind="mix", accepts=lambda b, src: type(b) is np.ndarray and b.shape == (2,)
        )
        x = np.sin(sum(heard.said.values(), x))
    return tuple(x.tolist())


class Wire:
    """One agent by hand: what it published, and messages from its neighbours."""

    def __init__(self, name="b", edges=PATH, make=mix, **changes):
        self.now, self.out = 0.0, []
        part = replace(parts_of(edges, directed=True)[name], **changes)
        self.agent = Agent(
            part, lambda part, resume: make(part), self.publish, lambda: self.now, nonce="mine"
        )
        self.digest = part.digest()

    def publish(self, topic, payload, *, retain=False):
        self.out.append((topic, payload, retain))

    def said(self):
        """Rounds of the messages published on `say` so far."""
        return [codec.decode(p).round for t, p, _ in self.out if t.endswith("/say")]

    def status(self, nonce, state="up", digest=None, incarnation=0, epoch=0):
        return Status(state, incarnation, epoch, digest or self.digest, nonce).pack()

    def hello_from(self, *names, state="up", digest=None, nonce="theirs", incarnation=0):
        for name in names:
            payload = self.status(nonce, state=state, digest=digest, incarnation=incarnation)
            self.agent.receive_status(name, payload)

    def start(self):
        self.agent.hello()
        self.agent.receive_status(self.agent.id, self.status("mine"))
        self.hello_from("a", "c")

    def message(self, src, round_, body=None, kind="mix", incarnation=0, epoch=0):
        body = np.zeros(2) if body is None else body
        data = codec.encode(codec.Prefix("test", src, incarnation), epoch, round_, kind, body)
        self.agent.receive(codec.decode(data))

    def again(self, src, *rounds, asks=False):
        """Messages said again by a neighbour, through the switchboard."""
        prefix = codec.Prefix("test", src, 0)
        copies = [codec.encode(prefix, 0, k, "mix", np.zeros(2)) for k in rounds]
        payload = codec.encode_again(asks, copies)
        Switchboard("test", [self.agent]).deliver(topics.to("test", src, self.agent.id), payload)

    def copies(self):
        """What was said again: (to whom, rounds, whether with a question)."""
        found = []
        for topic, payload, _ in self.out:
            if "/to/" in topic:
                messages, asks = codec.decode_all(payload)
                if messages[0].again:
                    found.append((topic.rpartition("/")[2], [m.round for m in messages], asks))
        return found


# -- rounds equal lockstep ----------------------------------------------------------------------------
