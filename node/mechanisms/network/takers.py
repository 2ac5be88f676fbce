"""Which agent plays over a contract: one class for every mechanism and kind of rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.mechanisms.network.linear import Linear
from node.mechanisms.network.linear_newton import LinearNewton
from node.mechanisms.network.linear_taker import LinearTaker
from node.mechanisms.network.multicast import Multicast
from node.mechanisms.network.multicast_newton import MulticastNewton
from node.mechanisms.network.multicast_taker import MulticastTaker
from node.mechanisms.network.newton_taker import UnicastNewton
from node.mechanisms.network.responder import responder
from node.mechanisms.network.unicast import Unicast
from node.mechanisms.network.unicast_taker import UnicastTaker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.mechanisms.network.prices import Dynamics
    from node.mechanisms.network.taker import Taker
    from node.part import AgentId


def taker(
    contract: Unicast | Multicast | Linear,
    dynamics: Dynamics,
    routes: Mapping[str, Mapping[AgentId, Mapping[str, float]]] | None = None,
) -> Taker:
    """The agent over a contract: a price-taking one, or with the rule "strategic" one of ``responder``.

    Args:
        contract: its side of the mechanism.
        dynamics: the rule.
        routes: with the rule "newton", but in multicast: own channel -> member -> that member's links or
            rows and its coefficients there.
    Raises:
        ValueError: for "newton" without the routes that it needs.
    """
    if dynamics.rule == "newton":
        if isinstance(contract, Multicast):
            return MulticastNewton(contract, dynamics)
        if routes is None:
            raise ValueError(f"agent {contract.me}: Newton's prices need the members' routes")
        if isinstance(contract, Linear):
            return LinearNewton(contract, dynamics, routes)
        return UnicastNewton(contract, dynamics, routes)
    if dynamics.rule == "strategic":
        return responder(contract, dynamics)
    match contract:
        case Unicast():
            return UnicastTaker(contract, dynamics)
        case Multicast():
            return MulticastTaker(contract, dynamics)
        case Linear():
            return LinearTaker(contract, dynamics)
