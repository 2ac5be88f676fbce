"""The whole life of an agent in an allocation run: survey, agree on parameters, play, stop together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node import learning, utilities
from node.consensus.counters import counters
from node.consensus.survey import survey
from node.mechanisms.contraction import inverse_curvature
from node.mechanisms.private_goods import PrivateGoods
from node.protocol import Heard, Say, together
from node.protocols.parameters import agree
from node.protocols.play import Played, repeated_play, threshold

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part


@dataclass(frozen=True, slots=True)
class Allocated:
    """What an agent knows at the end of its run.

    Attributes:
        allocation: x_i, K numbers.
        price: p_i, K numbers.
        tax: t_i.
        agents: N, as the survey found it.
        diameter: D, likewise.
        xi, delta, bound: the agreed parameters and the contraction bound.
        play_rounds: rounds of play; the survey's and the agreement's come on top.
        residual: of the own last message.
        satisfied: whether it was within the threshold when all stopped.
    """

    allocation: tuple[float, ...]
    price: tuple[float, ...]
    tax: float
    agents: int
    diameter: int
    xi: float
    delta: float
    bound: float
    play_rounds: int
    residual: float
    satisfied: bool


def allocate(part: Part) -> Generator[Say, Heard, Allocated]:
    """Find this agent's share of the capacities, its price and its tax.

    Everything that concerns others is learnt from messages: who there is, how far, the parameters.

    Raises:
        ValueError: if the part names an unknown mechanism, utility or dynamics.
        NoGuarantee: if the parameters do not make the dynamics a contraction.
    """
    rules = part.contract
    if rules["mechanism"] != "private-goods":
        raise ValueError(f"unknown mechanism {rules['mechanism']!r}; expected 'private-goods'")
    if rules["stopping"]["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {rules['stopping']['rule']!r}; expected 'counters'")
    utility = utilities.build(part.utility)
    routes = yield from survey(part.agent)
    certificate = yield from agree(routes, rules, inverse_curvature(utility.curvature))

    n, capacities, stopping = len(routes.agents), rules["capacities"], rules["stopping"]
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
    played: Played = yield from together(
        lambda resume: repeated_play(
            contract, learning.build(rules["learning"]), rest, stopping.get("max_rounds"), facts, resume
        ),
        lambda resume: counters(routes.diameter, resume),
    )
    return Allocated(
        allocation=tuple(played.outcome.allocation.tolist()),
        price=tuple(played.outcome.price.tolist()),
        tax=played.outcome.tax,
        agents=n,
        diameter=routes.diameter,
        xi=certificate.xi,
        delta=certificate.delta,
        bound=certificate.bound,
        play_rounds=played.rounds,
        residual=played.residual,
        satisfied=played.satisfied,
    )
