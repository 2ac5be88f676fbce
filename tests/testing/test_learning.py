"""The laws of learning dynamics: the usual ones keep all, and each mutant breaks its own."""

from __future__ import annotations

import numpy as np
import pytest

from node.learning import Cournot, Exponential, Fictitious, KPeriod
from node.learning.dynamics import OWN
from node.testing import BrokenLaw, check_learning, samples


@pytest.mark.parametrize(
    "make",
    [Cournot, lambda: KPeriod(1), lambda: KPeriod(3), lambda: KPeriod(10), Fictitious, Exponential],
    ids=["cournot", "1-period", "3-period", "10-period", "fictitious", "exponential"],
)
def test_the_usual_dynamics_keep_all_laws(make):
    report = check_learning(make)
    report.raise_if_broken()
    assert report.unchecked == ()


class Halving:
    """The mean of the newest message and of all before, halved again and again: what mutants start from."""

    def __init__(self):
        self.memory, self.newest = {}, {}

    def update(self, said):
        self.newest = {j: message.copy() for j, message in said.items()}
        self.memory = {j: (message + self.memory.get(j, message)) / 2 for j, message in said.items()}
        return self.memory

    def spread(self, agent):
        return float(np.abs(self.memory[agent] - self.newest[agent]).max())

    def state(self):
        return self.memory

    def restore(self, state):
        self.memory = dict(state)


class ForgetsANeighbour(Halving):
    def update(self, said):
        belief = super().update(said)
        return {j: belief[j] for j in sorted(belief)[:1]}


class Single(Halving):
    def update(self, said):
        return {j: message.astype(np.float32) for j, message in super().update(said).items()}


class SharesMemory(Cournot):
    """What was heard last belongs to the class."""

    def spread(self, agent):
        return 100.0

    last: dict = {}  # noqa: RUF012 - that is the mistake

    def update(self, said):
        belief = {
            j: (message + self.last.get((j, message.shape), message)) / 2 for j, message in said.items()
        }
        self.last.update({(j, message.shape): message.copy() for j, message in said.items()})
        return belief


class Dice(Halving):
    rng = np.random.default_rng()

    def update(self, said):
        # Towards the middle of what was heard, so that it stays within.
        return {
            j: message - 1e-14 * self.rng.random() * message for j, message in super().update(said).items()
        }


class WritesIntoWhatItHears(Halving):
    def update(self, said):
        belief = {j: message.copy() for j, message in super().update(said).items()}
        for message in said.values():
            message *= 0.5
        return belief


class Adds(Halving):
    """Keeps its memory in the very array that it was handed."""

    def update(self, said):
        self.newest = {j: message.copy() for j, message in said.items()}
        for j, message in said.items():
            if j in self.memory:
                self.memory[j] += message
                self.memory[j] /= 2
            else:
                self.memory[j] = message
        return {j: self.memory[j].copy() for j in said}

    def restore(self, state):
        self.memory = {j: message.copy() for j, message in state.items()}


class Extrapolates(Cournot):
    """Believes that a part of the last step is made once more."""

    def spread(self, agent):
        return 100.0

    def __init__(self):
        self.before = {}

    def update(self, said):
        belief = {j: message + 0.3 * (message - self.before.get(j, message)) for j, message in said.items()}
        self.before = {j: message.copy() for j, message in said.items()}
        return belief

    def state(self):
        return self.before

    def restore(self, state):
        self.before = dict(state)


class Stubborn(Halving):
    """Ever keeps a quarter of its first impression."""

    def __init__(self):
        self.memory = {}

    def update(self, said):
        self.newest = {j: message.copy() for j, message in said.items()}
        for j, message in said.items():
            self.memory.setdefault(j, message.copy())
        return {j: 0.75 * message + 0.25 * self.memory[j] for j, message in said.items()}


class Forgetful(Halving):
    """Its state leaves out the own message."""

    def state(self):
        return {j: message for j, message in self.memory.items() if j != OWN}


class SaysItRemembersNothing(Halving):
    def spread(self, agent):
        return 0.0


class NoState(Cournot):
    def state(self):
        return None


BROKEN = {
    ForgetsANeighbour: {"well formed"},
    Single: {"well formed"},
    SharesMemory: {"deterministic"},
    Dice: {"deterministic"},
    WritesIntoWhatItHears: {"messages untouched"},
    Adds: {"messages untouched"},
    Extrapolates: {"within what was heard"},
    Forgetful: {"snapshot and restore"},
    SaysItRemembersNothing: {"spread"},
    NoState: {"snapshot and restore"},
    Stubborn: {"adaptive", "converges"},
}


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_mutant_breaks_its_law(make):
    broken = set(check_learning(make).broken)
    # One that is not the same twice, or believes what it never heard, cannot go on with the same bits either.
    allowed = {
        Dice: {"snapshot and restore"},
        SharesMemory: {"snapshot and restore", "within what was heard"},
    }
    assert BROKEN[make] <= broken <= BROKEN[make] | allowed.get(make, set())


def test_a_state_of_other_than_plain_values_is_refused():
    class Odd(Cournot):
        def state(self):
            return {1, 2}

    with pytest.raises(TypeError):
        check_learning(Odd)


def test_a_dynamic_that_never_learns_does_not_converge():
    class Deaf(Cournot):
        def update(self, said):
            return {j: np.zeros(message.shape) for j, message in said.items()}

    broken = check_learning(Deaf).broken
    assert {"adaptive", "converges"} <= set(broken)


def test_it_is_played_on_the_contracts_that_it_is_given():
    from tests.testing.mutants import builder

    hears = samples.ring(4)
    play = {"build": builder(), "hears": hears, "utilities": samples.quadratics(hears, eta=5.0)}
    check_learning(Cournot, **play).raise_if_broken()
    # Three rounds are too few there; one who does not claim it is not asked.
    report = check_learning(Cournot, rounds=3, **play)
    assert report.broken == ("converges",)
    with pytest.raises(BrokenLaw, match="distance to the Nash message is left"):
        report.raise_if_broken()
    check_learning(Cournot, rounds=3, without=["converges"], **play).raise_if_broken()
    with pytest.raises(ValueError, match="speed"):
        check_learning(Cournot, without=["speed"])
