"""A utility of the user's own: a class with value, gradient and curvature bounds, made to fulfil ``Utility``.

Whatever it returns is checked, its gradient is inverted, and its curvature is watched at every point
where that happens. docs/utilities.md says how to write one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from node.imports import resolve
from node.utilities.errors import NotFinite, NotInverted, UtilityError, shown
from node.utilities.inversion import ROUNDING, goal, invert, invert_separable
from node.utilities.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from node.numbers import Matrix, Vector

# Distance over which values are held against gradients: small, so that a wrong gradient shows.
_PROBE = 2.0**-6


class UserUtility(Protocol):
    """What a user's class must have. Arguments are fresh float64 arrays of shape (K,).

    It may also have: ``goods`` (K, if it makes sense for one number of goods only), ``separable`` (False if
    it is left out and K > 1), ``hessian(x)`` of shape (K, K), which saves evaluations of the gradient, and
    ``demand(price, ridge)``, which is where the search for the best response then starts.
    """

    @property
    def curvature(self) -> tuple[ArrayLike, ArrayLike]:
        """(lowest, highest): numbers or one per good, positive; for every x, the eigenvalues of -Hess v lie
        between them, or -v'' of each good, if v is separable."""

    def value(self, x: Vector) -> float:
        """v(x), for any x in R^K."""
        ...

    def gradient(self, x: Vector) -> ArrayLike:
        """grad v(x), shape (K,), computed to about twelve digits."""
        ...


class Custom:
    """A user's utility, wrapped.

    Args:
        user: an instance of the user's class.
        goods: K >= 1.
        name: of the class, for errors.
    Raises:
        ValueError: naming what of the class is missing or wrong.
    """

    def __init__(self, user: UserUtility, goods: int, name: str) -> None:
        for method in ("value", "gradient"):
            if not callable(getattr(user, method, None)):
                raise ValueError(f"{name}: has no method {method}; expected value, gradient and curvature")
        if (own := getattr(user, "goods", goods)) != goods:
            raise ValueError(f"{name}: is a utility of {own!r} goods, expected {goods}")
        self._user, self.goods, self._name = user, goods, name
        self.separable = goods == 1 or bool(getattr(user, "separable", False))
        self.curvature = _bounds(user, goods, self.separable, name)
        self._hessian = self._hessian_of if callable(getattr(user, "hessian", None)) else None
        self._proposes = callable(getattr(user, "demand", None))

    @classmethod
    def make(cls, name: str, parameters: Mapping[str, Any], goods: int) -> Custom:
        """Import ``module:Class`` and construct it with these parameters; lists of numbers become arrays.

        Raises:
            ValueError: if that cannot be done, with the cause.
        """
        made = resolve(name)
        if not callable(made):
            raise ValueError(f"{name}: is {type(made).__name__}; expected a class")
        arguments = {key: _argument(value) for key, value in parameters.items()}
        try:
            user = made(**arguments)
        except Exception as error:
            # The user's code: whatever it raises is the reason.
            raise ValueError(
                f"{name}: {type(error).__name__}: {error}; expected a class that can be made of the "
                f"arguments {', '.join(parameters) or '(none)'}"
            ) from error
        return cls(user, goods, name)

    def value(self, x: Vector) -> float:
        """v(x).

        Raises:
            NotFinite: if it is no finite number.
        """
        value = np.asarray(self._call("value", x.copy()), dtype=np.float64)
        if value.size != 1 or not np.isfinite(value).all():
            raise NotFinite(f"{self._name}: value({shown(x)}) is {value}; expected a finite number")
        return float(value.reshape(()))

    def gradient(self, x: Vector) -> Vector:
        """grad v(x), shape (K,).

        Raises:
            NotFinite: naming the good, if it is not K finite numbers.
        """
        return self._vector("gradient", self._call("gradient", x.copy()), x)

    def demand(self, price: Vector, ridge: Vector | float = 0.0) -> Vector:
        """The x with grad v(x) - ridge x = price, to 1e-12 (1 + |price|) or to rounding.

        Raises:
            CurvatureLeft: if the declared bounds do not hold where the gradient is evaluated.
            NotFinite: if the utility gives no finite numbers there.
            NotInverted: if the gradient cannot be inverted so exactly.
        """
        ridge = np.broadcast_to(np.asarray(ridge, dtype=np.float64), (self.goods,))
        watch = Watch(self.gradient, self.curvature, self.separable)
        start, accuracy = self._start(price, ridge), goal(price)
        lowest, highest = self.curvature
        if self.separable:
            x = invert_separable(watch.gradient, price, ridge, self.curvature, start, accuracy)
        else:
            bounds = float(lowest[0]), float(highest[0])
            x = invert(watch.gradient, price, ridge, bounds, start, accuracy, hessian=self._hessian)
        g = watch.around(x)
        # Once more, at the very point: a utility that only claims to be separable is not solved by now.
        residual = g - ridge * x - price
        rounding = ROUNDING * (np.abs(g) + np.abs(price) + (highest + ridge) * np.abs(x).sum())
        allowed = np.maximum(accuracy, rounding)
        if not (np.abs(residual) <= allowed).all():
            raise NotInverted(price, x, residual, allowed)
        return x

    def probe(self) -> None:
        """Try the utility out at 0 and around it, so that what is plainly wrong is known before a run.

        For concave v, v(y) - v(x) lies between grad v(y).(y-x) and grad v(x).(y-x).

        Raises:
            UtilityError: for anything that is not as promised.
        """
        x = np.zeros(self.goods)
        g = Watch(self.gradient, self.curvature, self.separable).around(x)
        value = self.value(x)
        for k in range(self.goods):
            for step in (_PROBE, -_PROBE):
                y = x.copy()
                y[k] = step
                rise, least, most = self.value(y) - value, self.gradient(y)[k] * step, g[k] * step
                slack = ROUNDING * (1.0 + 2.0 * abs(value) + abs(least) + abs(most))
                if not least - slack <= rise <= most + slack:
                    raise UtilityError(
                        f"{self._name}: good {k}: value and gradient disagree: from {shown(x)} to {shown(y)} "
                        f"the value rises by {rise:.9g}; expected {least:.9g} to {most:.9g}, by the gradient"
                    )
        if self._hessian is not None:
            self._hessian(x)
        self.demand(g)

    def _start(self, price: Vector, ridge: Vector) -> Vector:
        """Where to begin: at what the class proposes, or at 0."""
        if not self._proposes:
            return np.zeros(self.goods)
        return self._vector("demand", self._call("demand", price.copy(), ridge.copy()), price)

    def _hessian_of(self, x: Vector) -> Matrix:
        h = np.array(self._call("hessian", x.copy()), dtype=np.float64)
        if h.size != self.goods**2 or not np.isfinite(h).all():
            raise NotFinite(
                f"{self._name}: hessian({shown(x)}) is {h.tolist()}; "
                f"expected {self.goods} x {self.goods} finite numbers"
            )
        h = h.reshape(self.goods, self.goods)
        return np.asarray(0.5 * (h + h.T))

    def _call(self, method: str, *arguments: Vector) -> Any:
        # What overflows is found by its result, and need not be printed besides.
        with np.errstate(all="ignore"):
            return getattr(self._user, method)(*arguments)

    def _vector(self, method: str, result: Any, argument: Vector) -> Vector:
        """What a method returned, as a float64 array of shape (K,) of its own."""
        v = np.array(result, dtype=np.float64)
        if v.size != self.goods or v.ndim > 1:
            raise NotFinite(
                f"{self._name}: {method}({shown(argument)}) has shape {v.shape}; expected ({self.goods},)"
            )
        v = v.reshape(self.goods)
        if not np.isfinite(v).all():
            k = int(np.argmin(np.isfinite(v)))
            raise NotFinite(
                f"{self._name}: good {k}: {method}({shown(argument)}) is {v[k]}; expected a finite number"
            )
        return v


def _bounds(user: UserUtility, goods: int, separable: bool, name: str) -> tuple[Vector, Vector]:
    declared = getattr(user, "curvature", None)
    try:
        low, high = (np.asarray(bound, dtype=np.float64) for bound in declared)  # type: ignore[union-attr]
        lowest, highest = (np.array(np.broadcast_to(bound, (goods,))) for bound in (low, high))
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: curvature is {declared!r}; expected a pair (lowest, highest) of numbers, or of arrays "
            f"of shape ({goods},)"
        ) from None
    if not (np.isfinite(highest).all() and (lowest > 0).all() and (lowest <= highest).all()):
        raise ValueError(f"{name}: curvature is {declared!r}; expected 0 < lowest <= highest < inf")
    if not separable:
        lowest[:], highest[:] = lowest.min(), highest.max()
    return lowest, highest


def _argument(value: Any) -> Any:
    """A list of numbers as an array, everything else as it stands."""
    if not isinstance(value, list | tuple) or not value:
        return value
    plain = all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    return np.array(value, dtype=np.float64) if plain else value
