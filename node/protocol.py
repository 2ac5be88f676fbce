"""What a protocol is: a generator that yields what it says and is sent what its neighbours said.

No I/O, no clock, no global randomness. The same object is stepped by hand in a test, run under a seeded
virtual network and driven over a broker. ``node.agent`` is the only driver.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from node.part import AgentId

Accepts = Callable[[Any, AgentId], bool]  # (body, who said it)


@dataclass(slots=True)
class Say:
    """What an agent says in one round. Values are plain and immutable; the driver encodes them at once.

    Attributes:
        body: what every listener reads: None, bool, int, float, str, bytes, tuples of these, float64 arrays.
        to: neighbour -> what only that neighbour reads.
        kind: which protocol speaks; equal at all agents in a round.
        accepts: whether a neighbour's body of this round is well formed (types and shapes; finiteness is
            checked for all), given the body and the neighbour. Bodies that are not are counted and dropped
            before they reach the protocol. None accepts anything.
        accepts_told: the same for what a neighbour said to this agent alone.
        report: for the side protocol; never leaves the agent.
        record: measurements of the round just heard, for whoever records the run; name -> number.
        snapshot: ``protocol(resume=snapshot)`` yields this very Say first.
        survives: free mode: whether the protocol goes on when a neighbour is gone, and wants to be told in
            ``Heard.gone``. If not, all start again without it.
    """

    body: Any = None
    to: Mapping[AgentId, Any] = field(default_factory=dict)
    kind: str = ""
    accepts: Accepts | None = None
    accepts_told: Accepts | None = None
    report: Any = None
    record: Mapping[str, float] | None = None
    snapshot: Any = None
    survives: bool = False


@dataclass(slots=True)
class Heard:
    """What the neighbours said. Keys ascend, so a sum over them has one order and one value.

    Attributes:
        said: neighbour -> body.
        told: neighbour -> what it said to me alone; absent if nothing.
        gone: neighbours declared gone since my last yield; only where the Say ``survives`` that.
        report: side only: the newest report of the main protocol.
        verdict: main only: the report of the side protocol; None means go on.
    """

    said: Mapping[AgentId, Any]
    told: Mapping[AgentId, Any] = field(default_factory=dict)
    gone: tuple[AgentId, ...] = ()
    report: Any = None
    verdict: Any = None


Protocol = Generator[Say, Heard, Any]  # what it returns is the agent's result
Factory = Callable[[Any], Protocol]  # called with a snapshot, or None for a fresh start


def together(main: Factory, side: Factory, resume: tuple[Any, Any, Any] | None = None) -> Protocol:
    """Run two protocols in the same messages: public and private parts become pairs.

    In every round the side hears its half first, with main's newest report; then main hears its half, with
    the side's newest report as verdict. A verdict once given stays. Returns what main returns and closes
    the side, which keeps talking in the last round, in which others still need it.

    Args:
        main: factory of the protocol whose result counts.
        side: factory of the protocol that rides along; it never returns.
        resume: a snapshot of this combinator, or None.
    Raises:
        RuntimeError: if the side returned.
    """
    main_state, side_state, report = resume if resume is not None else (None, None, None)
    m, s = main(main_state), side(side_state)
    verdict: Any = None
    accepts, accepts_told, checks = None, None, None
    try:
        mine = next(m)
        yours = next(s)
        while True:
            if mine.report is not None:
                report = mine.report
            if yours.report is not None:
                verdict = yours.report
            both = mine.snapshot is not None and yours.snapshot is not None
            now = (mine.accepts, yours.accepts, mine.accepts_told, yours.accepts_told)
            if now != checks:  # most protocols check all their rounds alike
                checks = now
                accepts = _pair(mine.accepts, yours.accepts)
                accepts_told = _pair(_or_none(mine.accepts_told), _or_none(yours.accepts_told))
            to: dict[AgentId, Any] = {}
            if mine.to or yours.to:
                to = {j: (mine.to.get(j), yours.to.get(j)) for j in sorted({*mine.to, *yours.to})}
            heard = yield Say(
                (mine.body, yours.body),
                to=to,
                kind=f"{mine.kind}+{yours.kind}",
                accepts=accepts,
                accepts_told=accepts_told,
                record=mine.record if yours.record is None else {**(mine.record or {}), **yours.record},
                snapshot=(mine.snapshot, yours.snapshot, report) if both else None,
                survives=mine.survives and yours.survives,
            )
            # Two passes over few neighbours: cheaper than a generic split, and the order stays ascending.
            told = heard.told
            half = Heard(
                {j: body[1] for j, body in heard.said.items()},
                {j: own[1] for j, own in told.items() if own[1] is not None} if told else told,
                heard.gone,
                report=report,
            )
            try:
                yours = s.send(half)
            except StopIteration:
                raise RuntimeError(
                    f"the side protocol {yours.kind!r} returned while {mine.kind!r} ran"
                ) from None
            if yours.report is not None:
                verdict = yours.report
            half = Heard(
                {j: body[0] for j, body in heard.said.items()},
                {j: own[0] for j, own in told.items() if own[0] is not None} if told else told,
                heard.gone,
                verdict=verdict,
            )
            try:
                mine = m.send(half)
            except StopIteration as stop:
                return stop.value
    finally:
        m.close()
        s.close()


def _or_none(accepts: Accepts | None) -> Accepts | None:
    """In a pair of private parts either may be missing."""
    return None if accepts is None else lambda told, src: told is None or accepts(told, src)


def _pair(first: Accepts | None, second: Accepts | None) -> Accepts:
    def accepts(body: Any, src: AgentId) -> bool:
        return (
            type(body) is tuple
            and len(body) == 2
            and (first is None or first(body[0], src))
            and (second is None or second(body[1], src))
        )

    return accepts
