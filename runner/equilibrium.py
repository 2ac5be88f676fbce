"""Before a network run: whether the equilibrium that the mechanism claims is one, with the weights chosen.

The runner knows every utility, so it can search for what no agent can: somebody who gains by leaving the
equilibrium at the planner's optimum, or loses by taking part in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.mechanisms.network.optimum import NotSolved, program, solve
from node.mechanisms.network.weights import excess
from runner.errors import UserError
from runner.network import contracts_of
from topologies.errors import Problem

if TYPE_CHECKING:
    from node.mechanisms.network.weights import Excess
    from topologies import LoadedScenario


def found(loaded: LoadedScenario) -> Problem | None:
    """What is wrong with ``mechanism.eta`` or ``mechanism.xi``; None if nobody is found to gain or lose.

    All agents are searched, about a millisecond each.
    """
    contracts = contracts_of(loaded)
    try:
        optimum = solve(program(contracts), {i: c.valuation for i, c in contracts.items()})
    except NotSolved as error:
        return Problem("environment", str(error), "one whose optimum can be told, or no run can be judged")
    seen = excess(contracts, optimum)
    return None if seen is None else _problem(loaded, seen)


def require(loaded: LoadedScenario) -> None:
    """Refuse weights with which there is no equilibrium in which all take part.

    Raises:
        UserError: naming the key, its value, the agent, what it gains or loses, and the largest good value.
    """
    problem = found(loaded)
    if problem is not None:
        raise UserError(f"{loaded.path}: {problem}")


def _problem(loaded: LoadedScenario, seen: Excess) -> Problem:
    rules, first = loaded.contract(), seen.weights[0]
    value = f"got {rules[first]}"
    if first not in loaded.spec.mechanism.model_fields_set:
        value = f"left out, so {rules[first]}"
    beside = "".join(f" and mechanism.{name} = {rules[name]}" for name in seen.weights[1:])
    what = f"gains {seen.gain:.3g} by leaving the equilibrium"
    if not seen.gain:
        what = f"loses {seen.loss:.3g} by taking part in the equilibrium"
    most = " and ".join(
        [
            f"at most {seen.largest[first]}",
            *(f"mechanism.{name} at most {seen.largest[name]}" for name in seen.weights[1:]),
        ]
    )
    return Problem(
        f"mechanism.{first}",
        f"{value}{beside}, with which agent {seen.agent} {what}",
        f"{most}, by a search; it goes by the unit of money",
    )
