"""Running-sum ratio consensus: an exact mean under loss, delay, reordering, duplication and amnesia."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from node.consensus.averages import VETO, Averaged, finite_input, measured, plausible
from node.protocol import Heard, Say

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from node.part import AgentId

Snapshot = tuple[
    float, float, float | None, float | bool, float, int, tuple[tuple[str, float, float, float, float], ...]
]

# Below this the ratio says nothing: z can be zero or negative for some rounds after a restart (section 3.1).
LEAST = 1e-6


def ratio(
    x: float,
    neighbours: Sequence[AgentId],
    weight: float = 1.0,
    tolerance: float | None = None,
    max_rounds: int | None = None,
    facts: Mapping[str, float] | None = None,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, Averaged]:
    """Average by handing out shares of (y, z) and saying, on each link, all that was ever offered there.

    Section 3.1. Mass is never sent, only the running sums (S, T) of what was offered; the reader takes the
    difference to the sums (RS, RT) it has read before. So the newest message holds everything, and any
    earlier one may be lost, repeated or overtaken. Every agent says first and then absorbs what was said in
    the same round, which takes half the rounds of the other order or less.

    Guarantee: at every instant and for every agent, ``y + sum_j S_j - sum_j RS_j = x`` and the same for z,
    up to rounding; hence, on a connected undirected graph on which no link fails for ever, every estimate
    converges to ``sum x / sum weight`` geometrically. Any snapshot is a valid restart point, also none: the
    sums a restarted agent says are then *lower*, and the difference takes back what its earlier life handed
    out. Agents hold different floating-point numbers: never compare them with ``==``, nor pay by them.

    What is offered is the same number on every link for as long as all links are of one age, so (S, T)
    travels as one public body, in rounds and in free mode alike; loss plays no part in it. Only a link made
    later (a neighbour heard that was not there before) starts from zero on both sides and makes the sums
    differ; from then on each travels privately. A neighbour declared gone is unwound once: what was offered
    to it comes back, what came from it is returned.

    S grows by about mean / (1 + d) a round and resolution falls with it: open a new epoch every 1e5 rounds.

    Args:
        x: this agent's input, finite.
        neighbours: whom it hears and who hears it.
        weight: initial z; 1 everywhere for the mean. For the sum: 1 at one agreed agent, 0 at all others.
        tolerance: report whether all neighbours' shares agree with mine within it, instead of the estimate.
        max_rounds: leave after so many rounds, the same number at every agent.
        facts: to record with the first round.
        resume: a snapshot, or None.
    Raises:
        ValueError: if ``x`` or ``weight`` is not finite.
    """
    if resume is None:
        y, z = finite_input(x), finite_input(weight)
        estimate = y / z if z > LEAST else None
        report: float | bool = VETO if estimate is None else estimate
        if tolerance is not None:
            report = False
        residual, rounds = math.inf, 0
        links = {j: [0.0, 0.0, 0.0, 0.0] for j in sorted(neighbours)}
    else:
        y, z, estimate, report, residual, rounds, ledger = resume
        links = {j: list(amounts) for j, *amounts in ledger}
    while True:
        # The state before the shares are dealt: dealing again gives the very same doubles.
        snapshot = (y, z, estimate, report, residual, rounds, tuple((j, *sums) for j, sums in links.items()))
        a, b = y / (1 + len(links)), z / (1 + len(links))
        for sums in links.values():
            sums[0] += a
            sums[1] += b
        even = len({(sums[0], sums[1]) for sums in links.values()}) == 1
        heard = yield Say(
            next((sums[0], sums[1]) for sums in links.values()) if even else None,
            to={} if even else {j: (sums[0], sums[1]) for j, sums in links.items()},
            kind="ratio",
            accepts=_accepts,
            report=report,
            record=measured(estimate, residual, facts if rounds == 0 else None),
            snapshot=snapshot,
            survives=True,
        )
        rounds += 1
        y, z, shares = a, b, list[float]()
        for j, body in heard.said.items():
            offered = heard.told.get(j, body)
            if offered is None or not _accepts(offered, j) or j in heard.gone:
                continue  # nothing new, or a private part that cannot be read: as good as lost
            s, t = offered
            sums = links.setdefault(j, [0.0, 0.0, 0.0, 0.0])
            gain, more = s - sums[2], t - sums[3]
            y += gain
            z += more
            sums[2], sums[3] = s, t
            if gain or more:
                shares.append(gain / more if more > 0 else math.inf)
        for j in heard.gone:
            if (sums := links.pop(j, [])) != []:
                y += sums[0] - sums[2]
                z += sums[1] - sums[3]
        stands = z > LEAST
        if stands:
            estimate = y / z
        # Where nothing new was heard, nothing was violated either: the last residual holds on.
        residual = max((abs(e - y / z) for e in shares), default=residual) if stands else math.inf
        report = y / z if stands else VETO
        if tolerance is not None:
            report = residual <= tolerance
        if heard.verdict is not None or rounds == max_rounds:
            return Averaged(estimate, rounds, heard.verdict is not None)


def _accepts(body: object, src: AgentId) -> bool:
    if body is None:
        return True  # all that is said is private
    return type(body) is tuple and len(body) == 2 and plausible(body[0]) and plausible(body[1])
