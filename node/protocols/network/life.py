"""The whole life of an agent in a network mechanism: survey, measure the links, play, stop together.

One step of the mechanism reads like the papers' algorithm, but for the contract that is not there: every
agent announces its message on its links, holds everybody's after the flood, computes what its links allow,
agrees with the whole network on the least of it, and knows its allocation and its tax.

In the end accounts are settled. While a step is played nobody knows yet by which factor its demands will be
scaled, so everybody's guess rho is the factor of the step before, and the taxes with strong balance add up to
zero only as far as the two agree. Hence the quotes of the step that counts are said once more, with what is
known by then: rho is the factor that came out, which is the best guess for who makes it; under linear
constraints the demand is what is allocated, which is feasible, so that balance holds. Demands and factor
being those that were agreed on, allocations stay what they are, and taxes add up to zero but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import minimum
from node.consensus.survey import survey
from node.mechanisms.network.contract import FREE
from node.mechanisms.network.fallback import Fallback
from node.mechanisms.network.takers import taker
from node.protocols.network.agreement import agreement
from node.protocols.network.facts import dynamics_of, own_of
from node.protocols.network.played import Played, judged, measured, packed_step, restored
from node.protocols.network.unwinding import wired
from node.protocols.network.wires import Wires, exchange, onwards
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator

    from node.mechanisms.network.contract import Quote
    from node.mechanisms.network.taker import Taker
    from node.part import Part
    from node.protocol import Heard, Say

Snapshot = tuple[Any, ...]
Use = Callable[[int, float], None]  # (a number that grows, the amount)

# Price moves in a row without a smaller gap after which agents give up: what is asked for is below rounding,
# or (A4) fails and the optimum is out of reach. All know the gap alike, so all leave in the same step. Long
# enough for the fallback to be called and to show what it can do.
STALLED = 600
# Without a proof: price moves in a row at which no own link was off by more than this part of the tolerance.
# The error may rise again after a small residual (spec, section 5b), so one is not enough.
QUIET, QUIET_MOVES = 0.1, 5
# The largest part of an agent's payments that may go to nobody when all stop: far below the 1e-9 of all taxes
# that are promised to balance, as taxes are smaller than payments by what is given back.
UNSETTLED = 1e-11


@dataclass(frozen=True, slots=True)
class NetworkShare:
    """What an agent knows at the end of a network mechanism.

    Attributes:
        allocation: x_i.
        tax: t_i, of the settlement.
        price: P_i, what a unit costs it, to which its demand was the answer.
        demand: y_i in the settlement.
        quotes: channel -> what it quoted there in the settlement.
        factor: by which these demands are scaled; the same bits at every agent.
        agents: N, as the agents counted it.
        diameter: D of the graph, likewise.
        depth: rounds until all of a link have what they need of one another: a flood's, or a convergecast's.
        moves: of the prices in a step.
        steps: of the mechanism, each ``moves`` x ``depth`` + D rounds.
        gap: proved bound on the welfare that is missing; the same bits at every agent.
        satisfied: whether every agent said that the accuracy asked for is there.
        proved: whether it was proved; else it was concluded from small residuals in several successive steps.
    """

    allocation: float
    tax: float
    price: float
    demand: float
    quotes: dict[str, tuple[float, ...]]
    factor: float
    agents: int
    diameter: int
    depth: int
    moves: int
    steps: int
    gap: float
    satisfied: bool
    proved: bool


def network(
    part: Part,
    resume: Snapshot | None = None,
    use: Use = lambda stamp, amount: None,
    behave: Callable[[Taker], Taker] | None = None,
) -> Generator[Say, Heard, NetworkShare]:
    """Find this agent's share of the capacities and its tax.

    Prices move by price-taking dynamics (``taker``). The end is proved, not observed: in every step the
    agents also learn N times the largest part of the duality gap, and stop two steps after one whose gap
    proves every allocation accurate. With the stopping rule "observed" they stop after several moves with
    small residuals, which is sooner and proves nothing.

    What is in use never exceeds a capacity, at any instant and whatever the network does: a smaller
    allocation is used at once, a larger one only when all members of all own links have said a later step's
    word, by which they show that they, too, have made room (spec, section 7, (v)). When a new computation
    begins everybody lets go of what the one before it has given, and nothing is used before all on the own
    links have done so. Whoever leaves for good lets go before it says that it leaves.

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
        use: called with what is to be in use from now on, and a number that grows with every call of a life.
            A life that is replayed calls it again with what is past: then the number is not larger.
        behave: makes of the price-taking behaviour that of the agent; None: it is that of the agent.
    Raises:
        ValueError: for what the mechanism refuses.
        Unreachable: at every agent in the same round, if a link lacks relays.
        TooFew: likewise, if somebody on a link has left and those that are there cannot play without it.
        Contradiction: if a link's members were told different facts.
    """
    rules = part.contract
    stopping = rules["stopping"]
    by_proof = stopping["rule"] == "proof"
    rule = dynamics_of(rules)
    if resume is None:
        own = own_of(part)
        use(-1, 0.0)  # what the computation before this one has given; the first one starts with nothing
        routes = yield from survey(part.agent)
        own, wires = yield from wired(part, own, routes, rules["exchange"])
    else:
        routes, wires = Routes.unpack(resume[0]), Wires.unpack(resume[1])
        own = own_of(part, routes.agents)
    me, fallback = taker(own.contract, rule, own.routes), Fallback()
    if behave is not None:
        me = behave(me)
    if resume is None:
        step, guess, in_use = 0, 1.0, 0.0
        packed = routes.pack()
        residual, quiet, settled, least_gap, since = 0.0, 0, False, FREE, 0
        last: Played | None = None
        before: Played | None = None
    else:
        packed, _, step, guess, in_use, counts, prices, turned, last, before = restored(me.contract, resume)
        residual, quiet, settled, least_gap, since = counts
        fallback.restore(turned)
        if fallback.calm:
            me.follow(rule.calm)
        me.restore(prices)
    agents, diameter, limit = len(routes.agents), routes.diameter, stopping.get("max_rounds")
    depth, measures = wires.depth, wires.pack()
    moves = rules["dynamics"]["moves"] or moves_for(depth, diameter)

    while True:
        saved = (
            packed,
            measures,
            step,
            guess,
            in_use,
            (residual, quiet, settled, least_gap, since),
            me.state(),
            fallback.state(),
            packed_step(last),
            packed_step(before),
        )
        quotes = me.announce(guess)
        exchanging = exchange(part, own, me, wires, quotes, "tables", own.widths)
        say = next(exchanging)
        say.snapshot = saved
        say.record = measured(last, in_use, residual, step, depth, agents, diameter)
        heard = yield say
        tables = yield from onwards(exchanging, heard)
        # Everybody on my links has spoken after the last allocation was known, so has made room for it.
        in_use = last.share.allocation if last is not None else 0.0
        use(2 * step, in_use)

        values = (
            min(own.contract.limits(tables).values()),
            -(last.part if last is not None else FREE),
            -(last.share.allocation if last is not None else 0.0),
            float(before.proved) if before is not None else 0.0,
        )
        if rule.rule == "newton":
            numbers, summaries = yield from agreement(values, me.summaries(tables), diameter, me.accepts)
            me.learn(summaries)
        else:
            numbers = yield from minimum(values, diameter)
        least, part_of_gap, size, all_satisfied = numbers
        factor = own.contract.factor(least)
        gap = FREE
        if last is not None:
            gap, largest, tolerance = -part_of_gap * agents, -size, stopping["tolerance"]
            # The largest optimal share is at least ``largest`` less the error, hence the 1 + tolerance.
            error = tolerance * (stopping.get("scale") or largest / (1.0 + tolerance))
            accurate = last.claim.holds(gap, error) if by_proof else settled
            last = judged(last, gap, accurate and last.unsettled <= UNSETTLED)
            least_gap, since = (gap, 0) if gap < least_gap else (least_gap, since + moves)
        share = own.contract.share(tables, factor)
        in_use = min(in_use, share.allocation)
        use(2 * step + 1, in_use)
        step += 1
        unsettled = own.contract.unsettled(tables, factor)
        ended = Played(share, me.demand, quotes, factor, *me.claim(tables, least), unsettled)
        if all_satisfied or step == limit or since >= STALLED:
            final = (before if all_satisfied else last) or ended  # the last one if max_rounds = 1
            use(2 * step, min(in_use, final.share.allocation))
            x, last_factor = final.share.allocation, own.contract.closing(final.factor)
            said = settlement(me, final)
            # The last allocation may be larger than what is in use: by speaking all show that there is room.
            tables = yield from exchange(part, own, me, wires, said, "settlement", own.quoted)
            use(2 * step + 1, x)
            return NetworkShare(
                allocation=x,
                tax=own.contract.share(tables, last_factor).tax,
                price=final.claim.price,
                demand=next(iter(said.values()))[0],
                quotes=said,
                factor=last_factor,
                agents=agents,
                diameter=diameter,
                depth=depth,
                moves=moves,
                steps=step,
                gap=final.gap,
                satisfied=bool(all_satisfied),
                proved=bool(all_satisfied) and by_proof,
            )
        before, last = last, ended
        residual = me.update(tables)
        quiet = quiet + 1 if residual <= QUIET * stopping["tolerance"] else 0
        settled = quiet >= QUIET_MOVES  # of this step's allocation; prices may move on before the next one
        guess = factor
        # Prices need no common factor, and the flood of it may take much longer than that of the tables.
        for _ in range(moves - 1):
            more = yield from exchange(part, own, me, wires, me.announce(guess), "prices", own.widths)
            residual = me.update(more)
            quiet = quiet + 1 if residual <= QUIET * stopping["tolerance"] else 0
        if rule.fast and fallback.learn(gap, moves):
            me.follow(rule.calm if fallback.calm else rule)


def moves_for(depth: int, diameter: int) -> int:
    """Price moves for every allocation where the scenario does not say: as many as fit into twice the rounds
    that the common factor takes. Finding the factor then makes the whole half as long again, not more."""
    return max(1, 2 * diameter // depth)


def settlement(me: Taker, final: Played) -> dict[str, Quote]:
    """What the agent says in the settlement of a step: channel -> quote.

    It may say other prices and another guess than the rule has it. The demand is none of what can be said
    anew, since allocations follow from it.
    """
    rule = me.contract.settled(final.quotes, final.share.allocation, final.factor)
    said = me.settle(rule)
    return {name: (quote[0], *said[name][1:]) for name, quote in rule.items()}
