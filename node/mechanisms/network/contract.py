"""What a network mechanism is from one agent's side.

On every channel (a link, or a group that shares a public good) each member quotes a tuple of numbers, its
demand y first. A table holds the quotes of all members of a channel; a contract reads the tables of its own
channels and one number that concerns the whole network, the common factor by which demands are scaled so
that every capacity holds. Nothing else about others enters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from node.part import AgentId

if TYPE_CHECKING:
    from node.mechanisms.network.row_sums import RowSums
    from node.mechanisms.network.sums import LinkSums
    from node.mechanisms.network.valuations import Valuation

Quote = tuple[float, ...]
Quotes = Mapping[str, Quote]  # channel -> what one agent quotes there
Table = Mapping[AgentId, Quote]  # ids ascending
Tables = Mapping[str, Table]  # channel -> table
# What a contract reads: tables, or where sums are all that it needs, sums.
Seen = Mapping[str, "Table | LinkSums"]
SeenRows = Mapping[str, "Table | RowSums"]

# "No limit": larger than any factor that matters, and finite, for infinities do not travel.
FREE = 1e300


@dataclass(frozen=True, slots=True)
class Share:
    """What an agent gets and pays at one profile of messages.

    Attributes:
        allocation: x_i >= 0.
        tax: t_i, money paid by the agent (negative: received).
    """

    allocation: float
    tax: float


class Contract(Protocol):
    """One agent's side of a network mechanism."""

    @property
    def me(self) -> AgentId:
        """The agent."""

    @property
    def valuation(self) -> Valuation:
        """Its private v."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Its channels, ascending."""

    @property
    def lowest(self) -> float:
        """The smallest demand that it may quote; 0 in chapters 1 and 2, d > 0 in chapter 3."""

    @property
    def highest(self) -> float:
        """H, the largest demand that it can use."""

    def limits(self, tables: Tables) -> Mapping[str, float]:
        """Own channel -> the factor that it allows; ``FREE`` if any."""
        ...

    def factor(self, least: float) -> float:
        """The common factor, given the least limit in the whole network."""
        ...

    def exact(self, least: float) -> float:
        """The common factor without the guard against rounding; for proofs, never for use."""
        ...

    def allocation(self, tables: Tables, factor: float) -> float:
        """x_i."""
        ...

    def share(self, tables: Tables, factor: float) -> Share:
        """Allocation and tax; the own quotes are those in the tables."""
        ...

    def reply(self, y: float, tables: Tables, factor: float) -> Quotes:
        """The quotes with demand y whose prices are the agent's best ones against the others' quotes.

        Prices do not enter ``factor``, so it is that of the tables with the own demand y.
        """
        ...

    def unsettled(self, tables: Tables, factor: float) -> float:
        """The part of its payments that nobody would get, were the step settled; 0 with weak balance, where
        nothing is said about it."""
        ...

    def settled(self, quotes: Quotes, allocation: float, factor: float) -> Quotes:
        """What the agent quotes in the settlement of a step, so that taxes with strong balance add up to
        zero: a guess is what came out, a demand feasible.

        Args:
            quotes: of the step; entries may be longer than quotes.
            allocation, factor: of the step.
        """
        ...

    def closing(self, factor: float) -> float:
        """The common factor of the settlement, given that of its step; for ``share``. Nobody has to agree on
        it anew: it follows from the demands, which are the same or what they were scaled to."""
        ...
