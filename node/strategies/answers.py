"""Strategies in the contracts that are played by best responses: private goods, public goods, summary."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.proxies import Proxies
from node.mechanisms.public_goods import PublicGoods
from node.mechanisms.summary.contracts import AnchoredPublic
from node.strategies.claims import Claimed
from node.strategies.strategy import Seen

if TYPE_CHECKING:
    from node.mechanisms.private_goods import PrivateGoods
    from node.mechanisms.summary.contracts import Summary
    from node.numbers import Matrix
    from node.part import AgentId
    from node.protocols.play import Answer, Answering
    from node.strategies.strategy import Strategy

    Side = PrivateGoods | PublicGoods | Summary


def answering(agent: AgentId, strategy: Strategy) -> Answering:
    """How an agent answers by a strategy, for ``allocate`` and ``scalable``.

    Args:
        agent: its id.
        strategy: what it does.
    """

    def of(contract: Any) -> Answer:
        side = claiming(contract, strategy)
        return lambda round_, view: message(agent, strategy, contract, side, view, round_)

    return of


def is_public(contract: Side) -> bool:
    """Whether the contract is about a public good."""
    return isinstance(contract, PublicGoods | AnchoredPublic)


def claiming(contract: Any, strategy: Strategy) -> Any:
    """The agent's side of the same contract with the utility that the strategy claims.

    Raises:
        ValueError: if the contract has no best response to such a utility.
    """
    public = is_public(contract)
    lie = strategy.lie(public)
    if lie.truth:
        return contract
    if not (lie.scale > 0.0 or public):
        raise ValueError("a utility of scale 0 demands a private good without bound; expected a scale > 0")
    side = copy.copy(contract)
    side.utility = Claimed(contract.utility, lie)
    return side


def message(
    agent: AgentId,
    strategy: Strategy,
    contract: Side,
    side: Side,
    view: Any,
    round_: int,
) -> Matrix:
    """What the agent says by its strategy.

    Allocations are affine in the own demand, good by good, so the slope tells which demand asks for other
    amounts. What is repeated of the own demand stays true to it.

    Args:
        contract: its side, with its true utility.
        side: the same with the utility that it claims.
        view: of the others' messages.
        round_: of play, from 1.
    """
    reply = side.best_response(view)
    outcome = side.outcome(reply, view)
    seen = Seen(agent, round_, outcome.price, contract.utility, is_public(contract))
    asked = checked(strategy.ask(outcome.allocation.copy(), seen), outcome.allocation, "ask")
    if not np.array_equal(asked, outcome.allocation):
        demand = reply[0] + (asked - outcome.allocation) / side.slope
        reply = _with_demand(side, reply, demand, view)
    owed = reply[side.repeated]
    reply[side.repeated] = checked(strategy.repeat(owed.copy(), seen), owed, "repeat")
    return reply


def _with_demand(side: Side, reply: Matrix, demand: Matrix, view: Any) -> Matrix:
    if isinstance(side, Proxies):
        return side.repeating(demand, view)
    changed = reply.copy()
    changed[0] = demand
    return changed


def checked(given: Any, instead_of: Matrix, method: str) -> Matrix:
    """What a strategy gave, if it can stand where it is to stand.

    Raises:
        ValueError: if it cannot.
    """
    array = np.asarray(given, dtype=np.float64)
    if array.shape != instead_of.shape or not np.isfinite(array).all():
        raise ValueError(
            f"{method} gave {array.tolist()}; expected finite numbers of shape {instead_of.shape}"
        )
    return array
