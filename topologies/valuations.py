"""Everybody's utility: drawn in a fixed order from one seed, or taken over, then checked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topologies import custom
from topologies.curvature import inside, rule
from topologies.errors import Invalid, Problem, listed, shown
from topologies.families import CustomFamily, LogCoshFamily, QuadraticFamily, QuadraticFormFamily
from topologies.model import PublicEnvironment
from topologies.nearest import did_you_mean
from topologies.values import Uniform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from topologies.families import AnyFamily
    from topologies.model import Environment
    from topologies.values import PerGood

Specs = dict[str, dict[str, Any]]
Rule = Uniform | float | tuple[float, ...]


def draw_utilities(
    section: AnyFamily,
    environment: Environment | PublicEnvironment,
    agents: Sequence[str],
    seed: int,
    folder: Path = Path(),
) -> Specs:
    """One plain utility per agent, as ``node.utilities.build`` reads it.

    The draws come from ``numpy.random.default_rng(seed)``, key by key in the order below, each for all agents
    (ascending) and, within an agent, all K goods or features. What is not drawn uses no random numbers.

        quadratic: theta, sigma; by default those of the thesis' section 5.2, theta uniform in
            [-eta/2, -1/(2 eta)), sigma uniform in [10, 20).
        quadratic-form: curvature, the K eigenvalues of -H, by default uniform in [1/eta, eta); then K x K
            standard normal numbers, whose rows, made orthonormal one after the other, are its eigenvectors;
            then sigma as above.
        log-cosh: low, high, sigma, centre, width; by default uniform in [1/eta, 1), in [1, eta), as above,
            0 and 1.
        custom: what of the parameters is drawn, in the order of the file.

    Args:
        section: the validated section.
        environment: gives the number K of goods or features and the common bound eta.
        agents: ids, ascending.
        seed: the scenario's seed, for a section that has none of its own.
        folder: the scenario's, where a module of the user's may be.
    Raises:
        Invalid: naming agents without utility or unknown ones, lists that are not one number per good, and
            curvatures outside (1/eta, eta); for a user's class also whatever it does not do as it must.
    """
    if section.agents is not None:
        _check_names(section.agents, agents)
    rng = np.random.default_rng(seed if section.seed is None else section.seed)
    draw = _Draw(section, environment, agents, rng)
    match section:
        case QuadraticFamily():
            return _quadratics(section, draw)
        case QuadraticFormFamily():
            return _forms(section, draw)
        case LogCoshFamily():
            return _log_coshes(section, draw)
        case CustomFamily():
            given = section.agents if section.agents is not None else draw.arguments(section.parameters or {})
            return custom.utilities(section, given, draw.goods, draw.eta, folder)


class _Draw:
    """The numbers of all agents, from the file or from the generator.

    Attributes:
        goods: K. eta: the bound. shape: (N, K).
    """

    def __init__(
        self,
        section: AnyFamily,
        environment: Environment | PublicEnvironment,
        agents: Sequence[str],
        rng: np.random.Generator,
    ) -> None:
        if isinstance(environment, PublicEnvironment):
            self.goods, self._each = environment.features, "feature of environment.features"
        else:
            self.goods, self._each = len(environment.capacities), "good of environment.capacities"
        self.eta, self.agents, self.shape = environment.eta, agents, (len(agents), self.goods)
        self._section, self._rng = section, rng

    def numbers(self, key: str, default: Rule) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Key ``key`` of all agents, shape (N, K): given agent by agent, or drawn, or the same for all."""
        given = self._section.agents
        if given is not None:
            rows = [
                self._one_per_good(getattr(given[agent], key), f"utilities.agents.{agent}.{key}")
                for agent in self.agents
            ]
            return np.array(rows)
        own = getattr(self._section, key)
        if own is None:  # not `or`: 0.0 is a value
            own = default
        if isinstance(own, Uniform):
            return self._rng.uniform(*own.uniform, self.shape)
        return np.broadcast_to(np.array(self._one_per_good(own, f"utilities.{key}")), self.shape)

    def normals(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Standard normal numbers, shape (N, K, K)."""
        return self._rng.standard_normal((*self.shape, self.goods))

    def arguments(self, rules: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Agent -> arguments: K numbers for what is drawn, the rest as it stands."""
        values: dict[str, list[Any]] = {
            name: self._rng.uniform(*value.uniform, self.shape).tolist()
            if isinstance(value, Uniform)
            else [value] * len(self.agents)
            for name, value in rules.items()
        }
        return {
            agent: {name: value[i] for name, value in values.items()} for i, agent in enumerate(self.agents)
        }

    def _one_per_good(self, value: PerGood, key: str) -> list[float]:
        if not isinstance(value, tuple):
            return [value] * self.goods
        if len(value) != self.goods:
            expected = f"{self.goods}, one per {self._each}, or a single number"
            raise Invalid(Problem(key, f"got {len(value)} numbers", expected))
        return list(value)

    def blame(self, key: str, wrong: Mapping[str, str], expected: str) -> Invalid:
        """The mistakes of agents, each with what was seen of its ``key``.

        Agent by agent if that is how they are given; otherwise one key is to blame for all of them, and one
        line is enough.
        """
        if self._section.agents is not None:
            return Invalid(
                *(
                    Problem(f"utilities.agents.{a}.{key}", f"got {seen}", expected)
                    for a, seen in wrong.items()
                )
            )
        agent, seen = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more agents likewise)" if len(wrong) > 1 else ""
        own = getattr(self._section, key)
        if isinstance(own, Uniform):
            got = f"got {shown(own.uniform)}, from which agent {agent} drew {seen}{more}"
            return Invalid(Problem(f"utilities.{key}.uniform", got, expected))
        return Invalid(Problem(f"utilities.{key}", f"gives agent {agent} {seen}{more}", expected))

    def specs(self, family: str, **columns: Any) -> Specs:
        """Agent -> its utility, from arrays with one row an agent."""
        lists = {key: column.tolist() for key, column in columns.items()}
        return {
            agent: {"family": family, **{key: rows[i] for key, rows in lists.items()}}
            for i, agent in enumerate(self.agents)
        }


def _quadratics(section: QuadraticFamily, draw: _Draw) -> Specs:
    eta = draw.eta
    theta = draw.numbers("theta", Uniform(uniform=(-eta / 2, -1 / (2 * eta))))
    sigma = draw.numbers("sigma", Uniform(uniform=(10.0, 20.0)))
    wrong = {
        agent: f"theta = {value!r}, a curvature -2 theta = {-2 * value!r}"
        for agent, row in zip(draw.agents, theta.tolist(), strict=True)
        if (value := next((value for value in row if not inside(-2 * value, eta)), None)) is not None
    }
    if wrong:
        raise draw.blame("theta", wrong, rule(eta))
    return draw.specs("quadratic", theta=theta, sigma=sigma)


def _forms(section: QuadraticFormFamily, draw: _Draw) -> Specs:
    eta, key = draw.eta, "hessian" if section.agents is not None else "curvature"
    if section.agents is not None:
        hessians = np.array([_square(section.agents[a].hessian, draw.goods, a) for a in draw.agents])
    else:
        curvature = draw.numbers("curvature", Uniform(uniform=(1 / eta, eta)))
        normals = draw.normals()
        hessians = np.array([rotated(*of_agent) for of_agent in zip(curvature, normals, strict=True)])
    sigma = draw.numbers("sigma", Uniform(uniform=(10.0, 20.0)))
    wrong = {}
    for agent, hessian in zip(draw.agents, hessians, strict=True):
        values = np.linalg.eigvalsh(-hessian).tolist()
        if not (inside(values[0], eta) and inside(values[-1], eta)):
            wrong[agent] = f"curvatures (eigenvalues of -H) from {values[0]!r} to {values[-1]!r}"
    if wrong:
        raise draw.blame(key, wrong, rule(eta))
    return draw.specs("quadratic-form", hessian=hessians, sigma=sigma)


def _log_coshes(section: LogCoshFamily, draw: _Draw) -> Specs:
    eta = draw.eta
    low = draw.numbers("low", Uniform(uniform=(1 / eta, 1.0)))
    high = draw.numbers("high", Uniform(uniform=(1.0, eta)))
    sigma = draw.numbers("sigma", Uniform(uniform=(10.0, 20.0)))
    centre, width = draw.numbers("centre", 0.0), draw.numbers("width", 1.0)
    rows = list(zip(draw.agents, low.tolist(), high.tolist(), width.tolist(), strict=True))
    for key, seen, expected in (
        ("width", {a: f"width = {min(w)!r}" for a, _, _, w in rows if min(w) <= 0}, "a width > 0"),
        (
            "low",
            {
                a: f"low = {one!r} beside high = {other!r}"
                for a, lows, highs, _ in rows
                for one, other in zip(lows, highs, strict=True)
                if one > other
            },
            "low at most high: they are the least and the greatest curvature",
        ),
        (
            "low",
            {
                a: f"low = {min(v)!r}, the least curvature"
                for a, v, _, _ in rows
                if not all(inside(c, eta) for c in v)
            },
            rule(eta),
        ),
        (
            "high",
            {
                a: f"high = {max(v)!r}, the greatest curvature"
                for a, _, v, _ in rows
                if not all(inside(c, eta) for c in v)
            },
            rule(eta),
        ),
    ):
        if seen:
            raise draw.blame(key, seen, expected)
    return draw.specs("log-cosh", low=low, high=high, sigma=sigma, centre=centre, width=width)


def rotated(curvature: Any, normals: Any) -> list[list[float]]:
    """The Hessian with eigenvalues -curvature, shape (K,), and the rows of ``normals``, shape (K, K), made
    orthonormal one after the other, as eigenvectors. Exactly symmetric; depends on no library.
    """
    basis: list[list[float]] = []
    for row in normals.tolist():
        for other in basis * 2:  # the second time takes away what rounding has left
            along = math.fsum(a * b for a, b in zip(row, other, strict=True))
            row = [a - along * b for a, b in zip(row, other, strict=True)]
        length = math.sqrt(math.fsum(a * a for a in row))
        basis.append([a / length for a in row])
    weights = curvature.tolist()
    goods = range(len(weights))
    upper = {
        (i, j): -math.fsum(w * (q[i] * q[j]) for w, q in zip(weights, basis, strict=True))
        for i in goods
        for j in range(i, len(weights))
    }
    return [[upper[min(i, j), max(i, j)] for j in goods] for i in goods]


def _square(hessian: tuple[tuple[float, ...], ...], goods: int, agent: str) -> list[list[float]]:
    key = f"utilities.agents.{agent}.hessian"
    if len(hessian) != goods:
        raise Invalid(Problem(key, f"got {len(hessian)} rows", f"{goods} rows of {goods} numbers"))
    for i, row in enumerate(hessian):
        for j in range(i):
            if row[j] != hessian[j][i]:
                seen = f"got {row[j]!r} in row {i}, column {j}, and {hessian[j][i]!r} in row {j}, column {i}"
                raise Invalid(Problem(key, seen, "a symmetric matrix"))
    return [list(row) for row in hessian]


def _check_names(given: Mapping[str, Any], agents: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(agents))
    missing = [agent for agent in agents if agent not in given]
    problems = [
        Problem(
            f"utilities.agents.{agent}",
            "no such agent in the topology",
            f"one of {listed(agents)}{did_you_mean(agent, agents)}",
        )
        for agent in unknown
    ]
    if missing:
        problems.append(
            Problem("utilities.agents", f"nothing for {listed(missing)}", "a table for every agent")
        )
    if problems:
        raise Invalid(*problems)
