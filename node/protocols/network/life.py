"""The whole life of an agent in a network mechanism: survey, measure the links, play, stop together.

One step of the mechanism reads like the papers' algorithm, but for the contract that is not there: every
agent announces its message on its links, holds everybody's after the flood, computes what its links allow,
agrees with the whole network on the least of it, and knows its allocation and its tax.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import maximum, minimum
from node.consensus.survey import survey
from node.mechanisms.network.contract import FREE, Share
from node.mechanisms.network.fallback import Fallback
from node.mechanisms.network.sums import TERMS, of_parts, terms
from node.mechanisms.network.taker import Claim
from node.mechanisms.network.takers import taker
from node.mechanisms.network.unicast import Unicast
from node.protocols.network.agreement import agreement
from node.protocols.network.convergecast import Branch, convergecast, plant
from node.protocols.network.facts import dynamics_of, own_of
from node.protocols.network.tables import Flooded, flood
from node.routes import Routes

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.mechanisms.network.contract import Quotes
    from node.mechanisms.network.taker import Taker
    from node.part import Part
    from node.protocol import Heard, Say
    from node.protocols.network.facts import Own

Snapshot = tuple[Any, ...]
Use = Callable[[int, float], None]  # (a number that grows, the amount)

# Price moves in a row without a smaller gap after which agents give up: what is asked for is below rounding,
# or (A4) fails and the optimum is out of reach. All know the gap alike, so all leave in the same step. Long
# enough for the fallback to be called and to show what it can do.
STALLED = 600
# Without a proof: price moves in a row at which no own link was off by more than this part of the tolerance.
# The error may rise again after a small residual (spec, section 5b), so one is not enough.
QUIET, QUIET_MOVES = 0.1, 5


@dataclass(frozen=True, slots=True)
class NetworkShare:
    """What an agent knows at the end of a network mechanism.

    Attributes:
        allocation: x_i.
        tax: t_i.
        price: P_i, what a unit cost it.
        demand: y_i, of the same step.
        quotes: channel -> what it quoted there in that step.
        factor: by which demands were scaled; the same bits at every agent.
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


class Unreachable(Exception):
    """The members of a link cannot hear one another, not even through its relays."""


class Contradiction(Exception):
    """Two agents were told different facts about one link."""


@dataclass(frozen=True, slots=True)
class Played:
    """One finished step, as far as its proof has come.

    Attributes:
        share, demand, quotes, factor: of the step.
        claim: what its accuracy is held against.
        part: the agent's part of the duality gap.
        gap: of the whole network; ``FREE`` while it is not known.
        proved: whether the gap proves the accuracy asked for.
    """

    share: Share
    demand: float
    quotes: Quotes
    factor: float
    claim: Claim
    part: float
    gap: float = FREE
    proved: bool = False


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
    word, by which they show that they, too, have made room (spec, section 7, (v)).

    Args:
        part: what this agent knows.
        resume: a snapshot taken during play, or None.
        use: called with what is to be in use from now on, and a number that grows with every call of a life.
            A life that is replayed calls it again with what is past: then the number is not larger.
        behave: makes of the price-taking behaviour that of the agent; None: it is that of the agent.
    Raises:
        ValueError: for what the mechanism refuses.
        Unreachable: at every agent in the same round, if a link lacks relays.
        Contradiction: if a link's members were told different facts.
    """
    rules, own = part.contract, own_of(part)
    stopping = rules["stopping"]
    by_proof = stopping["rule"] == "proof"
    rule = dynamics_of(rules)
    me, fallback = taker(own.contract, rule, own.routes), Fallback()
    if behave is not None:
        me = behave(me)
    if resume is None:
        routes = yield from survey(part.agent)
        wires = yield from measure(part, own, routes, rules["exchange"])
        step, guess, in_use = 0, 1.0, 0.0
        packed = routes.pack()
        residual, quiet, settled, least_gap, since = 0.0, 0, False, FREE, 0
        last: Played | None = None
        before: Played | None = None
    else:
        packed, wired, step, guess, in_use, counts, prices, turned, last, before = _restored(own, resume)
        residual, quiet, settled, least_gap, since = counts
        routes, wires = Routes.unpack(packed), Wires.unpack(wired)
        fallback.restore(turned)
        if fallback.calm:
            me.follow(rule.calm)
        me.restore(prices)
    agents, diameter, limit = len(routes.agents), routes.diameter, stopping.get("max_rounds")
    depth, wired = wires.depth, wires.pack()
    moves = rules["dynamics"]["moves"] or moves_for(depth, diameter)

    while True:
        saved = (
            packed,
            wired,
            step,
            guess,
            in_use,
            (residual, quiet, settled, least_gap, since),
            me.state(),
            fallback.state(),
            _packed(last),
            _packed(before),
        )
        quotes = me.announce(guess)
        exchanging = _exchange(part, own, me, wires, quotes, "tables")
        say = next(exchanging)
        say.snapshot = saved
        say.record = _measured(last, in_use, residual, step, depth, agents, diameter)
        heard = yield say
        tables = yield from _onwards(exchanging, heard)
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
            proved = last.claim.holds(gap, error) if by_proof else settled
            last = _judged(last, gap, proved)
            least_gap, since = (gap, 0) if gap < least_gap else (least_gap, since + moves)
        share = own.contract.share(tables, factor)
        in_use = min(in_use, share.allocation)
        use(2 * step + 1, in_use)
        step += 1
        if all_satisfied or step == limit or since >= STALLED:
            final = before if all_satisfied else last
            if final is None:  # max_rounds = 1
                final = Played(share, me.demand, quotes, factor, *me.claim(tables, least))
            use(2 * step, min(in_use, final.share.allocation))
            # The last allocation may be larger than what is in use: once more, room first.
            silent = dict.fromkeys(own.contract.channels, (0.0,))
            widths = dict.fromkeys(own.channels, 1)
            yield from flood(part.agent, part.heard_by, own.channels, silent, widths, wires.reach, "room")
            use(2 * step + 1, final.share.allocation)
            return NetworkShare(
                allocation=final.share.allocation,
                tax=final.share.tax,
                price=final.claim.price,
                demand=final.demand,
                quotes={name: tuple(quote) for name, quote in final.quotes.items()},
                factor=final.factor,
                agents=agents,
                diameter=diameter,
                depth=depth,
                moves=moves,
                steps=step,
                gap=final.gap,
                satisfied=bool(all_satisfied),
                proved=bool(all_satisfied) and by_proof,
            )
        before = last
        last = Played(share, me.demand, quotes, factor, *me.claim(tables, least))
        residual = me.update(tables)
        quiet = quiet + 1 if residual <= QUIET * stopping["tolerance"] else 0
        settled = quiet >= QUIET_MOVES  # of this step's allocation; prices may move on before the next one
        guess = factor
        # Prices need no common factor, and the flood of it may take much longer than that of the tables.
        for _ in range(moves - 1):
            more = yield from _exchange(part, own, me, wires, me.announce(guess), "prices")
            residual = me.update(more)
            quiet = quiet + 1 if residual <= QUIET * stopping["tolerance"] else 0
        if rule.fast and fallback.learn(gap, moves):
            me.follow(rule.calm if fallback.calm else rule)


def moves_for(depth: int, diameter: int) -> int:
    """Price moves for every allocation where the scenario does not say: as many as fit into twice the rounds
    that the common factor takes. Finding the factor then makes the whole half as long again, not more."""
    return max(1, 2 * diameter // depth)


@dataclass(frozen=True, slots=True)
class Wires:
    """How far the members of links are from each other, and the trees on which they add up.

    Attributes:
        reach: rounds that a flood takes, the same at every agent.
        branches: channel -> the own place in its tree; empty where tables are flooded.
        height: the largest of the whole network; 0 where tables are flooded.
    """

    reach: int
    branches: Mapping[str, Branch]
    height: int

    @property
    def depth(self) -> int:
        """Rounds until all of a link know what they need of one another."""
        return 2 * self.height if self.height else self.reach

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        trees = tuple((name, b.hops, b.parent, b.children) for name, b in self.branches.items())
        return (self.reach, trees, self.height)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Wires:
        """Inverse of ``pack``."""
        reach, trees, height = values
        return cls(reach, {name: Branch(*rest) for name, *rest in trees}, height)


def measure(part: Part, own: Own, routes: Routes, exchange: str) -> Generator[Say, Heard, Wires]:
    """The number of rounds that a table takes, the same at every agent: floods of doubling length until all
    tables are complete. They also compare what the members of a link were told about it, and show the way to
    its first member, the root of the tree on which a convergecast adds up.

    Raises:
        Unreachable, Contradiction: as ``network``.
    """
    diameter, rounds = routes.diameter, 1
    quotes = {name: (own.prints[name],) for name in own.prints}
    widths = dict.fromkeys(own.channels, 1)
    while True:
        flooded: Flooded = yield from flood(
            part.agent, part.heard_by, own.channels, quotes, widths, rounds, "measure"
        )
        for name, table in flooded.tables.items():
            for j, told in table.items():
                if told != quotes[name]:
                    raise Contradiction(
                        f"agents {part.agent} and {j} were told different facts about link {name}; expected "
                        "one version at all its members"
                    )
        hops = max((away for away, _ in flooded.towards.values()), default=0)
        missing, deepest, height = yield from maximum(
            (float(bool(flooded.missing)), float(flooded.deepest), float(hops)), diameter
        )
        if not missing:
            reach = max(1, int(deepest))
            if exchange == "flood":
                return Wires(reach, {}, 0)
            branches = yield from plant(part.agent, part.heard_by, own.channels, flooded.towards)
            return Wires(reach, branches, max(1, int(height)))
        if rounds >= len(routes.agents):
            if not flooded.missing:
                raise Unreachable("the members of another agent's link cannot hear one another")
            name, absent = next(iter(flooded.missing.items()))
            raise Unreachable(
                f"link {name}: agent {part.agent} cannot be reached by {', '.join(absent)}; expected its "
                "members and relays to be connected in the communication graph"
            )
        rounds *= 2


def _exchange(
    part: Part, own: Own, me: Taker, wires: Wires, quotes: Quotes, kind: str
) -> Generator[Say, Heard, Any]:
    """What ``me`` needs of everybody on its links, from tables or from sums; all members the same bits."""
    if not wires.height:
        flooded: Flooded = yield from flood(
            part.agent, part.heard_by, own.channels, quotes, own.widths, wires.reach, kind
        )
        return me.read(flooded.tables)
    contract = own.contract
    assert isinstance(contract, Unicast)
    mine = {name: terms(link, contract.me, quotes[name]) for name, link in contract.links.items()}
    whole = yield from convergecast(wires.branches, mine, TERMS, wires.height, kind)
    return {
        name: of_parts(link, quotes[name], mine[name], whole[name]) for name, link in contract.links.items()
    }


def _onwards(exchanging: Generator[Say, Heard, Any], heard: Heard) -> Generator[Say, Heard, Any]:
    """The rest of an exchange whose first round has been heard."""
    while True:
        try:
            say = exchanging.send(heard)
        except StopIteration as stop:
            return stop.value
        heard = yield say


def _judged(played: Played, gap: float, proved: bool) -> Played:
    return Played(
        played.share, played.demand, played.quotes, played.factor, played.claim, played.part, gap, proved
    )


def _measured(
    last: Played | None,
    in_use: float,
    residual: float,
    step: int,
    depth: int,
    agents: int,
    diameter: int,
) -> dict[str, float]:
    """What is recorded with the first message of a step: the facts of the run, then the step before."""
    if last is None:
        return {"N": float(agents), "diameter": float(diameter), "depth": float(depth), "in_use": in_use}
    rows = {
        "step": float(step - 1),
        "allocation": last.share.allocation,
        "in_use": in_use,
        "tax": last.share.tax,
        "demand": last.demand,
        "price": last.claim.price,
        "factor": last.factor,
        "gap_part": last.part,
        "residual": residual,
    }
    for name, quote in last.quotes.items():
        rows.update({f"quote.{name}.{k}": v for k, v in enumerate(quote)})
    return rows


def _packed(played: Played | None) -> tuple[Any, ...] | None:
    if played is None:
        return None
    claim, share = played.claim, played.share
    return (
        (share.allocation, share.tax),
        played.demand,
        tuple(played.quotes.items()),
        played.factor,
        (claim.price, claim.ideal),
        played.part,
        played.gap,
        played.proved,
    )


def _restored(own: Own, resume: Snapshot) -> tuple[Any, ...]:
    *plain, last, before = resume

    def played(packed: tuple[Any, ...] | None) -> Played | None:
        if packed is None:
            return None
        share, demand, quotes, factor, (price, ideal), part, gap, proved = packed
        c = own.contract
        claim = Claim(c.valuation, price, ideal, c.highest, share[0])
        return Played(Share(*share), demand, dict(quotes), factor, claim, part, gap, proved)

    return (*plain, played(last), played(before))
