"""Learning dynamics: what an agent believes its neighbours will say, after what it heard.

All are adaptive best-response dynamics in the sense of thesis section 4.5: the belief is a function of
messages heard from neighbours only, so nothing but the agent's own memory changes with the dynamics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from node.numbers import Matrix
    from node.part import AgentId


class Learning(Protocol):
    """Beliefs about the neighbours' next messages."""

    def update(self, said: Mapping[AgentId, Matrix]) -> Mapping[AgentId, Matrix]:
        """Take in this round's messages; return the messages to respond to."""
        ...

    def state(self) -> Any:
        """All that ``restore`` needs, as plain values; never None."""
        ...

    def restore(self, state: Any) -> None:
        """Go back to a state that ``state`` returned."""
        ...
