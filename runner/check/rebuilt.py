"""Everybody's side of an allocation mechanism, found anew from the scenario, as the agents once found it.

What agents learn by messages before they play (who there is, the tree, the constants of the contract) they
learn by exact protocols whose outcome depends on the scenario alone; so whoever knows the scenario finds it
by letting the same protocols run in lockstep. Nothing that a run says of itself enters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from node import lockstep
from node.mechanisms import private_goods, public_goods
from node.mechanisms.contraction import BLOCK_NORM, NoGuarantee
from node.mechanisms.proxies import equilibrium_message
from node.mechanisms.summary import Echoed
from node.protocols import allocate, scalable
from node.protocols.play import ROUNDING
from runner.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from node.environments import Optimum
    from node.mechanisms.contract import Contract
    from node.mechanisms.summary import Place
    from node.numbers import Matrix
    from node.part import Part
    from node.utilities import Utility
    from topologies import LoadedScenario

Profile = dict[str, "Matrix"]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """All sides of one mechanism.

    Attributes:
        contracts: agent -> its side, ids ascending.
        hears: agent -> whom it listens to.
        parameters: of the contract, as all agents agree on them.
        bound, norm, guaranteed: the certificate, as agents report it.
        threshold: the largest residual of an agent at rest.
        reach: how far in the norm all messages are from the Nash message at most when everybody is at rest.
        constant, factor: a residual shrinks by ``constant`` x ``factor``^k in k rounds at least, in the norm
            in which residuals are recorded.
        settled: rounds of play after which messages are exact, where the factor is 0; else None.
        nash: makes the Nash message of all from the optimum.
        size: of a profile's difference in the norm.
    """

    contracts: Mapping[str, Contract[Any]]
    hears: Mapping[str, tuple[str, ...]]
    parameters: dict[str, float]
    bound: float
    norm: str
    guaranteed: bool
    threshold: float
    reach: float
    constant: float
    factor: float
    settled: int | None
    nash: Callable[[Optimum], Profile]
    size: Callable[[Profile], float]

    def view(self, agent: str, profile: Mapping[str, Matrix]) -> Any:
        """What an agent reads out of a profile."""
        return self.contracts[agent].view({j: profile[j] for j in self.hears[agent]})


def rebuild(loaded: LoadedScenario, run: str) -> Rebuilt:
    """Find everybody's side.

    Raises:
        UserError: if the scenario's agents would refuse to play, so that there can be no record of a run.
    """
    parts = loaded.parts(run)
    utilities = {i: allocate.utility_of(part) for i, part in parts.items()}
    build = _summary if loaded.contract()["mechanism"] == "summary" else _tables
    try:
        return build(parts, utilities)
    except (NoGuarantee, ValueError) as error:
        raise UserError(f"{loaded.path}: agents would refuse to play: {error}") from None


def _tables(parts: Mapping[str, Part], utilities: Mapping[str, Utility]) -> Rebuilt:
    """Private and public goods with proxies of everybody's demand."""
    hears = {i: part.hears for i, part in parts.items()}
    found = lockstep.run({i: allocate.prepare(parts[i], utilities[i]) for i in parts}, hears).results
    games = {i: allocate.game_of(parts[i], utilities[i], found[i]) for i in parts}
    first = next(iter(parts))
    rules, certificate, rest = parts[first].contract, found[first].certificate, games[first].rest
    goods = utilities[first].goods
    block = certificate.norm == BLOCK_NORM
    # Agents look at single numbers, the block norm at rows of K of them: a factor of sqrt(K).
    lengths = math.sqrt(goods) if block else 1.0

    def nash(optimum: Optimum) -> Profile:
        agents = sorted(parts)
        if "capacities" in rules:
            allocation = np.array([optimum.allocation[i] for i in agents])
            demands = private_goods.equilibrium_demands(
                allocation, optimum.multiplier, rules["capacities"], certificate.delta
            )
        else:
            prices = np.array([optimum.prices[i] for i in agents])
            demands = public_goods.equilibrium_demands(optimum.allocation[first], prices, certificate.delta)
        return {i: equilibrium_message(found[i].routes, demands, certificate.xi) for i in agents}

    def size(profile: Profile) -> float:
        if block:
            return max(float(np.linalg.norm(message, axis=1).max()) for message in profile.values())
        return max(float(np.abs(message).max()) for message in profile.values())

    return Rebuilt(
        contracts={i: game.contract for i, game in games.items()},
        hears=hears,
        parameters={"xi": certificate.xi, "delta": certificate.delta},
        bound=certificate.bound,
        norm=certificate.norm,
        guaranteed=certificate.guaranteed,
        threshold=rest.threshold,
        reach=rest.reach * lengths,
        constant=lengths,
        factor=certificate.bound,
        settled=None,
        nash=nash,
        size=size,
    )


def _summary(parts: Mapping[str, Part], utilities: Mapping[str, Utility]) -> Rebuilt:
    """Sums on a spanning tree."""
    hears = {i: part.hears for i, part in parts.items()}
    ground = lockstep.run({i: scalable.prepare(parts[i], utilities[i]) for i in parts}, hears).results
    first = next(iter(parts))
    rules, agents, diameter = parts[first].contract, ground[first].tree.agents, ground[first].tree.diameter
    terms = {i: scalable.agree(ground[i].tree, utilities[i], rules) for i in parts}
    agreed = terms[first]
    rest = scalable.rest_of(agreed, rules, agents)
    games = {i: scalable.game_of(ground[i], utilities[i], terms[i], rules, rest) for i in parts}
    sides: dict[str, Any] = {i: game.contract for i, game in games.items()}

    def nash(optimum: Optimum) -> Profile:
        profile = {}
        for i, side in sides.items():
            message = side.opening()
            if "features" in rules:
                message[0] = side.weight * optimum.allocation[i] + optimum.prices[i] / side.delta
            else:
                # x = own y - other A + c/N with A = delta lambda - y; own + other = 1 unless plain.
                stretch = agreed.stretch if isinstance(side, Echoed) else 1.0
                own, other = stretch * side.rest, stretch * side.weight
                gained = optimum.allocation[i] - side.share
                message[0] = (gained + other * side.delta * optimum.multiplier) / (own + other)
            profile[i] = message
        return _passed_on(ground[first].tree.root, {i: one.place for i, one in ground.items()}, profile)

    def size(profile: Profile) -> float:
        """Every row by its weight: y and n by the own ones, q by that of the agent whose echo it is."""
        sizes: list[float] = [sides[i].size(message) for i, message in profile.items()]
        for i, message in profile.items():
            own = ground[i].place.own
            for j in own.carried:
                echo = np.zeros(sides[j].shape)
                echo[0] = message[own.q(j)]
                sizes.append(sides[j].size(echo))
        return max(sizes)

    limit = agreed.limit
    return Rebuilt(
        contracts=sides,
        hears=hears,
        parameters=scalable.parameters_of(agreed),
        bound=agreed.bound(diameter),
        norm=scalable.NORM,
        guaranteed=limit < 1.0,
        threshold=rest.threshold,
        reach=agreed.distance * rest.threshold,
        # Residuals are recorded in the norm at kappa = 1, which is within a factor of kappa^D = 1/L of the
        # one in which a round contracts by L^(1/D).
        constant=1.0 / limit if 0.0 < limit < 1.0 else 1.0,
        factor=agreed.bound(diameter),
        settled=diameter + 1 if limit == 0.0 else None,
        nash=nash,
        size=size,
    )


def _passed_on(root: str, places: Mapping[str, Place], profile: Profile) -> Profile:
    """Fill in what belongs to these demands: n_i^j adds up the demands behind j, and q_i^j = y_j.

    Out from the root and back: what is behind a neighbour is known once it is known of all beyond.
    """
    order, parent = [root], {root: ""}
    for i in order:
        for j in places[i].own.neighbours:
            if j not in parent:
                parent[j] = i
                order.append(j)
    below = {i: profile[i][0].copy() for i in order}  # the demands of the subtree of i
    for i in reversed(order[1:]):
        below[parent[i]] += below[i]
    total = below[root]
    for i in order:
        own = places[i].own
        for row, j in enumerate(own.neighbours, 1):
            profile[i][row] = below[j] if parent[j] == i else total - below[i]
        for j in own.carried:
            profile[i][own.q(j)] = profile[j][0]
    return profile


def rounding(rebuilt: Rebuilt, profile: Profile) -> float:
    """What cannot be told from zero of a residual at this profile: agents count it as rest, too."""
    return ROUNDING * rebuilt.size(profile)
