"""Tables: the quotes of all members of a channel, flooded within it (spec of chapters 1-3, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.mechanisms.network.contract import Quote, Quotes, Tables
    from node.part import AgentId

Entry = tuple["AgentId", "Quote"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Who shares a table, as public facts.

    Attributes:
        name: of the link, row or group.
        members: who quotes, ids ascending.
        relays: who only forwards, ids ascending; members and relays together are connected in the graph.
    """

    name: str
    members: tuple[AgentId, ...]
    relays: tuple[AgentId, ...] = ()

    def carries(self, agent: AgentId) -> bool:
        """Whether the agent may read and forward its entries."""
        return agent in self.members or agent in self.relays


@dataclass(frozen=True, slots=True)
class Flooded:
    """What an agent holds after a flood.

    Attributes:
        tables: own channel -> its table; ids ascending. Those that it only forwards are left out.
        missing: channel -> members whose quote has not come; only channels where some are missing.
        rounds: channel -> the round, from 1, in which the last entry came; where one has.
        towards: channel -> how far its first member is, and the neighbour that told first, the smallest of
            several; where its entry has come and it is another.
    """

    tables: Tables
    missing: Mapping[str, tuple[AgentId, ...]]
    rounds: Mapping[str, int]
    towards: Mapping[str, tuple[int, AgentId]]

    @property
    def deepest(self) -> int:
        """The round in which the last entry of all came."""
        return max(self.rounds.values(), default=0)


def flood(
    me: AgentId,
    listeners: Sequence[AgentId],
    channels: Mapping[str, Channel],
    quotes: Quotes,
    widths: Mapping[str, int],
    rounds: int,
    kind: str,
) -> Generator[Say, Heard, Flooded]:
    """Collect the quotes of all members of every own channel.

    In every round an agent tells each neighbour on a channel the entries of it that it has heard the round
    before, except to who told them; in the first round its own. Nobody outside of a channel hears of it.

    Guarantee: all members hold the same table, bit for bit, if ``rounds`` is at least the diameter of the
    subgraph of every channel's members and relays, which must be strongly connected. All agents leave in the
    same round.

    Args:
        me: the own id.
        listeners: who hears it, ids ascending.
        channels: those that it is a member or a relay of.
        quotes: channel -> the own quote, finite numbers >= 0; none where it is only a relay.
        widths: channel -> how many numbers a quote there has.
        rounds: how many, the same at every agent.
        kind: of the messages.
    """
    shared = {j: [c for c in channels.values() if c.carries(j)] for j in listeners}
    held: dict[str, dict[AgentId, Quote]] = {name: {} for name in channels}
    fresh: dict[str, dict[AgentId, Quote]] = {name: {} for name in channels}
    sources: dict[tuple[str, AgentId], set[AgentId]] = {}
    for name, quote in quotes.items():
        held[name][me] = fresh[name][me] = quote
    accepts = _accepts(channels, widths)
    came, towards = dict[str, int](), dict[str, tuple[int, "AgentId"]]()
    for round_ in range(1, rounds + 1):
        to: dict[AgentId, Any] = {}
        for j, common in shared.items():
            news = tuple(
                (c.name, entries)
                for c in common
                if (
                    entries := tuple(
                        (i, quote)
                        for i, quote in fresh[c.name].items()
                        if j != i and j not in sources.get((c.name, i), ())
                    )
                )
            )
            if news:
                to[j] = news
        heard = yield Say(to=to, kind=kind, accepts=_nothing, accepts_told=accepts)
        fresh = {name: {} for name in channels}
        sources = {}
        for j, news in heard.told.items():
            for name, entries in news:
                table = held[name]
                for i, quote in entries:
                    if i not in table:
                        table[i] = fresh[name][i] = quote
                        came[name] = round_
                        if i == channels[name].members[0]:
                            towards[name] = (round_, j)
                    sources.setdefault((name, i), set()).add(j)
    tables = {
        name: {i: held[name][i] for i in c.members if i in held[name]}
        for name, c in sorted(channels.items())
        if me in c.members
    }
    missing = {
        name: absent
        for name, c in sorted(channels.items())
        if me in c.members and (absent := tuple(i for i in c.members if i not in held[name]))
    }
    return Flooded(tables, missing, came, towards)


def _nothing(body: object, src: AgentId) -> bool:
    return body is None


def _accepts(channels: Mapping[str, Channel], widths: Mapping[str, int]) -> Accepts:
    members = {name: frozenset(c.members) for name, c in channels.items()}

    def entry(name: str, body: Any) -> bool:
        if type(body) is not tuple or len(body) != 2:
            return False
        i, quote = body
        return (
            type(i) is str
            and i in members[name]
            and type(quote) is tuple
            and len(quote) == widths[name]
            and all(type(v) is float and v >= 0.0 for v in quote)
        )

    def accepts(told: Any, src: AgentId) -> bool:
        return type(told) is tuple and all(
            type(part) is tuple
            and len(part) == 2
            and type(part[0]) is str
            and part[0] in channels
            and channels[part[0]].carries(src)
            and type(part[1]) is tuple
            and all(entry(part[0], body) for body in part[1])
            for part in told
        )

    return accepts
