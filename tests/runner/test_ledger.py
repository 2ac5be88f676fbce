"""What the recorder has taken in of a stream of batches that are lost, repeated and overtaken."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runner.ledger import STREAMS, Ledger
from runner.record import Batch


def batch(first, count, last=False, **other):
    rows = np.arange(first, first + count)
    return Batch("a", ("x",), rows, rows * 1.0, rows[:, None] * 1.0, last, **{"first": first, **other})


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    seed=st.integers(0, 2**32),
    loss=st.floats(0.0, 0.8),
)
def test_whatever_is_lost_repeated_and_overtaken_every_row_is_taken_in_once_and_in_its_order(
    sizes, seed, loss
):
    starts = np.cumsum([0, *sizes])
    batches = [batch(int(start), size) for start, size in zip(starts, sizes, strict=False)]
    batches.append(batch(int(starts[-1]), 0, last=True))
    rng, ledger, taken = random.Random(seed), Ledger(["a", "b"]), []
    while "a" in ledger.missing:
        # All that is not acknowledged is published again, and may arrive as it likes.
        arriving = [one for one in batches for _ in range(rng.randint(1, 2)) if rng.random() >= loss]
        rng.shuffle(arriving)
        for one in arriving:
            if (new := ledger.accept(one)) is not None:
                taken += new.rounds.tolist()
    assert taken == list(range(starts[-1]))
    assert (ledger.missing, ledger.lost.total()) == ({"b"}, 0)
    assert ledger.receipts() == [("a", 0, 0, starts[-1] + 1)]
    assert ledger.receipts() == []


def test_a_batch_that_reaches_back_gives_only_what_is_new():
    ledger = Ledger(["a"])
    ledger.accept(batch(0, 3))
    new = ledger.accept(batch(1, 4))
    assert new is not None
    assert (new.rounds.tolist(), new.first, new.values.tolist()) == ([3, 4], 3, [[3.0], [4.0]])
    assert ledger.accept(batch(0, 5)) is None
    assert (ledger.repeated, ledger.gaps) == (1, 0)


def test_a_gap_stays_open_until_it_is_filled_or_given_up():
    ledger = Ledger(["a"])
    assert ledger.accept(batch(4, 2)) is None
    assert ledger.gaps == 1
    new = ledger.accept(batch(4, 2, floor=4))
    assert new is not None
    assert new.rounds.tolist() == [4, 5]
    assert ledger.lost == {"a": 4}


def test_streams_are_counted_apart_and_the_oldest_is_forgotten_first():
    ledger = Ledger(["a"])
    for epoch in range(STREAMS + 1):
        assert ledger.accept(batch(0, 1, epoch=epoch)) is not None
    assert ledger.accept(batch(0, 1, epoch=1)) is None
    assert ledger.accept(batch(0, 1, epoch=0)) is not None
    assert ledger.accept(replace(batch(0, 1, epoch=STREAMS), origin=5)) is not None


def test_a_second_ledger_goes_on_where_the_receipts_of_the_first_one_end():
    ledger = Ledger(["a"])
    ledger.accept(batch(0, 3))
    second = Ledger(["a"], ledger.receipts())
    assert second.accept(batch(0, 3, floor=0)) is None
    assert second.accept(batch(3, 1, floor=3)) is not None
    assert not second.lost.total()
