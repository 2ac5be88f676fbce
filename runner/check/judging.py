"""From a run's directory to the lines of its judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocols.network.facts import MECHANISMS as NETWORK
from runner.check import allocation, common, consensus, networks
from runner.check.evidence import gather
from runner.check.lines import Judgement, under

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner.check.evidence import Evidence
    from runner.check.lines import Line


def judge(directory: Path, tolerances: Mapping[str, float] | None = None) -> Judgement:
    """Judge a recorded run from its record, the agents' accounts and its scenario alone.

    Args:
        directory: of the run.
        tolerances: line -> what its number may be at most instead of what the mechanism promises.
    Raises:
        UserError: in one line: a directory that cannot be judged, or cvxpy is missing.
    """
    evidence = gather(directory)
    return judgement(evidence, lines_of(evidence), tolerances or {})


def judgement(evidence: Evidence, lines: list[Line], tolerances: Mapping[str, float]) -> Judgement:
    """The lines about one run, ordered, under the user's tolerances."""
    return Judgement(evidence.run, str(evidence.loaded.spec.name), evidence.mode, under(lines, tolerances))


def lines_of(evidence: Evidence) -> list[Line]:
    """All lines but that of the probe.

    Raises:
        UserError: as ``judge``.
    """
    mechanism = evidence.rules["mechanism"]
    if mechanism == "consensus":
        own = consensus.lines(evidence)
    elif mechanism in NETWORK:
        own = networks.lines(evidence)
    else:
        own = allocation.lines(evidence)
    stop = common.stop_round(evidence, lambda result: bool(result.get("satisfied")))
    return [*own, stop, common.distributed(evidence)]
