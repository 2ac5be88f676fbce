"""What an agent wants: valuations v_i, strictly concave, with known bounds on their curvature.

One family a module; ``build`` makes the one that an agent's part describes. A valuation never leaves its
agent. Shapes are (K,) throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from node.utilities.quadratic import Quadratic
from node.utilities.utility import Utility

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Quadratic", "Utility", "build"]


def build(spec: Mapping[str, Any]) -> Utility:
    """Make the utility that an agent's part describes.

    Raises:
        ValueError: for an unknown family or parameters out of range.
    """
    match spec:
        case {"family": "quadratic", "theta": theta, "sigma": sigma}:
            return Quadratic(np.asarray(theta, dtype=np.float64), np.asarray(sigma, dtype=np.float64))
        case _:
            raise ValueError(
                f"unknown utility {spec.get('family')!r}; expected 'quadratic' with theta and sigma"
            )
