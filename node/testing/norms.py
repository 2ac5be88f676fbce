"""The norm in which repeated best response is claimed to contract, and the claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix, Vector
    from node.part import AgentId


@dataclass(frozen=True, slots=True)
class Contraction:
    """A claim: a round of best responses brings any two profiles nearer by a factor.

    The norm is the largest of |row| / weight over the rows of all messages, |row| being its largest number or
    its Euclidean length.

    Attributes:
        bound: the factor.
        weights: agent -> positive weights of its message's rows, shape (rows,); None for 1 throughout.
        block: whether |row| is the Euclidean length; for one good both are the same.
    """

    bound: float
    weights: Mapping[AgentId, Vector] | None = None
    block: bool = False

    def scale(self, agent: AgentId, message: Matrix) -> Vector:
        """The weights of an agent's rows, shape (rows,)."""
        if self.weights is None:
            return np.ones(len(message))
        return np.asarray(self.weights[agent], dtype=np.float64)

    def norm(self, profile: Mapping[AgentId, Matrix]) -> float:
        """Of a difference of profiles."""
        return max(
            float((self._lengths(message) / self.scale(i, message)).max(initial=0.0))
            for i, message in profile.items()
        )

    def _lengths(self, message: Matrix) -> Vector:
        if self.block:
            return np.asarray(np.sqrt(np.square(message).sum(axis=1)))
        return np.asarray(np.abs(message).max(axis=1, initial=0.0))
