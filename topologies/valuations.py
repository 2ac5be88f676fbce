"""Everybody's utility parameters: drawn in a fixed order from one seed, or taken over, then checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topologies.errors import Invalid, Problem, listed, shown
from topologies.model import Environment, PerGood, Uniform, Utilities

if TYPE_CHECKING:
    from collections.abc import Sequence


def draw_utilities(
    section: Utilities, environment: Environment, agents: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """One plain utility per agent, ``{"family": "quadratic", "theta": [K], "sigma": [K]}``.

    The draws come from ``numpy.random.default_rng(seed)``: first all theta (N x K, agent by agent), then all
    sigma. A parameter that is not drawn uses no random numbers. The default distributions are those of the
    thesis' section 5.2: theta uniform in [-eta/2, -1/(2 eta)), sigma uniform in [10, 20).

    Args:
        section: the validated section.
        environment: gives the number K of goods and the common bound eta.
        agents: ids, ascending.
        seed: the scenario's seed, for a section that has none of its own.
    Raises:
        Invalid: naming agents without utility or unknown ones, lists that are not one number per good, and
            curvatures -2 theta outside (1/eta, eta).
    """
    goods, eta = len(environment.capacities), environment.eta
    if section.agents is not None:
        _check_names(section.agents, agents)
        given = section.agents
        rows = [(given[agent], f"utilities.agents.{agent}") for agent in agents]
        theta = np.array([_one_per_good(own.theta, goods, f"{key}.theta") for own, key in rows])
        sigma = np.array([_one_per_good(own.sigma, goods, f"{key}.sigma") for own, key in rows])
    else:
        rng = np.random.default_rng(seed if section.seed is None else section.seed)
        shape = (len(agents), goods)
        low, high = -eta / 2, -1 / (2 * eta)
        # Not `or`: 0.0 is a value.
        theta_rule = Uniform(uniform=(low, high)) if section.theta is None else section.theta
        sigma_rule = Uniform(uniform=(10.0, 20.0)) if section.sigma is None else section.sigma
        theta = _values(theta_rule, rng, shape, "utilities.theta")
        sigma = _values(sigma_rule, rng, shape, "utilities.sigma")
    wrong = [i for i in range(len(agents)) if not all(_inside(value, eta) for value in theta[i].tolist())]
    if wrong:
        raise Invalid(*_curvature_problems(section, {agents[i]: theta[i].tolist() for i in wrong}, eta))
    return {
        agent: {"family": section.family, "theta": theta[i].tolist(), "sigma": sigma[i].tolist()}
        for i, agent in enumerate(agents)
    }


def _inside(theta: float, eta: float) -> bool:
    """Whether the curvature and its inverse both lie strictly inside (1/eta, eta), rounding included."""
    curvature = -2 * theta
    return 1 / eta < curvature < eta and 1 / eta < 1 / curvature < eta


def _curvature_problems(section: Utilities, wrong: dict[str, list[float]], eta: float) -> list[Problem]:
    expected = f"a curvature strictly between 1/eta = {1 / eta!r} and eta = {eta!r} (environment.eta)"
    problems = []
    for agent, values in wrong.items():
        value = next(value for value in values if not _inside(value, eta))
        seen = f"theta = {value!r}, a curvature -2 theta = {-2 * value!r}"
        if section.agents is not None:
            problems.append(Problem(f"utilities.agents.{agent}.theta", f"got {seen}", expected))
            continue
        # One key is to blame for all of them: one line is enough.
        more = f" (and {len(wrong) - 1} more agents likewise)" if len(wrong) > 1 else ""
        if isinstance(section.theta, Uniform):
            drawn = f"got {shown(section.theta.uniform)}, from which agent {agent} drew {seen}{more}"
            return [Problem("utilities.theta.uniform", drawn, expected)]
        return [Problem("utilities.theta", f"gives agent {agent} {seen}{more}", expected)]
    return problems


def _check_names(given: Any, agents: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(agents))
    missing = [agent for agent in agents if agent not in given]
    problems = [
        Problem(f"utilities.agents.{agent}", "no such agent in the topology", f"one of {listed(agents)}")
        for agent in unknown
    ]
    if missing:
        problems.append(
            Problem("utilities.agents", f"nothing for {listed(missing)}", "a table for every agent")
        )
    if problems:
        raise Invalid(*problems)


def _values(rule: Uniform | PerGood, rng: np.random.Generator, shape: tuple[int, int], key: str) -> Any:
    if isinstance(rule, Uniform):
        return rng.uniform(*rule.uniform, shape)
    return np.broadcast_to(_one_per_good(rule, shape[1], key), shape)


def _one_per_good(value: float | tuple[float, ...], goods: int, key: str) -> list[float]:
    if not isinstance(value, tuple):
        return [value] * goods
    if len(value) != goods:
        expected = f"{goods}, one per good of environment.capacities, or a single number"
        raise Invalid(Problem(key, f"got {len(value)} numbers", expected))
    return list(value)
