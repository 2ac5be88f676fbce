"""Best response to an exponentially weighted average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class Exponential:
    """m_n = beta((m_{n-1} + r_{n-1}) / 2) with r_n = (m_n + r_{n-1}) / 2 and r_0 = m_0, thesis (4.31).

    The newest message counts 3/4, the one before 1/8, then 1/16 and so on. An adaptive best-response
    dynamic: the weight of everything older than some finite past goes to zero, and the average r stays
    within any ball around the equilibrium that holds it and the messages to come. Remembers one average
    per neighbour, (N+1) K numbers each. Averages are exact beliefs for quadratic utilities only
    (``node.learning.dynamics``).
    """

    def __init__(self) -> None:
        self._average: dict[AgentId, Matrix] = {}  # r
        self._newest: Mapping[AgentId, Matrix] = {}

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """(m + r) / 2 for each agent, r taken with m in it."""
        self._newest = said
        self._average = {j: 0.5 * (m + self._average.get(j, m)) for j, m in said.items()}
        return {j: 0.5 * (m + self._average[j]) for j, m in said.items()}

    def spread(self, agent: AgentId) -> float:
        """max |r - m|."""
        return float(np.abs(self._average[agent] - self._newest[agent]).max())

    def state(self) -> dict[AgentId, Matrix]:
        """r of everybody heard."""
        return self._average

    def restore(self, state: Any) -> None:
        """See ``Learning``."""
        self._average = dict(state)
