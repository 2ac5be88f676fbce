"""Every line of the table: same if the numbers are as published, differs as soon as one is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runner.reproduce.cases import DYNAMICS, GRAPHS, MECHANISMS, SEEDS, WITNESS, Case
from runner.reproduce.verdicts import Line, failed, judge, same_bits, tail_fit
from tests.reproduce import samples

GRAPH = {"tree": "tree", "er": "ER"}
KNOWN = "any on ER before any on tree"


def lines_of(curves, agreed=None) -> dict[tuple[str, str], Line]:
    lines = judge(curves.values(), samples.agreed() if agreed is None else agreed)
    found = {(line.where, line.claim): line for line in lines}
    assert len(found) == len(lines)
    return found


def changed(before, after) -> set[tuple[str, str]]:
    return {key for key in before if before[key].verdict != after[key].verdict}


def test_all_lines_are_the_same_when_everything_is_as_published_but_for_the_one_known_to_differ():
    lines = lines_of(samples.curves())
    assert len(lines) == 33
    assert {key for key, line in lines.items() if line.verdict != "same"} == {
        ("Fig. 12", KNOWN),
        ("Fig. 15", KNOWN),
    }
    assert failed(lines.values()) == []


def test_nothing_recorded_leaves_every_line_open():
    assert {line.verdict for line in judge([], [])} == {"open"}


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(("number", "name"), [("xi", "1 - xi"), ("delta", "delta")])
def test_a_cell_of_table_1_with_another_digit_differs(mechanism, graph, number, name):
    seed = 0 if graph == "tree" else WITNESS
    rows = samples.agreed()
    for k, row in enumerate(rows):
        if (row.mechanism, row.graph, row.seed) == (mechanism, graph, seed):
            off = {"xi": 1.0 - 1.6 * (1.0 - row.xi), "delta": row.delta * 1.0003}[number]
            rows[k] = replace(row, **{number: off})
    before, after = lines_of(samples.curves()), lines_of(samples.curves(), rows)
    goods = mechanism.removesuffix("-goods")
    key = ("Table 1", f"{goods}, {GRAPH[graph]}: {name}")
    assert changed(before, after) == {key}
    assert failed(after.values()) == [after[key]]


def test_the_range_of_our_own_graphs_is_told_beside_the_printed_price_scale():
    line = lines_of(samples.curves())["Table 1", "private, ER: delta"]
    assert (line.published, line.ours) == ("932.3", "950.9 to 988.2; 932.3")


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_bent_curve_is_not_straight(mechanism, graph):
    curves = samples.curves()
    case = Case(mechanism, graph, "k10", 3)
    n = curves[case].rounds / curves[case].rounds[-1]
    curves[case] = replace(curves[case], message=curves[case].message[0] * np.exp(-20 * n**4))
    where = {"private-goods": "Fig. 12", "public-goods": "Fig. 15"}[mechanism]
    after = lines_of(curves)
    key = (where, f"{GRAPH[graph]}: straight in semi-log")
    assert after[key].verdict == "differs"
    assert after[key].note.endswith("k = 10, seed 3")


def test_a_curve_that_rises_in_a_straight_line_differs():
    curves = samples.curves()
    case = Case("public-goods", "tree", "cournot", 0)
    curves[case] = replace(curves[case], message=curves[case].message[::-1].copy())
    assert lines_of(curves)["Fig. 15", "tree: straight in semi-log"].verdict == "differs"


def test_points_count_for_the_rounds_that_they_stand_for():
    # A tail with a kink: its mean slope must not be that of the part in which more rounds are kept.
    n = np.arange(4001)
    y = 10.0 ** -(n / 800 + np.maximum(n - 3000, 0) / 400)
    every = np.array([k for k in n if k % (1 if k < 3000 else 16) == 0])
    whole, thinned = tail_fit(n, y), tail_fit(every, y[every])
    assert thinned[0] == pytest.approx(whole[0], rel=1e-3)
    assert thinned[1] == pytest.approx(whole[1], rel=3e-5)
    tail = every[every >= 2000]
    unweighted = 10 ** np.polyfit(tail, np.log10(y[tail]), 1)[0]
    assert unweighted != pytest.approx(whole[1], rel=3e-4)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(
    ("slow", "claim"),
    [
        (("er", "exponential"), "ER before tree, each dynamic"),
        (("tree", "exponential"), "exponential before k = 10"),
    ],
)
def test_one_seed_in_the_wrong_order_is_enough_to_differ(mechanism, slow, claim):
    curves = samples.curves()
    case = Case(mechanism, *slow, 4)
    curves[case] = samples.curve(case, 59_000)
    line = lines_of(curves)["Fig. 12" if mechanism == "private-goods" else "Fig. 15", claim]
    assert line.verdict == "differs"
    assert "59,000" in line.ours
    assert not line.known


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_claim_known_to_differ_would_hold_if_the_numbers_said_so(mechanism):
    curves = samples.curves()
    for seed in SEEDS:
        case = Case(mechanism, "er", "k10", seed)
        curves[case] = samples.curve(case, curves[Case(mechanism, "er", "exponential", seed)].reached + 1)
    where = "Fig. 12" if mechanism == "private-goods" else "Fig. 15"
    assert lines_of(curves)[where, KNOWN].verdict == "same"


def test_a_run_that_was_given_up_is_slower_than_one_that_was_not_and_two_cannot_be_told_apart():
    curves = samples.curves()
    tree, er = Case("private-goods", "tree", "k10", 2), Case("private-goods", "er", "k10", 2)
    curves[tree] = samples.curve(tree, None)
    assert lines_of(curves)["Fig. 12", "ER before tree, each dynamic"].verdict == "same"
    curves[er] = samples.curve(er, None)
    assert lines_of(curves)["Fig. 12", "ER before tree, each dynamic"].verdict == "open"


@pytest.mark.parametrize(("mechanism", "where"), [("private-goods", "Fig. 12"), ("public-goods", "Fig. 15")])
def test_a_relative_distance_of_another_order_differs(mechanism, where):
    curves = samples.curves()
    case = Case(mechanism, "er", "k10", 1)
    curves[case] = replace(curves[case], nash_norm1=curves[case].nash_norm1 / 5)
    before, after = lines_of(samples.curves()), lines_of(curves)
    assert changed(before, after) == {
        (where, f"relative distance at {'1e-3' if mechanism == 'private-goods' else '1e-5'}")
    }


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_median_one_round_off_differs(mechanism, graph, dynamics):
    curves = samples.curves()
    case = Case(mechanism, graph, dynamics, 2)
    curves[case] = samples.curve(case, curves[case].reached + 1)
    curves[replace(case, seed=1)] = samples.curve(replace(case, seed=1), curves[case].reached)
    names = {"tree": "tree", "er": "ER", "cournot": "Cournot", "exponential": "exponential", "k10": "k = 10"}
    key = ("rounds", f"{mechanism.removesuffix('-goods')}, {names[graph]}, {names[dynamics]}")
    assert changed(lines_of(samples.curves()), lines_of(curves)) == {key}


def test_a_median_survives_two_runs_that_were_given_up_and_not_three():
    curves = samples.curves()
    key = ("rounds", "private, tree, k = 10")
    for seed, verdict in ((3, "same"), (4, "same"), (2, "differs")):
        case = Case("private-goods", "tree", "k10", seed)
        curves[case] = samples.curve(case, None)
        assert lines_of(curves)[key].verdict == verdict


def test_a_median_needs_all_five_instances():
    curves = {case: curve for case, curve in samples.curves().items() if case.seed == 0}
    lines = [line for key, line in lines_of(curves).items() if key[0] == "rounds" and "tuned" not in key[1]]
    assert len(lines) == 12
    assert {line.verdict for line in lines} == {"open"}
    assert all("--seeds 0-4" in line.note and "seed 0" in line.ours for line in lines)


def test_a_tuned_price_scale_that_gains_less_than_seven_times_differs():
    curves = samples.curves()
    for seed in SEEDS:
        case = Case("private-goods", "tree", "cournot", seed, "tuned")
        curves[case] = samples.curve(case, 10269 // 7 + 5)
    key = ("rounds", "private, tree: tuned / proof")
    assert changed(lines_of(samples.curves()), lines_of(curves)) == {key}


def test_one_differing_bit_over_the_broker_is_found():
    case = Case("public-goods", "tree", "exponential", 0)
    one, other = samples.curve(case, 230, "broker"), samples.curve(case, 230)
    assert same_bits(one, other).verdict == "same"
    for name in ("message", "allocation", "price"):
        off = getattr(one, name).copy()
        off[117] = np.nextafter(off[117], 1.0)
        assert same_bits(replace(one, **{name: off}), other).verdict == "differs"
    assert same_bits(replace(one, delta=np.nextafter(one.delta, 0)), other).verdict == "differs"
    assert same_bits(replace(one, reached=229), other).verdict == "differs"
