"""The table at the end of a run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from runner.components import Component
from runner.consensus import ConsensusResult
from runner.table import agent_rows, bytes_text, print_result, seconds_text
from tests.runner.results import result_of

if TYPE_CHECKING:
    from pathlib import Path


def printed(encoding: str = "utf-8", width: int = 80, agents: bool = False, **other: Any) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    print_result(result_of(**other), Console(file=file, width=width), agents=agents)
    file.flush()
    return raw.getvalue().decode(encoding)


def line(text: str, name: str) -> str:
    (found,) = [line for line in text.splitlines() if line[2:].strip().startswith(name)]
    return " ".join(found.split())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (123_456, "123 kB"),
        (6_870_600, "6.9 MB"),
        (999_600, "1.0 MB"),
        (5e9, "5.0 GB"),
        (2e15, "2,000.0 TB"),
    ],
)
def test_bytes_are_written_for_humans(count: float, text: str):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (4.32, "4.3 s"),
        (99.96, "1 min 40 s"),
        (200, "3 min 20 s"),
    ],
)
def test_seconds_are_written_for_humans(seconds: float, text: str):
    assert seconds_text(seconds) == text


def test_the_facts_stand_in_their_rows():
    text = printed()
    assert line(text, "agents") == "agents 5 diameter 8"
    assert line(text, "rounds") == "rounds 347 305 of play"
    assert line(text, "stopped") == "✓ stopped in round 346 all at rest"
    assert line(text, "messages") == "messages 20,820 60 a round"
    assert line(text, "bytes") == "bytes 6.9 MB 330 B a message"
    assert line(text, "wall time") == "wall time 4.3 s first round complete after 2.1 s"
    assert line(text, "allocation") == "✓ allocation 2.9e-09 off relative to the largest; promised 1.0e-06"
    assert line(text, "price") == "✓ price 2.0e-09 off relative to the multiplier 4"
    assert line(text, "sum of taxes") == "✓ sum of taxes 5.6e-07 2.5e-09 of the sum of |tax|"
    assert line(text, "welfare") == "✓ welfare 397.278398 2.5e-10 above the optimum, relative"
    assert line(text, "contraction") == (
        "✓ contraction bound 0.992717 a round, maximum norm over all messages"
    )
    assert line(text, "observed") == "✓ observed rate 0.9358 a round"
    assert "dropped" not in text
    assert "record:" not in text


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("allocation", {"allocation_error": 1.1e-6}),
        ("price", {"price_error": 1e-3}),
        ("sum of taxes", {"tax_sum": -1.0}),
        ("welfare", {"welfare": 390.0}),
        ("stopped", {"stopped_unsatisfied": 2}),
        ("contraction", {"contraction_bound": 1.0}),
        ("observed", {"observed_rate": 0.999}),
    ],
)
def test_what_was_missed_is_marked(row: str, wrong: dict[str, Any]):
    assert line(printed(**wrong), row).startswith("✗")
    assert printed(**wrong).count("✗") == 1


def test_the_prices_of_a_public_good_are_each_agent_s_own():
    prices = {f"n{i:02d}": [i - 2.0] for i in range(5)}
    text = printed(width=120, agents=True, multiplier=[], optimal_prices=prices, prices=prices)
    assert line(text, "price") == "✓ price 2.0e-09 off of an agent's own price; relative to the highest, 2"
    assert "n00 1 1 -2 -2" in " ".join(text.split())


def test_without_a_guarantee_nothing_is_promised_and_nothing_is_judged():
    text = printed(
        width=120, guaranteed=False, contraction_bound=1.25, spectral_radius=0.97, allocation_error=0.5
    )
    assert "✗" not in text
    assert line(text, "allocation") == (
        "allocation 5.0e-01 off relative to the largest; nothing promised, asked for 1.0e-06"
    )
    assert line(text, "contraction") == (
        "contraction bound 1.25 not below 1, maximum norm over all messages: no guarantee"
    )
    assert line(text, "spectral") == "spectral radius 0.97 of the Jacobian; no norm bound"
    assert line(text, "observed") == "observed rate 0.9358 a round"


@pytest.mark.parametrize(
    ("facts", "kept"),
    [
        ({}, True),
        ({"allocation_error": 1.0}, False),
        ({"allocation_error": 1.0, "guaranteed": False}, True),
        ({"stopped_unsatisfied": 1, "guaranteed": False}, False),
    ],
)
def test_where_nothing_is_promised_only_rest_is_expected(facts: dict[str, Any], kept: bool):
    assert result_of(**facts).kept_promise == kept


def test_what_is_unknown_is_left_out():
    text = printed(observed_rate=None, first_round_seconds=None)
    assert "observed" not in text
    assert line(text, "wall time") == "wall time 4.3 s 80 rounds/s"
    assert line(printed(mode="virtual"), "virtual time").startswith("virtual time 4.3 s")


def test_dropped_messages_and_retransmissions_are_counted_by_kind():
    text = printed(dropped={"undecodable": 3, "forged-sender": 1}, retransmissions=1200)
    assert line(text, "undecodable") == "undecodable 3 dropped"
    assert line(text, "forged-sender") == "forged-sender 1 dropped"
    assert line(text, "retransmissions") == "retransmissions 1,200"
    assert "restarts" not in text
    assert line(printed(restarts=3), "restarts").startswith("restarts 3 of agents; counts are of all lives")


def test_the_last_line_says_where_record_and_plot_are(tmp_path: Path):
    assert printed(run_dir=str(tmp_path), width=30).splitlines()[-1] == f"record: {tmp_path}"
    (tmp_path / "convergence.png").touch()
    assert (
        printed(run_dir=str(tmp_path), width=30)
        .splitlines()[-1]
        .endswith(f"plot: {tmp_path}/convergence.png")
    )


@pytest.mark.parametrize("name", ["rounds", "messages", "allocation", "welfare"])
def test_no_number_is_cut_off_by_a_terminal_that_is_narrower_than_the_table(name: str):
    def value(width: int) -> str:
        return line(printed(width=width), name).partition(name)[2].split()[0]

    assert value(20) == value(200)


def test_piped_output_has_no_control_characters_and_fits():
    text = printed(dropped={"undecodable": 3}, agents=True)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert max(map(len, text.splitlines())) <= 80


def test_an_ascii_terminal_gets_ascii():
    text = printed(encoding="ascii", agents=True, allocation_error=1.0)
    assert line(text, "allocation").startswith("NO")
    assert line(text, "price").startswith("ok")


def test_a_network_without_taxes_or_welfare_divides_by_nothing():
    text = printed(
        tax_sum=0.0, tax_scale=0.0, welfare=0.0, optimal_welfare=0.0, seconds=0.0, messages=0, rounds=0
    )
    assert "✗" not in text


def test_agents_are_listed_up_to_a_limit():
    assert "n03 4 4 4 1" in " ".join(printed(agents=True).split())
    assert agent_rows(result_of(40)) is not None
    assert agent_rows(result_of(41)) is None
    assert "too many" in printed(n=41, agents=True)


def consensus_result(**changes):
    facts = {
        "run": "r",
        "scenario": "consensus-ratio-3",
        "mode": "virtual",
        "agents": 3,
        "diameter": 2,
        "rounds": 90,
        "stopped_in_round": 89,
        "messages": 360,
        "bytes": 36000,
        "published": 270,
        "retransmissions": 0,
        "seconds": 1.5,
        "first_round_seconds": None,
        "dropped": {},
        "run_dir": None,
        "primitive": "ratio",
        "primitive_rounds": 84,
        "values": {"a": [0.5], "b": [0.5 + 1e-10], "c": [0.5]},
        "expected": [0.5],
        "error": 1e-10,
        "spread": 1e-10,
        "identical": False,
        "exact": False,
        "tolerance": 1e-9,
        "stopped_unsatisfied": 0,
    }
    return ConsensusResult(**{**facts, **changes})


def printed_consensus(result, **how):
    console = Console(file=io.StringIO(), width=100)
    print_result(result, console, **how)
    return console.file.getvalue()


def test_a_consensus_run_is_held_against_the_truth():
    text = printed_consensus(consensus_result(), agents=True)
    assert "ratio against the truth" in text
    assert "84 of ratio" in text
    assert "promised 1.0e-09" in text
    assert consensus_result().kept_promise


@pytest.mark.parametrize(
    "broken",
    [
        {"error": 2e-9},
        {"error": None, "spread": None},
        {"stopped_unsatisfied": 1},
        {"exact": True, "tolerance": 0.0, "error": 0.0},
    ],
)
def test_a_broken_promise_of_consensus_is_seen(broken):
    assert not consensus_result(**broken).kept_promise


def test_a_consensus_that_fell_apart_says_what_each_part_found():
    parts = [
        Component(("a", "b"), (), 1, 1, 20, None),
        Component(("c",), (), 1, 0, 20, None),
    ]
    result = consensus_result(
        values={"a": [0.25], "b": [0.25], "c": [0.75]},
        expected=[0.25],
        expected_in=[[0.25], [0.75]],
        components=parts,
    )
    text = " ".join(printed_consensus(result, agents=True).split())
    assert "found 0.25 expected 0.25, of 2 agents with a" in text
    assert "found 0.75 expected 0.75, of c alone" in text
    assert "c 0.75 0.75" in text


def test_trimmed_averaging_is_held_against_the_range_of_the_inputs():
    parts = [Component(("a", "b", "c"), (), 0, 2, 20, None)]
    result = consensus_result(
        primitive="trimmed",
        error=0.0,
        tolerance=0.0,
        components=parts,
        expected_in=[[0.6]],
        inputs_in=[[0.125, 0.875]],
    )
    text = printed_consensus(result)
    assert "inputs from 0.125 to 0.875" in text
    assert "exact is promised" not in text
    assert "0.6" not in text
