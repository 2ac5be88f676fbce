"""Whether a run has kept its promise, held against what agents say of themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from node import lockstep
from node.protocols.allocate import allocate
from runner import stepped
from runner.facts import Ended
from runner.result import judge
from tests.runner.results import result_of
from topologies import load_scenario


def test_taxes_that_come_to_nothing_are_balanced_however_they_round():
    """Where all agents are alike nobody pays anybody: the sum of |tax| is rounding, too."""
    assert result_of(tax_sum=3e-16, tax_scale=3e-16).kept_promise
    assert not result_of(tax_sum=1.0, tax_scale=2.0).kept_promise
    assert result_of(tax_sum=1.0, tax_scale=2.0, guaranteed=False).kept_promise


def test_a_last_word_said_otherwise_to_one_neighbour_is_no_kept_promise():
    """Its first row changes what that neighbour pays, and no allocation."""
    loaded = load_scenario("ring-12")
    parts = loaded.parts("test")
    liar, victim = "a05", "a04"
    last = lockstep.run({i: allocate(part) for i, part in parts.items()}, _hears(parts)).rounds - 1

    def lying(part, extra):
        protocol = allocate(part)
        say, round_ = next(protocol), 0
        while True:
            heard = yield say
            if round_ == last:
                message, side = heard.said[liar]
                twisted = np.array(message)
                twisted[0] += extra
                heard = replace(heard, said={**heard.said, liar: (twisted, side)})
            try:
                say, round_ = protocol.send(heard), round_ + 1
            except StopIteration as stop:
                return stop.value

    verdicts = {}
    for extra in (0.0, 5.0):
        protocols = {i: lying(part, extra) if i == victim else allocate(part) for i, part in parts.items()}
        ended = lockstep.run(protocols, _hears(parts))
        reports = {name: stepped._account(part, ended, 0) for name, part in parts.items()}
        verdicts[extra] = judge(loaded, Ended("test", "lockstep", reports, 1.0))
    honest, lied = verdicts.values()
    assert lied.allocation == honest.allocation
    assert honest.kept_promise
    assert not lied.kept_promise
    assert lied.imbalance > 0.1
    assert "taxes 0.102 off balance" in lied.verdict


def _hears(parts):
    return {i: part.hears for i, part in parts.items()}
