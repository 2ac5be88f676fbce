"""What can be wrong with a utility while it is used; the driver adds the agent and the round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from node.numbers import Vector


class UtilityError(Exception):
    """A utility does not do what it promised. The fault is with whoever wrote or parametrised it."""


class NotFinite(UtilityError):
    """A value or a gradient is NaN, infinite, or of the wrong shape."""


class CurvatureLeft(UtilityError):
    """The curvature of a utility has left the bounds that it declares.

    Attributes:
        good: index of the good whose amount changed most between the two points.
        x: where, shape (K,): the point evaluated last.
        seen: the curvature -v'' seen on the way to it, along the line between two evaluated points.
        declared: (lowest, highest), as declared.
    """

    def __init__(
        self, good: int, x: Vector, other: Vector, seen: float, declared: tuple[float, float]
    ) -> None:
        self.good, self.x, self.seen, self.declared = good, x, seen, declared
        super().__init__(
            f"good {good}: the curvature -v'' is {seen:.9g} between x = {shown(other)} and {shown(x)}; "
            f"expected within the declared bounds [{declared[0]:.9g}, {declared[1]:.9g}]"
        )


class NotInverted(UtilityError):
    """grad v(x) - ridge x = price could not be solved to the promised accuracy.

    Attributes:
        price: the price in question, shape (K,).
        residual: the |grad v(x) - ridge x - price| left, for the good that is worst off.
    """

    def __init__(self, price: Vector, x: Vector, residual: Vector, allowed: Vector) -> None:
        # The one that is furthest from what is allowed, or no number at all.
        k = int(np.argmax(np.nan_to_num(np.abs(residual) / allowed, nan=np.inf)))
        self.price, self.residual = price, float(abs(residual[k]))
        super().__init__(
            f"good {k}: grad v(x) = price cannot be solved: at price {shown(price)} the best x found, "
            f"{shown(x)}, leaves {self.residual:.3g}; expected at most {float(allowed[k]):.3g}, from a "
            "gradient that is continuous, as steep as declared, and computed to about twelve digits"
        )


def shown(x: Vector) -> str:
    """Numbers of an error message: one as such, several in brackets."""
    texts = [f"{value:.9g}" for value in x.tolist()]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
