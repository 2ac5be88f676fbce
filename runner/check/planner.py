"""The central optimum once more, as a convex program in cvxpy, solved by Clarabel.

Every family of utilities is written down a second time here, as an expression in cvxpy, from the numbers of
the scenario alone: no code that the run has used is used again. How exact the solver was is not taken from
the solver: it is read off the conditions of the optimum (``runner.check.accuracy``).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.contract import Contract
    from node.numbers import Vector

# Clarabel stops at gaps and residuals of this size, relative and absolute: as good as doubles give.
SOLVER = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12, "max_iter": 200}


class NotExpressible(Exception):
    """There is a utility that is no expression in cvxpy: a class of the user's."""


class NotSolved(Exception):
    """The solver gave no optimum; the text says what it gave."""


def cvxpy() -> Any:
    """The library, imported late: it takes a second.

    Raises:
        UserError: if it, or its solver, is not installed.
    """
    try:
        import clarabel  # noqa: F401 - cvxpy would only say that no solver was found
        import cvxpy as library
    except ImportError as error:
        raise UserError(
            f"vicinal check needs cvxpy and Clarabel ({error}); expected them installed: pip install "
            "'vicinal[check]'"
        ) from None
    return library


def private_goods(utilities: Mapping[str, Mapping[str, Any]], capacities: Vector) -> dict[str, Vector]:
    """max sum v_i(x_i) subject to sum x_i = c, x free.

    Args:
        utilities: agent -> its utility as the scenario describes it.
        capacities: c, shape (K,).
    Returns:
        agent -> x_i*, shape (K,).
    Raises:
        NotExpressible, NotSolved.
    """
    cp = cvxpy()
    agents = sorted(utilities)
    # In units of an equal share, or 1: solvers dislike numbers of very different sizes.
    unit = max(1.0, float(np.abs(capacities).max()) / len(agents))
    x = cp.Variable((len(agents), capacities.size))
    value = _welfare(cp, [utilities[i] for i in agents], unit * x)
    _solve(cp.Problem(cp.Maximize(value), [cp.sum(x, axis=0) == capacities / unit]))
    return dict(zip(agents, np.asarray(unit * x.value), strict=True))


def public_goods(utilities: Mapping[str, Mapping[str, Any]], features: int) -> dict[str, Vector]:
    """max over x in R^P of sum v_i(x); otherwise as ``private_goods``."""
    cp = cvxpy()
    agents = sorted(utilities)
    x = cp.Variable((1, features))
    everybody = np.ones((len(agents), 1)) @ x
    _solve(cp.Problem(cp.Maximize(_welfare(cp, [utilities[i] for i in agents], everybody))))
    return dict.fromkeys(agents, np.asarray(x.value)[0])


def network(
    contracts: Mapping[str, Contract], valuations: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """max sum v_i(x_i) subject to every capacity and x >= 0.

    On a link of a multicast mechanism a group counts once, by its largest member; the members of a group of
    the linear mechanism get the same.

    Args:
        contracts: agent -> its side, of which the public facts of links, rows and groups are read.
        valuations: agent -> its valuation as the scenario describes it.
    Returns:
        agent -> x_i*.
    Raises:
        NotSolved.
    """
    from node.mechanisms.network.linear import Linear

    cp = cvxpy()
    agents = sorted(contracts)
    amount = dict(zip(agents, (x := cp.Variable(len(agents), nonneg=True)), strict=True))
    constraints: list[Any] = []
    seen: set[str] = set()
    for i in agents:
        contract: Any = contracts[i]
        channels: Any = contract.rows if isinstance(contract, Linear) else contract.links
        for name, link in channels.items():
            if name in seen:
                continue
            seen.add(name)
            groups = getattr(link, "groups", None)
            if isinstance(contract, Linear) or groups is None:
                load = sum(a * amount[j] for j, a in link.coefficients.items())
            else:
                load = sum(
                    cp.max(cp.hstack([link.coefficients[j] * amount[j] for j in members]))
                    for members in link.of_group().values()
                )
            constraints.append(load <= link.capacity)
        if isinstance(contract, Linear):
            constraints.append(amount[i] <= contract.highest)
            if contract.group is not None:
                constraints.append(amount[i] == amount[contract.group.members[0]])
    value = sum(_valuation(cp, valuations[i], amount[i]) for i in agents)
    _solve(cp.Problem(cp.Maximize(value), constraints))
    return dict(zip(agents, map(float, x.value), strict=True))


def _solve(problem: Any) -> None:
    cp = cvxpy()
    with warnings.catch_warnings():
        # "may be inaccurate": short of 1e-12, which for cones of exponentials is the rule. How short it is is
        # found out later, and told.
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        try:
            problem.solve(solver=cp.CLARABEL, **SOLVER)
        except cp.SolverError as error:
            raise NotSolved(f"Clarabel failed: {error}") from error
    if problem.status not in ("optimal", "optimal_inaccurate"):
        raise NotSolved(f"Clarabel says {problem.status}")


def _welfare(cp: Any, utilities: list[Mapping[str, Any]], x: Any) -> Any:
    """sum over agents of v_i(x_i), x_i the rows of x; families are those of ``node.utilities``."""
    families = {utility["family"] for utility in utilities}
    terms = []
    for family in sorted(families):
        rows = [k for k, utility in enumerate(utilities) if utility["family"] == family]
        own = [utilities[k] for k in rows]

        def column(key: str, own: list[Mapping[str, Any]] = own) -> Vector:
            return np.array([utility[key] for utility in own], dtype=np.float64)

        z = x[rows]
        match family:
            case "quadratic":
                terms += [
                    _linear(cp, column("sigma"), z),
                    -cp.sum_squares(_by(cp, np.sqrt(-column("theta")), z)),
                ]
            case "quadratic-form":
                terms.append(_linear(cp, column("sigma"), z))
                # v = sigma.x + x'Hx/2 with -H = L L': half the squares of L'x.
                terms += [
                    -0.5 * cp.sum_squares(np.linalg.cholesky(-hessian).T @ z[k])
                    for k, hessian in enumerate(column("hessian"))
                ]
            case "log-cosh":
                low, high, width = column("low"), column("high"), column("width")
                # log cosh u = log(1 + exp 2u) - u - log 2
                u = _by(cp, 1.0 / width, z - column("centre"))
                bent = cp.logistic(2.0 * u) - u - np.log(2.0)
                terms += [
                    _linear(cp, column("sigma"), z),
                    -0.5 * cp.sum_squares(_by(cp, np.sqrt(low), z)),
                    -cp.sum(_by(cp, (high - low) * width**2, bent)),
                ]
            case _:
                raise NotExpressible(
                    f"utilities of family {family!r} are code of the user's, no expression in cvxpy"
                )
    return sum(terms)


def _linear(cp: Any, weights: Vector, x: Any) -> Any:
    return cp.sum(cp.multiply(weights, x))


def _by(cp: Any, weights: Vector, x: Any) -> Any:
    return cp.multiply(weights, x)


def _valuation(cp: Any, spec: Mapping[str, Any], x: Any) -> Any:
    """v(x) of one amount, but for a constant; families as in ``node.mechanisms.network.valuations``."""
    w, s = float(spec.get("w", 0.0)), float(spec.get("s", 0.0))
    match spec["family"]:
        case "log":
            return w * cp.log(1.0 + x / s)
        case "exponential":
            return -w * cp.exp(-x / s)
        case "square-root":
            return w * np.sqrt(s) * cp.sqrt(1.0 + x / s)
        case "alpha-fair":
            alpha = float(spec["alpha"])
            if alpha == 1.0:
                return w * cp.log(1.0 + x / s)
            # A power below 1 is concave; one below 0 convex, and divided by 1 - alpha < 0 concave again.
            return w * s ** (1.0 - alpha) / (1.0 - alpha) * cp.power(1.0 + x / s, 1.0 - alpha)
        case "quadratic":
            return float(spec["sigma"]) * x + float(spec["theta"]) * cp.square(x)
    raise NotSolved(f"unknown valuation {spec['family']!r}")
