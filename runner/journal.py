"""What befell a run while it went on: faults that were made, processes that ended and came back.

``events.jsonl`` in the run's directory, one JSON object a line, is there once there is something to say:

    {"time", "kind", "text", "agents", "lasts"}

``time`` is in Unix seconds, by the runner's clock; ``kind`` is that of a fault (``crash``, ``pause``, ...) or
``down`` and ``back`` of a process; ``lasts`` is in seconds or null.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from topologies.faults import AnyEvent

NAME = "events.jsonl"
# A supervisor starts each of 1,000 hosts again 20 times at most; a reader is not to read for ever.
MOST = 50_000


class Journal:
    """Writes down what happens, at once: whoever looks on is to see it.

    Args:
        directory: the run's directory.
        warn: called once if it cannot be written; the run goes on without.
    """

    def __init__(self, directory: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn, self._left = directory / NAME, warn, MOST

    def note(self, kind: str, text: str, agents: Sequence[str] = (), lasts: float | None = None) -> None:
        """Write one line."""
        if not self._left:
            return
        self._left -= 1
        event = {"time": time.time(), "kind": kind, "text": text, "agents": list(agents), "lasts": lasts}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            self._left = 0
            self._warn(f"what befalls the run is not on file: {self._path}: {error.strerror or error}")

    def virtual_fault(self, event: AnyEvent) -> None:
        """Write down a fault that is being made in virtual time; how long it lasts takes no time here."""
        self._fault(event, f", at {event.at:g} virtual s")

    def fault(self, event: AnyEvent) -> None:
        """Write down a fault that is being made."""
        self._fault(event)

    def _fault(self, event: AnyEvent, virtually: str = "") -> None:
        told = event.model_dump(mode="json")
        agents: list[str] = told.get("agents") or []
        lasts = told.get("lasts", told.get("down"))
        for_ever, lasts = lasts == "forever", None if lasts == "forever" else lasts
        if links := told.get("links"):
            where = ", ".join(f"{i} to {j}" for i, j in links[:3]) + (" ..." if len(links) > 3 else "")
        else:
            groups = told.get("groups") or []
            where = " | ".join(map(_some, groups)) if groups else _some(agents)
        text = " ".join(word for word in (event.kind, where) if word)
        how_long = " for ever" if for_ever else f" for {lasts:g} s" if lasts is not None else ""
        if virtually and lasts is not None:
            lasts = 0.0
        self.note(event.kind, text + how_long + virtually, agents, lasts)


def _some(agents: Sequence[str]) -> str:
    return ", ".join(agents[:4]) + (" ..." if len(agents) > 4 else "")


def read(directory: Path) -> list[dict[str, Any]]:
    """The events of a run, as they happened; those of a line that is not whole, or not ours, are left out."""
    try:
        lines = (directory / NAME).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    events = []
    for line in lines[:MOST]:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # being written, or cut off with its writer
        match event:
            case {"time": int() | float(), "kind": str(), "text": str(), "agents": list(), "lasts": _}:
                events.append(event)
    return events
