"""The spectral radius of joint best response, where no norm bound is to be had; only for whoever knows all.

For quadratic utilities the joint best response is affine. Proxies only hand demands on: what agent i
decodes of agent r is r's demand d(i,r) - 1 rounds ago, and of itself its own demand g_i rounds ago. So
every eigenvalue of the whole Jacobian other than 0 is one of

    y_i(t+1) = C_i sum over r != i of y_r(t - d(i,r) + 1) + E_i y_i(t - g_i) private goods   C_i = I/(N-1)
    - A_i/delta,            E_i = -A_i/delta,                A_i = (-Hess v_i)^{-1} public goods    C_i =
    M_i^{-1} (delta I/N - H_i/N^2),  E_i = M_i^{-1} (delta xi^2 - delta (N-1)/N),
                    M_i = delta xi^2 I + H_i/N^2,          H_i = -Hess v_i

which is a recursion over as many rounds as the largest delay. A spectral radius below 1 means that
repeated best response converges in the end, at about that factor a round. It is no norm bound: on the way
there the distance to the equilibrium may grow, and nothing follows for dynamics that average.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.utilities import Quadratic, QuadraticForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId
    from node.routes import Routes
    from node.utilities import Utility

# Eigenvalues of a matrix of this size take some seconds.
LARGEST = 1500


def spectral_radius(
    mechanism: str,
    routes: Mapping[AgentId, Routes],
    utilities: Mapping[AgentId, Utility],
    xi: float,
    delta: float,
) -> float | None:
    """The largest absolute eigenvalue of the Jacobian of joint best response.

    Args:
        mechanism: ``private-goods`` or ``public-goods``.
        routes: of every agent.
        utilities: of every agent.
        xi, delta: the contract's parameters.
    Returns:
        None if some utility is not quadratic, or if the matrix would have more than ``LARGEST`` rows.
    """
    agents = sorted(routes)
    if not all(isinstance(u, Quadratic | QuadraticForm) for u in utilities.values()):
        return None
    goods = utilities[agents[0]].goods
    delays = max(max(max(r.distance.values()) - 1, r.echo) for r in routes.values()) + 1
    width = len(agents) * goods
    if width * delays > LARGEST:
        return None
    companion = np.zeros((width * delays, width * delays))
    companion[width:, :-width] = np.eye(width * (delays - 1))
    for i, me in enumerate(agents):
        others, own = _coefficients(mechanism, -_hessian(utilities[me]), len(agents), xi, delta)
        rows = slice(i * goods, (i + 1) * goods)
        for r, other in enumerate(agents):
            delay = routes[me].echo if r == i else routes[me].distance[other] - 1
            start = delay * width + r * goods
            companion[rows, start : start + goods] = own if r == i else others
    return float(np.abs(np.linalg.eigvals(companion)).max())


def _hessian(utility: Utility) -> Matrix:
    """Hess v of a quadratic v: its gradient is affine."""
    origin = utility.gradient(np.zeros(utility.goods))
    return np.array([utility.gradient(column) - origin for column in np.eye(utility.goods)]).T


def _coefficients(
    mechanism: str, curvature: Matrix, n: int, xi: float, delta: float
) -> tuple[Matrix, Matrix]:
    """(C_i, E_i) for H_i = ``curvature``."""
    one = np.eye(len(curvature))
    if mechanism == "private-goods":
        slope = np.asarray(np.linalg.inv(curvature) / delta)
        return np.asarray(one / (n - 1) - slope), -slope
    stiff = delta * xi**2 * one + curvature / n**2
    inverse = np.asarray(np.linalg.inv(stiff))
    return inverse @ (delta / n * one - curvature / n**2), inverse * (delta * xi**2 - delta * (n - 1) / n)
