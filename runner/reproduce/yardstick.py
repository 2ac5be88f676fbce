"""How far a profile of messages is from the Nash equilibrium: for whoever knows all utilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from node import lockstep
from node.consensus.survey import survey
from node.mechanisms import private_goods, public_goods
from node.mechanisms.proxies import equilibrium_message
from runner.result import environment_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from topologies import LoadedScenario

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The equilibrium of a scenario under the parameters that its agents agreed on; agents ascending.

    Attributes:
        message: the Nash message profile, shape (N, N+1, K).
        allocation: x*, shape (N, K).
        price: lambda* or mu_i*, shape (N, K).
    """

    message: Array
    allocation: Array
    price: Array

    @classmethod
    def of(cls, loaded: LoadedScenario, xi: float, delta: float) -> Yardstick:
        """Work out the equilibrium centrally: the optimum, then (4.44), (4.48) or (4.55), (4.59)."""
        rules = loaded.contract()
        optimum = environment_of(rules, loaded.utilities).optimum()
        allocation = np.array([optimum.allocation[i] for i in loaded.agents])
        price = np.array([optimum.prices[i] for i in loaded.agents])
        if rules["mechanism"] == "private-goods":
            demands = private_goods.equilibrium_demands(
                allocation, optimum.multiplier, rules["capacities"], delta
            )
        else:
            demands = public_goods.equilibrium_demands(allocation[0], price, delta)
        hears = {i: tuple(sorted(loaded.graph.successors(i))) for i in loaded.agents}
        routes = lockstep.run({i: survey(i) for i in loaded.agents}, hears).results
        message = np.array([equilibrium_message(routes[i], demands, xi) for i in loaded.agents])
        return cls(message, allocation, price)

    def off_message(self, messages: Array) -> float:
        """||m - m~||_2 over all numbers of all messages."""
        return float(np.linalg.norm((messages - self.message).ravel()))

    def off_allocation(self, allocation: Array) -> float:
        """||x - x*||_2 over all agents."""
        return float(np.linalg.norm((allocation - self.allocation).ravel()))

    def off_price(self, price: Array) -> float:
        """||(p_i) - (lambda*, ..., lambda*)||_2 over agents; of a public good mu_i* instead of lambda*."""
        return float(np.linalg.norm((price - self.price).ravel()))
