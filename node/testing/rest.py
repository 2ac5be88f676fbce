"""Laws about coming to rest: what an agent reports to the stopping rule, and how it measures that.

``node.protocols.play`` stops when all residuals are small, so a number that no residual sees would be left
where it happens to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from node.learning.dynamics import OWN
from node.testing.incentives import REST
from node.testing.report import Finding, Worst

if TYPE_CHECKING:
    from node.part import AgentId
    from node.testing.instance import Instance, Profile


def residuals(instance: Instance) -> Finding:
    """All agents' residuals together tell whether a profile is at rest: none at the Nash message, and some as
    soon as any number of any message is moved. Sizes are those of a norm."""
    if missing := _without(instance, "residual", "size"):
        return Finding("residual", float("inf"), REST, missing)
    assert instance.nash is not None
    worst, nash = Worst(), instance.nash
    size = max(instance.contracts[i].size(message) for i, message in nash.items())
    # The sizes of messages may all be 0 at rest; then those of a message of ones are the measure.
    ones = max(instance.contracts[i].size(np.ones(message.shape)) for i, message in nash.items())
    size = max(size, ones)
    for i in instance.agents:
        rest = _residual(instance, i, nash)
        worst.see(rest / size, f"the residual of {i} is {rest:.3g} at the Nash message")
    for i in instance.some:
        contract, message = instance.contracts[i], nash[i]
        for factor in (0.0, -1.0, 2.0):
            scaled, once = contract.size(factor * message), contract.size(message)
            words = f"the message of {i} has size {once:.3g}, and {factor:g} times that message {scaled:.3g}"
            worst.see(abs(scaled - abs(factor) * once) / size, words)
        for cell in np.ndindex(message.shape):
            moved = message.copy()
            moved[cell] += instance.size
            if not instance.admissible(i, moved):
                continue
            profile = {**nash, i: moved}
            # It is part of the message of i, and of what those who hear i respond to.
            seen = max(_residual(instance, j, profile) for j in (i, *instance.listeners(i)))
            if not seen > REST * size:
                worst.see(1.0, f"no residual sees number {cell} of the message of {i} move")
    return worst.finding("residual", REST)


def spreads(instance: Instance) -> Finding:
    """Whosever remembered messages differ from the newest, somebody's spread says so, in proportion; and it
    asks for what this agent can remember only."""
    if missing := _without(instance, "spread"):
        return Finding("spread", float("inf"), 0, missing)
    worst = Worst()
    for who in instance.agents:
        totals = []
        for amount in (1.0, 2.0):
            told = []
            for i in instance.agents:
                asked: set[AgentId] = set()
                told.append(_spread(instance, i, who, amount, asked))
                for stranger in sorted(asked - {OWN, *instance.hears[i]}):
                    worst.count(f"{i} asks how well it remembers {stranger!r}, whom it does not hear")
            totals.append(max(told))
        if not totals[0] > 0:
            worst.count(f"no spread says that messages of {who} are remembered that differ from its newest")
        elif not abs(totals[1] - 2 * totals[0]) <= REST * totals[0]:
            worst.count(f"memories of {who} twice as far off have {totals[1] / totals[0]:g} times the spread")
    return worst.finding("spread", 0)


def _spread(instance: Instance, agent: AgentId, who: AgentId, amount: float, asked: set[AgentId]) -> float:
    def remembered(key: AgentId) -> float:
        asked.add(key)
        return amount if (agent if key == OWN else key) == who else 0.0

    return instance.contracts[agent].spread(remembered)


def _without(instance: Instance, *methods: str) -> str:
    contract = instance.contracts[instance.agents[0]]
    missing = [method for method in methods if not callable(getattr(contract, method, None))]
    return f"the contract has no method {' and no method '.join(missing)}" if missing else ""


def _residual(instance: Instance, agent: AgentId, profile: Profile) -> float:
    contract, view = instance.contracts[agent], instance.view(agent, profile)
    return float(contract.residual(contract.best_response(view), profile[agent].copy(), view))
