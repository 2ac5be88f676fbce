"""Faults that strike in a round and not at a time: on any machine they strike while agents play."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runner.chaos import Chaos
from runner.launched import Launched

if TYPE_CHECKING:
    import pytest

# Every message takes so long, and goes through a proxy in the test's own process: so a round takes 10 ms at
# least, and none passes unseen while that process stands still.
SLOWLY = "faults.delay=[0.01,0.02]"
LOOK_EVERY = 0.01  # seconds


def strike_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``at`` of every fault be the round that some agent must have come to, in whatever epoch, instead of
    a time.

    The runner hears five times a second where agents are: up to twenty rounds of ``SLOWLY`` pass between the
    round that is named and the fault, and the run must be longer than that.
    """
    furthest = 0
    take_in = Launched.heard

    def heard(self: Launched, host: int, message: dict[str, Any]) -> None:
        nonlocal furthest
        take_in(self, host, message)
        furthest = max([furthest, *(info["round"] for info in self.progress.values())])

    async def until(chaos: Chaos, at: float) -> None:
        await asyncio.sleep(LOOK_EVERY)  # so that the fault before has begun
        while at > furthest:  # noqa: ASYNC110  # a test looks, and nobody calls it
            await asyncio.sleep(LOOK_EVERY)

    monkeypatch.setattr(Launched, "heard", heard)
    monkeypatch.setattr(Chaos, "_until", until)
