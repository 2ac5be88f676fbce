"""Plays one case: the project's own agents, step by step, watched by somebody who knows the equilibrium.

The agents do what they do in every run: survey, agreement on xi and delta by messages, play. Without faults
the order in which messages arrive changes nothing, so they are stepped in turn (``node.lockstep``), which
every other way of running them equals bit for bit. Nothing is measured inside the agents for this: messages
are read as they are said, allocations and prices as the agents record them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node import lockstep
from node.protocols.registry import protocol_of
from runner.errors import RunFailed
from runner.reproduce.cases import LIMIT
from runner.reproduce.curve import Curve
from runner.reproduce.yardstick import Yardstick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.protocol import Say
    from runner.reproduce.cases import Case
    from topologies import LoadedScenario

    # Called with the round of play, the first distance and the present one.
    Watch = Callable[[int, float, float], None]

# Rounds between two calls of ``watch``.
WATCH_EVERY = 64
# A curve keeps every round below 2^THIN, then every second one, every fourth from 2^(THIN+1) on, and so on.
THIN = 9


def play(case: Case, watch: Watch | None = None, limit: int = LIMIT) -> Curve:
    """Let the agents play until their messages are within the case's tolerance of the equilibrium.

    Args:
        case: what to play.
        watch: called now and then; what it raises ends the run.
        limit: rounds after which to give up; 0 plays the opening only, to learn what is agreed on.
    Raises:
        RunFailed: if the agents stop by themselves, which they must not do so early.
    """
    loaded = case.scenario()
    parts = loaded.parts(f"reproduce-{case.name}")
    observer = Observer(case, loaded, watch, limit)
    try:
        lockstep.run(
            {name: protocol_of(part) for name, part in parts.items()},
            {name: part.hears for name, part in parts.items()},
            observer,
        )
    except Ended:
        return observer.curve()
    raise RunFailed(f"{case.name}: the agents stopped after round {observer.round} of play, before the end")


class Ended(Exception):
    """What was asked for has been seen."""


class Observer:
    """Takes down the distances of every round of play; raises ``Ended`` after the last.

    What an agent gets in a round is computed by it when it has heard that round's messages, and recorded with
    the next, so a round is complete one round later.

    Attributes:
        round: of play, the newest complete one; -1 before there is any.
    """

    def __init__(self, case: Case, loaded: LoadedScenario, watch: Watch | None, limit: int) -> None:
        self.round = -1
        self._case, self._loaded, self._watch, self._limit = case, loaded, watch, limit
        self._agents = loaded.agents
        self._yardstick: Yardstick | None = None
        self._off = np.inf  # of the messages said last
        self._first = 0.0
        self._reached: int | None = None
        self._rows: list[tuple[int, float, float, float]] = []
        self.xi = self.delta = np.nan

    def __call__(self, round_: int, says: Mapping[str, Say]) -> None:
        """Take in what everybody says in a round."""
        if not says[self._agents[0]].kind.startswith("play"):
            return
        if self._yardstick is None:
            self._begin(says[self._agents[0]])
        else:
            self._complete(says)
        assert self._yardstick is not None
        messages = np.array([says[i].body[0] for i in self._agents])
        self._off = self._yardstick.off_message(messages)
        self._first = max(self._first, self._off)

    def _begin(self, say: Say) -> None:
        """The first message of play comes with the facts that were agreed on."""
        facts = say.record or {}
        self.xi, self.delta = facts["xi"], facts["delta"]
        self._yardstick = Yardstick.of(self._loaded, self.xi, self.delta)

    def _complete(self, says: Mapping[str, Say]) -> None:
        assert self._yardstick is not None
        self.round += 1
        done = self._off <= self._case.tolerance
        last = done or self.round >= self._limit
        if last or kept(self.round):
            records = [says[i].record or {} for i in self._agents]
            allocation = np.array([[record["allocation"]] for record in records])
            price = np.array([[record["price"]] for record in records])
            self._rows.append(
                (
                    self.round,
                    self._off,
                    self._yardstick.off_allocation(allocation),
                    self._yardstick.off_price(price),
                )
            )
        if self._watch is not None and self.round % WATCH_EVERY == 0:
            self._watch(self.round, self._first, self._off)
        if last:
            self._reached = self.round if done else None
            raise Ended

    def curve(self) -> Curve:
        """What was taken down."""
        assert self._yardstick is not None
        rounds, message, allocation, price = zip(*self._rows, strict=True)
        return Curve(
            case=self._case,
            xi=self.xi,
            delta=self.delta,
            nash_norm1=float(np.abs(self._yardstick.message).sum()),
            reached=self._reached,
            played=self.round,
            over="lockstep",
            rounds=np.array(rounds, np.int64),
            message=np.array(message),
            allocation=np.array(allocation),
            price=np.array(price),
        )


def kept(round_: int) -> bool:
    """Whether a round that is not the last is kept: some 256 to 512 of every doubling of the round."""
    return round_ % (1 << max(0, round_.bit_length() - THIN)) == 0
