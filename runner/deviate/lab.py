"""The experiment: one strategy in several sizes, against others that stand still and others that learn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from node.protocols.allocate import allocate
from node.protocols.scalable import scalable
from node.strategies import Strategy, build
from node.strategies.deviating import protocol_of, with_strategy
from runner.deviate import baseline
from runner.deviate.held import Watch, on_network
from runner.deviate.play import Stage, play
from runner.errors import RunFailed
from runner.network import contracts_of
from runner.result import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.part import Part
    from node.protocol import Protocol
    from runner.deviate.held import Held
    from runner.deviate.play import Ended

# A gain at the equilibrium counts as one from this part of the numbers that it is a difference of.
EXACT = 1e-9
# Rounds of play for deviators: so many times those of honest play, and some.
TIMES, EXTRA = 4, 100
# Allocations so many times the largest honest one (or 1) are those of play that diverges.
FAR = 1e6


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be tried.

    Attributes:
        agents: who deviates, ascending.
        strategy: its name.
        sizes: ascending.
        seed: of strategies that draw.
        rounds: of play, at most; None: ``TIMES`` those of honest play, and ``EXTRA``.
    """

    agents: tuple[str, ...]
    strategy: str
    sizes: tuple[float, ...]
    seed: int = 0
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One size.

    Attributes:
        size: of the lie.
        held: deviator -> what it, alone, gains over honesty while all others keep their messages.
        learning: how the run ended in which the deviators keep to the lie and the others learn.
        gains: agent -> what it gains in that run over the honest one; empty if that diverged.
        naive: deviator -> what it gains over honesty in the naive price iteration; empty without links.
    """

    size: float
    held: dict[str, float]
    learning: Ended
    gains: dict[str, float]
    naive: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Attributes:
        scenario, mechanism: names.
        agents: who deviates.
        strategy, honest_size: what it plays; None: no size is honest.
        over: where the runs were played.
        bound: rounds of play after which a run is judged as it is.
        optimal_welfare: of the planner.
        honest: the run without deviators.
        naive: deviator -> its payoff, all honest, in the naive price iteration.
        scale: the size of the numbers that the deviators' payoffs are differences of.
        points: sizes ascending.
    """

    scenario: str
    mechanism: str
    agents: tuple[str, ...]
    strategy: str
    honest_size: float | None
    over: str
    bound: int
    optimal_welfare: float
    honest: Ended
    naive: dict[str, float]
    scale: float
    points: tuple[Point, ...]

    @property
    def best_held(self) -> tuple[float, str, float]:
        """(gain, agent, size) of the best deviation from the equilibrium message."""
        return max((p.held[i], i, p.size) for p in self.points for i in self.agents)

    @property
    def held_peaks_at_honesty(self) -> bool:
        """Whether nobody gains by any of the sizes while the others stand still."""
        return self.best_held[0] <= EXACT * self.scale

    def total(self, gains: dict[str, float], *, deviators: bool = True) -> float | None:
        """The sum of gains over the deviators, or over all others; None if there are none."""
        if not gains:
            return None
        return math.fsum(g for i, g in gains.items() if (i in self.agents) == deviators)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able data."""
        gain, agent, size = self.best_held
        return {
            **asdict(self),
            "held_peaks_at_honesty": self.held_peaks_at_honesty,
            "best_held": {"gain": gain, "agent": agent, "size": size},
        }


def experiment(stage: Stage, wish: Wish, told: Callable[[str], None] = lambda text: None) -> Report:
    """Play honestly, then once for every size.

    Args:
        stage: the scenario and where it is played.
        wish: what is to be tried.
        told: called with a line when a run has ended.
    Raises:
        ValueError: if a size is out of the strategy's range.
        RunFailed: if honest play does not come to rest, or an agent cannot go on.
    """
    strategies = {size: build(_spec(wish, size)) for size in wish.sizes}
    honest, held = _honestly(stage, wish)
    told(f"honest: {honest.how}")
    plain = {i: h.of(Strategy(0.0)) for i, h in held.items()}
    bound = wish.rounds if wish.rounds is not None else TIMES * honest.rounds + EXTRA
    naive = baseline.payoffs(stage.loaded, {}) if baseline.applies(stage.loaded, wish.strategy) else {}
    far = FAR * max(1.0, *(abs(x) for row in honest.allocation.values() for x in row))
    points: list[Point] = []
    for size, strategy in strategies.items():
        parts = {
            i: with_strategy(part, _spec(wish, size)) if i in wish.agents else part
            for i, part in stage.parts(bound).items()
        }
        ended, _ = play(stage, parts, protocol_of, f"size-{len(points)}", far)
        told(f"{wish.strategy} {size:g}: {ended.how}")
        lied = baseline.payoffs(stage.loaded, dict.fromkeys(wish.agents, strategy)) if naive else {}
        points.append(
            Point(
                size=size,
                held={i: h.of(strategy) - plain[i] for i, h in held.items()},
                learning=ended,
                gains={i: p - honest.payoffs[i] for i, p in ended.payoffs.items()},
                naive={i: lied[i] - naive[i] for i in wish.agents} if lied else {},
            )
        )
    taxed = max(abs(honest.taxes[i]) for i in wish.agents)
    return Report(
        scenario=str(stage.loaded.spec.name),
        mechanism=stage.loaded.contract()["mechanism"],
        agents=wish.agents,
        strategy=wish.strategy,
        honest_size=type(strategies[wish.sizes[0]]).honest,
        over=stage.over,
        bound=bound,
        optimal_welfare=_optimal_welfare(stage),
        honest=honest,
        naive={i: naive[i] for i in wish.agents} if naive else {},
        scale=max(1.0, taxed, *(abs(honest.payoffs[i]) for i in wish.agents)),
        points=tuple(points),
    )


def _spec(wish: Wish, size: float) -> dict[str, Any]:
    return {"name": wish.strategy, "size": size, "seed": wish.seed}


def _honestly(stage: Stage, wish: Wish) -> tuple[Ended, dict[str, Held]]:
    """The honest run, and every deviator against the messages it ended with.

    It is played in lockstep whatever the others are: its result is the same, bit for bit, and the messages
    are at hand.
    """
    here, watch = Stage.of(stage.loaded), Watch()
    protocol = partial(_watched, watch) if not here.network else protocol_of
    ended, results = play(here, here.parts(stage.loaded.spec.stopping.max_rounds), protocol)
    if not ended.rest:
        raise RunFailed(f"honest play: {ended.how}; without an equilibrium there is nothing to compare with")
    if here.network:
        return ended, on_network(here, results, wish.agents)
    return ended, {i: watch.held(i, here.values[i]) for i in wish.agents}


def _watched(watch: Watch, part: Part, resume: Any) -> Protocol:
    life = scalable if part.contract["mechanism"] == "summary" else allocate
    return life(part, resume, watch.answering(part.agent))


def _optimal_welfare(stage: Stage) -> float:
    from node.mechanisms.network.optimum import program, solve

    if stage.network:
        contracts = contracts_of(stage.loaded)
        return float(solve(program(contracts), {i: c.valuation for i, c in contracts.items()}).welfare)
    return float(environment_of(stage.loaded.contract(), stage.loaded.utilities).optimum().welfare)


def shown_agents(agents: Sequence[str], most: int = 4) -> str:
    """Names for a title."""
    return ", ".join(agents[:most]) + (f" and {len(agents) - most} more" if len(agents) > most else "")
