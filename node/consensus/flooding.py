"""Set flooding: everybody learns every agent's value, so any function of them is exact and the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from node.protocol import Accepts, Heard, Say

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from node.part import AgentId

Numbers = tuple[float, ...]
Entry = tuple[str, int, Any]  # id, version, value
Mark = tuple[str, int]  # id, version
Snapshot = tuple[tuple[Entry, ...], tuple[tuple[str, int, tuple[Mark, ...]], ...], tuple[Mark, ...], int]


def set_flooding(
    me: AgentId,
    value: Any,
    neighbours: Sequence[AgentId],
    rounds: int | None = None,
    size: int | None = None,
    version: int = 0,
    accepts: Callable[[Any], bool] | None = None,
    resume: Snapshot | None = None,
) -> Generator[Say, Heard, dict[AgentId, Any]]:
    """Collect every agent's value: a map from id to value, ids ascending.

    Section 2.2. Entries are merged by the largest version. An agent says the entries that some neighbour is
    not known to hold, and the marks (id, version) of what the neighbours have just said, which tells
    them that it holds those. Both are state: any message may be lost, repeated or overtaken.

    Guarantee: after D rounds without loss, or once everything said in between has got through somehow, all
    agents hold the same map, bit for bit. O(N) values per link in total without loss. An agent that has lost
    its state says a larger version of its own entry; its neighbours then tell it everything anew.

    Leaves after ``rounds`` rounds (rounds mode: D, the same at every agent), or at the verdict of a side
    protocol, to which it reports whether it holds ``size`` entries (free mode: counters in rounds).
    Reveals every value to everybody: not for private data.

    Args:
        me: the own id.
        value: plain and immutable; the same type at every agent.
        neighbours: whom it hears and who hears it.
        rounds: rounds until all leave; None if a side protocol decides.
        size: N; None if unknown.
        version: of the own value; must be larger than in an earlier life whose state is lost.
        accepts: whether somebody's value is well formed; default: a tuple of as many floats as mine.
        resume: a snapshot, or None.
    """
    if accepts is None:
        accepts = _like(value)
    well_formed = _body(accepts)
    if resume is None:
        held: dict[AgentId, tuple[int, Any]] = {me: (version, value)}
        lives = dict.fromkeys(sorted(neighbours), -1)
        theirs: dict[AgentId, dict[AgentId, int]] = {j: {} for j in lives}
        echo: tuple[Mark, ...] = ()
        past = 0
    else:
        entries, known, echo, past = resume
        held = {i: (v, given) for i, v, given in entries}
        lives = {j: life for j, life, _ in known}
        theirs = {j: dict(marks) for j, _, marks in known}
    while past != rounds:
        heard = yield Say(
            (
                held[me][0],
                tuple(
                    (i, v, given)
                    for i, (v, given) in sorted(held.items())
                    if any(marks.get(i, -1) < v for marks in theirs.values())
                ),
                echo,
            ),
            kind="set-flooding",
            accepts=well_formed,
            report=len(held) == size,
            snapshot=(
                tuple((i, v, given) for i, (v, given) in held.items()),
                tuple((j, lives[j], tuple(theirs[j].items())) for j in lives),
                echo,
                past,
            ),
            survives=True,
        )
        past += 1
        said: set[Mark] = set()
        for j, (life, entries, marks) in heard.said.items():
            if j in heard.gone:
                continue
            if life != lives.get(j):  # first words, or a new life that has forgotten what the last one held
                lives[j], theirs[j] = life, {}
            for i, v, given in entries:
                if i not in held or v > held[i][0]:
                    held[i] = (v, given)
                said.add((i, v))
            for i, v in (*marks, *((i, v) for i, v, _ in entries)):
                theirs[j][i] = max(v, theirs[j].get(i, -1))
        for j in heard.gone:
            lives.pop(j, None)
            theirs.pop(j, None)
        echo = tuple(sorted(said))
        if heard.verdict is not None:
            break
    return {i: held[i][1] for i in sorted(held)}


def exact_sum(values: Mapping[AgentId, Numbers]) -> Numbers:
    """Sum of every component, correctly rounded and therefore the same at every agent, in any order."""
    return tuple(math.fsum(column) for column in zip(*(values[i] for i in sorted(values)), strict=True))


def _like(value: Any) -> Callable[[Any], bool]:
    if type(value) is not tuple or not all(type(v) is float and math.isfinite(v) for v in value):
        raise ValueError(f"expected a tuple of finite floats, or a check of one's own, got {value!r:.100}")
    width = len(value)

    def accepts(body: Any) -> bool:
        return type(body) is tuple and len(body) == width and all(type(v) is float for v in body)

    return accepts


def _body(accepts: Callable[[Any], bool]) -> Accepts:
    def well_formed(body: Any, src: AgentId) -> bool:
        match body:
            case (int() as life, tuple() as entries, tuple() as marks):
                return (
                    type(life) is int
                    and all(
                        type(e) is tuple and len(e) == 3 and _mark(e[:2]) and accepts(e[2]) for e in entries
                    )
                    and all(type(m) is tuple and _mark(m) for m in marks)
                )
            case _:
                return False

    return well_formed


def _mark(mark: tuple[Any, ...]) -> bool:
    return (
        len(mark) == 2
        and type(mark[0]) is str
        and 0 < len(mark[0]) <= 64
        and type(mark[1]) is int
        and 0 <= mark[1] < 2**63
    )
