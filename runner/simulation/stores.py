"""What agents of a simulation remember with: stores that keep their promise, and stores that break it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from node.store import DiskStore, MemoryStore, Saved, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# exact: what was durable is there after a crash. The others give back less, and the agent must notice.
EXACT = ("memory", "disk")
KINDS = (*EXACT, "torn", "full", "none")


class TornStore(MemoryStore):
    """Loses the newest entries of its log in a crash, as a disk does that was not synced."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self._rng = random.Random(seed)

    def load(self) -> tuple[int, Saved | None]:
        """See ``Store``; what was lost is lost for good."""
        if self.saved is not None and (lost := self._rng.randint(0, 3)):
            del self.saved.log[-lost:]
        return super().load()


class FullStore(MemoryStore):
    """Takes so many entries and no more, as a disk does that is full."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def append(self, heard: Sequence[bytes]) -> None:
        """See ``Store``."""
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room -= 1
        super().append(heard)


class Stores:
    """Makes the stores of one run, and cleans up behind them.

    Args:
        kind: one of ``KINDS``.
        seed: of what is lost.
    Attributes:
        make: agent -> a new store; None for agents that remember nothing.
    """

    def __init__(self, kind: str, seed: int) -> None:
        self.make: Callable[[str], Store] | None = self._make if kind != "none" else None
        self._kind, self._seed, self._made = kind, seed, 0
        self._directory: str | None = None

    def _make(self, name: str) -> Store:
        self._made += 1
        match self._kind:
            case "torn":
                return TornStore(f"torn {self._seed} {name} {self._made}")
            case "full":
                return FullStore(random.Random(f"full {self._seed} {name} {self._made}").randint(0, 200))
            case "disk":
                if self._directory is None:
                    self._directory = tempfile.mkdtemp(prefix="vicinal-simulate-")
                return DiskStore(Path(self._directory) / f"{name}-{self._made}", name, sync=False)
            case _:
                return MemoryStore()

    def close(self) -> None:
        """Remove what is on the disk."""
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
