"""The whole life of an agent under a summary contract: build a tree, take a place on it, play, stop together.

Nothing that an agent does or keeps grows with the number of agents: there is no survey.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node import learning
from node.consensus.counters import tree_counters
from node.consensus.tree import Gathered, convergecast
from node.mechanisms.contraction import NoGuarantee
from node.mechanisms.summary import Anchored, AnchoredPublic, Echoed, Place, contribution, terms
from node.mechanisms.summary.variants import CAP, most_capped
from node.protocol import Heard, Say, together
from node.protocols.allocate import Game, utility_of
from node.protocols.allocated import Allocated, scale_of
from node.protocols.play import Played, Rest, repeated_play
from node.protocols.roles import roles

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.mechanisms.summary import Contribution, Summary, Terms
    from node.part import Part
    from node.utilities import Utility

Snapshot = tuple[Any, Any, Any]

# See ``node.mechanisms.summary.weights``.
NORM = "maximum norm weighted along the tree"


@dataclass(frozen=True, slots=True)
class Branch:
    """What an agent finds out before play: its place on the tree, and what everybody agreed on.

    Attributes:
        tree: of the convergecast.
        place: whom it hears on the tree, and where to read what in their messages.
        terms: weights, price scale and certificate.
    """

    tree: Gathered
    place: Place
    terms: Terms

    def result(self, played: Played, stopped: int | None = None) -> Allocated:
        """What an agent knows at the end."""
        return Allocated(
            allocation=tuple(played.outcome.allocation.tolist()),
            price=tuple(played.outcome.price.tolist()),
            tax=played.outcome.tax,
            agents=self.tree.agents,
            diameter=self.tree.diameter,
            parameters=self.parameters,
            bound=self.bound,
            norm=NORM,
            guaranteed=self.guaranteed,
            play_rounds=played.rounds,
            residual=played.residual,
            satisfied=played.satisfied,
            stopped=stopped,
        )

    @property
    def guaranteed(self) -> bool:
        """Whether the certificate is below 1."""
        return self.terms.limit < 1.0

    @property
    def bound(self) -> float:
        """The factor a round in the weighted norm."""
        limit = self.terms.limit
        return limit ** (1.0 / self.tree.diameter) if self.guaranteed else limit

    @property
    def parameters(self) -> dict[str, float]:
        """What all agents agreed on, by name."""
        agreed = self.terms
        return {**_named("delta", agreed.delta), "largest_weight": agreed.largest, "L": agreed.limit}


def scalable(part: Part, resume: Snapshot | None = None) -> Generator[Say, Heard, Allocated]:
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
    Raises:
        ValueError, NoGuarantee: as ``take_place``.
    """
    rules, utility = part.contract, utility_of(part)
    if resume is None:
        branch, inner = (yield from take_place(part, utility)), None
    else:
        branch, inner = unpack_branch(part, utility, resume[:2]), resume[2]
    before_play, tree = pack_branch(branch), branch.tree
    game = game_on(part, utility, branch)
    play = together(
        lambda resume: repeated_play(
            game.contract,
            learning.build(rules["learning"]),
            game.rest,
            rules["stopping"].get("max_rounds"),
            game.facts,
            resume,
            measure=part.record_every > 0,
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
            return branch.result(stop.value)


def take_place(part: Part, utility: Utility) -> Generator[Say, Heard, Branch]:
    """Build the tree, take a place on it and agree on the terms; all agents leave in the same round.

    Raises:
        ValueError: if the part names an unknown mechanism, variant, utility, dynamics or stopping rule, or
            the graph has edges of one direction.
        NoGuarantee: at every agent in the same round, if the certificate is not below 1 and the rules do
            not say ``unguaranteed``.
    """
    rules = part.contract
    if rules["stopping"]["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {rules['stopping']['rule']!r}; expected 'counters'")
    if part.hears != part.heard_by:
        raise ValueError(f"agent {part.agent}: the summary mechanism needs links in both directions")
    own = _own(part, utility)
    tree = yield from convergecast(
        part.agent, own.sums, own.maxima, own.middles, most_capped(rules.get("cap", CAP))
    )
    place = yield from roles(part.agent, tree)
    agreed = terms(tree, own, rules, "features" in rules)
    if not agreed.limit < 1.0 and not rules.get("unguaranteed", False):
        raise NoGuarantee(
            f"variant {rules['variant']!r}, delta = {_numbers(agreed.delta)}: the certificate L is "
            f"{agreed.limit:.9g}, expected below 1"
        )
    return Branch(tree, place, agreed)


def pack_branch(branch: Branch) -> tuple[Any, Any]:
    """As plain values, without the terms, which follow from them and from what the agent knows."""
    return (branch.tree.pack(), branch.place.pack())


def unpack_branch(part: Part, utility: Utility, values: tuple[Any, ...]) -> Branch:
    """Inverse of ``pack_branch``."""
    tree, place = Gathered.unpack(values[0]), Place.unpack(values[1])
    return Branch(tree, place, terms(tree, _own(part, utility), part.contract, "features" in part.contract))


def game_on(part: Part, utility: Utility, branch: Branch) -> Game:
    """What this agent plays, once all have agreed."""
    rules, agreed, agents = part.contract, branch.terms, branch.tree.agents
    accuracy = rules["stopping"]["tolerance"] * scale_of(rules, agents)
    reach = accuracy / agreed.sensitivity
    rest = Rest(min(accuracy / agreed.amplification, reach / agreed.distance), reach)
    facts = {
        "N": float(agents),
        "diameter": float(branch.tree.diameter),
        **branch.parameters,
        "contraction_bound": branch.bound,
        "threshold": rest.threshold,
    }
    return Game(_contract(branch.place, utility, agreed, rules, agents), rest, facts)


def _own(part: Part, utility: Utility) -> Contribution:
    try:
        return contribution_of(utility, part.contract)
    except ValueError as error:
        raise ValueError(f"agent {part.agent}: {error}") from None


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
