"""Instances to try things on: who hears whom, routes, and everybody's utility."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node import lockstep
from node.consensus.survey import survey
from node.utilities import LogCosh, Quadratic, QuadraticForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from node.part import AgentId
    from node.routes import Routes
    from node.testing.instance import Hears


def graph(edges: Iterable[tuple[int, int]], directed: bool = False) -> dict[AgentId, tuple[AgentId, ...]]:
    """Who hears whom. Edge (i, j): i listens to j and, unless ``directed``, j to i. Ids: n00, n01, ..."""
    links = set(edges)
    if not directed:
        links |= {(j, i) for i, j in links}
    names = {k: f"n{k:02d}" for k in sorted({end for link in links for end in link})}
    return {name: tuple(names[j] for j in sorted(b for a, b in links if a == i)) for i, name in names.items()}


def ring(agents: int) -> dict[AgentId, tuple[AgentId, ...]]:
    """Everybody hears the two next to it."""
    return graph((k, (k + 1) % agents) for k in range(agents))


def one_way_ring(agents: int) -> dict[AgentId, tuple[AgentId, ...]]:
    """Everybody hears the next one only: what it says comes back to it over N - 1 hops."""
    return graph(((k, (k + 1) % agents) for k in range(agents)), directed=True)


def star(agents: int) -> dict[AgentId, tuple[AgentId, ...]]:
    """n00 hears all others, and they hear it."""
    return graph((0, k) for k in range(1, agents))


def binary_tree(agents: int) -> dict[AgentId, tuple[AgentId, ...]]:
    """The full binary tree, filled up from the left; n00 is the root."""
    return graph(((k - 1) // 2, k) for k in range(1, agents))


def complete(agents: int) -> dict[AgentId, tuple[AgentId, ...]]:
    """Everybody hears everybody."""
    return graph((i, j) for i in range(agents) for j in range(i))


def routes(hears: Hears) -> Mapping[AgentId, Routes]:
    """Everybody's distances and next hops, as the agents find them by messages before they play."""
    results: Mapping[AgentId, Routes] = lockstep.run({i: survey(i) for i in hears}, hears).results
    return results


def quadratics(
    agents: Iterable[AgentId], goods: int = 1, *, eta: float = 25.0, seed: int = 0
) -> dict[AgentId, Quadratic]:
    """v_i(x) = theta x^2 + sigma x for everybody, drawn as in thesis section 5.2.

    Args:
        agents: ids.
        goods: K.
        eta: > 1; -v'' = -2 theta is uniform in [1/eta, eta], sigma in [10, 20].
        seed: of the draws.
    """
    rng, names = np.random.default_rng(seed), sorted(agents)
    theta = rng.uniform(-eta / 2, -1 / (2 * eta), (len(names), goods))
    sigma = rng.uniform(10, 20, (len(names), goods))
    return {i: Quadratic(theta[k], sigma[k]) for k, i in enumerate(names)}


def bent(
    agents: Iterable[AgentId], goods: int = 1, *, eta: float = 4.0, seed: int = 0
) -> dict[AgentId, LogCosh]:
    """Utilities that are not quadratic: -v'' falls from at most eta at a centre of its own to at least 1/eta.

    Args:
        agents: ids.
        goods: K.
        eta: > 1.
        seed: of the draws.
    """
    rng, names = np.random.default_rng([seed, 1]), sorted(agents)
    ends = np.sort(eta ** rng.uniform(-1, 1, (2, len(names), goods)), axis=0)
    sigma, centre = rng.uniform(10, 20, (len(names), goods)), rng.uniform(-3, 3, (len(names), goods))
    return {
        i: LogCosh(ends[0, k], ends[1, k], sigma[k], centre[k], np.ones(goods)) for k, i in enumerate(names)
    }


def woven(
    agents: Iterable[AgentId], goods: int = 2, *, eta: float = 2.0, seed: int = 0
) -> dict[AgentId, QuadraticForm]:
    """Quadratic utilities whose goods depend on each other, by eigenvectors drawn for each agent.

    Args:
        agents: ids.
        goods: K >= 2.
        eta: > 1; the eigenvalues of -Hess v are spread from 1/eta to eta.
        seed: of the draws.
    """
    rng, found = np.random.default_rng([seed, 2]), {}
    for i in sorted(agents):
        basis, _ = np.linalg.qr(rng.normal(size=(goods, goods)))
        hessian = -(basis * np.geomspace(1 / eta, eta, goods)) @ basis.T
        found[i] = QuadraticForm(0.5 * (hessian + hessian.T), rng.uniform(10, 20, goods))
    return found
