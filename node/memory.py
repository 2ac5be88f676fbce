"""An agent's memory across its lives: its store, and what becomes of the promise when the store fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.store import Saved, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.part import AgentId


class Memory:
    """Remembers through a store for as long as that works; without one it forgets everything.

    Args:
        agent: whose it is, for the message that says it has failed.
        store: None remembers nothing.

    Attributes:
        failure: why the store no longer keeps its promise, in words; None while it does.
    """

    def __init__(self, agent: AgentId, store: Store | None) -> None:
        self.failure: str | None = None
        self._agent, self._store = agent, store

    def __bool__(self) -> bool:
        """Whether there is anything to remember with."""
        return self._store is not None

    def begin(self, incarnation: int, forgotten: int) -> tuple[int, Saved | None]:
        """A life begins.

        Args:
            incarnation: which life it is at least; the store may know of a later one.
            forgotten: the life to take if the store knows of none before.
        Returns:
            Which life it is, and what the last one left; None if nothing, or nothing readable.
        """
        if self._store is None:
            return max(incarnation, forgotten), None
        try:
            last, left = self._store.load()
        except OSError as error:
            last, left = -1, None
            self._failed(error)
        life = max(incarnation, last + 1 if last >= 0 else forgotten)
        self._durably(lambda store: store.begin(life))
        if not life:
            # Now, and not when the first word is said: a later life must be able to tell that nothing
            # had been said from having forgotten it.
            self.reset(Saved())
        return life, left

    def reset(self, saved: Saved) -> None:
        """Replace everything by this."""
        self._durably(lambda store: store.reset(saved))

    def append(self, heard: Sequence[bytes]) -> None:
        """Add what was heard; it is as durable as promised when this returns."""
        self._durably(lambda store: store.append(heard))

    def _durably(self, action: Callable[[Store], None]) -> None:
        """Do something with the store; if that fails, say so and promise nothing more."""
        if self._store is None or self.failure is not None:
            return
        try:
            action(self._store)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.failure = f"agent {self._agent} is no longer durable: {error.strerror or error}"
