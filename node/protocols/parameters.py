"""Agreeing on (xi, delta) before play, and certifying that the dynamics they give contract.

Each agent contributes numbers computed from its own routes and its own curvature bounds; minima and maxima
over the network are found by flooding, so that all agents hold the same bits. What this reveals is said in
docs/privacy.md: in the first round of a flood everybody says its own number, so in the default mode the
agents that listen to it learn its own -1/v'', and all learn the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import maximum, minimum
from node.mechanisms import contraction
from node.mechanisms.contraction import NoGuarantee

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.protocol import Heard, Say
    from node.routes import Routes


@dataclass(frozen=True, slots=True)
class Certificate:
    """The parameters of the contract and the proof that best response contracts under them.

    Attributes:
        xi: damping.
        delta: price scale.
        bound: max(xi, max_i L_i) < 1: factor by which the distance to the Nash message shrinks at least,
            each round, in the maximum norm over the whole message profile.
        weight_sum: the largest S_i; an error e of the message moves an allocation by at most
            (1 + weight_sum / (N-1)) e.
    """

    xi: float
    delta: float
    bound: float
    weight_sum: float


def agree(
    routes: Routes, contract: Mapping[str, Any], own_range: tuple[float, float]
) -> Generator[Say, Heard, Certificate]:
    """Agree on (xi, delta) as ``contract["parameters"]`` says, and flood the contraction bound.

    Modes:
        tuned: delta from the largest -1/v'' of all agents (flooded), rows over each agent's own range.
        eta: delta and rows from the publicly known range (1/eta, eta) only.
        proof: the procedure in the proof of Theorem 5.4, which gives Table 1 of the thesis.
        explicit: ``contract["xi"]`` and ``contract["delta"]``.
    In every mode the network's xi is the one that minimises the bound, except in the last two.

    Args:
        routes: the survey's result.
        contract: the public rules; keys ``parameters``, ``eta`` and, for explicit, ``xi`` and ``delta``.
        own_range: (lowest, highest) of this agent's a = -1/v''.
    Raises:
        NoGuarantee: at every agent in the same round, if the bound is not below 1.
        ValueError: for an unknown mode, xi or delta out of range, or a curvature outside (1/eta, eta).
    """
    n, rounds, eta = len(routes.agents), routes.diameter, float(contract["eta"])
    if not (1.0 / eta < own_range[0] and own_range[1] < eta):
        raise ValueError(
            f"agent {routes.me}: -1/v'' in [{own_range[0]:.6g}, {own_range[1]:.6g}], "
            f"expected inside (1/eta, eta) = ({1 / eta:.6g}, {eta:.6g})"
        )
    span = (1.0 / eta, eta)
    match contract["parameters"]:
        case "tuned":
            span = own_range
            (highest,) = yield from maximum((own_range[1],), rounds)
            delta = contraction.tuned_delta(n, highest)
            (eps,) = yield from minimum((contraction.best_eps(routes, delta, *span),), rounds)
        case "eta":
            delta = contraction.tuned_delta(n, eta)
            (eps,) = yield from minimum((contraction.best_eps(routes, delta, *span),), rounds)
        case "proof":
            (halvings,) = yield from maximum((float(contraction.proof_halvings(routes, eta)),), rounds)
            eps = contraction.proof_eps(int(halvings))
            (ratio,) = yield from minimum((contraction.proof_ratio(routes, eps),), rounds)
            delta = contraction.proof_delta(n, ratio)
        case "explicit":
            xi, delta = float(contract["xi"]), float(contract["delta"])
            if not 0 < xi < 1 or not 0 < delta < float("inf"):
                raise ValueError(f"expected 0 < xi < 1 and 0 < delta < inf, got xi = {xi}, delta = {delta}")
            eps, span = 1.0 - xi, own_range
        case other:
            raise ValueError(
                f"unknown choice of parameters {other!r}; expected tuned, eta, proof or explicit"
            )
    row = contraction.row_bound(routes, eps, delta, *span)
    worst, weight = yield from maximum((row, contraction.weight_sum(routes, eps)), rounds)
    bound = max(1.0 - eps, worst)
    if not bound < 1.0:
        raise NoGuarantee(
            f"xi = {1.0 - eps!r}, delta = {delta!r}: the contraction bound is {bound:.9g}, expected below 1"
        )
    return Certificate(1.0 - eps, delta, bound, weight)
