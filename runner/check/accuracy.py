"""How far an allocation can be from the optimum at most, read off the conditions of the optimum.

Utilities are strictly concave with known bounds on their curvature, so whoever nearly satisfies the
conditions of the optimum is near it. Neither the optimum nor a solver is needed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Vector
    from node.utilities import Utility


def private_goods(
    allocation: Mapping[str, Vector], utilities: Mapping[str, Utility], capacities: Vector
) -> float:
    """A bound on max_i |x_i - x_i*| (Euclidean over goods).

    With e_i = grad v_i(x_i) - lambda for any lambda, x_i is the demand at the price lambda + e_i, so within
    |e_i| / low_i of that at lambda. All demands at lambda thus miss the capacity by |f| + sum |e_i| / low_i
    at most, f = sum x_i - c; total demand falls by sum 1/high_i at least for a unit of price, which bounds
    |lambda - lambda*| and with it what is left of each x_i.
    """
    agents = sorted(allocation)
    slopes = np.array([utilities[i].gradient(np.asarray(allocation[i])) for i in agents])
    low, high = _bounds(utilities, agents)
    price = (slopes / low[:, None]).sum(axis=0) / (1.0 / low).sum()
    off = np.linalg.norm(slopes - price, axis=1) / low
    total = np.array([math.fsum(column) for column in zip(*(allocation[i] for i in agents), strict=True)])
    missed = float(np.linalg.norm(total - capacities)) + math.fsum(off.tolist())
    return float((off + missed / (1.0 / high).sum() / low).max())


def public_goods(x: Vector, utilities: Mapping[str, Utility]) -> float:
    """A bound on |x - x*|: |sum of grad v_i(x)| / sum of low_i."""
    agents = sorted(utilities)
    slopes = np.array([utilities[i].gradient(x) for i in agents])
    low, _ = _bounds(utilities, agents)
    total = np.array([math.fsum(column) for column in slopes.T.tolist()])
    return float(np.linalg.norm(total)) / math.fsum(low.tolist())


def _bounds(utilities: Mapping[str, Utility], agents: list[str]) -> tuple[Vector, Vector]:
    """Bounds on the eigenvalues of -Hess v_i, shape (N,) each."""
    low = np.array([float(utilities[i].curvature[0].min()) for i in agents])
    high = np.array([float(utilities[i].curvature[1].max()) for i in agents])
    return low, high
