"""The run's own broker, kept going: started again when it has died, or when it cannot write its store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.transport import BrokerError
from runner.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.embedded import EmbeddedBroker
    from runner.journal import Journal

# How often its store may fail. Whatever fills two places and then the first again will fill them once more.
MOVES = 3


async def keep(
    broker: EmbeddedBroker,
    warn: Callable[[str], None],
    journal: Journal,
    *,
    revive: bool,
    keeps_store: Callable[[], Awaitable[bool]],
) -> None:
    """Watch the broker and start it again, for ever.

    A store that fails is not the broker's death: it is started again in another place whether or not
    ``revive``. Its agents connect anew and publish their status again, so nothing is lost with the store;
    while a nats-server that cannot write it holds every agent up for 5 s at each status.

    Args:
        broker: one that runs.
        warn: called with what the user should know.
        journal: where its absences are written down.
        revive: whether it may be started again when it has died.
        keeps_store: waits until a dead one may come back; whether it then finds its store.
    Raises:
        RunFailed: it died and is not to be started again, or cannot be; or its store failed and there is no
            place for another one, naming the places.
    """
    moves = 0
    while True:
        ended = asyncio.create_task(broker.wait_ended(), name="broker-ended")
        unstored = asyncio.create_task(broker.wait_unstored(), name="broker-store")
        try:
            await asyncio.wait({ended, unstored}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                await _revive(broker, ended.result(), warn, journal, revive, keeps_store)
            else:
                moves += 1
                await _move(broker, unstored.result(), warn, journal, moves)
        finally:
            ended.cancel()
            unstored.cancel()
            await asyncio.gather(ended, unstored, return_exceptions=True)


async def _revive(
    broker: EmbeddedBroker,
    reason: str,
    warn: Callable[[str], None],
    journal: Journal,
    revive: bool,
    keeps_store: Callable[[], Awaitable[bool]],
) -> None:
    if not revive:
        raise RunFailed(f"the broker ended: {reason}")
    warn(f"the broker ended and is started again: {reason.partition(';')[0]}")
    journal.note("down", "the broker is down")
    keep_store = await keeps_store()
    try:
        await broker.restart(keep_store=keep_store)
    except BrokerError as error:
        raise RunFailed(f"the broker ended and cannot be started again: {error}") from None
    journal.note("back", "the broker is back")


async def _move(
    broker: EmbeddedBroker, words: str, warn: Callable[[str], None], journal: Journal, moves: int
) -> None:
    failed = f"the broker cannot write its store in {broker.place}: {words.rpartition(': ')[2]}"
    if moves > MOVES:
        raise RunFailed(f"{failed}; that was the {moves}th time, and it is not started again")
    journal.note("down", "the broker cannot write its store")
    try:
        place = await broker.move()
    except BrokerError as error:
        raise RunFailed(f"{failed}; it cannot be started again elsewhere: {error}") from None
    journal.note("back", "the broker is back")
    warn(f"{failed}; it was started again with an empty one in {place}")
