"""A consensus primitive as a mechanism of its own: survey, run it, stop together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.combinators import in_rounds, newest, throughout
from node.consensus.averages import Averaged
from node.consensus.counters import counters
from node.consensus.extremum import maximum, minimum
from node.consensus.flooding import exact_sum, set_flooding
from node.consensus.flow import flow_updating
from node.consensus.metropolis import metropolis
from node.consensus.ratio import ratio
from node.consensus.reach import confirm_diameter
from node.consensus.survey import survey
from node.consensus.tree import tree_sum
from node.consensus.trimmed import degree_condition, trimmed
from node.consensus.windows import windows
from node.protocol import Heard, Protocol, Say, together

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.part import Part

EXACT = ("minimum", "maximum", "set", "tree", "diameter")
AVERAGES = ("ratio", "metropolis", "flow", "trimmed")
# What may run in free mode; the others would be wrong there, or have no side to stop them.
FREE = ("ratio", "flow", "set")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an agent knows at the end of a consensus run.

    Attributes:
        primitive: which one.
        value: the result: the extremum or the exact sum of every component (set, tree), the diameter, or
            the agent's own estimate of the mean; empty if it never had one.
        agents, diameter: N and D as found, or a D that the rules give (in free mode an N, too).
        rounds: of the primitive, the same at every agent in rounds mode; the survey's come on top.
        exact: whether all agents hold the same bits.
        satisfied: whether it is exact, or the stopping rule ended it, or trimmed averaging, which cannot ask,
            has played its rounds; False if another primitive was ended by ``max_rounds``.
        root, parent, height: the tree and this agent's place in it; None elsewhere, and parent at the root.
    """

    primitive: str
    value: tuple[float, ...]
    agents: int
    diameter: int
    rounds: int
    exact: bool
    satisfied: bool
    root: str | None = None
    parent: str | None = None
    height: int | None = None


def consensus(part: Part) -> Generator[Say, Heard, Agreed]:
    """Learn what the run's primitive gives from everybody's private values.

    The contract: ``primitive`` (one of ``EXACT`` and ``AVERAGES``); ``stopping`` for averages: ``rule``
    (``windows`` or ``counters``), ``tolerance``: the spread of the estimates that ends the run (absolute),
    ``max_rounds``; ``rho`` for Metropolis; ``f`` for trimmed, which always plays ``max_rounds``; ``mode``
    (``rounds`` or ``free``), ``diameter`` and ``agents``: needed in free mode, where there is no survey. In
    rounds a ``diameter`` takes the place of the survey and is checked.

    Raises:
        ValueError: for an unknown primitive, rule or mode, or a rule that the primitive needs and lacks.
        DiameterTooSmall: if the given one is.
        NotRobust: at every agent in the same round, if trimmed averaging finds too few neighbours somewhere.
    """
    rules = part.contract
    primitive, free = rules["primitive"], rules.get("mode", "rounds") == "free"
    if primitive not in EXACT + AVERAGES:
        raise ValueError(f"unknown primitive {primitive!r}; expected one of {', '.join(EXACT + AVERAGES)}")
    if free and primitive not in FREE:
        raise ValueError(f"{primitive} is right in rounds mode only; free mode has {', '.join(FREE)}")
    if free and not ("diameter" in rules and "agents" in rules):
        raise ValueError("free mode has no survey: the rules must give diameter and agents")
    values = tuple(float(v) for v in part.utility["value"])
    if part.utility["family"] != "value":
        raise ValueError(f"expected a utility of family 'value', got {part.utility['family']!r}")
    if primitive in AVERAGES and len(values) != 1:
        raise ValueError(f"{primitive} averages one number an agent, got {len(values)}")

    if "diameter" in rules:
        agents, diameter = int(rules.get("agents", 0)), int(rules["diameter"])
        if not free:
            agents = yield from confirm_diameter(part.agent, diameter)
    else:
        routes = yield from survey(part.agent)
        agents, diameter = len(routes.agents), routes.diameter
    match primitive:
        case "diameter":
            return Agreed(primitive, (float(diameter),), agents, diameter, 0, True, True)
        case "minimum" | "maximum":
            flood = minimum if primitive == "minimum" else maximum
            found = yield from flood(values, diameter)
            return Agreed(primitive, found, agents, diameter, diameter, True, True)
        case "tree":
            summed = yield from tree_sum(part.agent, values)
            return Agreed(
                primitive,
                summed.total,
                agents,
                diameter,
                summed.rounds,
                True,
                True,
                summed.root,
                summed.parent,
                summed.height,
            )
        case "set":
            everything = yield from _set(part, values, agents, diameter, free)
            return Agreed(primitive, exact_sum(everything), agents, diameter, diameter, True, True)
    facts = {"N": float(agents), "diameter": float(diameter)}
    averaged: Averaged = yield from _averaged(part, values[0], agents, diameter, facts, free)
    value = () if averaged.estimate is None else (averaged.estimate,)
    return Agreed(primitive, value, agents, diameter, averaged.rounds, False, averaged.agreed)


def _set(part: Part, values: tuple[float, ...], agents: int, diameter: int, free: bool) -> Protocol:
    if not free:
        return set_flooding(part.agent, values, part.hears, diameter)
    return together(
        lambda resume: set_flooding(part.agent, values, part.hears, size=agents, resume=resume),
        lambda resume: in_rounds(lambda r: counters(diameter, r), part.hears, throughout, resume),
    )


def _averaged(
    part: Part, x: float, agents: int, diameter: int, facts: dict[str, float], free: bool
) -> Protocol:
    """The averaging protocol beside its stopping rule."""
    rules, hears = part.contract, part.hears
    stopping = rules.get("stopping", {})
    rule, limit = stopping.get("rule", "windows"), stopping.get("max_rounds")
    if rules["primitive"] == "trimmed":
        return _trimmed(part, x, diameter, limit, facts)
    if rule not in ("windows", "counters"):
        raise ValueError(f"unknown stopping rule {rule!r}; expected windows or counters")
    tolerance = float(stopping["tolerance"])
    # A residual of tol at every agent bounds the spread by D tol only (section 4).
    local = tolerance / max(1, diameter) if rule == "counters" else None

    def main(resume: Any) -> Protocol:
        match rules["primitive"]:
            case "ratio":
                return ratio(x, hears, 1.0, local, limit, facts, resume)
            case "metropolis":
                return metropolis(x, hears, rules.get("rho"), local, limit, facts, resume)
            case _:
                return flow_updating(x, hears, local, limit, facts, resume)

    def side(resume: Any) -> Protocol:
        return windows(diameter, tolerance, resume) if rule == "windows" else counters(diameter, resume)

    if free:
        fold = newest if rule == "windows" else throughout
        return together(main, lambda resume: in_rounds(side, hears, fold, resume))
    return together(main, side)


def _trimmed(part: Part, x: float, diameter: int, limit: int | None, facts: dict[str, float]) -> Protocol:
    if limit is None:
        # A liar can hold up or hurry any rule that asks the agents.
        raise ValueError("trimmed averaging leaves after stopping.max_rounds, which is missing")
    liars = int(part.contract["f"])
    yield from degree_condition(part.agent, part.hears, liars, diameter)
    averaged: Averaged = yield from trimmed(x, liars, None, limit, facts)
    return Averaged(averaged.estimate, averaged.rounds, True)
