"""k-period best response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class KPeriod:
    """Respond to the mean of the last k messages, thesis section 5; in the first rounds, of all there are.

    An adaptive best-response dynamic with a past of k rounds. Remembers the last k messages of every
    neighbour: k (N+1) K numbers each. The mean is exactly the belief of the thesis for quadratic
    utilities; for others it is another rule of the same class (``node.learning.dynamics``). k = 1 is
    Cournot best response.

    Args:
        k: how many messages, at least 1.
    Raises:
        ValueError: if k is less.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise ValueError(f"a learning window of k = {k} rounds; expected a whole number >= 1")
        self.k = k
        self._last: dict[AgentId, tuple[Matrix, ...]] = {}  # oldest first

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """The mean of each agent's last k messages."""
        self._last = {j: (*self._last.get(j, ()), m)[-self.k :] for j, m in said.items()}
        return {j: np.add.reduce(last) / len(last) for j, last in self._last.items()}

    def spread(self, agent: AgentId) -> float:
        """max |m - newest m| over the last k messages."""
        last = self._last[agent]
        return float(np.abs(np.array(last) - last[-1]).max())

    def state(self) -> dict[AgentId, tuple[Matrix, ...]]:
        """The last k messages of everybody heard."""
        return self._last

    def restore(self, state: Any) -> None:
        """See ``Learning``."""
        self._last = dict(state)
