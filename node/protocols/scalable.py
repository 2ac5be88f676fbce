"""The whole life of an agent under a summary contract: build a tree, take a place on it, play, stop together.

Nothing that an agent does or keeps grows with the number of agents: there is no survey.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from node import learning
from node.combinators import throughout
from node.consensus.counters import tree_counters
from node.consensus.tree import Gathered, convergecast
from node.errors import TooFew
from node.mechanisms.contraction import NoGuarantee
from node.mechanisms.summary import Anchored, AnchoredPublic, Echoed, Place, contribution, terms
from node.mechanisms.summary.variants import CAP, most_capped
from node.protocol import Heard, Protocol, Say, together
from node.protocols.allocate import utility_of
from node.protocols.allocated import Allocated, rows_of, scale_of
from node.protocols.free import Plan, free_run
from node.protocols.free_play import free_play
from node.protocols.play import Game, Played, Rest, repeated_play
from node.protocols.roles import roles

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.mechanisms.summary import Contribution, Summary, Terms
    from node.part import Part
    from node.protocols.play import Answering
    from node.utilities import Utility

Snapshot = tuple[Any, Any, Any]

# See ``node.mechanisms.summary.weights``.
NORM = "maximum norm weighted along the tree"


@dataclass(frozen=True, slots=True)
class Ground:
    """What an agent finds out before play.

    Attributes:
        tree: what the wave has gathered.
        place: the agent's place on it.
    """

    tree: Gathered
    place: Place

    def pack(self) -> tuple[Any, ...]:
        """As plain values; ``unpack`` is the inverse."""
        return (self.tree.pack(), self.place.pack())

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Ground:
        """Inverse of ``pack``."""
        return cls(Gathered.unpack(values[0]), Place.unpack(values[1]))

    def result(self, agreed: Terms, played: Played, stopped: int | None = None) -> Allocated:
        """What an agent knows at the end."""
        return Allocated(
            allocation=tuple(played.outcome.allocation.tolist()),
            price=tuple(played.outcome.price.tolist()),
            tax=played.outcome.tax,
            agents=self.tree.agents,
            diameter=self.tree.diameter,
            parameters=parameters_of(agreed),
            bound=agreed.bound(self.tree.diameter),
            norm=NORM,
            guaranteed=agreed.limit < 1.0,
            play_rounds=played.rounds,
            residual=played.residual,
            satisfied=played.satisfied,
            stopped=stopped,
            message=rows_of(played.message),
        )


def scalable(
    part: Part, resume: Snapshot | None = None, answering: Answering | None = None
) -> Generator[Say, Heard, Allocated]:
    """Find this agent's share of the capacities, or its view of the public features, its price and its tax.

    The phases, and how many rounds they take on a tree of height h and diameter D <= 2h:

    1. the wave (``convergecast``): the tree, N, D, sums and maxima of curvatures; at most 3 h + 1;
    2. ``roles``: who carries whose echo; 1;
    3. play, until all are at rest: D + 1 until the message is exact if all utilities are quadratic, and the
       contract anchored; one more to see it;
    4. stopping (``tree_counters``), beside play: 2 h after all are at rest.

    An agent is at rest if its residual in the norm of ``node.mechanisms.summary.weights`` is at most
    tolerance x scale / amplification (and small enough for dynamics that remember), or as small as rounding
    lets it be. When everybody is at rest in the same round the allocation is within tolerance x scale of
    the optimum, by the last argument there, and it stays so until all have stopped, because the norm of
    the residual never grows.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
        answering: how the agent answers under its contract; None: by best responses, as the rule says.
    Raises:
        ValueError, NoGuarantee: as ``prepare`` and ``agree``.
    """
    rules = part.contract
    utility = utility_of(part)
    if resume is None:
        ground = yield from prepare(part, utility)
        inner = None
    else:
        ground, inner = Ground.unpack(resume[:2]), resume[2]
    before_play, tree = ground.pack(), ground.tree
    agreed = agree(tree, utility, rules)
    game = game_of(ground, utility, agreed, rules, rest_of(agreed, rules, tree.agents))
    play = together(
        lambda resume: repeated_play(
            game.contract,
            learning.build(rules["learning"]),
            game.rest,
            rules["stopping"].get("max_rounds"),
            game.facts,
            resume,
            measure=part.record_every > 0,
            answer=None if answering is None else answering(game.contract),
        ),
        lambda resume: tree_counters(tree.parent, tree.children, tree.depth, resume),
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
            return ground.result(agreed, stop.value)


def scalable_freely(part: Part, resume: Any = None) -> Protocol:
    """The same with no barrier between the agents; see ``node.protocols.free_play`` for how it stops.

    The argument there, for a summary contract: the profile of all anchors has residuals of at most the
    threshold r in the norm at kappa = 1, in which best response does not expand. So it is within distance x r
    of the equilibrium, all messages within (distance + 1/2) r from then on, and allocations within
    sensitivity times that of the optimum. An echo is looked after by the agent whose it is, and repeats what
    was said a round before: two rounds more of rest make sure that all of it is within the anchors, too.

    Raises:
        ValueError: as ``scalable``, and for a learning dynamics that is not Cournot's.
        NoGuarantee: as ``scalable``.
    """
    rules = part.contract
    if rules["learning"] != "cournot":
        # Beliefs that are averages over ticks would depend on who ticks how fast.
        raise ValueError(f"learning dynamics {rules['learning']!r}: free mode plays 'cournot' only")
    utility = utility_of(part)

    def work(ground: Ground, state: Any) -> Protocol:
        agreed = agree(ground.tree, utility, rules)
        accuracy = rules["stopping"]["tolerance"] * scale_of(rules, ground.tree.agents)
        rest = Rest(accuracy / agreed.sensitivity / (agreed.distance + 0.5))
        game = game_of(ground, utility, agreed, rules, rest)
        return free_play(game, len(part.hears), rules["stopping"].get("max_rounds"), state)

    def rule(ground: Ground, state: Any) -> Protocol:
        tree = ground.tree
        return tree_counters(tree.parent, tree.children, tree.depth + 2, state)

    plan = Plan(
        set_up=partial(prepare, part, utility),
        rule=rule,
        fold=throughout,
        work=work,
        result=lambda ground, played, stopped, ticks: ground.result(
            agree(ground.tree, utility, rules), played, stopped
        ),
        pack=Ground.pack,
        unpack=Ground.unpack,
    )
    return free_run(plan, part, resume)


def prepare(part: Part, utility: Utility) -> Generator[Say, Heard, Ground]:
    """Build the tree, gather curvatures on it, and take a place; all agents leave in the same round.

    Raises:
        ValueError: if the part names an unknown choice of parameters or stopping rule, a curvature is out of
            range, or the graph has edges of one direction.
    """
    rules = part.contract
    if rules["stopping"]["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {rules['stopping']['rule']!r}; expected 'counters'")
    if part.hears != part.heard_by:
        raise ValueError(f"agent {part.agent}: the summary mechanism needs links in both directions")
    try:
        own = contribution_of(utility, rules)
    except ValueError as error:
        raise ValueError(f"agent {part.agent}: {error}") from None
    most = most_capped(rules.get("cap", CAP))
    tree = yield from convergecast(part.agent, own.sums, own.maxima, own.middles, most)
    least = 2 if rules["variant"] == "anchored" else 3
    if tree.agents < least:
        raise TooFew(
            f"{tree.agents} left in its part of the network; the contract needs at least {least} agents"
        )
    place = yield from roles(part.agent, tree)
    return Ground(tree, place)


def agree(tree: Gathered, utility: Utility, rules: Mapping[str, Any]) -> Terms:
    """Weights, price scale and certificate.

    Raises:
        NoGuarantee: at every agent alike, if the certificate is not below 1 and the rules do not say
            ``unguaranteed``.
        ValueError: as ``terms``.
    """
    agreed = terms(tree, contribution_of(utility, rules), rules, "features" in rules)
    if not agreed.limit < 1.0 and not rules.get("unguaranteed", False):
        raise NoGuarantee(
            f"variant {rules['variant']!r}, delta = {_numbers(agreed.delta)}: the certificate L is "
            f"{agreed.limit:.9g}, expected below 1"
        )
    return agreed


def rest_of(agreed: Terms, rules: Mapping[str, Any], agents: int) -> Rest:
    """When an agent counts as at rest in rounds; ``scalable`` says why."""
    accuracy = rules["stopping"]["tolerance"] * scale_of(rules, agents)
    reach = accuracy / agreed.sensitivity
    return Rest(min(accuracy / agreed.amplification, reach / agreed.distance), reach)


def game_of(ground: Ground, utility: Utility, agreed: Terms, rules: Mapping[str, Any], rest: Rest) -> Game:
    """What this agent plays, once all have agreed."""
    tree = ground.tree
    facts = {
        "N": float(tree.agents),
        "diameter": float(tree.diameter),
        **parameters_of(agreed),
        "contraction_bound": agreed.bound(tree.diameter),
        "threshold": rest.threshold,
    }
    return Game(_contract(ground.place, utility, agreed, rules, tree.agents), rest, facts)


def parameters_of(agreed: Terms) -> dict[str, float]:
    """The numbers of the contract that are equal at all agents, by name."""
    return {**_named("delta", agreed.delta), "largest_weight": agreed.largest, "L": agreed.limit}


def contribution_of(utility: Utility, rules: Mapping[str, Any]) -> Contribution:
    """The range of k that an agent contributes: of -Hess v for public goods, of its inverse for private ones.

    Raises:
        ValueError: for a curvature outside (1/eta, eta), or an unknown choice of parameters.
    """
    eta = float(rules["eta"])
    lowest, highest = utility.curvature
    if not (1.0 / eta < lowest.min() and highest.max() < eta):
        raise ValueError(
            f"-v'' in [{lowest.min():.6g}, {highest.max():.6g}], "
            f"expected inside (1/eta, eta) = ({1 / eta:.6g}, {eta:.6g})"
        )
    match rules["parameters"]:
        case "tuned" | "explicit":
            low, high = (lowest, highest) if "features" in rules else (1.0 / highest, 1.0 / lowest)
        case "eta":
            low, high = np.full(utility.goods, 1.0 / eta), np.full(utility.goods, eta)
        case other:
            raise ValueError(f"unknown choice of parameters {other!r}; expected tuned, eta or explicit")
    return contribution(low, high, utility.separable)


def _contract(
    place: Place, utility: Utility, agreed: Terms, rules: Mapping[str, Any], agents: int
) -> Summary:
    if "features" in rules:
        return AnchoredPublic(place, utility, agreed, np.zeros(rules["features"]))
    share = np.asarray(rules["capacities"], dtype=np.float64) / agents
    kind = Anchored if rules["variant"] == "anchored" else Echoed
    return kind(place, utility, agreed, share)


def _named(name: str, values: np.ndarray) -> dict[str, float]:
    """One number under its name, several under ``name.0``, ``name.1``, ..."""
    if values.size == 1:
        return {name: float(values[0])}
    return {f"{name}.{k}": v for k, v in enumerate(values.tolist())}


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{v:.6g}" for v in values)
