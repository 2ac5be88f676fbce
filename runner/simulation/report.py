"""The command ``vicinal simulate``: which seeds, and what is printed about them."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING

from runner.errors import UserError
from runner.simulate import Tally, Verdict, sweep
from runner.simulation.instances import FREE, WORKLOADS
from topologies import ScenarioError, load_scenario

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from topologies import LoadedScenario

MOST_JOBS = 256


def main(arguments: argparse.Namespace) -> int:
    """Simulate the seeds asked for and print what came of it. Returns the exit code.

    Raises:
        UserError: for seeds, jobs or scenarios that cannot be.
    """
    seeds = seeds_of(arguments.seeds)
    if not 1 <= arguments.jobs <= MOST_JOBS:
        raise UserError(f"--jobs {arguments.jobs}: expected 1 to {MOST_JOBS}")
    scenarios = [_load(source, arguments.overrides) for source in arguments.scenario]
    if arguments.overrides and not scenarios:
        raise UserError(f"--set {arguments.overrides[0]}: needs a scenario to change")
    started, tally = time.monotonic(), Tally()
    for verdict in sweep(seeds, arguments.jobs, scenarios):
        tally.add(verdict)
        if arguments.json:
            continue
        if arguments.trace:
            sys.stdout.write(f"seed {verdict.seed}\n{verdict.drawn}\n  trace {verdict.trace}\n")
        if verdict.violations:
            sys.stdout.write(failure(verdict, arguments.scenario, arguments.overrides))
        sys.stdout.flush()
    seconds = time.monotonic() - started
    if arguments.json:
        sys.stdout.write(json.dumps({**tally.as_dict(), "wall_seconds": seconds}, allow_nan=False) + "\n")
    else:
        sys.stdout.write(summary(tally, seconds))
    return 1 if tally.failed else 0


def seeds_of(text: str) -> range:
    """Read ``A-B`` or ``A``.

    Raises:
        UserError: naming what was seen.
    """
    match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", text)
    if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
        raise UserError(f"--seeds {text}: expected A-B with 0 <= A <= B, or one seed")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def replay(seed: int, sources: Sequence[str] = (), overrides: Sequence[str] = ()) -> str:
    """The command that runs one seed again."""
    options = "".join(f" --set '{override}'" for override in overrides)
    return " ".join(["vicinal simulate", *sources, f"--seeds {seed} --trace"]) + options


def failure(verdict: Verdict, sources: Sequence[str] = (), overrides: Sequence[str] = ()) -> str:
    """Everything there is to know about a seed that failed."""
    lines = [f"seed {verdict.seed} FAILED, {verdict.instance}"]
    lines += [f"  ! {violation}" for violation in verdict.violations]
    lines += [verdict.drawn, f"  trace {verdict.trace}"]
    lines += [
        f"  faults ceased at {verdict.quiet:.3f} s, the run ended or was given up at {verdict.ended:.3f} s"
    ]
    return "\n".join([*lines, f"  again: {replay(verdict.seed, sources, overrides)}", ""])


def summary(tally: Tally, seconds: float) -> str:
    """What was simulated, in a few lines."""

    def counts(counter: dict[str, int]) -> str:
        return ", ".join(f"{key} {count}" for key, count in sorted(counter.items()))

    lines = [
        f"{tally.seeds} seeds, {len(tally.failed)} failed",
        f"  played   {counts(tally.instances)}",
        f"  faults   {counts(tally.faults) or 'by probability only'}; {tally.epochs} new epochs",
        f"  time     {tally.virtual_seconds:.0f} virtual s, {tally.steps:,} steps in {seconds:.1f} s",
        f"  CPU      {tally.cpu_seconds:.1f} s; slowest seed {tally.slowest[1]}, {tally.slowest[0]:.1f} s",
        f"  liveness at worst {100 * tally.tightest[0]:.0f} % of the bound (seed {tally.tightest[1]})",
    ]
    if tally.failed:
        lines.append(f"  failed   {' '.join(str(v.seed) for v in sorted(tally.failed, key=_seed))}")
    return "\n".join([*lines, ""])


def _seed(verdict: Verdict) -> int:
    return verdict.seed


def _load(source: str, overrides: Sequence[str]) -> LoadedScenario:
    try:
        loaded = load_scenario(source, overrides)
    except ScenarioError as error:
        raise UserError(str(error)) from None
    spec = loaded.spec
    known = FREE if spec.synchrony.mode == "free" else WORKLOADS
    if spec.mechanism.name not in known:
        raise UserError(
            f"{source}: mechanism.name: got {spec.mechanism.name}; simulated are {', '.join(known)}"
        )
    if spec.faults is not None and spec.faults.until is None and spec.faults.lasting:
        raise UserError(f"{source}: faults.until: missing; expected a time, for liveness is judged from it")
    return loaded
