"""The simulator finds bugs: drivers and protocols with known mistakes fail, the right ones do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.agent import Agent
from node.consensus.counters import NEVER
from node.protocol import Say
from node.protocols import allocate as allocating
from runner import components
from runner.simulate import simulate
from runner.simulation.cases import draw
from runner.simulation.instances import instance
from tests.simulation import bugs

SEEDS = 400


def small_cases(first=0, free=False):
    """Cases that take a few milliseconds, in the order of their seeds."""
    cases = map(draw, range(first, first + (10 * SEEDS if free else SEEDS)))
    return (
        case
        for case in cases
        if len(case.instance.parts) <= 10 and case.instance.free == free and not case.members
    )


def first_failure(driver, first=0, free=False):
    for case in small_cases(first, free):
        if driver is bugs.AcknowledgesReceipt:
            driver.delivered.clear()
        verdict = simulate(case, make_agent=driver)
        if verdict.violations:
            return case, verdict
    return None, None


@pytest.mark.parametrize(
    ("driver", "first", "said"),  # where to begin, so that the search is short
    [
        (bugs.OneRound, 13, "liveness: "),
        (bugs.AcknowledgesReceipt, 20, "liveness: "),
        (bugs.ForgetsPrevious, 910, "liveness: "),
        (bugs.MixesEpochs, 51, ""),
        (bugs.SpeaksFirst, 16, ""),
        (bugs.GivesUp, 89, "liveness: "),
        (bugs.Raises, 11, "escaped: KeyError"),
    ],
    ids=lambda value: getattr(value, "__name__", "-"),
)
def test_a_driver_with_a_known_mistake_fails_on_some_seed_and_the_right_one_does_not(driver, first, said):
    case, verdict = first_failure(driver, first)
    assert verdict is not None
    assert any(violation.startswith(said) for violation in verdict.violations), verdict.violations
    assert simulate(case, make_agent=Agent).violations == []


@pytest.mark.parametrize(
    ("driver", "first", "said"),
    [(bugs.Trusting, 831, ""), (bugs.Silent, 123, "liveness: "), (bugs.SpeaksFirst, 220, "")],
    ids=lambda value: getattr(value, "__name__", "-"),
)
def test_a_mistake_of_free_mode_fails_on_some_seed_and_the_right_driver_does_not(driver, first, said):
    case, verdict = first_failure(driver, first, free=True)
    assert verdict is not None
    assert any(violation.startswith(said) for violation in verdict.violations), verdict.violations
    assert simulate(case, make_agent=Agent).violations == []


def hasty(diameter, resume=None):
    """Counters that stop as soon as one agent is satisfied."""
    stop, round_ = resume if resume is not None else (NEVER, 0)
    while True:
        heard = yield Say(stop, kind="hasty", report=stop if round_ > stop else None, snapshot=(stop, round_))
        stop = min([stop, *heard.said.values()])
        if heard.report:
            stop = min(stop, round_ + 2 * diameter)
        round_ += 1


def nearsighted(diameter, resume=None):
    """Counters that were given a diameter too small: agents stop in different rounds."""
    from node.consensus.counters import counters

    return counters(1, resume)


@pytest.mark.parametrize(("counters", "said"), [(hasty, "early stop"), (nearsighted, "Misaligned")])
def test_a_stopping_rule_that_is_wrong_is_found(monkeypatch, counters, said):
    monkeypatch.setattr(allocating, "counters", counters)
    instance.cache_clear()
    try:
        broken = [instance("small", "private-goods", k).reference().broken for k in range(6)]
    finally:
        instance.cache_clear()
    assert any(said in text for texts in broken for text in texts), broken


def test_a_lockstep_run_that_fails_is_a_violation_and_no_accident(monkeypatch):
    case = next(case for case in small_cases() if "private-goods" in case.instance.name)
    broken = replace(case.instance.reference(), results={}, broken=["Misaligned: round 3"])
    monkeypatch.setattr(case.instance, "_reference", broken)
    assert simulate(case).violations == ["in lockstep already: Misaligned: round 3"]


@pytest.mark.parametrize(
    ("driver", "first", "said"),
    [
        (bugs.KeepsOldWords, 4, ""),
        (bugs.ForgetsWhoDidNotJoin, 775, ""),
        (bugs.NeverTakesBack, 401, "liveness: "),
    ],
    ids=lambda value: getattr(value, "__name__", "-"),
)
def test_a_driver_that_mistakes_who_is_there_fails_and_the_right_one_does_not(driver, first, said):
    cases = (case for case in map(draw, range(first, first + SEEDS)) if case.members)
    case, verdict = next(
        ((case, v) for case in cases if (v := simulate(case, make_agent=driver)).violations), (None, None)
    )
    assert verdict is not None
    assert any(violation.startswith(said) for violation in verdict.violations), verdict.violations
    assert simulate(case, make_agent=Agent).violations == []


def test_a_judge_that_does_not_see_who_began_again_unheard_is_found(monkeypatch):
    case = draw(2259)
    assert simulate(case).violations == []
    monkeypatch.setattr(components, "_overtaken", lambda *what: None)
    (violation,) = simulate(case).violations
    assert "counted 14 of themselves, but there are 8" in violation
