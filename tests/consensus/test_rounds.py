"""Rounds until everybody is right are the specified ones, by the generators and by a second account."""

from __future__ import annotations

import random
import statistics

import numpy as np
import pytest

from benchmarks.consensus_rounds import (
    SEEDS,
    SPEC,
    inputs,
    interval,
    network,
    rounds_by_numpy,
    rounds_of,
)
from tests.node.instances import hears, random_graph

CELLS = [
    (primitive, graph, percent, expected)
    for primitive, graphs in SPEC.items()
    for graph, losses in graphs.items()
    for percent, expected in losses.items()
]
BY_NUMPY = ("minimum", "ratio", "flow")


def cells(*, lossless: bool, primitives: tuple[str, ...], within: float):
    """The cells that take so many rounds at most, weighed by the size of the graph; ids to read."""
    sizes = {"ring": 3, "grid": 33}
    return [
        pytest.param(*cell, id="-".join(map(str, cell[:3])))
        for cell in CELLS
        if cell[0] in primitives and (cell[2] == 0) == lossless and cell[3] * sizes.get(cell[1], 1) <= within
    ]


@pytest.mark.parametrize(
    ("primitive", "graph", "percent", "expected"), cells(lossless=True, primitives=BY_NUMPY, within=2000)
)
def test_without_loss_the_median_is_the_specified_one_to_the_round(primitive, graph, percent, expected):
    found = [
        rounds_by_numpy(primitive, network(graph), inputs(network(graph), seed), 0.0, 1, None)[0]
        for seed in range(SEEDS[graph])
    ]
    # The specified figures are whole: the mean of the two in the middle, rounded either way.
    assert abs(statistics.median(found) - expected) <= 0.5, found


@pytest.mark.parametrize(
    ("primitive", "graph", "percent", "expected"),
    cells(
        lossless=True,
        primitives=("metropolis", *(name for name in SPEC if name.startswith("chebyshev"))),
        within=500,
    ),
)
def test_metropolis_takes_the_specified_rounds_to_the_round(primitive, graph, percent, expected):
    listens = network(graph)
    found = [rounds_of(primitive, listens, inputs(listens, seed), 0.0, seed) for seed in range(SEEDS[graph])]
    assert abs(statistics.median(found) - expected) <= 0.5, found


@pytest.mark.parametrize(
    ("primitive", "graph", "percent", "expected"), cells(lossless=False, primitives=BY_NUMPY, within=1600)
)
def test_where_messages_are_lost_the_median_over_draws_is_within_five_per_cent(
    primitive, graph, percent, expected
):
    # A minimum's rounds vary most and cost least.
    draws = 400 if primitive == "minimum" else 50 if expected < 200 else 10
    mean, low, high = interval(primitive, graph, percent / 100, draws)
    # A small number of rounds cannot come nearer than one, and chance must be able to give it.
    assert abs(mean / expected - 1) <= 0.05 or low <= expected <= high, (mean, low, high)


@pytest.mark.parametrize("graph", ["tree", "er", "path", "random"])
@pytest.mark.parametrize("loss", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("primitive", BY_NUMPY)
def test_both_accounts_agree_where_the_same_messages_are_lost(primitive, graph, loss):
    if (primitive, graph) == ("ratio", "path"):
        pytest.skip("takes thousands of rounds")
    listens = hears(random_graph(9, 4, directed=False)) if graph == "random" else network(graph)
    x = inputs(listens, 3)
    rng = random.Random(7)
    by_numpy = rounds_by_numpy(
        primitive, listens, x, loss, 1, lambda count: np.array([[rng.random() for _ in range(count)]])
    )
    by_generators = rounds_of(primitive, listens, x, loss, 7)
    # Flows are added up exactly there and one by one here, which may tip the last round.
    assert abs(by_numpy[0] - by_generators) <= (primitive == "flow")
