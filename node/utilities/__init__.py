"""What an agent wants: valuations v_i, strictly concave, with known bounds on their curvature.

One family a module; ``build`` makes the one that an agent's part describes. A valuation never leaves its
agent. Shapes are (K,) throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from node.utilities.custom import Custom
from node.utilities.errors import CurvatureLeft, NotFinite, NotInverted, UtilityError
from node.utilities.log_cosh import LogCosh
from node.utilities.quadratic import Quadratic
from node.utilities.quadratic_form import QuadraticForm
from node.utilities.utility import Utility

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Vector

__all__ = [
    "CurvatureLeft",
    "Custom",
    "LogCosh",
    "NotFinite",
    "NotInverted",
    "Quadratic",
    "QuadraticForm",
    "Utility",
    "UtilityError",
    "build",
]

FAMILIES = ("quadratic", "quadratic-form", "log-cosh", "custom")


def build(spec: Mapping[str, Any]) -> Utility:
    """Make the utility that an agent's part describes.

    Args:
        spec: ``family`` and its parameters, as ``topologies.valuations`` makes them:
            ``quadratic``: theta, sigma, K numbers each;
            ``quadratic-form``: hessian, K rows of K numbers, and sigma;
            ``log-cosh``: low, high, sigma, centre, width, K numbers each;
            ``custom``: class (``module:Class``), goods (K), parameters (its arguments by name).
    Raises:
        ValueError: for an unknown family or parameters out of range.
    """
    match spec:
        case {"family": "quadratic", "theta": theta, "sigma": sigma}:
            return Quadratic(_array(theta), _array(sigma))
        case {"family": "quadratic-form", "hessian": hessian, "sigma": sigma}:
            return QuadraticForm(_array(hessian), _array(sigma))
        case {
            "family": "log-cosh",
            "low": low,
            "high": high,
            "sigma": sigma,
            "centre": centre,
            "width": width,
        }:
            return LogCosh(_array(low), _array(high), _array(sigma), _array(centre), _array(width))
        case {"family": "custom", "class": name, "goods": goods, "parameters": parameters}:
            return Custom.make(name, parameters, goods)
        case _:
            raise ValueError(
                f"unknown utility {spec.get('family')!r} with {sorted(set(spec) - {'family'})}; "
                f"expected one of {', '.join(FAMILIES)} with its parameters"
            )


def _array(numbers: Any) -> Vector:
    return np.asarray(numbers, dtype=np.float64)
