"""Play without rounds: everybody answers the newest message it has of each neighbour.

Delays are whole ticks, drawn for each message and link; a lost message is lost. Older messages never replace
newer ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.spec import game
from tests.spec.literal_summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.game import Literal
    from tests.spec.model import Array


@dataclass(frozen=True)
class Weather:
    """What happens to messages and agents.

    Attributes:
        acts: chance that an agent acts (answers and publishes) in a tick.
        delay: largest delay; drawn from 1..delay.
        loss: chance that a message does not reach a listener.
        slow: this agent acts in every tenth tick only.
        down: (agent, from, to): it does not act and hears nothing in these ticks, and then goes on.
    """

    acts: float = 1.0
    delay: int = 1
    loss: float = 0.0
    slow: int | None = None
    down: tuple[int, int, int] | None = None


def ticks(
    mechanism: Literal,
    target: tuple[Array, ...],
    tolerance: float,
    weather: Weather,
    seed: int,
    limit: int = 3000,
) -> int:
    """The tick from which on the profile stays within ``tolerance`` (relative, 2-norm) of ``target``."""
    rng = np.random.default_rng([seed, 11])
    n, links, respond = _listening(mechanism)
    listener, speaker = links[:, 0], links[:, 1]
    history = [np.zeros((limit + 1, *part.shape)) for part in mechanism.zero()]
    stamp = np.zeros(len(links), dtype=int)
    arriving: dict[int, list[tuple[Array, int]]] = {}
    size, last_off = game.distance(target, mechanism.zero()), 0
    for t in range(1, limit + 1):
        for which, sent in arriving.pop(t, []):
            stamp[which] = np.maximum(stamp[which], sent)
        acting = rng.random(n) < weather.acts
        if weather.slow is not None:
            acting[weather.slow] = t % 10 == 0
        if weather.down is not None and weather.down[1] <= t < weather.down[2]:
            acting[weather.down[0]] = False
        reply = respond(history, stamp)
        for part, old, new in zip(history, (h[t - 1] for h in history), reply, strict=True):
            part[t] = old
            rows = acting if new.shape[0] == n else acting[_speakers(mechanism)]
            part[t][rows] = new[rows]
        if isinstance(mechanism, Summary):  # q_j is said by phi(j)
            history[2][t] = np.where(acting[mechanism.tree.phi][:, None], reply[2], history[2][t - 1])
        leaves = acting[speaker] & (rng.random(len(links)) >= weather.loss)
        due = t + rng.integers(1, weather.delay + 1, len(links))
        if weather.down is not None:
            agent, start, end = weather.down
            leaves &= ~((listener == agent) & (start <= due) & (due < end))
        for when in np.unique(due[leaves]).tolist():
            arriving.setdefault(when, []).append((np.flatnonzero(leaves & (due == when)), t))
        if game.distance(tuple(part[t] for part in history), target) > tolerance * size:
            last_off = t
        elif t - last_off >= 4 * weather.delay + 40:  # long enough for every old message to have come
            return last_off + 1
    raise AssertionError(f"not within {tolerance:g} after {limit} ticks")


def _speakers(mechanism: Literal) -> Array:
    assert isinstance(mechanism, Summary)
    return mechanism.tree.tail


def _listening(mechanism: Literal) -> tuple[int, Array, Callable[[list[Array], Array], tuple[Array, ...]]]:
    """N, the links (listener, speaker), and the joint response to what each link last brought."""
    if isinstance(mechanism, Summary):
        tree = mechanism.tree
        own = np.array([tree.at[i, int(tree.phi[i])] for i in range(tree.size)])
        back = np.array([tree.at[int(tree.phi[j]), j] for j in range(tree.size)])  # phi(j) listens to j

        def summary(history: list[Array], stamp: Array) -> tuple[Array, ...]:
            y, down, q = history
            B = y[stamp, tree.head].copy()
            np.add.at(B, tree.into, down[stamp[tree.into], tree.out_of])
            A = np.zeros_like(y[0])
            np.add.at(A, tree.tail, B)
            heard = q[stamp[own], np.arange(tree.size)]
            return mechanism.demand(A, heard), B, y[stamp[back], np.arange(tree.size)]

        return tree.size, np.array(tree.edges), summary

    net, n = mechanism.net, mechanism.net.size
    links = np.array([(i, j) for i in range(n) for j in net.near[i]])
    at = {(int(i), int(j)): k for k, (i, j) in enumerate(links)}
    via = np.array([[at[i, int(net.hop[i, r])] for r in range(n)] for i in range(n)])

    def table(history: list[Array], stamp: Array) -> tuple[Array, ...]:
        Y, Q = history
        proxies = Q[stamp[via], net.hop, np.arange(n)]  # q_{n(i,r)}^r as i last heard it
        Z = proxies / (mechanism.xi**net.e)[:, :, None]
        Z[np.arange(n), np.arange(n)] = 0.0
        new = mechanism.demand(
            proxies[np.arange(n), np.arange(n)] / (mechanism.xi**net.g)[:, None], Z.sum(axis=1)
        )
        R = mechanism.xi * proxies
        R[links[:, 0], links[:, 1]] = mechanism.xi * Y[stamp, links[:, 1]]
        R[np.arange(n), np.arange(n)] = mechanism.xi * new
        return new, R

    return n, links, table
