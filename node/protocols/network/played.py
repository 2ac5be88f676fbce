"""A step of a network mechanism that is over: what is kept, recorded and judged of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from node.mechanisms.network.contract import FREE, Share
from node.mechanisms.network.taker import Claim

if TYPE_CHECKING:
    from node.mechanisms.network.contract import Contract, Quotes


@dataclass(frozen=True, slots=True)
class Played:
    """One finished step, as far as its proof has come.

    Attributes:
        share, demand, quotes, factor: of the step.
        claim: what its accuracy is held against.
        part: the agent's part of the duality gap.
        unsettled: the part of its payments that would go to nobody.
        gap: of the whole network; ``FREE`` while it is not known.
        proved: whether the gap proves the accuracy asked for.
    """

    share: Share
    demand: float
    quotes: Quotes
    factor: float
    claim: Claim
    part: float
    unsettled: float
    gap: float = FREE
    proved: bool = False


def judged(played: Played, gap: float, proved: bool) -> Played:
    """The same step, now that the gap of the whole network is known."""
    return replace(played, gap=gap, proved=proved)


def measured(
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


def packed_step(played: Played | None) -> tuple[Any, ...] | None:
    """As plain values, for a snapshot."""
    if played is None:
        return None
    claim, share = played.claim, played.share
    return (
        (share.allocation, share.tax),
        played.demand,
        tuple(played.quotes.items()),
        played.factor,
        (claim.price, claim.ideal, claim.allocation),
        played.part,
        played.unsettled,
        played.gap,
        played.proved,
    )


def restored(contract: Contract, resume: tuple[Any, ...]) -> tuple[Any, ...]:
    """A snapshot whose last two values, packed steps, are steps again.

    Args:
        contract: the side by which the agent makes its claims.
        resume: the snapshot.
    """
    *plain, last, before = resume

    def step(values: tuple[Any, ...] | None) -> Played | None:
        if values is None:
            return None
        share, demand, quotes, factor, (price, ideal, x), *rest = values
        claim = Claim(contract.valuation, price, ideal, contract.highest, x)
        return Played(Share(*share), demand, dict(quotes), factor, claim, *rest)

    return (*plain, step(last), step(before))
