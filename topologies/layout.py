"""Where to put the nodes of a small graph: positions in the plane, shape (n, 2), about the origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Places = NDArray[np.float64]

SWEEPS = 300  # of the majorisation; 60 nodes have come to rest long before


def circle(n: int) -> Places:
    """Evenly on the unit circle, clockwise from the top."""
    angle = 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.sin(angle), -np.cos(angle)])


def stress(distances: Places) -> Places:
    """Positions whose distances resemble the hop distances: least squares with weights 1/d^2, by majorisation
    (SMACOF) from the classical scaling. The long side lies along the x axis.

    Args:
        distances: shape (n, n), hops, symmetric, finite, zero on the diagonal only.
    """
    n = len(distances)
    centring = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centring @ distances**2 @ centring)
    places = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 1e-6))
    weights = 1 / (distances + np.eye(n)) ** 2 - np.eye(n)
    inverse = np.linalg.pinv(np.diag(weights.sum(1)) - weights)
    for _ in range(SWEEPS):
        gaps = np.linalg.norm(places[:, None] - places[None], axis=2)
        pull = -weights * distances / np.maximum(gaps, 1e-9)
        places = inverse @ (pull - np.diag(pull.sum(1))) @ places
    places = places - places.mean(0)
    return np.asarray(places @ np.linalg.svd(places, full_matrices=False)[2].T)
