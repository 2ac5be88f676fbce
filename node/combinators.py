"""A protocol of rounds inside free-running time: the synchroniser as a protocol.

``node.protocol.together`` runs two protocols in the same messages; ``in_rounds`` makes one of them keep
rounds of its own where the driver keeps none, so that it can stop a free run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.part import AgentId
    from node.protocol import Factory, Protocol

Snapshot = tuple[int, Any, Any, Any, tuple[str, ...]]


def newest(old: Any, new: Any) -> Any:
    """Fold for windows: the newest report counts."""
    return new


def throughout(old: Any, new: Any) -> bool:
    """Fold for counters: satisfied only if satisfied ever since the round before."""
    return bool(old) and bool(new)


def in_rounds(
    protocol: Factory,
    neighbours: Sequence[AgentId],
    fold: Callable[[Any, Any], Any] = newest,
    resume: Snapshot | None = None,
    listeners: Sequence[AgentId] | None = None,
) -> Protocol:
    """Run a protocol of rounds where messages may be lost, repeated and overtaken: in free mode.

    Sections 4.4 and 5.1. Says (k, body of round k, body of round k-1) at every tick and goes on to round
    k+1 when the newest message of *every* neighbour has come to round k. Then no neighbour is ever more
    than one round away, so the newest message is all that is needed: nothing is stored, and a neighbour's
    round k+1 acknowledges mine. A neighbour that listens to this agent and is not heard by it says its round
    to it privately, on top of what it says to its own listeners.

    Guarantee: the protocol hears exactly what it would hear in rounds mode, at some later time. Reports of
    the main protocol that arrive between two rounds are folded into one. Public bodies only, and small ones:
    each travels twice. Its snapshot must not be lost: there is one where the protocol itself has one.

    Args:
        protocol: factory of the protocol of rounds.
        neighbours: whom it hears; one that is declared gone is no longer waited for.
        fold: (folded so far, next report) -> folded; not called for the first report of a round.
        resume: a snapshot, or None.
        listeners: who hears it; None: the neighbours.
    Raises:
        ValueError: if the protocol says something private.
    """
    absent: tuple[AgentId, ...]
    if resume is None:
        round_, before, inner, report, absent = 0, None, None, None, ()
    else:
        round_, before, inner, report, absent = resume
    hears, heard_by = set(neighbours), set(neighbours if listeners is None else listeners)
    peers = [j for j in sorted(hears) if j not in absent]
    unheard = [j for j in sorted(heard_by - hears) if j not in absent]
    deaf = sorted(hears - heard_by)
    generator = protocol(inner)
    lost: tuple[AgentId, ...] = ()
    try:
        say = next(generator)
        while True:
            if say.to:
                raise ValueError(f"{say.kind!r} says something private, which cannot be said in rounds")
            heard = yield Say(
                (round_, say.body, before),
                to=dict.fromkeys(deaf, round_),
                kind=f"rounds({say.kind})",
                accepts=_accepts(round_, say.accepts),
                accepts_told=_is_round,
                report=say.report,
                record=say.record,
                snapshot=None if say.snapshot is None else (round_, before, say.snapshot, report, absent),
                survives=say.survives,
            )
            if heard.gone:
                lost = tuple(sorted({*lost, *heard.gone}))
                absent = tuple(sorted({*absent, *heard.gone}))
                peers = [j for j in peers if j not in heard.gone]
                unheard = [j for j in unheard if j not in heard.gone]
            if heard.report is not None:
                report = heard.report if report is None else fold(report, heard.report)
            # What was accepted one round ago as a message one round ahead is read, and checked, only now.
            readable = _accepts(round_, say.accepts)
            bodies = {j: body for j, body in heard.said.items() if body[0] >= round_ and readable(body, j)}
            if not all(j in bodies for j in peers):
                continue
            if not all(heard.told.get(j, -1) >= round_ for j in unheard):
                continue
            said = {j: bodies[j][1 if bodies[j][0] == round_ else 2] for j in peers}
            try:
                following = generator.send(Heard(said, {}, lost, report=report, verdict=heard.verdict))
            except StopIteration as stop:
                return stop.value
            round_, before, say, report, lost = round_ + 1, say.body, following, None, ()
    finally:
        generator.close()


def _is_round(told: Any, src: AgentId) -> bool:
    return type(told) is int and told >= 0


def _accepts(round_: int, inner: Accepts | None) -> Accepts:
    def accepts(body: Any, src: AgentId) -> bool:
        if type(body) is not tuple or len(body) != 3 or type(body[0]) is not int:
            return False
        match body[0] - round_:
            case 0:
                return inner is None or inner(body[1], src)
            case 1:
                return inner is None or inner(body[2], src)
            case ahead:
                return ahead < 0  # old news, not read; more than one round ahead cannot be

    return accepts
