"""The whole life of an agent in an allocation run: survey, agree on parameters, play, stop together."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from node import learning, utilities
from node.consensus.counters import counters
from node.consensus.survey import survey
from node.mechanisms.contraction import MAXIMUM_NORM
from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.protocol import Heard, Say, together
from node.protocols.allocated import Allocated, goods_of, scale_of
from node.protocols.parameters import Certificate, agree, condition_of
from node.protocols.play import Played, Rest, repeated_play, threshold
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.part import Part
    from node.utilities import Utility

Snapshot = tuple[Any, Any, Any]

# Play without a guarantee: the factor a round that the threshold supposes in place of the bound.
SUPPOSED = 0.99


def allocate(part: Part, resume: Snapshot | None = None) -> Generator[Say, Heard, Allocated]:
    """Find this agent's allocation, its price and its tax, of private goods or of a public good.

    Everything that concerns others is learnt from messages: who there is, how far, the parameters.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
    Raises:
        ValueError: if the part names an unknown mechanism, utility, dynamics or stopping rule, or a
        utility of
            another number of goods than there are.
        NoGuarantee: if the parameters do not make the dynamics a contraction, and the rules do not say
            ``unguaranteed``.
    """
    rules, stopping = part.contract, part.contract["stopping"]
    condition = condition_of(rules["mechanism"])
    if stopping["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {stopping['rule']!r}; expected 'counters'")
    utility = utilities.build(part.utility)
    if utility.goods != goods_of(rules):
        raise ValueError(f"agent {part.agent}: utility of {utility.goods} goods, expected {goods_of(rules)}")
    if resume is None:
        routes = yield from survey(part.agent)
        certificate = yield from agree(routes, rules, utility)
        inner = None
    else:
        routes, certificate, inner = Routes.unpack(resume[0]), Certificate(*resume[1]), resume[2]
    before_play = (routes.pack(), astuple(certificate))

    n = len(routes.agents)
    contract = _contract(rules, routes, part, utility, certificate)
    # How far from the equilibrium messages may be for the allocation to be as accurate as it should.
    amplification = condition.amplification(n, certificate.weight_sum)
    factor = certificate.bound if certificate.guaranteed else SUPPOSED
    # In the block norm a row of K numbers counts with its Euclidean length; agents look at single numbers.
    lengths = 1.0 if certificate.norm == MAXIMUM_NORM else math.sqrt(utility.goods)
    accuracy = (stopping["tolerance"], scale_of(rules, n))
    rest = Rest(
        threshold(*accuracy, factor, amplification) / lengths,
        threshold(*accuracy, 0.0, amplification) / lengths,
    )
    facts = {
        "N": float(n),
        "diameter": float(routes.diameter),
        "xi": certificate.xi,
        "delta": certificate.delta,
        "contraction_bound": certificate.bound,
        "threshold": rest.threshold,
    }
    play = together(
        lambda resume: repeated_play(
            contract, learning.build(rules["learning"]), rest, stopping.get("max_rounds"), facts, resume
        ),
        lambda resume: counters(routes.diameter, resume),
        inner,
    )
    # Not `yield from`: a snapshot counts only if the outermost generator yields it, its own variables in it.
    say = next(play)
    while True:
        if say.snapshot is not None:
            say.snapshot = (*before_play, say.snapshot)
        heard = yield say
        try:
            say = play.send(heard)
        except StopIteration as stop:
            played: Played = stop.value
            break
    return Allocated(
        allocation=tuple(played.outcome.allocation.tolist()),
        price=tuple(played.outcome.price.tolist()),
        tax=played.outcome.tax,
        agents=n,
        diameter=routes.diameter,
        parameters={"xi": certificate.xi, "delta": certificate.delta},
        bound=certificate.bound,
        norm=certificate.norm,
        guaranteed=certificate.guaranteed,
        play_rounds=played.rounds,
        residual=played.residual,
        satisfied=played.satisfied,
    )


def _contract(
    rules: Mapping[str, Any], routes: Routes, part: Part, utility: Utility, certificate: Certificate
) -> PrivateGoods | PublicGoods:
    """This agent's side of the contract that the rules name."""
    parameters = (certificate.xi, certificate.delta)
    if rules["mechanism"] == "private-goods":
        return PrivateGoods(routes, part.hears, utility, rules["capacities"], *parameters)
    return PublicGoods(routes, part.hears, utility, rules["features"], *parameters)
