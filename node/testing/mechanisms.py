"""``check_mechanism``: a mechanism of one's own, put through the laws."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from node.testing import incentives, messages, rest, welfare
from node.testing.equilibrium import find_nash
from node.testing.instance import Instance
from node.testing.report import Finding, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from node.part import AgentId
    from node.testing.instance import Build, Draw, Hears, Profile
    from node.testing.norms import Contraction
    from node.testing.problems import Problem
    from node.utilities import Utility

# In the order in which they are checked: what is needed for a later law to make sense comes first.
LAWS: Mapping[str, Callable[[Instance], Finding]] = {
    "well formed": messages.well_formed,
    "deterministic": messages.deterministic,
    "messages untouched": messages.untouched,
    "accepts its own messages": messages.accepts_its_own,
    "refuses other bodies": messages.refuses_others,
    "distributed": messages.distributed,
    "own price": messages.own_price,
    "concave": incentives.concave,
    "best response is best": incentives.best_response,
    "contraction": incentives.contracts,
    "fixed point": incentives.fixed_point,
    "residual": rest.residuals,
    "spread": rest.spreads,
    "no profitable deviation": incentives.no_deviation,
    "feasible": welfare.feasible,
    "efficient": welfare.efficient,
    "budget balance": welfare.balanced,
    "individual rationality": welfare.rational,
}
_OF_THE_PROBLEM = {"feasible", "efficient", "individual rationality"}
_AT_NASH = {*_OF_THE_PROBLEM, "residual", "no profitable deviation", "budget balance"}


def check_mechanism(
    build: Build,
    hears: Hears,
    utilities: Mapping[AgentId, Utility],
    problem: Problem | None = None,
    *,
    nash: Profile | None = None,
    contraction: Contraction | None = None,
    without: Collection[str] = (),
    draw: Draw | None = None,
    seed: int = 0,
) -> Report:
    """Put a mechanism through the laws, on one instance.

    Args:
        build: makes everybody's contract, from ``hears`` and ``utilities``; agent -> contract.
        hears: agent -> the agents that it listens to.
        utilities: agent -> its valuation.
        problem: what the mechanism is to achieve: ``Shares``, ``Common`` or a class of one's own. Without it
            feasibility, efficiency and individual rationality are not checked.
        nash: the Nash message where it is known in closed form; by default it is found, by playing best
            responses or by Newton's method.
        contraction: what is claimed about repeated best response; by default nothing.
        without: laws that are not claimed and not checked; "well formed" always is.
        draw: draws a message of an agent, for mechanisms whose messages are not just any numbers.
        seed: the report is a function of it and of the other arguments.
    Returns:
        One finding a law. If messages or outcomes are not well formed, the others are not checked.
    Raises:
        ValueError: for an unknown law in ``without``, or contracts of other agents than those of ``hears``.
    What a contract raises is not caught, except what ``accepts`` raises.
    """
    if unknown := set(without) - set(LAWS):
        raise ValueError(f"unknown laws {sorted(unknown)}; expected some of {list(LAWS)}")
    contracts = build(hears, utilities)
    if not set(contracts) == set(hears) == set(utilities):
        raise ValueError(
            f"contracts of {sorted(contracts)}, utilities of {sorted(utilities)}; expected {sorted(hears)}"
        )
    instance = Instance(
        build, hears, utilities, problem, contraction, seed, draw, contracts, nash, "as given"
    )
    findings = [messages.well_formed(instance)]
    others = [law for law in LAWS if law != findings[0].law]
    if findings[0].broken:
        findings += [Finding(law, None, 0, "messages are not well formed") for law in others]
        return Report(_subject(instance), tuple(findings))
    if nash is None:
        found, how = find_nash(instance)
        instance = replace(instance, nash=found, found=how if found is None else f"found by {how}")
    for law in others:
        if law in without or (law == "contraction" and contraction is None):
            findings.append(Finding(law, None, 0, "not claimed"))
        elif law in _OF_THE_PROBLEM and problem is None:
            findings.append(Finding(law, None, 0, "no problem was given"))
        elif law in _AT_NASH and instance.nash is None:
            findings.append(Finding(law, None, 0, "there is no Nash message"))
        else:
            findings.append(LAWS[law](instance))
    return Report(_subject(instance), tuple(findings))


def _subject(instance: Instance) -> str:
    first = instance.agents[0]
    name, goods = type(instance.contracts[first]).__name__, instance.utilities[first].goods
    return f"{name}, {len(instance.agents)} agents, K = {goods}, seed {instance.seed}"
