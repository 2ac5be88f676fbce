"""Holding a gradient against the curvature bounds that its utility declares, wherever it is evaluated.

Between two points x and y, grad v(y) - grad v(x) = H (y - x) with H the mean of the Hessian along the way
(mean value theorem). If the eigenvalues of -Hess v lie within [lowest, highest] everywhere, so do those of
-H, whatever the distance. So

    -(grad v(y) - grad v(x)).(y - x) / |y - x|^2 >= lowest,    |grad v(y) - grad v(x)| / |y - x| <= highest,

and good by good if v is separable: finite differences are no approximation here, and only the inaccuracy of
the gradients has to be allowed for. That is a quarter of what is promised of their inverse, for each of the
two, beside rounding; divided by the distance it becomes the tolerance on the curvature. A violation
smaller than that, or between the evaluated points and nowhere else, is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.utilities.errors import CurvatureLeft
from node.utilities.inversion import ROUNDING, TOLERANCE, differences

if TYPE_CHECKING:
    from node.numbers import Vector
    from node.utilities.inversion import Gradient

# How far the points around a given one are, relative to max(1, |x|): near enough to be about that point, far
# enough for a tolerance on the curvature of about 4e-9 (1 + |gradient|).
NEAR = 2.0**-13


class Watch:
    """Looks over the shoulder of whoever evaluates a gradient; remembers the last point and no other.

    Args:
        gradient: the gradient, shape (K,), of x, shape (K,).
        curvature: (lowest, highest), shape (K,), as declared.
        separable: whether the bounds are good by good.
    """

    def __init__(self, gradient: Gradient, curvature: tuple[Vector, Vector], separable: bool) -> None:
        self._gradient, self._curvature, self._separable = gradient, curvature, separable
        self._last: tuple[Vector, Vector] | None = None

    def gradient(self, x: Vector) -> Vector:
        """The gradient at x, held against the one evaluated before.

        Raises:
            CurvatureLeft: if the curvature between the two is outside the declared bounds.
        """
        g = self._gradient(x)
        if self._last is not None:
            self._compare(*self._last, x, g)
        self._last = x, g
        return g

    def around(self, x: Vector) -> Vector:
        """The gradient at x, once the curvature at x has been looked at from all sides.

        Raises:
            CurvatureLeft: if it is outside the declared bounds.
        """
        g = self.gradient(x)
        if self._separable:
            self.gradient(x + NEAR * np.maximum(1.0, np.abs(x)))
            return g
        values, vectors = np.linalg.eigh(-differences(self.gradient, x, g, NEAR))
        lowest, highest = float(self._curvature[0].min()), float(self._curvature[1].max())
        # Each column of that Hessian is a mean along another way, so it only says where to look.
        for value, direction in ((values[0], vectors[:, 0]), (values[-1], vectors[:, -1])):
            if not lowest <= value <= highest:
                self._last = x, g
                self.gradient(x + NEAR * max(1.0, float(np.abs(x).max())) * direction)
        return g

    def _compare(self, x: Vector, g: Vector, y: Vector, g_y: Vector) -> None:
        lowest, highest = self._curvature
        way, drop = y - x, g - g_y
        if not way.any():
            return
        noise = 0.25 * TOLERANCE * (2.0 + np.abs(g) + np.abs(g_y)) + ROUNDING * (
            np.abs(g) + np.abs(g_y) + highest * (np.abs(x).sum() + np.abs(y).sum())
        )
        if self._separable:
            moved = way != 0
            length = np.where(moved, way, 1.0)
            curvature, slacks = drop / length, noise / np.abs(length)
            wrong = moved & ((curvature < lowest - slacks) | (curvature > highest + slacks))
            if wrong.any():
                k = int(np.argmax(wrong))
                raise CurvatureLeft(k, y, x, float(curvature[k]), (float(lowest[k]), float(highest[k])))
            return
        distance = float(np.linalg.norm(way))
        slack = float(np.linalg.norm(noise)) / distance
        along, stretch = float(drop @ way) / distance**2, float(np.linalg.norm(drop)) / distance
        low, high = float(lowest.min()), float(highest.max())
        if along < low - slack or stretch > high + slack:
            seen = along if along < low - slack else stretch
            raise CurvatureLeft(int(np.argmax(np.abs(way))), y, x, seen, (low, high))
