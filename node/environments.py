"""The economic environment of a run and its centralised optimum: the yardstick, never used by agents.

Quadratic utilities have a closed form. For others the conditions of the optimum are once more of the kind
"gradient of a strictly concave function with known curvature bounds = constant", the function being that of
all agents together, and are solved to rounding by the methods that invert a single agent's gradient.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node.utilities import Quadratic, QuadraticForm, Utility, UtilityError
from node.utilities.inversion import EPS, TOLERANCE, invert, invert_separable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from node.numbers import Matrix, Vector
    from node.part import AgentId

    Ask = Callable[[AgentId, Utility], Vector]


@dataclass(frozen=True, slots=True)
class Optimum:
    """What a planner who knows every utility would choose.

    Attributes:
        allocation: agent -> x_i*, shape (K,); of public goods the same for all.
        prices: agent -> grad v_i(x_i*), shape (K,): of private goods the multiplier for all; of public goods
            mu_i*, what a further unit is worth to each; these sum to zero.
        welfare: sum of v_i(x_i*), in money.
        multiplier: lambda*, shape (K,): the price of each private good at which all demand meets the
            capacity; shape (0,) for public goods, which have none.
    """

    allocation: Mapping[AgentId, Vector]
    prices: Mapping[AgentId, Vector]
    welfare: float
    multiplier: Vector


class Environment(abc.ABC):
    """Agents with utilities of the same K goods or features.

    Args:
        goods: K >= 1.
        utilities: agent -> its valuation.
    Raises:
        ValueError: for a utility of other goods.
    """

    def __init__(self, goods: int, utilities: Mapping[AgentId, Utility]) -> None:
        for agent, utility in utilities.items():
            if utility.goods != goods:
                raise ValueError(f"{agent}: a utility of {utility.goods} goods, expected {goods}")
        self.goods = goods
        self.utilities = {agent: utilities[agent] for agent in sorted(utilities)}

    @abc.abstractmethod
    def optimum(self) -> Optimum:
        """What maximises the sum of all utilities.

        Raises:
            UtilityError: naming the agent, if a utility does not do what it promises.
        """

    def welfare(self, allocation: Mapping[AgentId, Vector]) -> float:
        """Sum of v_i(x_i), exactly rounded over agents.

        Raises:
            UtilityError: naming the agent whose utility has no finite value there.
        """
        return math.fsum(
            float(value[0]) for value in self._all(lambda i, u: np.array([u.value(allocation[i])]))
        )

    def _all(self, ask: Ask) -> list[Vector]:
        """One vector of each agent, ascending; an error of a utility gets its agent's name."""
        answers = []
        for agent, utility in self.utilities.items():
            try:
                answers.append(ask(agent, utility))
            except UtilityError as error:
                raise UtilityError(f"agent {agent}: {error}") from error
        return answers

    def _solve(
        self, total: Callable[[Vector], Vector], wanted: Vector, slopes: tuple[Vector, Vector], start: Vector
    ) -> Vector:
        """Solve total(z) = wanted, for the gradient of a concave function with -Hess within ``slopes``."""
        ridge = np.zeros(self.goods)
        # The sum of N numbers is exact to a unit in the last place of their sum of magnitudes at best.
        accuracy = EPS * (np.abs(wanted) + np.abs(total(start)))
        # What each agent contributes may be off by what is promised of it.
        noise = TOLERANCE * (1.0 + float(np.abs(start).max())) * float(slopes[1].max())
        if all(utility.separable for utility in self.utilities.values()):
            return invert_separable(total, wanted, ridge, slopes, start, accuracy, noise)
        bounds = float(slopes[0].min()), float(slopes[1].max())
        return invert(total, wanted, ridge, bounds, start, accuracy, noise)


class PrivateGoods(Environment):
    """K divisible private goods: max sum v_i(x_i) subject to sum x_i = c (thesis section 4.2.1, (4.4)).

    Neither x nor the multiplier is sign-constrained.

    Args:
        capacities: c, shape (K,), finite.
        utilities: agent -> its valuation of K goods.
    Raises:
        ValueError: for a capacity that is not finite or a utility of other goods.
    """

    def __init__(self, capacities: Sequence[float], utilities: Mapping[AgentId, Utility]) -> None:
        self.capacities = np.asarray(capacities, dtype=np.float64)
        if not np.isfinite(self.capacities).all():
            raise ValueError(f"capacities must be finite, got {list(capacities)}")
        super().__init__(self.capacities.size, utilities)

    def optimum(self) -> Optimum:
        """Solve grad v_i(x_i) = lambda for all i, sum x_i = c.

        Raises:
            UtilityError: naming the agent, if a utility does not do what it promises.
        """
        multiplier = self._multiplier()
        shares = self._all(lambda agent, utility: utility.demand(multiplier))
        allocation = dict(zip(self.utilities, shares, strict=True))
        return Optimum(
            allocation, dict.fromkeys(self.utilities, multiplier), self.welfare(allocation), multiplier
        )

    def _multiplier(self) -> Vector:
        diagonals, forms = _quadratics(self.utilities.values())
        if diagonals is not None:  # demand is x_i = a_i (sigma_i - lambda) with a_i = -1/v_i''
            weights = [-0.5 / u.theta for u in diagonals]
            intercepts = [a * u.sigma for a, u in zip(weights, diagonals, strict=True)]
            return (_exact_sum(intercepts) - self.capacities) / _exact_sum(weights)
        if forms is not None:  # the same with matrices
            inverses = [np.asarray(np.linalg.inv(h)) for h, _ in forms]
            intercepts = [a @ sigma for a, (_, sigma) in zip(inverses, forms, strict=True)]
            return _linear(_exact_sum(inverses), _exact_sum(intercepts) - self.capacities)
        fair = self.capacities / len(self.utilities)
        bounds = [u.curvature for u in self.utilities.values()]
        return self._solve(
            lambda price: _exact_sum(self._all(lambda agent, utility: utility.demand(price))),
            self.capacities,
            (_exact_sum([1.0 / high for _, high in bounds]), _exact_sum([1.0 / low for low, _ in bounds])),
            start=_exact_sum(self._all(lambda agent, utility: utility.gradient(fair))) / len(self.utilities),
        )


class PublicGoods(Environment):
    """P public features, the same for all: max over x in R^P of sum v_i(x) (thesis section 4.2.2, (4.6)).

    Args:
        features: P >= 1.
        utilities: agent -> its valuation of P features.
    Raises:
        ValueError: for P < 1 or a utility of another number of features.
    """

    def __init__(self, features: int, utilities: Mapping[AgentId, Utility]) -> None:
        if features < 1:
            raise ValueError(f"features = {features}; expected at least 1")
        super().__init__(features, utilities)

    def optimum(self) -> Optimum:
        """Solve sum of grad v_i(x) = 0.

        Raises:
            UtilityError: naming the agent, if a utility does not do what it promises.
        """
        x = self._features()
        allocation = dict.fromkeys(self.utilities, x)
        worth = self._all(lambda agent, utility: utility.gradient(x))
        return Optimum(
            allocation,
            dict(zip(self.utilities, worth, strict=True)),
            self.welfare(allocation),
            multiplier=np.empty(0),
        )

    def _features(self) -> Vector:
        diagonals, forms = _quadratics(self.utilities.values())
        if diagonals is not None:
            return -0.5 * _exact_sum([u.sigma for u in diagonals]) / _exact_sum([u.theta for u in diagonals])
        if forms is not None:
            total = _exact_sum([h for h, _ in forms])
            return _linear(total, _exact_sum([sigma for _, sigma in forms]))
        bounds = [u.curvature for u in self.utilities.values()]
        return self._solve(
            lambda x: _exact_sum(self._all(lambda agent, utility: utility.gradient(x))),
            np.zeros(self.goods),
            (_exact_sum([low for low, _ in bounds]), _exact_sum([high for _, high in bounds])),
            start=np.zeros(self.goods),
        )


def _quadratics(
    utilities: Iterable[Utility],
) -> tuple[list[Quadratic] | None, list[tuple[Matrix, Vector]] | None]:
    """The utilities if all are separable quadratics; (-Hess v, grad v(0)) of each if all are quadratics."""
    diagonals, forms = [], []
    for utility in utilities:
        if isinstance(utility, Quadratic):
            diagonals.append(utility)
            forms.append((np.diag(-2.0 * utility.theta), utility.sigma))
        elif isinstance(utility, QuadraticForm):
            forms.append((-utility.hessian, utility.sigma))
        else:
            return None, None
    return (diagonals if len(diagonals) == len(forms) else None), forms


def _linear(matrix: Matrix, wanted: Vector) -> Vector:
    """Solve matrix z = wanted, refined once."""
    z = np.linalg.solve(matrix, wanted)
    return np.asarray(z + np.linalg.solve(matrix, wanted - matrix @ z))


def _exact_sum(rows: Sequence[Vector]) -> Vector:
    """The sum over agents of arrays of one shape, each number correctly rounded whatever their order."""
    stacked = np.asarray(rows)
    sums = [math.fsum(column) for column in stacked.reshape(len(rows), -1).T.tolist()]
    return np.array(sums).reshape(stacked.shape[1:])
