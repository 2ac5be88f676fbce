"""Curves made up so that every claim holds, exactly; whoever spoils one number of them must be found out."""

from __future__ import annotations

from functools import cache

import numpy as np

from runner.reproduce import published
from runner.reproduce.cases import DYNAMICS, GRAPHS, MECHANISMS, SEEDS, WITNESS, Case
from runner.reproduce.curve import Curve
from runner.reproduce.play import kept
from runner.reproduce.verdicts import Agreed

# As far from the median as the instances may be: the middle one is seed 2.
SPREAD = {0: -2, 1: -1, 2: 0, 3: 1, 4: 2}
FIRST = {"private-goods": 1e4, "public-goods": 40.0}
NORM = {"private-goods": 1e-3 / 2e-9, "public-goods": 1e-5 / 8e-9}


@cache
def grid(last: int) -> np.ndarray:
    """The rounds that a record keeps."""
    return np.array([n for n in range(last + 1) if kept(n) or n == last])


def curve(case: Case, reached: int | None, over: str = "lockstep", played: int | None = None) -> Curve:
    """A distance that falls geometrically and meets the tolerance in the round ``reached``."""
    last = reached if reached is not None else played or 60_000
    rounds = grid(last)
    first = FIRST[case.mechanism]
    message = first * (case.tolerance / first) ** (rounds / last)
    return Curve(
        case=case,
        xi=0.999,
        delta=1000.0,
        nash_norm1=NORM[case.mechanism],
        reached=reached,
        played=last,
        over=over,
        rounds=rounds,
        message=message,
        allocation=message / 100,
        price=message / 200,
    )


def fast_enough(case: Case) -> int:
    """Rounds with the tabled medians, but with k = 10 on random graphs so fast that the thesis is right."""
    rounds = published.MEDIANS[case.mechanism, case.graph, case.dynamics] + SPREAD[case.seed]
    if case.parameters == "tuned":
        return rounds // 8
    return rounds


def curves() -> dict[Case, Curve]:
    """All runs of the seeds 0 to 4."""
    found = [
        Case(mechanism, graph, dynamics, seed)
        for mechanism in MECHANISMS
        for graph in GRAPHS
        for dynamics in DYNAMICS
        for seed in SEEDS
    ]
    found += [Case("private-goods", "tree", "cournot", seed, "tuned") for seed in SEEDS]
    return {case: curve(case, fast_enough(case)) for case in found}


def agreed() -> list[Agreed]:
    """What Table 1 says, with other graphs' price scales around it."""
    rows = []
    for (mechanism, graph), (eps, delta) in published.TABLE_ONE.items():
        xi, number = 1.0 - float(eps.text), float(delta.text)
        if graph == "tree":
            rows.append(Agreed(mechanism, graph, 0, xi, number))
        else:
            rows += [Agreed(mechanism, graph, seed, xi, number * (1.02 + 0.01 * seed)) for seed in SEEDS]
            rows.append(Agreed(mechanism, graph, WITNESS, xi, number))
    return rows
