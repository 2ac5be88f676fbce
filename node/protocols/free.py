"""A whole run in free mode: what needs rounds keeps them beside the work, in the same messages.

Two things need rounds: the set-up (who is there, how far, on what do we agree) and the stopping rule. They
are one sequence of rounds, to the end, for whoever leaves rounds early leaves its neighbours without its last
one. That sequence is the side of ``together``. Its first report is what the set-up found, its last one that
all stop; the work waits for the first and ends with the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from node.combinators import in_rounds
from node.protocol import Accepts, Heard, Protocol, Say, together

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.part import Part

T = TypeVar("T")

WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Prepared(Generic[T]):
    """A verdict: the set-up is over, and this is what it found; the work may begin."""

    found: T


@dataclass(frozen=True, slots=True)
class Stop:
    """A verdict: all stop, each while it is in this round of the side, counted from 0."""

    round: int


@dataclass(frozen=True, slots=True)
class Plan(Generic[T]):
    """What a free run is made of.

    Attributes:
        set_up: makes the protocol of rounds that comes first. All agents leave it in the same round; public
            bodies only.
        rule: (what was found, snapshot or None) -> the stopping rule: a side that keeps rounds, with a
            snapshot at every Say.
        fold: how the work's reports between two rounds become one; see ``in_rounds``.
        work: (what was found, snapshot or None) -> the protocol whose result counts, right in free mode.
        result: (what was found, what the work returned, the round of the side in which all stopped, the
            agent's ticks of work) -> the result of the run. The round is the same at every agent; it is None
            if the work ended by itself.
        pack, unpack: what was found as plain values, and back.
    """

    set_up: Callable[[], Protocol]
    rule: Callable[[T, Any], Protocol]
    fold: Callable[[Any, Any], Any]
    work: Callable[[T, Any], Protocol]
    result: Callable[[T, Any, int | None, int], Any]
    pack: Callable[[T], Any]
    unpack: Callable[[Any], T]


def free_run(plan: Plan[Any], part: Part, resume: Any = None) -> Protocol:
    """Set up, work until all stop, and return the result.

    Guarantee: set-up and stopping rule hear exactly what they would hear in rounds mode, so all agents find
    the same and stop while they are in the same round of the side.

    Args:
        plan: of what.
        part: of the agent; for its neighbours.
        resume: a snapshot, or None. There is one at every Say once the set-up is over, if the work has one.
    """
    return together(
        partial(_working, plan),
        lambda state: in_rounds(partial(_keeping_rounds, plan), part.hears, plan.fold, state, part.heard_by),
        resume,
    )


def _keeping_rounds(plan: Plan[Any], resume: tuple[int, Any, Any] | None = None) -> Protocol:
    """The side: the set-up, then the stopping rule, as one sequence of rounds that never ends."""
    if resume is None:
        round_, found, state = 0, None, None
        preparing = plan.set_up()
        said = next(preparing)
        while True:
            heard = yield Say(said.body, kind=said.kind, accepts=said.accepts)
            round_ += 1
            try:
                said = preparing.send(heard)
            except StopIteration as end:
                found = end.value
                break
    else:
        round_, packed, state = resume
        found = plan.unpack(packed)
    packed = plan.pack(found)
    rule = plan.rule(found, state)
    said = next(rule)
    while True:
        heard = yield Say(
            said.body,
            kind=said.kind,
            accepts=said.accepts,
            # Said anew at every round: a life that begins here must hear it, too.
            report=Prepared(found) if said.report is None else Stop(round_ - 1),
            snapshot=(round_, packed, said.snapshot),
        )
        said = rule.send(heard)
        round_ += 1


def _working(plan: Plan[Any], resume: tuple[Any, int, Any] | None = None) -> Protocol:
    """Main: says nothing until the set-up is over, then does the work."""
    if resume is None:
        verdict = None
        while not isinstance(verdict, Prepared):
            verdict = (yield Say(kind=WAITING)).verdict
        found, ticks, state = verdict.found, 0, None
    else:
        found, ticks, state = plan.unpack(resume[0]), *resume[1:]
    packed = plan.pack(found)
    work, stopped = plan.work(found, state), None
    said = next(work)
    while True:
        accepts = said.accepts
        heard = yield Say(
            said.body,
            to=said.to,
            kind=said.kind,
            accepts=_or_waiting(accepts),
            accepts_told=said.accepts_told,
            report=said.report,
            record=said.record,
            snapshot=None if said.snapshot is None else (packed, ticks, said.snapshot),
        )
        if isinstance(heard.verdict, Stop):
            stopped = heard.verdict.round
        # One that works may have been heard while this one was waiting, and read nothing.
        bodies = {
            j: body
            for j, body in heard.said.items()
            if (j in heard.told if body is None else accepts is None or accepts(body, j))
        }
        ticks += 1
        told = {j: words for j, words in heard.told.items() if j in bodies}
        try:
            said = work.send(Heard(bodies, told, heard.gone, verdict=stopped))
        except StopIteration as end:
            return plan.result(found, end.value, stopped, ticks)


def _or_waiting(accepts: Accepts | None) -> Accepts | None:
    """A neighbour may still be waiting, and say nothing."""
    return None if accepts is None else lambda body, src: body is None or accepts(body, src)
