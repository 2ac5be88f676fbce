"""A consensus primitive as a mechanism of its own: survey, run it, stop together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Callable, Generator, Mapping

    from node.part import Part

EXACT = ("minimum", "maximum", "set", "tree", "diameter")
AVERAGES = ("ratio", "metropolis", "flow", "trimmed")
# What may run in free mode; the others would be wrong there, or gain nothing.
FREE = ("ratio", "flow", "set")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an agent knows at the end of a consensus run.

    Attributes:
        primitive: which one.
        value: the result: the extremum or the exact sum of every component (set, tree), the diameter, or
            the agent's own estimate of the mean; empty if it never had one.
        agents, diameter: N and D as found, or a D that the rules give.
        rounds: of the primitive, the same at every agent; in free mode its ticks, which differ. The survey's
            come on top, but for the diameter, which is what the survey finds.
        exact: whether all agents hold the same bits.
        satisfied: whether it is exact, or the stopping rule ended it, or trimmed averaging, which cannot ask,
            has played its rounds; False if another primitive was ended by ``max_rounds``.
        root, parent, height: the tree and this agent's place in it; None elsewhere, and parent at the root.
        stopped: free mode: the round of the stopping rule, counted with the survey, in which all stopped.
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
    stopped: int | None = None


def consensus(part: Part) -> Generator[Say, Heard, Agreed]:
    """Learn what the run's primitive gives from everybody's private values, in rounds.

    The contract: ``primitive`` (one of ``EXACT`` and ``AVERAGES``); ``stopping`` for averages: ``rule``
    (``windows`` or ``counters``), ``tolerance``: the spread of the estimates that ends the run (absolute),
    ``max_rounds``; ``rho`` for Metropolis; ``f`` for trimmed, which always plays ``max_rounds``;
    a ``diameter`` takes the place of the survey and is checked.

    Raises:
        ValueError: for an unknown primitive or rule, or a rule that the primitive needs and lacks.
        DiameterTooSmall: if the given one is.
        NotRobust: at every agent in the same round, if trimmed averaging finds too few neighbours somewhere.
    """
    rules = part.contract
    primitive, values = primitive_of(part)
    if "diameter" in rules:
        diameter = int(rules["diameter"])
        agents = yield from confirm_diameter(part.agent, diameter)
    else:
        surveying: Protocol = survey(part.agent)
        if primitive == "diameter":
            surveying = recording(surveying, lambda say: {"estimate": float(say.body[1])})
        routes = yield from surveying
        agents, diameter = len(routes.agents), routes.diameter
    facts = facts_of(agents, diameter)
    match primitive:
        case "diameter":
            # The survey is all there is to it.
            return Agreed(primitive, (float(diameter),), agents, diameter, 2 * diameter + 2, True, True)
        case "minimum" | "maximum":
            flood = minimum if primitive == "minimum" else maximum
            found = yield from recording(flood(values, diameter), extremum_so_far, facts)
            return Agreed(primitive, found, agents, diameter, diameter, True, True)
        case "tree":
            summed = yield from recording(tree_sum(part.agent, values), _summed_so_far, facts)
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
            flooding = set_flooding(part.agent, values, part.hears, diameter)
            everything = yield from recording(flooding, known_so_far, facts)
            return Agreed(primitive, exact_sum(everything), agents, diameter, diameter, True, True)
        case "trimmed":
            averaged: Averaged = yield from _trimmed(part, values[0], diameter, facts)
        case _:
            averaged = yield from together(
                lambda resume: average(part, agents, diameter, resume),
                lambda resume: stopping_rule(part, diameter, resume),
            )
    return agreed(primitive, averaged, agents, diameter)


def recording(
    protocol: Protocol, measure: Callable[[Say], dict[str, float]], facts: Mapping[str, float] | None = None
) -> Protocol:
    """An exact primitive that also records what this agent knows; what is said and returned is the same.

    Args:
        protocol: the primitive; it records nothing itself.
        measure: what of a Say is to be recorded: its body or its snapshot is what the agent knows.
        facts: to record with the first round.
    """
    known = dict(facts or {})
    try:
        say = next(protocol)
        while True:
            say.record, known = {**known, **measure(say)}, {}
            say = protocol.send((yield say))
    except StopIteration as end:  # at once where an agent is alone
        return end.value


def extremum_so_far(say: Say) -> dict[str, float]:
    """The smallest (largest) values heard of; several numbers as ``estimate.0``, ``estimate.1``, ..."""
    best: tuple[float, ...] = say.body
    if len(best) == 1:
        return {"estimate": best[0]}
    return {f"estimate.{k}": v for k, v in enumerate(best)}


def known_so_far(say: Say) -> dict[str, float]:
    """The agents whose values set flooding has brought."""
    return {"known": float(len(say.snapshot[0]))}


def _summed_so_far(say: Say) -> dict[str, float]:
    """The agents in the largest sum known: one's own, the subtree's, all."""
    _, _, _, ready, down = say.body
    return {"known": float(down[0][3] if down is not None else ready[3] if ready is not None else 1)}


def primitive_of(part: Part) -> tuple[str, tuple[float, ...]]:
    """Which primitive is to be played, and this agent's values.

    Raises:
        ValueError: for an unknown one, or values that it cannot take.
    """
    primitive = part.contract["primitive"]
    if primitive not in EXACT + AVERAGES:
        raise ValueError(f"unknown primitive {primitive!r}; expected one of {', '.join(EXACT + AVERAGES)}")
    if part.utility["family"] != "value":
        raise ValueError(f"expected a utility of family 'value', got {part.utility['family']!r}")
    values = tuple(float(v) for v in part.utility["value"])
    if primitive in AVERAGES and len(values) != 1:
        raise ValueError(f"{primitive} averages one number an agent, got {len(values)}")
    return primitive, values


def average(part: Part, agents: int, diameter: int, resume: Any) -> Protocol:
    """The averaging protocol of the contract but trimmed averaging, to run beside ``stopping_rule``."""
    rules, hears = part.contract, part.hears
    (x,), stopping = part.utility["value"], rules["stopping"]
    limit, facts = stopping.get("max_rounds"), facts_of(agents, diameter)
    # A residual of tol at every agent bounds the spread by D tol only (section 4).
    local = float(stopping["tolerance"]) / max(1, diameter) if _rule(part) == "counters" else None
    match rules["primitive"]:
        case "ratio":
            return ratio(x, hears, 1.0, local, limit, facts, resume)
        case "metropolis":
            return metropolis(x, hears, rules.get("rho"), local, limit, facts, resume)
        case _:
            return flow_updating(x, hears, local, limit, facts, resume)


def stopping_rule(part: Part, diameter: int, resume: Any) -> Protocol:
    """The side that ends an average.

    Raises:
        ValueError: for an unknown rule.
    """
    if _rule(part) == "windows":
        return windows(diameter, float(part.contract["stopping"]["tolerance"]), resume)
    return counters(diameter, resume)


def _rule(part: Part) -> str:
    rule = part.contract["stopping"].get("rule", "windows")
    if rule not in ("windows", "counters"):
        raise ValueError(f"unknown stopping rule {rule!r}; expected windows or counters")
    return str(rule)


def facts_of(agents: int, diameter: int) -> dict[str, float]:
    """What is recorded with the first round."""
    return {"N": float(agents), "diameter": float(diameter)}


def agreed(
    primitive: str, averaged: Averaged, agents: int, diameter: int, stopped: int | None = None
) -> Agreed:
    """The result of an average."""
    value = () if averaged.estimate is None else (averaged.estimate,)
    return Agreed(
        primitive, value, agents, diameter, averaged.rounds, False, averaged.agreed, stopped=stopped
    )


def _trimmed(part: Part, x: float, diameter: int, facts: dict[str, float]) -> Protocol:
    limit = part.contract.get("stopping", {}).get("max_rounds")
    if limit is None:
        # A liar can hold up or hurry any rule that asks the agents.
        raise ValueError("trimmed averaging leaves after stopping.max_rounds, which is missing")
    liars = int(part.contract["f"])
    yield from degree_condition(part.agent, part.hears, liars, diameter)
    averaged: Averaged = yield from trimmed(x, liars, None, limit, facts)
    return Averaged(averaged.estimate, averaged.rounds, True)
