"""What a deviator gets while the others keep saying what they said at the equilibrium.

This is what a Nash equilibrium speaks of: at the equilibrium message no other message pays an agent more, if
nobody else changes his. So as a function of the size of a lie the payoff must be largest where it is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from node.mechanisms.network import strategic
from node.mechanisms.network.sequential import gather
from node.mechanisms.network.valuations import demand
from node.strategies.answers import checked, claiming, message
from node.strategies.claims import ClaimedValuation
from node.strategies.strategy import Seen, Strategy
from node.strategies.takers import prices_in
from runner.network import contracts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.mechanisms.network.contract import Contract, Quotes
    from node.protocols.play import Answer, Answering
    from runner.deviate.play import Stage, Value

# Of a strategy that draws numbers the mean over so many draws.
DRAWS = 64


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody's payoff at a message of its own, the others' as they are.

    Attributes:
        payoff: (strategy, round) -> v_i(x_i) - t_i.
    """

    payoff: Callable[[Strategy, int], float]

    def of(self, strategy: Strategy) -> float:
        """The payoff of a strategy, its mean if it draws numbers."""
        draws = DRAWS if strategy.random and strategy.size != strategy.honest else 1
        return math.fsum(self.payoff(strategy, k) for k in range(1, draws + 1)) / draws


@dataclass(slots=True)
class Watch:
    """Honest agents that remember what they saw last, for one who knows them all.

    Attributes:
        last: agent -> its side of the contract and what it read out of the last messages it answered.
    """

    last: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def answering(self, agent: str) -> Answering:
        """An agent's best responses."""

        def of(contract: Any) -> Answer:
            def answer(round_: int, view: Any) -> Any:
                self.last[agent] = (contract, view)
                return contract.best_response(view)

            return answer

        return of

    def held(self, agent: str, value: Value) -> Held:
        """The agent against the messages it saw last."""
        contract, view = self.last[agent]

        def payoff(strategy: Strategy, round_: int) -> float:
            said = message(agent, strategy, contract, claiming(contract, strategy), view, round_)
            outcome = contract.outcome(said, view)
            return value(outcome.allocation) - float(outcome.tax)

        return Held(payoff)


def on_network(
    stage: Stage, results: Mapping[str, Mapping[str, Any]], agents: tuple[str, ...]
) -> dict[str, Held]:
    """Each of the agents against the quotes with which an honest run ended.

    A lie about the utility is one about the demand at the equilibrium's price; its other quotes are the best
    ones with that demand, but for prices that the strategy withholds.
    """
    contracts = contracts_of(stage.loaded)
    tables = gather({i: {n: tuple(q) for n, q in r["quotes"].items()} for i, r in results.items()})
    every = strategic.limits(contracts, tables)

    def held(agent: str) -> Held:
        contract = contracts[agent]
        own = {name: tables[name] for name in contract.channels}
        rest, price = strategic.rest_of(contract, every), float(results[agent]["price"])

        def payoff(strategy: Strategy, round_: int) -> float:
            seen = Seen(agent, round_, np.array([price]), contract.valuation)
            y = _asked(contract, strategy, price, seen)
            quotes = _bent(contract, strategic.with_demand(contract, own, rest, y), strategy, seen)
            return strategic.payoff(contract, own, rest, quotes)

        return Held(payoff)

    return {agent: held(agent) for agent in agents}


def _asked(contract: Contract, strategy: Strategy, price: float, seen: Seen) -> float:
    lie = strategy.lie(False)
    valuation = contract.valuation if lie.truth else ClaimedValuation(contract.valuation, lie)
    wanted = np.array([max(demand(valuation, price, 0.0, contract.highest), contract.lowest)])
    return max(float(checked(strategy.ask(wanted.copy(), seen), wanted, "ask")[0]), contract.lowest)


def _bent(contract: Contract, quotes: Quotes, strategy: Strategy, seen: Seen) -> Quotes:
    bent = {}
    for name, quote in quotes.items():
        last = 1 + prices_in(contract, quote)
        owed = np.array(quote[1:last])
        said = np.maximum(checked(strategy.repeat(owed.copy(), seen), owed, "repeat"), 0.0)
        bent[name] = (quote[0], *said.tolist(), *quote[last:])
    return bent
