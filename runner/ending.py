"""Where the record of a network run ends: at the step whose allocations are the outcome.

Agents prove in a step that the step two before it was good enough, and it is that one that counts
(``node.protocols.network.life``). What is recorded of the step in between is not what came out, so curves and
errors step by step leave it out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.record import Record


def last_step(steps: int, unsatisfied: int) -> int:
    """The number, from 0, of the step whose allocations are the outcome.

    Args:
        steps: that were played.
        unsatisfied: agents that were not satisfied in the end. They gave up, or were ended by ``max_rounds``,
            and keep the last step that was over before the last one.
    """
    return max(0, steps - (2 if unsatisfied else 3))


def last_step_of(result: Mapping[str, Any] | None) -> int | None:
    """The same from what ``result.json`` holds; None if that is no network run's, or there is none."""
    if result is None or "link_prices" not in result:
        return None
    return last_step(int(result["steps"]), int(result["stopped_unsatisfied"]))


def to_outcome(record: Record, step: int | None) -> Record:
    """A record without what each agent measured after a step, in the last epoch in which it measured any.

    Args:
        record: of a run.
        step: the last one that stays; None: all of it.
    """
    if step is None or "step" not in record.names:
        return record
    of_steps = record.name == record.names.index("step")
    newest = np.full(len(record.agents), -1, np.int64)
    np.maximum.at(newest, record.agent[of_steps], record.epoch[of_steps])
    latest = record.epoch == newest[record.agent]
    late = of_steps & latest & (record.value > step)
    first = np.full(len(record.agents), np.iinfo(np.int64).max)
    np.minimum.at(first, record.agent[late], record.round[late])
    keep = ~latest | (record.round < first[record.agent])
    rows = {
        name: getattr(record, name)[keep] for name in ("agent", "epoch", "round", "time", "name", "value")
    }
    return replace(record, **rows)
