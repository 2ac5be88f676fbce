"""Rounds of three consensus primitives by NumPy, many draws of losses at once: a check, and fast.

Written from the formulas (sections 2.1, 3.1, 3.3), not from the generators in ``node.consensus``; where both
are fed the same losses they must agree: ``tests/consensus/test_rounds.py`` says so. A grid of 1,024 takes
seconds here and minutes there.

Arrays have the axes (draw, agent, slot): slot k of agent i is its link to its k-th neighbour, ascending. Sums
over slots are taken one by one in that order, as the generators take theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# How many uniform numbers on [0, 1) to draw, in every draw of losses; returns them, shape (draws, count).
Draw = Callable[[int], Array]


class Wiring:
    """A graph as arrays.

    Args:
        hears: agent -> whom it hears; undirected.

    Attributes:
        agents: ascending.
        degree: (n,).
        other: (n, slots) index of the neighbour; 0 where ``there`` is False.
        there: (n, slots) whether the slot is a link.
        back: (n, slots) which slot of the neighbour is the same link.
    """

    def __init__(self, hears: Mapping[str, Sequence[str]]) -> None:
        self.agents = sorted(hears)
        index = {agent: i for i, agent in enumerate(self.agents)}
        lists = [sorted(index[j] for j in hears[agent]) for agent in self.agents]
        slots = max(map(len, lists))
        self.degree = np.array([len(row) for row in lists])
        self.other = np.array([row + [0] * (slots - len(row)) for row in lists])
        self.there = np.arange(slots) < self.degree[:, None]
        back = [[lists[j].index(i) for j in row] + [0] * (slots - len(row)) for i, row in enumerate(lists)]
        self.back = np.array(back)

    def arriving(self, draws: int, loss: float, draw: Draw) -> Array:
        """Which messages arrive: every reader in turn draws a number for each of its neighbours in turn."""
        arrive = np.broadcast_to(self.there, (draws, *self.there.shape)).copy()
        if loss:
            arrive[:, self.there] = draw(int(self.degree.sum())) >= loss
        return arrive


def _sum(start: Array, terms: Array) -> Array:
    """Over slots, one by one."""
    total = start
    for slot in range(terms.shape[2]):
        total = total + terms[:, :, slot]
    return total


class _Rounds:
    """When each draw was done for the first time."""

    def __init__(self, draws: int) -> None:
        self.found = np.zeros(draws, int)

    def note(self, round_: int, done: Array) -> bool:
        """Whether all are."""
        self.found[(self.found == 0) & done] = round_
        return bool(self.found.all())


def minimum(wiring: Wiring, x: Array, loss: float, draws: int, draw: Draw, limit: int = 60_000) -> Array:
    """Rounds until everybody holds the minimum; shape (draws,)."""
    held, rounds = np.tile(x, (draws, 1)), _Rounds(draws)
    for round_ in range(1, limit):
        heard = np.where(wiring.arriving(draws, loss, draw), held[:, wiring.other], np.inf)
        held = np.minimum(held, heard.min(axis=2))
        if rounds.note(round_, (held == x.min()).all(axis=1)):
            return rounds.found
    raise RuntimeError(f"no minimum within {limit} rounds")


def ratio(
    wiring: Wiring,
    x: Array,
    mean: float,
    loss: float,
    draws: int,
    draw: Draw,
    tolerance: float = 1e-9,
    limit: int = 60_000,
) -> Array:
    """Rounds of running-sum ratio consensus until every y / z is within the tolerance of the mean."""
    rounds, shape = _Rounds(draws), (draws, *wiring.there.shape)
    y, z = np.tile(x, (draws, 1)), np.ones((draws, len(x)))
    offered, weights = np.zeros_like(y), np.zeros_like(z)  # S, T: the same on all links of an agent
    had, had_weights = np.zeros(shape), np.zeros(shape)  # RS, RT
    for round_ in range(1, limit):
        a, b = y / (1 + wiring.degree), z / (1 + wiring.degree)
        offered, weights = offered + a, weights + b
        arrives = wiring.arriving(draws, loss, draw)
        s = np.where(arrives, offered[:, wiring.other], had)
        t = np.where(arrives, weights[:, wiring.other], had_weights)
        y, z = _sum(a, s - had), _sum(b, t - had_weights)
        had, had_weights = s, t
        if rounds.note(round_, (np.abs(y / z - mean) <= tolerance).all(axis=1)):
            return rounds.found
    raise RuntimeError(f"not within {tolerance} after {limit} rounds")


def flow(
    wiring: Wiring,
    x: Array,
    mean: float,
    loss: float,
    draws: int,
    draw: Draw,
    tolerance: float = 1e-9,
    limit: int = 60_000,
) -> Array:
    """Rounds of flow updating until every own estimate, x less all flows, is within the tolerance."""
    rounds, shape = _Rounds(draws), (draws, *wiring.there.shape)
    flows, estimates = np.zeros(shape), np.zeros(shape)
    known = np.zeros(shape, bool)
    for round_ in range(1, limit):
        own = x - _sum(np.zeros((draws, len(x))), flows)
        average = _sum(own, np.where(known, estimates, 0.0)) / (1 + known.sum(axis=2))
        flows = np.where(known, flows + average[:, :, None] - estimates, flows)
        estimates = np.where(known, average[:, :, None], estimates)
        arrives = wiring.arriving(draws, loss, draw)
        told = flows[:, wiring.other, wiring.back]
        flows = np.where(arrives & known[:, wiring.other, wiring.back], -told, flows)
        estimates = np.where(arrives, average[:, wiring.other], estimates)
        known = known | arrives
        after = x - _sum(np.zeros((draws, len(x))), flows)
        if rounds.note(round_, (np.abs(after - mean) <= tolerance).all(axis=1)):
            return rounds.found
    raise RuntimeError(f"not within {tolerance} after {limit} rounds")
