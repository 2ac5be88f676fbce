"""Fictitious play."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class Fictitious:
    """Respond to the mean of all messages so far, the opening included (Brown; thesis section 5).

    An adaptive best-response dynamic: whatever was said up to some round loses its weight in the mean. It
    does so like 1/n and not geometrically, so the distance to the equilibrium falls like a power of n:
    tight tolerances are out of reach. Remembers the mean and the number of messages per neighbour, (N+1) K
    numbers each. The mean is exactly the belief of the thesis for quadratic utilities; for others it is
    another rule of the same class (``node.learning.dynamics``).
    """

    def __init__(self) -> None:
        self._means: dict[AgentId, tuple[int, Matrix]] = {}
        self._newest: Mapping[AgentId, Matrix] = {}

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """The mean of all messages of each agent."""
        self._newest = said
        means = {}
        for j, message in said.items():
            count, mean = self._means.get(j, (0, message))
            means[j] = (count + 1, mean + (message - mean) / (count + 1))
        self._means = means
        return {j: mean for j, (_, mean) in means.items()}

    def spread(self, agent: AgentId) -> float:
        """max |mean - newest message|."""
        return float(np.abs(self._means[agent][1] - self._newest[agent]).max())

    def state(self) -> dict[AgentId, tuple[int, Matrix]]:
        """Number and mean of the messages of everybody heard."""
        return self._means

    def restore(self, state: Any) -> None:
        """See ``Learning``."""
        self._means = dict(state)
