"""Reproduced runs are runs of the instances known from the thesis, measured right and recorded whole."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import record
from runner.record import RecordError
from runner.reproduce.cases import DYNAMICS, GRAPHS, MECHANISMS, SEEDS, Case, cases, is_longest, table_one
from runner.reproduce.curve import load
from runner.reproduce.over_broker import curve_of, traced
from runner.reproduce.play import kept, play
from runner.reproduce.verdicts import same_bits
from runner.virtual import run_virtual
from tests.spec import game
from tests.spec.model import binary_tree, erdos_renyi, thesis
from tests.spec.test_table import table_instance

SMALL = Case("public-goods", "tree", "exponential", 3, agents=7)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("seed", SEEDS)
def test_scenarios_draw_the_instances_of_the_table(mechanism, graph, seed):
    loaded = Case(mechanism, graph, "cournot", seed).scenario()
    v = thesis(31, seed)
    drawn = [loaded.utilities[i] for i in loaded.agents]
    np.testing.assert_array_equal([2 * u["theta"][0] for u in drawn], v.H[:, 0, 0])
    np.testing.assert_array_equal([u["sigma"][0] for u in drawn], v.s[:, 0])
    expected = binary_tree(31) if graph == "tree" else erdos_renyi(31, 0.3, seed)
    index = {agent: k for k, agent in enumerate(loaded.agents)}
    assert {frozenset((index[a], index[b])) for a, b in loaded.graph.edges} == set(
        map(frozenset, expected.edges)
    )
    assert loaded.contract().get("capacities", [0.0]) == [0.0]


@pytest.mark.parametrize(
    ("graph", "dynamics", "memory"),
    [("er", "cournot", 1), ("er", "exponential", "exponential"), ("tree", "cournot", 1)],
)
def test_public_runs_take_the_rounds_of_the_independent_program(graph, dynamics, memory):
    curve = play(Case("public-goods", graph, dynamics, 0))
    mechanism, nash, tolerance = table_instance("public", graph, 0)
    assert curve.reached == game.rounds(mechanism, nash, tolerance, 400, memory)
    assert curve.xi == pytest.approx(mechanism.xi, rel=1e-15)
    assert curve.nash_norm1 == pytest.approx(sum(np.abs(part).sum() for part in nash), rel=1e-12)


@pytest.mark.parametrize("kind", ["private", "public"])
def test_distances_are_those_of_the_independent_program_in_every_round(kind):
    case = Case(f"{kind}-goods", "er", "cournot", 1)
    curve = play(case, limit=40)
    mechanism, nash, _ = table_instance(kind, "er", 1)
    m = mechanism.zero()
    for n in range(41):
        assert curve.message[n] == pytest.approx(game.distance(m, nash), rel=1e-9)
        x = mechanism.allocation(m) - mechanism.allocation(nash)
        assert curve.allocation[n] == pytest.approx(np.linalg.norm(x), rel=1e-9)
        assert curve.price[n] == pytest.approx(
            np.linalg.norm(mechanism.price(m) - mechanism.price(nash)), rel=1e-9
        )
        m = mechanism.best_response(m)
    assert (curve.reached, curve.played) == (None, 40)


def test_a_run_ends_in_the_first_round_within_the_tolerance():
    curve = play(SMALL)
    assert curve.reached == curve.played == curve.rounds[-1]
    assert curve.message[-1] <= 1e-5 < curve.message[:-1].min()


def test_every_way_of_running_gives_the_same_curve(tmp_path):
    """Through encoded messages, delays and the recorder, and not in lockstep: the same bits."""
    lockstep = play(SMALL)
    loaded = SMALL.scenario(f"stopping.max_rounds={lockstep.played + 2}", "record.every=1")
    run_virtual(loaded.parts("r"), seed=1, directory=tmp_path, protocol=traced)
    curve = curve_of(record.read(tmp_path), SMALL, loaded)
    assert same_bits(curve, lockstep).verdict == "same"
    assert curve.rounds.size == lockstep.played + 1


def test_a_record_reads_back_as_it_was_written(tmp_path):
    curve = play(SMALL, limit=30)
    back = load(curve.save(tmp_path))
    for name in curve.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(curve, name), err_msg=name)


@pytest.mark.parametrize("what", ["text", "table", "format"])
def test_a_file_that_is_no_record_is_named(tmp_path, what):
    path = play(SMALL, limit=0).save(tmp_path)
    table = pq.read_table(path)
    if what == "text":
        path.write_text("no Parquet")
    elif what == "table":
        pq.write_table(pa.table({"round": [1]}), path)
    else:
        [(key, about)] = table.schema.metadata.items()
        pq.write_table(
            table.replace_schema_metadata({key: about.replace(b'"format": 1', b'"format": 9')}), path
        )
    with pytest.raises(RecordError, match=path.name):
        load(path)


def test_curves_keep_some_hundred_rounds_of_every_doubling():
    rounds = [n for n in range(60_000) if kept(n)]
    assert rounds[:512] == list(range(512))
    for start in (512, 2048, 16_384):
        assert sum(start <= n < 2 * start for n in rounds) == 256


def test_a_seed_is_thirteen_runs_of_which_quick_leaves_out_the_longest():
    found, quick = cases([0]), cases([0], quick=True)
    assert len(set(found)) == 13
    assert [case for case in found if case not in quick] == [Case("private-goods", "tree", "k10", 0)]
    assert is_longest(found[0])
    assert {case.dynamics for case in found} == set(DYNAMICS)
    assert len({case.name for case in cases(SEEDS)}) == 65


def test_table_1_is_agreed_on_by_the_agents_to_the_printed_digits():
    trees = [case for case in table_one([]) if case.graph == "tree"]
    texts = [(f"{1 - c.xi:.3e}", f"{c.delta:.5g}") for c in (play(case, limit=0) for case in trees)]
    assert texts == [("1.831e-04", "1005.6"), ("2.515e-04", "0.95053")]
