"""Agreeing on (xi, delta) before play, and certifying that the dynamics they give contract.

Each agent contributes numbers computed from its own routes and its own curvature bounds; minima and maxima
over the network are found by flooding, so that all agents hold the same bits. What this reveals is said in
docs/privacy.md: in the first round of a flood everybody says its own number, so in the default mode the
agents that listen to it learn its own curvature, and all learn the largest.

``choose`` is the choice itself, in terms of network-wide minima and maxima; ``agree`` finds these by
messages. Whoever knows all agents, such as the runner, finds out beforehand what they will agree on:
``foreseen``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import maximum, minimum
from node.mechanisms import contraction, public_contraction
from node.mechanisms.contraction import BLOCK_NORM, MAXIMUM_NORM, NoGuarantee

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from node.consensus.extremum import Numbers
    from node.mechanisms.contraction import Condition
    from node.protocol import Heard, Say
    from node.routes import Routes
    from node.utilities import Utility

# What xi^-D must stay below, so that the decoding of a proxy does not overflow; its square enters taxes.
_LARGEST_DECODING = 1e100


@dataclass(frozen=True, slots=True)
class Certificate:
    """The parameters of the contract and the proof that best response contracts under them.

    Attributes:
        xi: damping.
        delta: price scale.
        bound: max(xi, max_i L_i): factor by which the distance to the Nash message shrinks at least, each
            round, in ``norm``, over the whole message profile.
        weight_sum: the largest S_i, from which ``Condition.amplification`` tells how far an error of the
            messages moves an allocation.
        norm: the norm in which the bound holds, in words.
        guaranteed: whether the bound is below 1; if not, play may diverge.
    """

    xi: float
    delta: float
    bound: float
    weight_sum: float
    norm: str = MAXIMUM_NORM
    guaranteed: bool = True


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to the whole network: the smallest or the largest of every agent's numbers, one by one."""

    smallest: bool
    values: Numbers


def condition_of(mechanism: str) -> Condition:
    """The contraction condition of a contract.

    Raises:
        ValueError: for an unknown mechanism.
    """
    match mechanism:
        case "private-goods":
            return contraction
        case "public-goods":
            return public_contraction
        case other:
            raise ValueError(f"unknown mechanism {other!r}; expected 'private-goods' or 'public-goods'")


def agree(routes: Routes, rules: Mapping[str, Any], utility: Utility) -> Generator[Say, Heard, Certificate]:
    """Find the parameters of the contract together with all other agents.

    All agents enter and leave in the same round with the same certificate, or raise the same NoGuarantee in
    the same round. See ``choose`` for arguments and errors.
    """
    choice = choose(routes, rules, utility)
    ask = next(choice)
    while True:
        flood = minimum if ask.smallest else maximum
        answer = yield from flood(ask.values, routes.diameter)
        try:
            ask = choice.send(answer)
        except StopIteration as stop:
            certificate: Certificate = stop.value
            return certificate


def foreseen(everybody: Iterable[tuple[Routes, Utility]], rules: Mapping[str, Any]) -> Certificate:
    """What all agents will agree on, found by one who knows them all; bit for bit what ``agree`` returns.

    Raises:
        NoGuarantee, ValueError: as the agents would.
    """
    choices = [choose(routes, rules, utility) for routes, utility in everybody]
    asks = [next(choice) for choice in choices]
    while True:
        pick = min if asks[0].smallest else max
        # Adding 0.0 makes -0.0 a 0.0, as the flood does.
        answer = tuple(pick(v) + 0.0 for v in zip(*(ask.values for ask in asks), strict=True))
        following = []
        for choice in choices:
            try:
                following.append(choice.send(answer))
            except StopIteration as stop:
                certificate: Certificate = stop.value
        if not following:
            return certificate
        asks = following


def choose(
    routes: Routes, rules: Mapping[str, Any], utility: Utility
) -> Generator[Ask, Numbers, Certificate]:
    """Choose the parameters in one of four ways.

    "tuned": delta from the largest curvature in the network. Fastest; reveals that number.
    "eta": the same formula with the public bound eta in its place.
    "proof": the procedure of the convergence proof (Theorems 5.4, 5.5). Conservative.
    "explicit": given as ``rules["xi"]`` and ``rules["delta"]``; only checked.
    xi is the one that minimises the bound, except in the last two.

    Where no xi gives a bound below 1 and ``rules["unguaranteed"]`` is set, xi is the best one of the same
    agents without interaction between goods, and the certificate says that it is none.

    Args:
        routes: the survey's result.
        rules: the public rules; keys ``mechanism``, ``parameters``, ``eta``, for explicit ``xi`` and
        ``delta``,
            and, if it is true, ``unguaranteed``.
        utility: this agent's valuation; its curvature bounds and whether it is separable are what counts.
    Raises:
        NoGuarantee: at every agent after the same question, if the bound is not below 1 and has to be.
        ValueError: for an unknown mode, xi or delta out of range, or a curvature outside (1/eta, eta).
    """
    condition = condition_of(rules["mechanism"])
    n, eta = len(routes.agents), float(rules["eta"])
    own = condition.curvature_range(utility.curvature)
    if not (1.0 / eta < own[0] and own[1] < eta):
        raise ValueError(
            f"agent {routes.me}: {condition.QUANTITY} in [{own[0]:.6g}, {own[1]:.6g}], "
            f"expected inside (1/eta, eta) = ({1 / eta:.6g}, {eta:.6g})"
        )
    block = False
    if utility.goods > 1:
        (all_separable,) = yield Ask(True, (float(utility.separable),))
        block = not all_separable
    span = (1.0 / eta, eta)
    match rules["parameters"]:
        case "tuned":
            span = own
            (highest,) = yield Ask(False, (own[1],))
            delta = condition.tuned_delta(n, highest)
            eps = yield from _best_eps(condition, routes, delta, span, block)
        case "eta":
            delta = condition.tuned_delta(n, eta)
            eps = yield from _best_eps(condition, routes, delta, span, block)
        case "proof":
            (halvings,) = yield Ask(False, (float(condition.proof_halvings(routes, eta)),))
            eps = condition.proof_eps(n, int(halvings))
            (ratio,) = yield Ask(True, (condition.proof_ratio(routes, eps),))
            delta = condition.proof_delta(n, ratio)
        case "explicit":
            xi, delta = float(rules["xi"]), float(rules["delta"])
            if not 0 < xi < 1 or not 0 < delta < math.inf:
                raise ValueError(f"expected 0 < xi < 1 and 0 < delta < inf, got xi = {xi}, delta = {delta}")
            if routes.diameter * -math.log(xi) > math.log(_LARGEST_DECODING) or 1.0 - xi == 1.0:
                raise ValueError(
                    f"xi = {xi}: proxies of agents {routes.diameter} hops away are multiplied by "
                    f"xi^-{routes.diameter}, more than {_LARGEST_DECODING:g}; expected a xi nearer to 1"
                )
            eps, span = 1.0 - xi, own
        case other:
            raise ValueError(
                f"unknown choice of parameters {other!r}; expected tuned, eta, proof or explicit"
            )
    row = condition.row_bound(routes, eps, delta, *span, block)
    worst, weight = yield Ask(False, (row, contraction.weight_sum(routes, eps)))
    bound = max(1.0 - eps, worst)
    norm = BLOCK_NORM if block else MAXIMUM_NORM
    xi = float(rules["xi"]) if rules["parameters"] == "explicit" else 1.0 - eps
    if not bound < 1.0 and not rules.get("unguaranteed"):
        raise NoGuarantee(
            f"xi = {xi!r}, delta = {delta!r}: the contraction bound is {bound:.9g} in the {norm}, expected "
            "below 1; agents play without a guarantee only with mechanism.unguaranteed (--unguaranteed)"
        )
    return Certificate(xi, delta, bound, weight, norm, bound < 1.0)


def _best_eps(
    condition: Condition, routes: Routes, delta: float, span: tuple[float, float], block: bool
) -> Generator[Ask, Numbers, float]:
    """The smallest of the agents' best eps; where some agent has none in the block norm, the best eps there
    would be in the maximum norm if goods did not interact: play without a guarantee needs some xi, too."""
    best = condition.best_eps(routes, delta, *span, block)
    if not block:
        (eps,) = yield Ask(True, (best,))
        return eps
    found, otherwise = yield Ask(True, (best, condition.best_eps(routes, delta, *span)))
    return found or otherwise
