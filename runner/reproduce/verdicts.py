"""Published, ours, verdict: every claim of the thesis' section 5.2 held against recorded runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from runner.reproduce import published
from runner.reproduce.cases import DYNAMICS, GRAPHS, MECHANISMS, OF_THE_THESIS, SEEDS, WITNESS, Case

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runner.reproduce.cases import Dynamics, Graph, Mechanism
    from runner.reproduce.curve import Curve
    from runner.reproduce.published import Printed

Verdict = Literal["same", "differs", "open"]

GOODS = {"private-goods": "private", "public-goods": "public"}
GRAPH = {"tree": "tree", "er": "ER"}
DYNAMIC = {"cournot": "Cournot", "exponential": "exponential", "k10": "k = 10"}
FIGURE = {"private-goods": "Fig. 12", "public-goods": "Fig. 15"}
# Of a curve, the later part of its rounds in which it is to be straight.
TAIL = 0.5


@dataclass(frozen=True, slots=True)
class Line:
    """One claim.

    Attributes:
        where: what it is about.
        claim: in words.
        published: what is printed, or what is expected.
        ours: what the recorded runs give.
        verdict: ``same``; ``differs``; ``open`` if the record does not decide it.
        note: why, or what to run.
        known: whether it is known to differ, documented with its reason; the exit code is then no failure.
    """

    where: str
    claim: str
    published: str
    ours: str
    verdict: Verdict
    note: str = ""
    known: bool = False


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the agents of one graph agreed on with the proof's parameters."""

    mechanism: Mechanism
    graph: Graph
    seed: int
    xi: float
    delta: float


Curves = Mapping[Case, "Curve"]


def judge(curves: Iterable[Curve], agreed: Sequence[Agreed]) -> list[Line]:
    """All lines, in the order of the thesis.

    Args:
        curves: of lockstep runs.
        agreed: parameters of the tree and of all random graphs.
    """
    known = {curve.case: curve for curve in curves}
    lines = table_one(agreed)
    for mechanism in MECHANISMS:
        lines += [*straight(known, mechanism), *speeds(known, mechanism), relative(known, mechanism)]
    for mechanism in MECHANISMS:
        for graph in GRAPHS:
            lines += [rounds(known, mechanism, graph, dynamics) for dynamics in DYNAMICS]
    return [*lines, tuned(known)]


# Table 1 -------------------------------------------------------------------------------------------------


def table_one(agreed: Sequence[Agreed]) -> list[Line]:
    """The four cells, two numbers each."""
    lines = []
    for graph in GRAPHS:
        for mechanism in MECHANISMS:
            ours = [one for one in agreed if (one.mechanism, one.graph) == (mechanism, graph)]
            for name, printed, values in zip(
                ("1 - xi", "delta"),
                published.TABLE_ONE[mechanism, graph],
                ({one.seed: 1.0 - one.xi for one in ours}, {one.seed: one.delta for one in ours}),
                strict=True,
            ):
                lines.append(_cell(mechanism, graph, name, printed, values))
    return lines


def _cell(
    mechanism: Mechanism, graph: Graph, name: str, printed: Printed, values: Mapping[int, float]
) -> Line:
    what = f"{GOODS[mechanism]}, {GRAPH[graph]}: {name}"
    if not values:
        return Line("Table 1", what, printed.text, "-", "open", "not recorded")
    texts = {seed: format(value, printed.format) for seed, value in values.items()}
    if all(printed.shows(value) for value in values.values()):
        note = f"all {len(values)} random graphs; the thesis' is unknown" if graph == "er" else ""
        return Line("Table 1", what, printed.text, printed.text, "same", note)
    if graph == "tree":
        return Line("Table 1", what, printed.text, ", ".join(sorted(set(texts.values()))), "differs")
    drawn = [value for seed, value in values.items() if seed != WITNESS]
    ours = f"{format(min(drawn), printed.format)} to {format(max(drawn), printed.format)}" if drawn else "-"
    if WITNESS in values:
        ours += f"; {texts[WITNESS]}"
        if printed.shows(values[WITNESS]):
            note = f"{len(drawn)} graphs of ours; that of seed {WITNESS} has the printed number; "
            note += "the thesis' is unknown"
            return Line("Table 1", what, printed.text, ours, "same", note)
    return Line("Table 1", what, printed.text, ours, "differs", "the thesis' graph is unknown")


# Figures 12 and 15: shape ---------------------------------------------------------------------------------


def tail_fit(rounds: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[float, float]:
    """(R^2, factor per round) of a straight line through log10 of a distance, over the tail of a curve.

    Rounds are kept ever more sparsely, so points are weighted by the rounds that they stand for.
    """
    n, y = rounds.astype(float), np.log10(values)
    weight = np.gradient(n)
    tail = n >= TAIL * n[-1]
    n, y, weight = n[tail], y[tail], weight[tail]
    slope, offset = np.polyfit(n, y, 1, w=np.sqrt(weight))
    left = np.average((y - slope * n - offset) ** 2, weights=weight)
    total = np.average((y - np.average(y, weights=weight)) ** 2, weights=weight)
    return (float(1.0 - left / total) if total > 0 else 0.0), float(10.0**slope)


def straight(curves: Curves, mechanism: Mechanism) -> list[Line]:
    """ "A straight line in the semi-log plot", for each graph."""
    lines = []
    for graph in GRAPHS:
        fits = [
            (tail_fit(curve.rounds, curve.message), case)
            for case, curve in curves.items()
            if (case.mechanism, case.graph, case.parameters) == (mechanism, graph, "proof")
        ]
        what = f"{GRAPH[graph]}: straight in semi-log"
        expected = f"R² ≥ {published.STRAIGHT}"
        if not fits:
            lines.append(Line(FIGURE[mechanism], what, expected, "-", "open", "not played"))
            continue
        (worst, _), case = min(fits, key=lambda fit: fit[0][0])
        falls = all(factor < 1 for (_, factor), _ in fits)
        note = f"the least straight of {len(fits)} is {DYNAMIC[case.dynamics]}, seed {case.seed}"
        verdict: Verdict = "same" if worst >= published.STRAIGHT and falls else "differs"
        lines.append(Line(FIGURE[mechanism], what, expected, f"R² ≥ {_floor(worst)}", verdict, note))
    return lines


def _floor(value: float) -> str:
    """Six decimals, never rounded up; all nines if there are more of them."""
    return f"{min(math.floor(value * 1e6) / 1e6, 0.999999):.6f}"


# Figures 12 and 15: order of speeds -----------------------------------------------------------------------


def speeds(curves: Curves, mechanism: Mechanism) -> list[Line]:
    """Which is faster: graph against graph, dynamics against dynamics, any against any."""
    where = FIGURE[mechanism]

    def line(
        claim: str, pairs: Sequence[tuple[Graph, Dynamics, Graph, Dynamics]], *, known: str = ""
    ) -> Line:
        return _order(curves, mechanism, where, claim, pairs, known)

    return [
        line("ER before tree, each dynamic", [("er", d, "tree", d) for d in OF_THE_THESIS]),
        line("exponential before k = 10", [(g, "exponential", g, "k10") for g in GRAPHS]),
        line(
            "any on ER before any on tree",
            [("er", d, "tree", e) for d in OF_THE_THESIS for e in OF_THE_THESIS],
            known="not so on these instances, whatever the seed: docs/reproduce.md",
        ),
    ]


def _order(
    curves: Curves,
    mechanism: Mechanism,
    where: str,
    claim: str,
    pairs: Sequence[tuple[Graph, Dynamics, Graph, Dynamics]],
    known: str,
) -> Line:
    shown, told, broken, undecided = [], set(), [], 0
    for seed in sorted({case.seed for case in curves}):
        for graph, dynamics, other_graph, other in pairs:
            fast = curves.get(Case(mechanism, graph, dynamics, seed, agents=_agents(curves)))
            slow = curves.get(Case(mechanism, other_graph, other, seed, agents=_agents(curves)))
            if fast is None or slow is None or (fast.reached is None and slow.reached is None):
                undecided += 1
                continue
            text = f"{_until(fast)} < {_until(slow)}"
            if not _sooner(fast, slow):
                broken.append(f"{_until(fast)} > {_until(slow)}")
            elif (graph, dynamics, other_graph, other) not in told:
                told.add((graph, dynamics, other_graph, other))
                shown.append(text)
    seeds = len({case.seed for case in curves})
    if broken:
        return Line(where, claim, "sooner", "; ".join(broken[:2]), "differs", known, known=bool(known))
    if undecided or not shown:
        return Line(
            where, claim, "sooner", "; ".join(shown) or "-", "open", "some runs not played or cut off"
        )
    note = f"rounds; so with all {seeds} seeds" if seeds > 1 else "rounds"
    return Line(where, claim, "sooner", "; ".join(shown), "same", note)


def _agents(curves: Curves) -> int:
    return next((case.agents for case in curves), 31)


def _sooner(a: Curve, b: Curve) -> bool:
    return (math.inf if a.reached is None else a.reached) < (math.inf if b.reached is None else b.reached)


def _until(curve: Curve) -> str:
    return f"> {curve.played:,}" if curve.reached is None else f"{curve.reached:,}"


# Relative distance ----------------------------------------------------------------------------------------


def relative(curves: Curves, mechanism: Mechanism) -> Line:
    """The relative distance, by the 1-norm, when the absolute one is at the tolerance."""
    power = published.RELATIVE[mechanism]
    ours = [
        curve.relative
        for case, curve in curves.items()
        if case.mechanism == mechanism
        and case.parameters == "proof"
        and case.dynamics in OF_THE_THESIS
        and curve.relative is not None
    ]
    claim = f"relative distance at {'1e-3' if mechanism == 'private-goods' else '1e-5'}"
    expected = f"order 1e{power}"
    if not ours:
        return Line(FIGURE[mechanism], claim, expected, "-", "open", "no run reached the tolerance")
    same = all(round(math.log10(value)) == power for value in ours)
    note = f"nearest power of ten, in each of {len(ours)} runs"
    return Line(
        FIGURE[mechanism],
        claim,
        expected,
        f"{min(ours):.1e} to {max(ours):.1e}",
        "same" if same else "differs",
        note,
    )


# Rounds ---------------------------------------------------------------------------------------------------


def rounds(curves: Curves, mechanism: Mechanism, graph: Graph, dynamics: Dynamics) -> Line:
    """The median over the instances, if all of them were played."""
    expected = published.MEDIANS[mechanism, graph, dynamics]
    claim = f"{GOODS[mechanism]}, {GRAPH[graph]}, {DYNAMIC[dynamics]}"
    played = {seed: curves.get(Case(mechanism, graph, dynamics, seed)) for seed in SEEDS}
    there = {seed: curve for seed, curve in played.items() if curve is not None}
    texts = ", ".join(f"{_until(curve)}" for curve in there.values())
    if len(there) < len(SEEDS):
        what = f"seed {', '.join(map(str, there))}: {texts}" if there else "-"
        return Line("rounds", claim, f"{expected:,}", what, "open", "a median needs --seeds 0-4")
    ours = median(math.inf if curve.reached is None else curve.reached for curve in there.values())
    text = f"{ours:,.0f}" if math.isfinite(ours) else "none"
    verdict: Verdict = "same" if ours == expected else "differs"
    return Line("rounds", claim, f"{expected:,}", text, verdict, f"seeds 0-4: {texts}")


def tuned(curves: Curves) -> Line:
    """Private goods on the tree, Cournot: the tuned price scale against the proof's."""
    claim = "private, tree: tuned / proof"
    expected = "at most 1/7"
    shares, texts = [], []
    for case, fast in curves.items():
        if case.parameters == "tuned":
            slow = curves.get(Case(case.mechanism, case.graph, case.dynamics, case.seed, agents=case.agents))
            if slow is not None and slow.reached is not None and fast.reached is not None:
                shares.append((slow.reached / fast.reached, fast.reached, slow.reached))
                texts.append(f"{fast.reached:,}/{slow.reached:,}")
    if not shares:
        return Line("rounds", claim, expected, "-", "open", "not played")
    middle = median(slow for _, _, slow in shares) / median(fast for _, fast, _ in shares)
    verdict: Verdict = "same" if 1.0 / middle <= published.TUNED_SHARE else "differs"
    note = f"rounds {', '.join(texts)}" + ("; of the medians" if len(texts) > 1 else "")
    return Line("rounds", claim, expected, f"1/{middle:.1f}", verdict, note)


# Over a broker --------------------------------------------------------------------------------------------


def same_bits(broker: Curve, lockstep: Curve) -> Line:
    """The same case over a broker, every agent a process, and in lockstep."""
    case = broker.case
    claim = f"{GOODS[case.mechanism]}, {GRAPH[case.graph]}, {DYNAMIC[case.dynamics]}"
    both, at, there = np.intersect1d(broker.rounds, lockstep.rounds, return_indices=True)
    off = max(
        float(np.abs(getattr(broker, name)[at] - getattr(lockstep, name)[there]).max(initial=0.0))
        for name in ("message", "allocation", "price")
    )
    whole = both.size > 0 and (broker.reached, broker.xi, broker.delta) == (
        lockstep.reached,
        lockstep.xi,
        lockstep.delta,
    )
    ours = f"{_until(broker)} rounds, largest difference {off:g}"
    verdict: Verdict = "same" if whole and off == 0.0 else "differs"
    note = f"distances of {both.size} rounds, from what the recorder was sent"
    return Line("broker", claim, f"{_until(lockstep)} rounds, the same bits", ours, verdict, note)


def failed(lines: Iterable[Line]) -> list[Line]:
    """Lines that differ and are not known to."""
    return [line for line in lines if line.verdict == "differs" and not line.known]
