"""How the agents of a link come to know the same: how far they are apart, and one exchange of quotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import maximum
from node.mechanisms.network.multicast import Multicast
from node.protocols.network.beside import beside
from node.protocols.network.convergecast import Branch, convergecast, plant
from node.protocols.network.tables import Flooded, flood

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.mechanisms.network.contract import Quotes, Tables
    from node.mechanisms.network.taker import Taker
    from node.part import Part
    from node.protocol import Heard, Say
    from node.protocols.network.facts import Own
    from node.routes import Routes


# What an agent floods in place of 1 for "some member has not been heard yet" if one is not there at all.
ABSENT = 2.0


class Unreachable(Exception):
    """The members of a link cannot hear one another, not even through its relays.

    Attributes:
        link: a link of this agent's own of which that is so; empty if it is one of others.
    """

    def __init__(self, text: str, link: str = "") -> None:
        super().__init__(text)
        self.link = link


class Absent(Exception):
    """Members or relays of some link in this part of the network are not there."""


class Withheld(Exception):
    """What came when the ways were measured has not come now: a fault in what a neighbour says."""


class Contradiction(Exception):
    """Two agents were told different facts about one link."""


@dataclass(frozen=True, slots=True)
class Wires:
    """How far the members of links are from each other, and the trees on which they add up.

    Attributes:
        reach: rounds that the floods of all tables take, the same at every agent; 0 if all is added up.
        branches: channel that is added up -> the own place in its tree; empty where tables are flooded.
        height: the largest of the whole network; 0 where tables are flooded.
    """

    reach: int
    branches: Mapping[str, Branch]
    height: int

    @property
    def depth(self) -> int:
        """Rounds until all of a link know what they need of one another."""
        return max(2 * self.height, self.reach)

    def pack(self) -> tuple[Any, ...]:
        """As plain values."""
        trees = tuple((name, b.hops, b.parent, b.children) for name, b in self.branches.items())
        return (self.reach, trees, self.height)

    @classmethod
    def unpack(cls, values: tuple[Any, ...]) -> Wires:
        """Inverse of ``pack``."""
        reach, trees, height = values
        return cls(reach, {name: Branch(*rest) for name, *rest in trees}, height)


def measure(part: Part, own: Own, routes: Routes, way: str) -> Generator[Say, Heard, Wires]:
    """The number of rounds that a table takes, the same at every agent: floods of doubling length until all
    tables are complete. They also compare what the members of a link were told about it, and show the way to
    its first member, the root of the tree on which a convergecast adds up.

    Raises:
        Unreachable: at every agent in the same round, if a link lacks relays.
        Absent: at every agent in the same round, if somebody on some agent's own links is not there.
        Contradiction: if a link's members were told different facts.
    """
    diameter, rounds = routes.diameter, 1
    there = frozenset(routes.agents)
    absent = any(
        not there.issuperset((*own.channels[name].members, *own.channels[name].relays)) for name in own.prints
    )
    tables = _tables(own) if way == "convergecast" else tuple(own.channels)
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
        towards = {name: place for name, place in flooded.towards.items() if name not in tables}
        hops = max((away for away, _ in towards.values()), default=0)
        deepest = max((flooded.rounds.get(name, 0) for name in tables), default=0)
        lacking = ABSENT if absent else float(bool(flooded.missing))
        missing, reach, height = yield from maximum((lacking, float(deepest), float(hops)), diameter)
        if missing >= ABSENT:
            raise Absent("somebody on a link is not there")
        if not missing:
            if way == "flood":
                return Wires(max(1, int(reach)), {}, 0)
            adding = {name: channel for name, channel in own.channels.items() if name not in tables}
            branches = yield from plant(part.agent, part.heard_by, adding, towards)
            return Wires(int(reach), branches, max(1, int(height)))
        if rounds >= len(routes.agents):
            if not flooded.missing:
                raise Unreachable("the members of another agent's link cannot hear one another")
            name, silent = next(iter(flooded.missing.items()))
            raise Unreachable(
                f"link {name}: agent {part.agent} cannot be reached by {', '.join(silent)}; expected its "
                "members and relays to be connected in the communication graph",
                name,
            )
        rounds *= 2


def exchange(
    part: Part, own: Own, me: Taker, wires: Wires, quotes: Quotes, kind: str, widths: Mapping[str, int]
) -> Generator[Say, Heard, Any]:
    """What ``me`` needs of everybody on its links, from tables or from sums; all members the same bits.

    Args:
        part, own, me, wires: the agent's.
        quotes: own channel -> entry, or a bare quote.
        kind: of the messages.
        widths: channel -> numbers of an entry there.
    Raises:
        Withheld: if a neighbour has not told what it had to tell.
    """
    if not wires.height:
        flooded: Flooded = yield from flood(
            part.agent, part.heard_by, own.channels, quotes, widths, wires.reach, kind
        )
        return me.read(_whole(flooded))
    contract = own.contract
    assert not isinstance(contract, Multicast)  # it needs whole tables: docs/networks.md
    mine = {name: contract.parts(name, quotes[name]) for name in contract.summed}
    adding = convergecast(wires.branches, mine, contract.terms, wires.height, kind)
    tables: Tables = {}
    if wires.reach:
        flooding = flood(
            part.agent,
            part.heard_by,
            {name: own.channels[name] for name in _tables(own)},
            {name: quotes[name] for name in _tables(own)},
            widths,
            wires.reach,
            kind,
        )
        whole, flooded = yield from beside(adding, flooding, kind)
        tables = _whole(flooded)
    else:
        whole = yield from adding
    if silent := [name for name in mine if name not in whole]:
        raise Withheld(f"link {silent[0]}: {wires.branches[silent[0]].parent} has not told the sums of all")
    return {**tables, **{name: contract.of_parts(name, quotes[name], whole[name]) for name in mine}}


def _whole(flooded: Flooded) -> Tables:
    """The tables; the rounds were as many as it takes."""
    for name, silent in flooded.missing.items():
        raise Withheld(
            f"link {name}: nothing of {', '.join(silent)} has come; who it is or a neighbour on the way from "
            "there has withheld it"
        )
    return flooded.tables


def _tables(own: Own) -> tuple[str, ...]:
    """The own channels of which a table is needed, even where sums are all that is needed of the others."""
    contract = own.contract
    if isinstance(contract, Multicast):
        return contract.channels
    return tuple(name for name in contract.channels if name not in contract.summed)


def onwards(exchanging: Generator[Say, Heard, Any], heard: Heard) -> Generator[Say, Heard, Any]:
    """The rest of an exchange whose first round has been heard."""
    while True:
        try:
            say = exchanging.send(heard)
        except StopIteration as stop:
            return stop.value
        heard = yield say
