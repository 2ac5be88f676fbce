"""The whole life of an agent under a summary contract: build a tree, take a place on it, play, stop together.

Nothing that an agent does or keeps grows with the number of agents: there is no survey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from node import learning, utilities
from node.consensus.counters import tree_counters
from node.consensus.tree import Gathered, convergecast
from node.mechanisms.contraction import NoGuarantee
from node.mechanisms.summary import Anchored, AnchoredPublic, Echoed, Place, contribution, terms
from node.mechanisms.summary.variants import CAP, most_capped
from node.protocol import Heard, Say, together
from node.protocols.allocated import Allocated, goods_of, scale_of
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
        ValueError: if the part names an unknown mechanism, variant, utility, dynamics or stopping rule, or
            the graph has edges of one direction.
        NoGuarantee: at every agent in the same round, if the certificate is not below 1 and the rules do
            not say ``unguaranteed``.
    """
    rules, stopping = part.contract, part.contract["stopping"]
    if stopping["rule"] != "counters":
        raise ValueError(f"unknown stopping rule {stopping['rule']!r}; expected 'counters'")
    if part.hears != part.heard_by:
        raise ValueError(f"agent {part.agent}: the summary mechanism needs links in both directions")
    public = "features" in rules
    utility = utilities.build(part.utility)
    if utility.goods != goods_of(rules):
        raise ValueError(f"agent {part.agent}: utility of {utility.goods} goods, expected {goods_of(rules)}")
    try:
        own = contribution_of(utility, rules)
    except ValueError as error:
        raise ValueError(f"agent {part.agent}: {error}") from None
    if resume is None:
        tree = yield from convergecast(
            part.agent, own.sums, own.maxima, own.middles, most_capped(rules.get("cap", CAP))
        )
        place = yield from roles(part.agent, tree)
        inner = None
    else:
        tree, place, inner = Gathered.unpack(resume[0]), Place.unpack(resume[1]), resume[2]
    before_play = (tree.pack(), place.pack())

    agreed = terms(tree, own, rules, public)
    guaranteed = agreed.limit < 1.0
    if not guaranteed and not rules.get("unguaranteed", False):
        raise NoGuarantee(
            f"variant {rules['variant']!r}, delta = {_numbers(agreed.delta)}: the certificate L is "
            f"{agreed.limit:.9g}, expected below 1"
        )
    bound = agreed.limit ** (1.0 / tree.diameter) if guaranteed else agreed.limit
    accuracy = stopping["tolerance"] * scale_of(rules, tree.agents)
    reach = accuracy / agreed.sensitivity
    rest = Rest(min(accuracy / agreed.amplification, reach / agreed.distance), reach)
    parameters = {**_named("delta", agreed.delta), "largest_weight": agreed.largest, "L": agreed.limit}
    facts = {
        "N": float(tree.agents),
        "diameter": float(tree.diameter),
        **parameters,
        "contraction_bound": bound,
        "threshold": rest.threshold,
    }
    contract = _contract(place, utility, agreed, rules, tree.agents)
    play = together(
        lambda resume: repeated_play(
            contract,
            learning.build(rules["learning"]),
            rest,
            stopping.get("max_rounds"),
            facts,
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
            played: Played = stop.value
            break
    return Allocated(
        allocation=tuple(played.outcome.allocation.tolist()),
        price=tuple(played.outcome.price.tolist()),
        tax=played.outcome.tax,
        agents=tree.agents,
        diameter=tree.diameter,
        parameters=parameters,
        bound=bound,
        norm=NORM,
        guaranteed=guaranteed,
        play_rounds=played.rounds,
        residual=played.residual,
        satisfied=played.satisfied,
    )


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
