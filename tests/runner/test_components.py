"""Parts of a network, from what agents report: who played with whom, what fits together and what does not."""

from __future__ import annotations

import pytest

from runner import run
from runner.components import components_of, contradiction, current
from runner.errors import RunFailed

RING = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]


def report(neighbours, epoch=0, agents=4, absent=(), rounds=9, stranded=None):
    result = None if stranded else {"agents": agents, "diameter": 2}
    return {
        "neighbours": tuple(neighbours),
        "absent": dict.fromkeys(absent, "why"),
        "epoch": epoch,
        "rounds": rounds,
        "result": result,
        "stranded": stranded,
    }


WHOLE = {"a": report("bd"), "b": report("ac"), "c": report("bd"), "d": report("ac")}
HALVES = {
    "a": report("b", 1, 2, absent="d"),
    "b": report("a", 1, 2, absent="c"),
    "c": report("d", 3, 2, absent="b", rounds=7),
    "d": report("c", 3, 2, absent="a", rounds=7),
}


def test_agents_that_count_each_other_present_are_one_part():
    (part,) = components_of(WHOLE, RING)
    assert (part.agents, part.unheard, part.epoch, part.diameter, part.rounds) == (tuple("abcd"), (), 0, 2, 9)


def test_parts_are_told_apart_with_their_epochs_and_rounds():
    parts = components_of(HALVES, RING)
    assert [(p.agents, p.epoch, p.rounds) for p in parts] == [(("a", "b"), 1, 9), (("c", "d"), 3, 7)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"a": report("b", absent="d")}, "d counts a present, a does not count d"),
        ({"a": report("bd", 1)}, "agent a ended in epoch 1, b in 0"),
    ],
)
def test_accounts_that_contradict_each_other_are_no_result(changed, said):
    reports = {**WHOLE, **changed}
    assert said in contradiction(reports)
    with pytest.raises(RunFailed, match="contradict"):
        components_of(reports, RING)


def test_two_that_ended_with_the_same_lost_agent_in_different_epochs_contradict_each_other():
    assert "with c" in contradiction({"b": report("c", 1), "d": report("c", 2)})


def test_an_agent_that_was_gone_before_it_told_its_result_has_taken_part():
    reports = {i: WHOLE[i] for i in "abc"}
    (part,) = components_of(reports, RING)
    assert (part.size, part.heard, part.unheard) == (4, ("a", "b", "c"), ("d",))


def test_two_neighbours_that_are_both_gone_have_taken_part_if_the_count_says_so():
    reports = {"a": report("bd"), "b": report("a", absent=())}
    (part,) = components_of(reports, [("a", "b"), ("a", "d"), ("d", "c")])
    assert part.unheard == ("c", "d")


def test_a_count_that_is_not_the_number_of_those_connected_is_refused():
    with pytest.raises(RunFailed, match=r"counted 5 of themselves, but there are 4"):
        components_of({i: {**r, "result": {"agents": 5, "diameter": 2}} for i, r in WHOLE.items()}, RING)


def test_a_result_of_one_that_has_left_is_dropped_when_the_others_started_anew_without_it():
    anew = {i: report(set("abc") - {i}, 1, 3, absent="d") for i in "abc"}
    assert set(current({**anew, "d": WHOLE["d"]}, {"d": 1.0})) == set("abc")
    assert set(current(WHOLE, {"d": 1.0})) == set("abcd")


def test_a_part_that_is_too_small_is_stranded_and_no_mixture():
    few = "agent d: 1 left"
    parts = components_of(
        {**HALVES, "c": report("", 2, absent="bd", stranded=few)}
        | {"d": report("", 4, absent="ac", stranded=few)},
        RING,
    )
    assert [(p.size, p.stranded) for p in parts] == [(2, None), (1, few), (1, few)]
    with pytest.raises(RunFailed, match="some have a result and others have none"):
        components_of({**WHOLE, "a": report("bd", stranded=few)}, RING)


LINE = [("d", "e"), ("e", "f"), ("f", "a"), ("a", "b")]
# d, e and f had a result; then e left, and f began again when a came. d hears of none of it.
ANEW = {
    "a": report("bf", 2, 3, absent="e"),
    "b": report("a", 2, 3),
    "f": report("a", 2, 3, absent="e"),
}


@pytest.mark.parametrize("left", [{}, {"e": report("df", 1, 3)}])
def test_a_result_that_others_gave_up_unheard_is_no_result(left):
    reports = current({**ANEW, "d": report("e", 1, 3), **left}, {"e": 2.0})
    parts = components_of(reports, LINE)
    assert [(p.agents, p.heard) for p in parts] == [(("a", "b", "f"), ("a", "b", "f")), (("d", "e"), ("d",))]
    assert parts[0].stranded is None
    assert "f has begun again in epoch 2; nobody was left to tell agent d" in parts[1].stranded


def test_it_is_seen_through_two_that_are_gone_as_well():
    line = [("d", "e"), ("e", "x"), ("x", "f"), *LINE[2:]]
    anew = {**ANEW, "f": report("a", 2, 3, absent="x"), "a": report("bf", 2, 3)}
    parts = components_of({**anew, "d": report("e", 1, 4)}, line)
    assert parts[1].agents == ("d", "e")
    assert "f has begun again" in parts[1].stranded


def test_a_count_that_nobody_explains_by_a_later_epoch_is_refused():
    for f in (report("a", 1, 3, absent="e"), report("a", 2, 3)):
        reports = {"a": report("bf", f["epoch"], 3), "b": report("a", f["epoch"], 3), "f": f}
        with pytest.raises(RunFailed, match=r"agent d .* counted 4 of themselves, but there are 2"):
            components_of({**reports, "d": report("e", 1, 4)}, LINE)


def test_whoever_leaves_after_the_end_takes_the_result_of_those_behind_along_if_the_others_begin_again():
    ring = 'topology={nodes=["a","b","c","d","e","f"], edges=[["a","b"],["b","c"],["c","d"],["d","e"],["e","f"],["f","a"]]}'  # noqa: E501
    events = (
        'faults.event=[{kind="crash", at=0.3, agents=["c"], down="forever"}, '
        '{kind="leave", at=4.0, agents=["e"]}, {kind="join", at=4.5, agents=["a"]}]'
    )
    alone = (ring, "environment.capacities=[6.0]", 'recovery={on_down="continue", grace=1.5}', events)
    result = run("ring-12", overrides=alone, virtual=True, plot=False)
    assert [(p.agents, p.epoch) for p in result.components] == [(("a", "b", "f"), 2), (("d", "e"), 1)]
    assert result.stranded == ["d"]
    assert set(result.allocation) == {"a", "b", "f"}
    assert result.allocation_error <= result.tolerance
    assert not result.kept_promise
