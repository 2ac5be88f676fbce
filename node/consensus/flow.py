"""Flow updating: a self-healing mean, faster than ratio consensus on sparse graphs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.consensus.averages import VETO, Averaged, finite_input, measured, plausible
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.part import AgentId

# neighbour, flow to it, its newest estimate (None before it was heard), the tick at which it said so
Link = tuple[str, float, float | None, int]
Snapshot = tuple[int, bool, float, tuple[Link, ...]]


def flow_updating(
    x: float,
    neighbours: Sequence[AgentId],
    tolerance: float | None = None,
    max_rounds: int | None = None,
    facts: Mapping[str, float] | None = None,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, Averaged]:
    """Average by flows on the links: my estimate is my input less all that flows out of me.

    Section 3.3. Each message holds a link's whole flow, and its reader adopts the negative; so whatever went
    wrong on a link (loss, repetition, amnesia of one end or both) the next message that arrives repairs.

    Guarantee: what an agent hears of a link becomes the exact negative of its own flow there, so that the
    estimates of all add up to the inputs whenever no message is in flight; on a connected undirected graph
    on which no link fails for ever, every estimate converges to the mean geometrically.

    An agent says its flow on a link only once it has heard the neighbour there. At a fresh start that makes
    no difference, since all flows are zero; after a restart without a snapshot it lets the neighbour's
    memory of the link stand and be adopted. Until every neighbour was heard the estimate does not stand.
    Flows are private to their link; the public body is (tick, estimate). The tick tells a message that is
    heard again, which must not undo what has been done since, from a new one.

    Args:
        x: this agent's input, finite.
        neighbours: whom it hears and who hears it.
        tolerance: report whether all neighbours' estimates lie within it of mine, instead of the estimate.
        max_rounds: leave after so many rounds, the same number at every agent.
        facts: to record with the first round.
        resume: a snapshot, or None.
    Raises:
        ValueError: if ``x`` is not finite.
    """
    x = finite_input(x)
    # neighbour -> [flow, its estimate, its tick]; an estimate of None marks a link not heard yet.
    links: dict[AgentId, tuple[float, float | None, int]]
    if resume is None:
        tick, quiet, residual = 0, False, math.inf
        links = dict.fromkeys(sorted(neighbours), (0.0, None, -1))
    else:
        tick, quiet, residual, ledger = resume
        links = {j: (flow, theirs, seen) for j, flow, theirs, seen in ledger}
    while True:
        snapshot = (tick, quiet, residual, tuple((j, *link) for j, link in links.items()))
        # The step: everybody heard and I meet at our average.
        own = x - math.fsum(flow for flow, _, _ in links.values())
        known = [theirs for _, theirs, _ in links.values() if theirs is not None]
        average = (own + sum(known)) / (1 + len(known))
        for j, (flow, theirs, seen) in links.items():
            if theirs is not None:
                links[j] = (flow + average - theirs, average, seen)
        stands = len(known) == len(links)
        report: float | bool = average if stands else VETO
        heard = yield Say(
            (tick, average),
            to={j: flow for j, (flow, theirs, _) in links.items() if theirs is not None},
            kind="flow",
            accepts=_accepts,
            report=report if tolerance is None else quiet and stands,
            record=measured(average if stands else None, residual, facts if tick == 0 else None),
            snapshot=snapshot,
            survives=True,
        )
        tick += 1
        for j, body in heard.said.items():
            then, theirs = body
            flow, _, seen = links.get(j, (0.0, None, -1))
            if then != seen and j not in heard.gone:
                told = heard.told.get(j)
                links[j] = (-told if plausible(told) else flow, theirs, then)
        for j in heard.gone:
            links.pop(j, None)
        residual = max((abs(theirs - average) for _, theirs in heard.said.values()), default=math.inf)
        quiet = tolerance is not None and residual <= tolerance
        if heard.verdict is not None or tick == max_rounds:
            return Averaged(average, tick, heard.verdict is not None)


def _accepts(body: object, src: AgentId) -> bool:
    return (
        type(body) is tuple
        and len(body) == 2
        and type(body[0]) is int
        and 0 <= body[0] < 2**62
        and plausible(body[1])
    )
