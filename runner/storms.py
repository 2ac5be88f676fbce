"""Who makes the agents of a run start again and again (``node.restarts``), told to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Storms:
    """Warns of agents at whose word others start again and again, once of each.

    Args:
        warn: called with what the user should know.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn, self._named = warn, set[str]()

    def heard(self, agent: str, info: Mapping[str, Any]) -> None:
        """Take in where an agent stands."""
        if "epoch-storm" not in info["rejected"] or not (by := info["restarted_by"]):
            return
        src = max(by, key=lambda j: (by[j], j))
        if src not in self._named:
            self._named.add(src)
            self._warn(
                f"agent {agent} has started again {by[src]} times at the word of {src}, and lets most "
                f"of what {src} says pass: it is hostile or at fault, or passes on what one behind it says"
            )
