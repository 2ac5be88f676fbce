"""The whole life of an agent in an allocation run: survey, agree on parameters, play, stop together."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from node import learning, utilities
from node.consensus.counters import counters
from node.consensus.survey import survey
from node.errors import TooFew
from node.mechanisms.contraction import MAXIMUM_NORM
from node.mechanisms.private_goods import PrivateGoods
from node.mechanisms.public_goods import PublicGoods
from node.protocol import Heard, Say, together
from node.protocols.allocated import Allocated, goods_of, rows_of, scale_of
from node.protocols.parameters import Certificate, agree, condition_of
from node.protocols.play import Game, Played, Rest, repeated_play, threshold
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.part import Part
    from node.protocols.play import Answering
    from node.utilities import Utility

Snapshot = tuple[Any, Any, Any]

# Play without a guarantee: the factor a round that the threshold supposes in place of the bound.
SUPPOSED = 0.99


@dataclass(frozen=True, slots=True)
class Table:
    """What all agents find out and agree on before play."""

    routes: Routes
    certificate: Certificate

    def pack(self) -> tuple[Any, ...]:
        """As plain values; ``unpack`` is the inverse."""
        return (self.routes.pack(), astuple(self.certificate))

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Table:
        """Inverse of ``pack``."""
        return cls(Routes.unpack(values[0]), Certificate(*values[1]))

    def result(self, played: Played, stopped: int | None = None) -> Allocated:
        """What an agent knows at the end."""
        return Allocated(
            allocation=tuple(played.outcome.allocation.tolist()),
            price=tuple(played.outcome.price.tolist()),
            tax=played.outcome.tax,
            agents=len(self.routes.agents),
            diameter=self.routes.diameter,
            parameters={"xi": self.certificate.xi, "delta": self.certificate.delta},
            bound=self.certificate.bound,
            norm=self.certificate.norm,
            guaranteed=self.certificate.guaranteed,
            play_rounds=played.rounds,
            residual=played.residual,
            satisfied=played.satisfied,
            stopped=stopped,
            message=rows_of(played.message),
        )


def allocate(
    part: Part, resume: Snapshot | None = None, answering: Answering | None = None
) -> Generator[Say, Heard, Allocated]:
    """Find this agent's allocation, its price and its tax, of private goods or of a public good.

    Everything that concerns others is learnt from messages: who there is, how far, the parameters.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
        answering: how the agent answers under its contract; None: by best responses, as the rule says.
    Raises:
        ValueError, NoGuarantee: as ``prepare``.
    """
    rules = part.contract
    utility = utility_of(part)
    if resume is None:
        table = yield from prepare(part, utility)
        inner = None
    else:
        table, inner = Table.unpack(resume[:2]), resume[2]
    before_play = table.pack()
    game = game_of(part, utility, table)
    play = together(
        lambda resume: repeated_play(
            game.contract,
            learning.build(rules["learning"]),
            game.rest,
            rules["stopping"].get("max_rounds"),
            game.facts,
            resume,
            answer=None if answering is None else answering(game.contract),
        ),
        lambda resume: counters(table.routes.diameter, resume),
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
    return table.result(played)


def utility_of(part: Part) -> Utility:
    """This agent's utility, of as many goods as there are.

    Raises:
        ValueError: if it is of another number, or of an unknown family.
    """
    utility = utilities.build(part.utility)
    if utility.goods != goods_of(part.contract):
        raise ValueError(
            f"agent {part.agent}: utility of {utility.goods} goods, expected {goods_of(part.contract)}"
        )
    return utility


def prepare(part: Part, utility: Utility) -> Generator[Say, Heard, Table]:
    """Survey the network and agree on the parameters; all agents leave in the same round.

    Raises:
        ValueError: if the part names an unknown mechanism or stopping rule.
        NoGuarantee: if the parameters do not make the dynamics a contraction, and the rules do not say
            ``unguaranteed``.
    """
    rules = part.contract
    condition_of(rules["mechanism"])
    if rules["stopping"]["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {rules['stopping']['rule']!r}; expected 'counters'")
    routes = yield from survey(part.agent)
    if (n := len(routes.agents)) < 3:
        raise TooFew(f"{n} left in its part of the network; the contract needs at least 3 agents")
    certificate = yield from agree(routes, rules, utility)
    return Table(routes, certificate)


def game_of(part: Part, utility: Utility, table: Table) -> Game:
    """What this agent plays, once all have agreed."""
    rules, routes, certificate = part.contract, table.routes, table.certificate
    stopping, n = rules["stopping"], len(routes.agents)
    contract = _contract(rules, routes, part, utility, certificate)
    # How far from the equilibrium messages may be for the allocation to be as accurate as it should.
    amplification = condition_of(rules["mechanism"]).amplification(n, certificate.weight_sum)
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
    return Game(contract, rest, facts)


def _contract(
    rules: Mapping[str, Any], routes: Routes, part: Part, utility: Utility, certificate: Certificate
) -> PrivateGoods | PublicGoods:
    """This agent's side of the contract that the rules name."""
    parameters = (certificate.xi, certificate.delta)
    if rules["mechanism"] == "private-goods":
        return PrivateGoods(routes, part.hears, utility, rules["capacities"], *parameters)
    return PublicGoods(routes, part.hears, utility, rules["features"], *parameters)
