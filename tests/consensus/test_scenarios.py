"""The bundled consensus scenarios: what they find, and that their rounds are the specified ones."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from benchmarks.consensus_rounds import SEEDS, SPEC, own_estimate
from node import lockstep
from node.consensus.truth import ConsensusEnvironment
from node.protocol import Say
from node.protocols.consensus import consensus
from runner import run
from topologies import bundled, load_scenario

# scenario -> diameter, all rounds, rounds of the primitive, and of these until everybody was within 1e-9
PINNED = {
    "consensus-chebyshev-ring-100": (50, 602, 499, 408),
    "consensus-chebyshev-tree-31": (8, 178, 159, 146),
    "consensus-flow-tree-31": (8, 482, 464, 432),
    "consensus-metropolis-er-31": (3, 92, 83, 78),
    "consensus-minimum-ring-100": (50, 152, 50, None),
    "consensus-ratio-er-31": (3, 47, 39, 32),
    "consensus-ratio-tree-31": (8, 1322, 1304, 1245),
    "consensus-set-er-31": (3, 11, 3, None),
    "consensus-tree-path-31": (30, 152, 90, None),
    "consensus-trimmed-12": (1, 65, 60, None),
}


def play(name: str, *overrides: str) -> tuple[Any, lockstep.Lockstep, int | None, int | None]:
    """A scenario in lockstep: how it ended, and rounds of its primitive until every estimate that was said,
    and every agent's own one, was within the tolerance of the mean for the first time."""
    loaded = load_scenario(name, overrides)
    parts = loaded.parts("r")
    mean = ConsensusEnvironment({i: p.utility["value"] for i, p in parts.items()}).mean[0]
    first: dict[str, int] = {}

    def observe(round_: int, says: Any) -> None:
        estimates = [e for say in says.values() if (e := (say.record or {}).get("estimate")) is not None]
        if estimates and max(abs(estimate - mean) for estimate in estimates) <= 1e-9:
            first.setdefault("said", round_)
        if all(say.kind.startswith("flow") for say in says.values()):
            own = [
                own_estimate(parts[i].utility["value"][0], Say(snapshot=say.snapshot[0]))
                for i, say in says.items()
            ]
            if max(abs(estimate - mean) for estimate in own) <= 1e-9:
                first.setdefault("own", round_)

    ended = lockstep.run(
        {i: consensus(p) for i, p in parts.items()}, {i: p.hears for i, p in parts.items()}, observe
    )
    before = ended.rounds - ended.results[loaded.agents[0]].rounds
    converged = {key: round_ - before for key, round_ in first.items()}
    return loaded, ended, converged.get("said"), converged.get("own")


def test_every_bundled_consensus_scenario_is_pinned():
    assert set(PINNED) == {name for name, _, _ in bundled() if name.startswith("consensus-")}


@pytest.mark.parametrize("name", PINNED)
def test_bundled_scenarios_find_what_is_right_in_the_same_rounds_ever(name):
    loaded, ended, converged, _ = play(name)
    truth = ConsensusEnvironment({i: u["value"] for i, u in loaded.utilities.items()})
    first = ended.results[loaded.agents[0]]
    for result in ended.results.values():
        error = truth.error(first.primitive, result.value, result.diameter)
        assert error == 0.0 if result.exact else error <= 1e-9
        assert result.satisfied
    if first.primitive == "trimmed":
        converged = None  # to some value between the inputs, not to the mean
    assert (first.diameter, ended.rounds, first.rounds, converged) == PINNED[name]


@pytest.mark.parametrize(
    ("name", "primitive", "graph"),
    [
        ("consensus-ratio-er-31", "ratio", "er"),
        ("consensus-metropolis-er-31", "metropolis", "er"),
        ("consensus-chebyshev-tree-31", "chebyshev", "tree"),
        ("consensus-flow-tree-31", "flow", "tree"),
    ],
)
def test_medians_over_the_seeds_of_the_values_are_the_specified_rounds(name, primitive, graph):
    found = []
    for seed in range(SEEDS[graph]):
        _, _, said, own = play(name, f"environment.seed={seed}")
        found.append(own if primitive == "flow" else said)
    # A median of ten may end in a half.
    assert abs(statistics.median(found) - SPEC[primitive][graph][0]) <= 0.5, found


def test_exact_primitives_take_the_specified_rounds():
    assert PINNED["consensus-minimum-ring-100"][2] == SPEC["minimum"]["ring"][0]
    diameter, _, rounds, _ = PINNED["consensus-set-er-31"]
    assert rounds <= diameter
    height, _, rounds, _ = PINNED["consensus-tree-path-31"]
    assert 3 * height <= rounds <= 3 * height + 1


def test_a_run_says_after_how_many_rounds_everybody_was_right(tmp_path):
    result = run("consensus-ratio-er-31", virtual=True, plot=False, out=tmp_path / "run")
    assert result.rounds_to_tolerance == PINNED["consensus-ratio-er-31"][3]
    result = run("consensus-set-er-31", virtual=True, plot=False, out=tmp_path / "set")
    assert result.rounds_to_tolerance is None
