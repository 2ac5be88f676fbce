"""A mechanism on one instance: everybody's contract, and what is needed to try them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node.numbers import Matrix
from node.part import AgentId

if TYPE_CHECKING:
    from node.mechanisms.contract import Contract, Outcome
    from node.numbers import Vector
    from node.testing.norms import Contraction
    from node.testing.problems import Problem
    from node.utilities import Utility

Hears = Mapping[AgentId, tuple[AgentId, ...]]
Profile = Mapping[AgentId, Matrix]
Build = Callable[[Hears, "Mapping[AgentId, Utility]"], "Mapping[AgentId, Contract[Any]]"]
Draw = Callable[[AgentId, np.random.Generator], Matrix]


class Heard(Mapping[AgentId, Matrix]):
    """The neighbours' messages as an agent is handed them; remembers if anybody else's was asked for.

    A contract that asks for a stranger's message is given it, so that only the law of distributedness
    breaks. In a run it would raise KeyError.

    Args:
        profile: everybody's message; what is handed out are copies.
        neighbours: whom the agent hears.
    """

    def __init__(self, profile: Profile, neighbours: tuple[AgentId, ...]) -> None:
        self.messages = {j: profile[j].copy() for j in neighbours}
        self.strangers: list[AgentId] = []
        self._profile = profile

    def __getitem__(self, agent: AgentId) -> Matrix:
        if agent not in self.messages and agent in self._profile:
            self.strangers.append(agent)
            return self._profile[agent].copy()
        return self.messages[agent]

    def __contains__(self, agent: object) -> bool:
        return agent in self.messages

    def __iter__(self) -> Iterator[AgentId]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)


@dataclass(frozen=True)
class Instance:
    """What the laws of a mechanism are checked on.

    Attributes:
        build: makes everybody's contract, from who hears whom and everybody's utility.
        hears: agent -> whom it listens to.
        utilities: agent -> its valuation.
        problem: what the mechanism is to achieve, or None.
        contraction: what is claimed about repeated best response, or None.
        seed: of everything random here.
        draw: draws a message of an agent, or None for normal numbers of the size of the Nash message.
        contracts: agent -> its side, as built.
        nash: the Nash message, known or found; None if there is none.
        found: how it was come by, in words.
    """

    build: Build
    hears: Hears
    utilities: Mapping[AgentId, Utility]
    problem: Problem | None
    contraction: Contraction | None
    seed: int
    draw: Draw | None
    contracts: Mapping[AgentId, Contract[Any]]
    nash: Profile | None = None
    found: str = ""

    @property
    def agents(self) -> tuple[AgentId, ...]:
        """All ids, ascending."""
        return tuple(sorted(self.hears))

    @property
    def some(self) -> tuple[AgentId, ...]:
        """The agents that are tried one by one: all, or eight drawn out of more."""
        if len(self.agents) <= 8:
            return self.agents
        picked = np.random.default_rng([self.seed, 1]).choice(len(self.agents), 8, replace=False)
        return tuple(self.agents[k] for k in sorted(picked))

    def listeners(self, agent: AgentId) -> tuple[AgentId, ...]:
        """Who hears an agent."""
        return tuple(i for i in self.agents if agent in self.hears[i])

    def opening(self) -> dict[AgentId, Matrix]:
        """Everybody's first message."""
        return {i: self.contracts[i].opening() for i in self.agents}

    @property
    def size(self) -> float:
        """The largest number of the Nash message, at least 1; 10 if there is none."""
        return 10.0 if self.nash is None else max(1.0, largest(self.nash))

    def random(self, salt: int, scale: float = 1.0) -> dict[AgentId, Matrix]:
        """Everybody's message drawn: around 0, of ``scale`` times the size of the Nash message.

        Raises:
            ValueError: if nobody would accept what was drawn, so that ``draw`` is needed.
        """
        rng = np.random.default_rng([self.seed, 2, salt])
        profile = {}
        for i, opening in self.opening().items():
            drawn = (
                rng.normal(0.0, scale * self.size, opening.shape) if self.draw is None else self.draw(i, rng)
            )
            if not self.admissible(i, drawn):
                raise ValueError(f"{i}: its neighbours refuse a drawn message; give `draw`")
            profile[i] = drawn
        return profile

    def admissible(self, agent: AgentId, message: Matrix) -> bool:
        """Whether those who hear the agent would accept this message."""
        return all(self.contracts[j].accepts(message, agent) for j in self.listeners(agent))

    def view(self, agent: AgentId, profile: Profile) -> Any:
        """What an agent reads out of its neighbours' messages."""
        return self.contracts[agent].view(Heard(profile, self.hears[agent]))

    def reply(self, agent: AgentId, profile: Profile) -> Matrix:
        """An agent's best response to a profile."""
        return self.contracts[agent].best_response(self.view(agent, profile))

    def replies(self, profile: Profile) -> dict[AgentId, Matrix]:
        """Everybody's best response to a profile."""
        return {i: self.reply(i, profile) for i in self.agents}

    def outcome(self, agent: AgentId, profile: Profile) -> Outcome:
        """What an agent gets and pays at a profile."""
        return self.contracts[agent].outcome(profile[agent].copy(), self.view(agent, profile))

    def utility(self, agent: AgentId, outcome: Outcome) -> float:
        """u_i = v_i(x_i) - t_i, in money."""
        return self.utilities[agent].value(outcome.allocation) - float(outcome.tax)


def largest(profile: Profile) -> float:
    """The largest number of a profile, without sign."""
    return max((float(np.abs(m).max()) for m in profile.values() if m.size), default=0.0)


def flat(profile: Profile) -> Vector:
    """All numbers of a profile, agents ascending."""
    return np.concatenate([profile[i].ravel() for i in sorted(profile)])


def unflat(numbers: Vector, like: Profile) -> dict[AgentId, Matrix]:
    """Inverse of ``flat``, in the shapes of another profile."""
    result, start = {}, 0
    for i in sorted(like):
        result[i] = numbers[start : start + like[i].size].reshape(like[i].shape)
        start += like[i].size
    return result


def same_bits(one: Any, other: Any) -> bool:
    """Whether two outcomes or arrays are equal bit for bit."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.shape == other.shape and one.tobytes() == other.tobytes()
    return (
        same_bits(one.allocation, other.allocation)
        and same_bits(one.price, other.price)
        and np.float64(one.tax).tobytes() == np.float64(other.tax).tobytes()
    )
