"""What was meant by a name that does not exist."""

from __future__ import annotations

import pytest

from topologies.nearest import did_you_mean, nearest

METRICS = ("convergence", "prices", "allocations", "taxes", "residuals", "messages", "graph")


@pytest.mark.parametrize(
    ("seen", "meant"),
    [
        ("alocation", "allocations"),
        ("Prices", "prices"),
        ("TAX", "taxes"),
        ("conv", "convergence"),  # too short to look alike, but the only one that begins so
        ("grpah", "graph"),
    ],
)
def test_the_nearest_name_is_found(seen: str, meant: str) -> None:
    assert nearest(seen, METRICS) == meant
    assert did_you_mean(seen, METRICS) == f" (did you mean {meant}?)"


@pytest.mark.parametrize("seen", ["", "welfare", "\n", "x" * 1000])
def test_nothing_is_suggested_where_nothing_is_near(seen: str) -> None:
    assert nearest(seen, METRICS) is None
    assert did_you_mean(seen, METRICS) == ""


def test_zeros_before_numbers_may_be_left_out_or_put_in() -> None:
    agents = [f"a{k:02d}" for k in range(31)]
    assert nearest("a0", agents) == "a00"
    assert nearest("a3", agents) == "a03"
    assert nearest("a003", agents) == "a03"
    assert nearest("A30", agents) == "a30"


def test_a_beginning_that_several_names_share_suggests_none() -> None:
    assert nearest("net", ("network-abilene-18", "network-nsfnet-24")) is None


def test_the_answer_does_not_depend_on_the_order() -> None:
    names = ["n1", "n2", "n3", "N1"]
    assert {nearest("n", names), nearest("n", names[::-1]), nearest("n", set(names))} == {nearest("n", names)}
