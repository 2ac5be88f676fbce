"""How the agents of a link come to know the same: how far they are apart, and one exchange of quotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.consensus.extremum import maximum
from node.mechanisms.network.sums import TERMS, of_parts, terms
from node.mechanisms.network.unicast import Unicast
from node.protocols.network.convergecast import Branch, convergecast, plant
from node.protocols.network.tables import Flooded, flood

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from node.mechanisms.network.contract import Quotes
    from node.mechanisms.network.taker import Taker
    from node.part import Part
    from node.protocol import Heard, Say
    from node.protocols.network.facts import Own
    from node.routes import Routes


class Unreachable(Exception):
    """The members of a link cannot hear one another, not even through its relays."""


class Contradiction(Exception):
    """Two agents were told different facts about one link."""


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


def measure(part: Part, own: Own, routes: Routes, way: str) -> Generator[Say, Heard, Wires]:
    """The number of rounds that a table takes, the same at every agent: floods of doubling length until all
    tables are complete. They also compare what the members of a link were told about it, and show the way to
    its first member, the root of the tree on which a convergecast adds up.

    Raises:
        Unreachable: at every agent in the same round, if a link lacks relays.
        Contradiction: if a link's members were told different facts.
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
            if way == "flood":
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


def exchange(
    part: Part, own: Own, me: Taker, wires: Wires, quotes: Quotes, kind: str, widths: Mapping[str, int]
) -> Generator[Say, Heard, Any]:
    """What ``me`` needs of everybody on its links, from tables or from sums; all members the same bits.

    Args:
        part, own, me, wires: the agent's.
        quotes: own channel -> entry, or a bare quote.
        kind: of the messages.
        widths: channel -> numbers of an entry there.
    """
    if not wires.height:
        flooded: Flooded = yield from flood(
            part.agent, part.heard_by, own.channels, quotes, widths, wires.reach, kind
        )
        return me.read(flooded.tables)
    contract = own.contract
    assert isinstance(contract, Unicast)
    mine = {name: terms(link, contract.me, quotes[name]) for name, link in contract.links.items()}
    whole = yield from convergecast(wires.branches, mine, TERMS, wires.height, kind)
    return {
        name: of_parts(link, quotes[name], mine[name], whole[name]) for name, link in contract.links.items()
    }


def onwards(exchanging: Generator[Say, Heard, Any], heard: Heard) -> Generator[Say, Heard, Any]:
    """The rest of an exchange whose first round has been heard."""
    while True:
        try:
            say = exchanging.send(heard)
        except StopIteration as stop:
            return stop.value
        heard = yield say
