"""The whole life of an agent in an allocation run: survey, agree on parameters, play, stop together."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from node import learning, utilities
from node.consensus.counters import counters
from node.consensus.survey import survey
from node.mechanisms.contraction import inverse_curvature
from node.mechanisms.private_goods import PrivateGoods
from node.protocol import Heard, Say, together
from node.protocols.allocated import Allocated
from node.protocols.parameters import Certificate, agree
from node.protocols.play import Played, repeated_play, threshold
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part


Snapshot = tuple[Any, Any, Any]


def allocate(part: Part, resume: Snapshot | None = None) -> Generator[Say, Heard, Allocated]:
    """Find this agent's share of the capacities, its price and its tax.

    Everything that concerns others is learnt from messages: who there is, how far, the parameters.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
    Raises:
        ValueError: if the part names an unknown mechanism, utility, dynamics or stopping rule.
        NoGuarantee: if the parameters do not make the dynamics a contraction.
    """
    rules, stopping = part.contract, part.contract["stopping"]
    if rules["mechanism"] != "private-goods":
        raise ValueError(f"unknown mechanism {rules['mechanism']!r}; expected 'private-goods'")
    if stopping["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {stopping['rule']!r}; expected 'counters'")
    utility = utilities.build(part.utility)
    if resume is None:
        routes = yield from survey(part.agent)
        certificate = yield from agree(routes, rules, inverse_curvature(utility.curvature))
        inner = None
    else:
        routes, certificate, inner = Routes.unpack(resume[0]), Certificate(*resume[1]), resume[2]
    before_play = (routes.pack(), astuple(certificate))

    n, capacities = len(routes.agents), rules["capacities"]
    contract = PrivateGoods(routes, part.hears, utility, capacities, certificate.xi, certificate.delta)
    # Some agent gets at least max |c| / N, so an error relative to it is at most that of the largest share.
    scale = stopping.get("scale") or max(abs(c) for c in capacities) / n
    rest = threshold(
        stopping["tolerance"], scale, certificate.bound, amplification=1.0 + certificate.weight_sum / (n - 1)
    )
    facts = {
        "N": float(n),
        "diameter": float(routes.diameter),
        "xi": certificate.xi,
        "delta": certificate.delta,
        "contraction_bound": certificate.bound,
        "threshold": rest,
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
        norm="maximum norm over all messages",
        guaranteed=True,
        play_rounds=played.rounds,
        residual=played.residual,
        satisfied=played.satisfied,
    )
