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

# family -> what its spec has beside the name of the family.
FAMILIES = {
    "quadratic": ("theta", "sigma"),
    "quadratic-form": ("hessian", "sigma"),
    "log-cosh": ("low", "high", "sigma", "centre", "width"),
    "custom": ("class", "goods", "parameters"),
}


def build(spec: Mapping[str, Any]) -> Utility:
    """Make the utility that an agent's part describes.

    Args:
        spec: ``family`` and what belongs to it, as ``topologies.valuations`` makes them: theta, sigma, low,
            high, centre and width are K numbers each, hessian is K rows of K numbers; class is
            ``module:Class``, goods is K, and parameters are the class's arguments by name.
    Raises:
        ValueError: for an unknown family, and parameters that are missing or out of range.
    """
    family = spec.get("family")
    if family not in FAMILIES or set(spec) != {"family", *FAMILIES[family]}:
        expected = "; ".join(f"{name!r} with {', '.join(keys)}" for name, keys in FAMILIES.items())
        raise ValueError(
            f"unknown utility {family!r} with {', '.join(sorted(set(spec) - {'family'}))}; "
            f"expected {expected}"
        )
    own = [spec[key] for key in FAMILIES[family]]
    if family == "custom":
        name, goods, parameters = own
        return Custom.make(name, parameters, goods)
    kind = {"quadratic": Quadratic, "quadratic-form": QuadraticForm, "log-cosh": LogCosh}[family]
    made: Utility = kind(*(np.asarray(numbers, dtype=np.float64) for numbers in own))
    return made
